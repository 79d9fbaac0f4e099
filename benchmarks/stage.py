"""The stage server, a process of its own: for every hop two commits on the job's row, then 200. As lean as can be.

    python -m benchmarks.stage DSN     prints its port

``POST /s1`` … ``/s5`` with a JSON body that holds ``job_id``. ``GET /count``: hops done so far. ``GET /record`` starts
to keep the times of every hop, ``GET /times`` ends it and gives ``[job, step, received, committed]`` (seconds of the
machine's monotonic clock, which all processes share). ``POST /never/…`` is not answered.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from time import monotonic
from typing import Any, cast

import asyncpg

from benchmarks.jobs import STEPS

CONNECTIONS = 16
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
MOVE = "UPDATE jobs SET current_step = $2, status = $3, updated_at = now() WHERE job_id = $1"


class Desk:
    """Does the work of every stage. asyncpg's own pool resets a connection on release, a round trip that no stage of
    a benchmark should pay: a stack of prepared statements does."""

    def __init__(self) -> None:
        self.done = 0
        self.times: list[tuple[str, str, float, float]] | None = None
        self._free: asyncio.LifoQueue[Any] = asyncio.LifoQueue()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, dsn: str) -> None:
        for _ in range(CONNECTIONS):
            connection = await asyncpg.connect(dsn)
            self._free.put_nowait(await connection.prepare(MOVE))

    def take(self, path: str, body: bytes, transport: asyncio.Transport) -> None:
        step = path[1:]
        if step in STEPS:
            task = asyncio.create_task(self._work(step, body, monotonic(), transport))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif not step.startswith("never/"):
            transport.write(answer(json.dumps(self._control(step)).encode()))

    def _control(self, word: str) -> object:
        if word == "record":
            self.times = []
        elif word == "times":
            times, self.times = self.times, None
            return times
        return self.done

    async def _work(self, step: str, body: bytes, received: float, transport: asyncio.Transport) -> None:
        job = json.loads(body)["job_id"]
        move = await self._free.get()
        try:
            await move.fetch(job, step, "running")
            await move.fetch(job, step, "done")
        finally:
            self._free.put_nowait(move)
        self.done += 1
        if self.times is not None:
            self.times.append((job, step, received, monotonic()))
        transport.write(DONE)


class Connection(asyncio.Protocol):
    """HTTP/1.1 with content lengths and nothing else."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end]
            found = LENGTH.search(head)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self._read) < whole:
                return
            body, self._read = self._read[end + 4 : whole], self._read[whole:]
            self._desk.take(head.split(b" ", 2)[1].decode(), body, self._transport)


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


DONE = answer(b"{}")


async def serve(dsn: str) -> None:
    desk = Desk()
    await desk.open(dsn)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(desk), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(sys.argv[1]))
