"""The HTTP server: its door is open before the worker starts, and is shut after the worker has drained."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import uvicorn
from fastapi import FastAPI

from pgbaton.errors import ConfigError

BACKLOG = 2048
GRACE = 5
"""Seconds that calls of others get once the worker has drained; calls that still run then are broken off."""
KEEP_ALIVE = 120
"""Seconds that an idle connection is kept: longer than the worker's client does, so that no call meets one that
is just being closed."""

_TO_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Errors of a name's other address (IPv6, mostly) where the machine has none of that kind."""


@contextlib.contextmanager
def stopped_by_signal() -> Iterator[asyncio.Event]:
    """An event that the first signal to end sets; a second signal ends the process as any other.

    What the caller had us ignore (``nohup``, a shell's background) stays ignored.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    heeded = [number for number in _TO_END if signal.getsignal(number) is not signal.SIG_IGN]

    def leave_the_next_alone() -> None:
        for number in heeded:
            loop.remove_signal_handler(number)

    def first() -> None:
        leave_the_next_alone()
        stop.set()

    for number in heeded:
        loop.add_signal_handler(number, first)
    try:
        yield stop
    finally:
        leave_the_next_alone()


@contextlib.contextmanager
def open_door(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Listen on every address of ``host``: a client that connects from now on waits until the application serves.

    Raises :class:`ConfigError` where that cannot be.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"HOST: {host!r} is no address: {getattr(error, 'strerror', None) or error}") from None
    with contextlib.ExitStack() as stack:
        doors, refusal = [], None
        for family, _, _, _, address in found:
            try:
                doors.append(stack.enter_context(_listening(family, address)))
            except OSError as error:
                refusal = error
                if error.errno not in _NOT_HERE:
                    break
        if refusal is not None and (refusal.errno not in _NOT_HERE or not doors):
            said = (refusal.strerror or str(refusal)).lower()
            raise ConfigError(f"HOST, PORT: cannot listen on {host}, port {port}: {said}")
        yield doors


def _listening(family: int, address: Any) -> socket.socket:
    # asyncio turns Nagle's algorithm off (TCP_NODELAY) only where a socket says that it is TCP; with it on, an answer's
    # body waits 40 ms for the other side to acknowledge the head.
    door = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        door.setblocking(False)
        door.bind(address)
        door.listen(BACKLOG)
    except OSError:
        door.close()
        raise
    return door


async def serve(
    app: FastAPI, doors: Sequence[socket.socket], stop: asyncio.Event, started: Callable[[], None] = lambda: None
) -> None:
    """Serve ``app`` until ``stop``: then the worker drains, with the door still open to its calls, and the rest ends.

    ``started`` is called once the application has started.
    Raises the error that keeps the application from starting, or that ends its worker before its time.
    """
    async with app.router.lifespan_context(app):
        started()
        server = _Server(
            uvicorn.Config(
                app,
                lifespan="off",  # it is around us
                log_config=None,
                log_level=logging.WARNING,
                access_log=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=GRACE,
            )
        )
        engine = app.state.pgbaton
        serving = asyncio.create_task(server.serve(sockets=list(doors)))
        ends = [serving, asyncio.create_task(stop.wait())]
        if engine is not None:
            ends.append(asyncio.create_task(engine.wait()))
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if (admin := getattr(app.state, "admin", None)) is not None:
                admin.close()  # or the server would wait for open pages
            if engine is not None:
                engine.stop()
                await engine.wait()
        finally:
            server.should_exit = True
            for end in ends[1:]:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        serving.result()


class _Server(uvicorn.Server):
    """Uvicorn without its own ideas about signals: it would die of them before the database is closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
