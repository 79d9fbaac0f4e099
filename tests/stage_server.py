"""A real HTTP server that plays the stages: it keeps its own log of calls and can misbehave on every level."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Self

import asyncpg


@dataclass(frozen=True)
class Call:
    """One request as it came over the wire."""

    path: str
    headers: dict[str, str]
    body: dict[str, str]

    @property
    def job_id(self) -> str:
        return self.body["job_id"]

    @property
    def attempt(self) -> int:
        return int(self.headers["x-pgbaton-attempt"])

    @property
    def idempotency_key(self) -> str:
        return self.headers["idempotency-key"]


@dataclass(frozen=True)
class Say:
    """An answer; ``raw`` bytes replace it whole, ``cut`` closes the connection with nothing said."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    raw: bytes | None = None
    cut: bool = False


Behaviour = Callable[["StageServer", Call], Awaitable[Say]]


async def work(server: StageServer, call: Call) -> Say:
    """Act as a good stage: running, then done, each in a transaction of its own."""
    await server.move(call, "running")
    await server.move(call, "done")
    return Say()


class StageServer:
    """Serves every path; ``behaviours`` by path (or ``behave`` for all others) decide what happens."""

    def __init__(self, dsn: str, steps: dict[str, str], behave: Behaviour = work) -> None:
        self.dsn = dsn
        self.steps = steps
        self.behave = behave
        self.behaviours: dict[str, Behaviour] = {}
        self.calls: list[Call] = []
        self.called = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.pool = await asyncpg.create_pool(self.dsn, min_size=1, max_size=16)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.pool.terminate()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def step(self, call: Call) -> str:
        return self.steps[call.path]

    def calls_to(self, path: str) -> list[Call]:
        return [c for c in self.calls if c.path == path]

    def later(self, seconds: float, doing: Coroutine[object, object, object]) -> None:
        """Do something after the answer was given."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            await doing

        task = asyncio.create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def move(self, call: Call, status: str) -> None:
        """Write (this path's step, status) into the job's row."""
        await self.pool.execute(
            "UPDATE jobs SET current_step = $2, status = $3, updated_at = now() WHERE job_id::text = $1",
            call.job_id,
            self.step(call),
            status,
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                while await self._one(reader, writer):
                    pass
            finally:
                writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        call = Call(head[0].split(" ")[1], headers, json.loads(body))
        self.calls.append(call)
        self.called.set()
        say = await self.behaviours.get(call.path, self.behave)(self, call)
        if say.cut:
            return False
        if say.raw is not None:
            writer.write(say.raw)
            await writer.drain()
            return False
        lines = [f"HTTP/1.1 {say.status} X", f"content-length: {len(say.body)}"]
        lines += [f"{k}: {v}" for k, v in say.headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + say.body)
        await writer.drain()
        return True
