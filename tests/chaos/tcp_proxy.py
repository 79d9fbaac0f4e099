"""Between workers and Postgres: a proxy that knows the protocol's frames, and can spoil every one of them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from typing import Self

NOTIFICATION, READY = b"A", b"Z"


class Link:
    """One client's connection through the proxy. ``listens``: it has said LISTEN."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client, self.server = client, server
        self.opened = time.monotonic()
        self.closed: float | None = None
        self.listens = False
        self.swallowed = False
        self.statement = ""
        self.prepared: dict[str, str] = {}

    def cut(self) -> None:
        """Reset both ends."""
        for writer in (self.client, self.server):
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError, AttributeError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def read_statement(self, kind: bytes, body: bytes) -> None:
        """Keep track of which statement runs: Parse names it, Bind and Query run it."""
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self.prepared[name.decode()] = text.decode()
            self.statement = text.decode()
            self.listens = self.listens or self.statement.startswith("LISTEN")
        elif kind == b"B":
            self.statement = self.prepared.get(body.split(b"\0", 2)[1].decode(), "")
        elif kind == b"Q":
            self.statement = body[:-1].decode()
            self.listens = self.listens or self.statement.startswith("LISTEN")


class Proxy:
    """Passes everything on until told otherwise. Times are in seconds.

    ``delay``: of every frame, each way. ``closed``: nothing passes, nothing is refused (a partition); it passes
    when it opens again. ``refusing``: new connections are reset. ``lose``: after a statement that this is true of
    has run, its reply is dropped and the connection reset. ``notifications``: what becomes of each.
    """

    def __init__(self, port: int, dice: random.Random) -> None:
        self._target = port
        self._dice = dice
        self._tasks: set[asyncio.Task[None]] = set()
        self.links: list[Link] = []
        self.lost: list[str] = []
        self.calm()

    def calm(self) -> None:
        """Behave from now on; connections that were swallowed stay so, as they cannot be mended."""
        self.delay = 0.0
        self.refusing = False
        self.swallow_new = False
        self.lose: Callable[[str], bool] = lambda _: False
        self.notifications: Callable[[bytes], list[bytes]] = lambda frame: [frame]
        self._open = asyncio.Event()
        self._open.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=256)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def alive(self) -> list[Link]:
        return [link for link in self.links if link.closed is None]

    def partition(self) -> None:
        self._open.clear()

    def heal(self) -> None:
        self._open.set()

    def cut(self) -> None:
        for link in self.alive:
            link.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await self._open.wait()
        if self.refusing:
            writer.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, to_server)
        link.swallowed = self.swallow_new
        self.links.append(link)
        ends = [
            asyncio.create_task(self._forth(link, reader, to_server)),
            asyncio.create_task(self._back(link, from_server, writer)),
        ]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            link.closed = time.monotonic()
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
            for side in (writer, to_server):
                side.close()

    async def _forth(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            async for kind, frame in _frames(reader, greeting=True):
                if kind:
                    link.read_statement(kind, frame[5:])
                await self._pass(link, [frame], reader, writer)

    async def _back(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            async for kind, frame in _frames(reader, greeting=False):
                if kind == READY and link.statement and not link.swallowed and self.lose(link.statement):
                    self.lost.append(link.statement)
                    link.cut()
                    return
                await self._pass(link, self.notifications(frame) if kind == NOTIFICATION else [frame], reader, writer)

    async def _pass(
        self, link: Link, frames: list[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.delay:
            await asyncio.sleep(self.delay * (0.5 + self._dice.random()))
        await self._open.wait()
        if link.swallowed:
            return
        for frame in frames:
            writer.write(frame)
        await writer.drain()


async def _frames(reader: asyncio.StreamReader, *, greeting: bool) -> AsyncIterator[tuple[bytes, bytes]]:
    """The protocol's messages: kind and whole frame. Without a kind: what a connection begins with."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        if greeting:
            code = 0
            while code != 196608:  # a request for TLS or for a cancellation may come before the greeting proper
                head = await reader.readexactly(8)
                length, code = struct.unpack("!ii", head)
                yield b"", head + await reader.readexactly(length - 8)
        else:
            first = await reader.readexactly(1)
            if first == b"N":  # no TLS here
                yield b"", first
                first = await reader.readexactly(1)
            rest = await reader.readexactly(4)
            yield first, first + rest + await reader.readexactly(struct.unpack("!i", rest)[0] - 4)
        while True:
            head = await reader.readexactly(5)
            yield head[:1], head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)


def notification(channel: str, payload: bytes, pid: int = 1) -> bytes:
    """A frame that tells of a notification."""
    body = struct.pack("!i", pid) + channel.encode() + b"\0" + payload + b"\0"
    return NOTIFICATION + struct.pack("!i", len(body) + 4) + body
