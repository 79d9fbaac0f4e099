"""How long writers of a large table wait for a lock of attach and detach.

``.venv/bin/python -m benchmarks.locks [--rows 5000000]``: a table of that many rows, clients that write to it all the
while, and attach, attach again with another trigger, detach, each also beside a transaction that holds the table for
some seconds. The server itself tells how long a session waited for the table's lock: times measured by a client on a
busy machine would be those of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from pgbaton import Pipeline, Stage, attach, connection, detach, migrate
from pgbaton.embedded import EmbeddedPostgres

WRITERS = 6
HELD = 3.0
"""Seconds for which a transaction holds the table."""
WAITED = re.compile(r"acquired (\w+) on relation \d+ of database \d+ after ([\d.]+) ms")
NOTICED = 5
"""Milliseconds from which on the server writes a wait down."""

TABLE = """
CREATE TABLE jobs (job_id bigint PRIMARY KEY, tenant_id text, current_step text, status text, note text,
                   updated_at timestamptz NOT NULL DEFAULT now());
INSERT INTO jobs SELECT n, 't' || n % 50, (ARRAY['s1', 's2', 's3'])[1 + n % 3], (ARRAY['done', 'archived'])[1 + n % 2]
  FROM generate_series(1, {rows}) AS n;
VACUUM ANALYZE jobs;
"""


@dataclass
class Case:
    """``took``: seconds of the command. ``waits``: the milliseconds that writers waited for the lock, where that
    was worth noticing. ``writes``: how many they made meanwhile."""

    name: str
    took: float
    waits: list[float]
    writes: int
    said: str


def pipeline(channel: str | None = None) -> Pipeline:
    return Pipeline(
        name="line",
        table="public.jobs",
        key="job_id",
        tenant="tenant_id",
        step="current_step",
        status="status",
        channel=channel,
        base_url="http://127.0.0.1:9",
        stages=(Stage(step="s2", after="s1", path="/s2"), Stage(step="s3", after="s2", path="/s3")),
    )


class Writers:
    """Clients that change one row after another."""

    def __init__(self, dsn: str, rows: int) -> None:
        self.writes = 0
        self._dsn, self._rows = dsn, rows
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Writers:
        self._tasks = [asyncio.create_task(self._write()) for _ in range(WRITERS)]
        await asyncio.sleep(0.5)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self) -> None:
        db = await asyncpg.connect(self._dsn)
        try:
            while True:
                await db.execute(
                    "UPDATE jobs SET note = $2, updated_at = now() WHERE job_id = $1",
                    random.randrange(1, self._rows + 1),
                    "x",
                )
                self.writes += 1
                await asyncio.sleep(0.002)
        finally:
            db.terminate()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgbaton-locks-") as folder:
        Path(folder).chmod(0o755)  # root runs the server as another user
        settings = {
            "log_lock_waits": "on",
            "deadlock_timeout": f"{NOTICED}ms",
            "shared_buffers": "512MB",
            "max_wal_size": "16GB",
        }
        with EmbeddedPostgres(Path(folder) / "postgres", settings=settings) as server:
            log = server.data_dir / "server.log"
            db = await asyncpg.connect(server.dsn())
            began = time.monotonic()
            for statement in TABLE.format(rows=given.rows).split(";\n"):
                if statement.strip():
                    await db.execute(statement)
            await db.close()
            print(f"{given.rows:,} rows in {time.monotonic() - began:.0f} s")
            async with connection(server.dsn()) as conn:
                await migrate(conn)
                async with Writers(server.dsn(), given.rows) as writers:
                    await measure(conn, server.dsn(), log, writers)


async def measure(conn: asyncpg.Connection, dsn: str, log: Path, writers: Writers) -> None:
    """Every case, one after the other."""

    async def attached(channel: str | None = None) -> str:
        plan = await attach(conn, pipeline(channel), past="now")
        return f"{plan.past:,} rows left alone" if plan.past else ""

    async def again() -> str:
        return await attached()

    async def other_trigger() -> str:
        return await attached("changes")

    async def gone() -> str:
        await detach(conn, pipeline())
        return ""

    steps: list[tuple[str, Callable[[], Awaitable[str]], bool]] = [
        ("attach", again, False),
        ("attach again, nothing changed", again, False),
        ("attach, another trigger", other_trigger, False),
        ("detach", gone, False),
        (f"attach, a transaction of {HELD:g} s in the way", again, True),
        (f"detach, a transaction of {HELD:g} s in the way", gone, True),
    ]
    for name, step, in_the_way in steps:
        case = await one(name, step, dsn, log, writers, in_the_way=in_the_way)
        worst = max(case.waits, default=0.0)
        print(
            f"{case.name:<45} {case.took:6.2f} s   longest wait {worst:5.1f} ms   waits over {NOTICED} ms: "
            f"{len(case.waits):4}   writes {case.writes:6,}   {case.said}"
        )


async def one(
    name: str, step: Callable[[], Awaitable[str]], dsn: str, log: Path, writers: Writers, *, in_the_way: bool
) -> Case:
    start, writes = log.stat().st_size if log.exists() else 0, writers.writes
    holding = asyncio.create_task(hold(dsn)) if in_the_way else None
    if holding:
        await asyncio.sleep(0.2)
    began = time.monotonic()
    said = await step()
    took = time.monotonic() - began
    if holding:
        await holding
    await asyncio.sleep(0.3)
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(start)
        waits = [float(ms) for mode, ms in WAITED.findall(file.read()) if mode == "RowExclusiveLock"]
    return Case(name, took, waits, writers.writes - writes, said)


async def hold(dsn: str) -> None:
    """A transaction that has written to the table, and takes its time."""
    db = await asyncpg.connect(dsn)
    async with db.transaction():
        await db.execute("UPDATE jobs SET note = 'held' WHERE job_id = 1")
        await asyncio.sleep(HELD)
    await db.close()


if __name__ == "__main__":
    asyncio.run(main())
