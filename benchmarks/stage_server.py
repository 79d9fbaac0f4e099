"""The stage server as the watching process sees it: started, and asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from benchmarks.ground import Ground
from benchmarks.processes import Child, ChildFailed


class StageServer:
    def __init__(self, child: Child, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._child = child
        self._reader, self._writer = reader, writer
        self.url = f"http://127.0.0.1:{port}"

    @property
    def pid(self) -> int:
        return self._child.pid

    async def done(self) -> int:
        """Hops done so far."""
        return int(await self._ask("count"))

    async def record(self) -> None:
        """Keep the times of every hop from now on."""
        await self._ask("record")

    async def times(self) -> list[tuple[str, str, float, float]]:
        """Job, step, when the call was received and when done was committed, since :meth:`record`."""
        return [(job, step, received, done) for job, step, received, done in await self._ask("times")]

    async def _ask(self, word: str) -> Any:
        self._writer.write(f"GET /{word} HTTP/1.1\r\nhost: stage\r\n\r\n".encode())
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            return json.loads(await self._reader.readexactly(int(head.lower().rpartition("content-length:")[2])))
        except (asyncio.IncompleteReadError, ConnectionError):
            raise ChildFailed(f"the stage server is gone: {self._child.last_words()}") from None

    @classmethod
    @asynccontextmanager
    async def on(cls, ground: Ground, dsn: str) -> AsyncIterator[Self]:
        async with Child.of(ground.log(), "stage", dsn) as child:
            port = int(await child.line())
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
            try:
                yield cls(child, port, reader, writer)
            finally:
                writer.close()
