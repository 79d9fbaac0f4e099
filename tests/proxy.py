"""A TCP proxy in front of a database: it can cut connections, swallow what they carry, or refuse new ones."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Forwards to the server of `dsn`; its own address is the `dsn` of the same name here.

    `swallow`: a half-open network. Connections that exist stay open, and nothing comes through any more;
    new ones are forwarded as ever. `swallow_at`: a connection becomes so once it is sent this. `refuse`: the
    port is closed.
    """

    swallow_at: bytes | None = None

    def __init__(self, dsn: str) -> None:
        self._target = urlsplit(dsn)
        self._streams: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._swallowed: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.connected = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    @property
    def dsn(self) -> str:
        user, _, _ = self._target.netloc.rpartition("@")
        return self._target._replace(netloc=f"{user}@127.0.0.1:{self.port}").geturl()

    def swallow(self) -> None:
        self._swallowed |= self._tasks

    async def cut(self) -> None:
        """Close every connection."""
        for stream in self._streams:
            stream.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def refuse(self) -> None:
        """Close every connection, and the port."""
        self._server.close()
        await self.cut()

    async def serve_again(self) -> None:
        """Open the port that was closed."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.connected.set()
        self._streams.add(writer)
        with contextlib.suppress(ConnectionError):
            back, forth = await asyncio.open_connection(self._target.hostname, self._target.port)
            self._streams.add(forth)
            both: list[asyncio.Task[None]] = []
            both += [
                asyncio.create_task(self._pump(reader, forth, both)),
                asyncio.create_task(self._pump(back, writer, both)),
            ]
            self._tasks.update(both)
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in both:
                task.cancel()
                self._tasks.discard(task)
            forth.close()
        writer.close()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, both: list[asyncio.Task[None]]
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                if self.swallow_at is not None and self.swallow_at in data:
                    self._swallowed.update(both)
                if self._swallowed.isdisjoint(both):
                    sink.write(data)
                    await sink.drain()
