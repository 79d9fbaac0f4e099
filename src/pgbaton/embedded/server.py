"""The server on a data folder: start, readiness, stop, crash."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from pgbaton.embedded import host
from pgbaton.embedded.folder import DataFolder
from pgbaton.embedded.host import EmbeddedError

_log = logging.getLogger(__name__)

_PORTS = range(15_000, 32_768)  # above the usual services, below the kernel's ephemeral ports
_PORT_TRIES = 20
"""Free ports that a start tries, for another process may take one first."""
_STOP_TIMEOUT = 60.0
"""Seconds that a stop may take, its checkpoint included; then the server is killed."""
_POLL = 0.005
"""Seconds between two looks whether the server has become ready, or has ended."""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "logging_collector": "off",  # the log is our file
    "jit": "off",  # of no use to short statements
    "io_method": "sync",  # no I/O worker processes for a small database
    "wal_level": "minimal",  # there are no replicas
    "max_wal_senders": "0",
    "shared_buffers": "128MB",
}
_THROW_AWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
}


class EmbeddedPostgres:
    """One cluster in one data folder, and the server that this process runs on it.

    `port`: a fixed one; by default a free one, remembered in the data folder.
    `settings`: server settings, over the tuned ones.
    `durable`: False for a fast server that loses its last commits in a crash, and all in a power cut.
    `timeout`: seconds until a server that does not become ready (crash recovery included) is given up.

    A context manager of both kinds. Stopped or killed, it can be started again. Not for several threads.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        durable: bool = True,
        timeout: float = 60.0,
    ) -> None:
        self.settings = {**_SETTINGS, **({} if durable else _THROW_AWAY), **(settings or {})}
        self.timeout = timeout
        self._folder = DataFolder(Path(data_dir), durable=durable)
        self._fixed_port = port
        self._port: int | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        state = f"pid={self.pid} port={self._port}" if self.running else "stopped"
        return f"<EmbeddedPostgres {self.data_dir} {state}>"

    @property
    def data_dir(self) -> Path:
        """Where the data is: the folder asked for, unless the package's docstring says otherwise."""
        return self._folder.path

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.poll() is None

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        if self._server is None:
            raise EmbeddedError(f"{self!r} is not running")
        return self._server.pid

    @property
    def port(self) -> int:
        """The port, known from the first start on."""
        if self._port is None:
            raise EmbeddedError(f"{self!r} has never been started")
        return self._port

    @property
    def bin_dir(self) -> Path:
        """The wheel's programs: psql, pg_dump, pgbench, …"""
        return host.wheel() / "pginstall" / "bin"

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """The URL of a database. Only the superuser's password is known here: another's is left out."""
        secret = f":{self._folder.password}" if user == "postgres" else ""
        return f"postgresql://{quote(user, safe='')}{secret}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def start(self) -> None:
        """Make the cluster if there is none, start the server, return when it takes connections."""
        if self.running:
            return
        self.kill()  # the remains of a server that died
        self._folder.acquire()
        try:
            programs = self._folder.programs()
            self._folder.ensure_cluster(programs)
            self._wait_for_orphan()
            self._launch(programs)
        except BaseException:
            self.kill()
            raise

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it: `fast` ends the sessions and writes a checkpoint, `immediate` leaves a recovery to do."""
        if self._server is not None and self.running:
            self._server.send_signal(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
            try:
                self._server.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                _log.warning("%r did not stop within %.0f s: killing it", self, _STOP_TIMEOUT)
        self.kill()

    def kill(self) -> None:
        """A crash: SIGKILL for the server and its children (a busy one would delay the next start)."""
        self._end_processes()
        self._folder.release()

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop and start, on the same port."""
        self.stop(mode)
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        starting = asyncio.ensure_future(asyncio.to_thread(self.start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:  # a thread cannot be cancelled: see it through, leave nothing running
            await asyncio.wait([starting])
            await asyncio.to_thread(self.stop)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(asyncio.to_thread(self.stop))

    def _wait_for_orphan(self) -> None:
        """Let a server that outlived its supervisor finish; drop a pid file that names another process.

        Postgres itself takes any living process of that number for the server, and in a container, or
        after a reboot, there well may be one.
        """
        deadline = time.monotonic() + self.timeout
        while (lines := self._folder.pid_file()) and host.runs_in(self._folder.pgdata, int(lines[0])):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"another server, pid {lines[0]}, runs on {self._folder.pgdata}")
            time.sleep(_POLL)
        (self._folder.pgdata / "postmaster.pid").unlink(missing_ok=True)

    def _launch(self, programs: Path) -> None:
        """Start the server, on another port where one is taken."""
        deadline = time.monotonic() + self.timeout
        if self._fixed_port is not None:
            ports = [self._fixed_port]
        else:
            ports = self._folder.last_port + random.sample(_PORTS, _PORT_TRIES)
        while not self._serve(programs, ports[0], deadline):
            log = self._folder.log_tail()
            if "could not bind" in log and len(ports) > 1:
                del ports[0]
            elif "shared memory block" in log and time.monotonic() < deadline:
                time.sleep(10 * _POLL)  # children of a killed server live until they notice
            else:
                raise EmbeddedError(f"Postgres did not start on {self._folder.pgdata}:\n{log}")
        self._folder.last_port = ports[:1]
        self._port = ports[0]

    def _serve(self, programs: Path, port: int, deadline: float) -> bool:
        """Start the server; True when it takes connections, False when it ended or is late (and is gone)."""
        command: list[str | Path] = [programs / "postgres", "-D", self._folder.pgdata]
        for name, value in {**self.settings, "port": str(port)}.items():
            command += ["-c", f"{name}={value}"]
        self._folder.log.touch(mode=0o600)
        with self._folder.log.open("wb") as log:
            self._server = server = subprocess.Popen(command, stdout=log, stderr=log, **host.as_server())  # noqa: S603
        self._watcher = host.stop_with_us(server.pid)
        while server.poll() is None and time.monotonic() < deadline:
            lines = self._folder.pid_file()
            if lines[:1] == [str(server.pid)] and lines[7:] and lines[7].strip() == "ready":
                return True
            time.sleep(_POLL)
        self._end_processes()
        return False

    def _end_processes(self) -> None:
        if self._server is not None and self.running:
            self._server.send_signal(signal.SIGSTOP)  # or it would fork while we look
            for pid in [*host.children(self._server.pid), self._server.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._server.wait()
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()
        self._server = self._watcher = None
