"""The HTTP server of a worker that is a process of its own: ``/metrics``, ``/healthz`` and ``/readyz``.

It runs in a thread of its own, so that a busy worker still answers, and needs the standard library and
prometheus-client alone.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from pgbaton.errors import ConfigError

PATIENCE = 10
"""Seconds that a connection may say nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """As the standard library does, without asking a name server for this host's name."""
        super(WSGIServer, self).server_bind()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE

    def log_message(self, *_: object) -> None:
        """Nothing: being asked is no event."""


@contextmanager
def watched_at(address: str, ready: Callable[[], bool]) -> Iterator[None]:
    """Answer at ``host:port`` while the block runs. Raises :class:`ConfigError` where that cannot be."""
    found = re.fullmatch(r"([^:]*):(\d{1,5})", address)
    if found is None or int(found[2]) > 65535:
        raise ConfigError(f"--metrics: must be host:port (it is {address!r})")
    metrics = make_wsgi_app()

    def answer(environ: dict[str, Any], respond: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            written: Iterable[bytes] = metrics(environ, respond)
            return written
        well = path == "/healthz" or (path == "/readyz" and ready())
        known = path in ("/healthz", "/readyz")
        respond("200 OK" if well else "503 Service Unavailable" if known else "404 Not Found", [])
        return [b"ok\n" if well else b"not ready\n" if known else b""]

    try:
        server = make_server(found[1], int(found[2]), answer, server_class=_Server, handler_class=_Handler)
    except OSError as error:
        raise ConfigError(f"--metrics: cannot listen at {address}: {error.strerror or error}") from None
    thread = threading.Thread(target=server.serve_forever, name="pgbaton signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
