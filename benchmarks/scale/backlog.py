"""A claim's time with 1,000 and with 1,000,000 dispatches waiting, and the worker's memory.

The time is the server's own (pg_stat_statements), of whatever statement the worker claims with, while it calls
stages as fast as it can.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks import proc
from benchmarks.contestants.base import session
from benchmarks.ground import Ground
from benchmarks.processes import Child, ChildFailed
from benchmarks.run import Watch
from benchmarks.scale.ready import fill
from benchmarks.stage_server import StageServer

FEW, MANY = 1_000, 1_000_000
WARM, HOPS = 500, 3_000
"""Hops before the measurement and in it: with 1,000 jobs of five hops, nearly 1,000 wait all the time."""
IDLE = 4.0
PATIENCE = 60.0
FILLING = 240.0
"""Seconds that adding the many may take."""
PRELOAD = {"shared_preload_libraries": "pg_stat_statements"}
CLAIM = """
SELECT mean_exec_time, rows / calls::float8 AS batch,
       (shared_blks_hit + shared_blks_read) / calls::float8 AS pages
  FROM pg_stat_statements
 WHERE toplevel AND query ~* 'skip locked' AND query !~* 'pg_stat' AND rows > 0
   AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
 ORDER BY rows DESC LIMIT 1
"""


@dataclass
class Backlog:
    """One figure a round: of a claiming statement its ``claim`` ms, ``batch`` dispatches and ``pages`` of buffers, then
    ``speed`` hops/s, all by how many wait. ``memory``: peaks in MB, idle, with few and with many waiting; ``filling``:
    the seconds that adding the many took."""

    claim: dict[int, list[float]] = field(default_factory=lambda: {FEW: [], MANY: []})
    batch: dict[int, list[float]] = field(default_factory=lambda: {FEW: [], MANY: []})
    pages: dict[int, list[float]] = field(default_factory=lambda: {FEW: [], MANY: []})
    speed: dict[int, list[float]] = field(default_factory=lambda: {FEW: [], MANY: []})
    memory: dict[str, float] = field(default_factory=dict)
    filling: float = 0.0


async def measure(ground: Ground, rounds: int, say: Callable[[str], None], many: int = MANY) -> Backlog:
    found = Backlog()
    async with ground.database("pgbaton") as full:
        found.memory["idle"] = await idle(ground, full)
        began = time.monotonic()
        async with session(full) as db, asyncio.timeout(FILLING):
            await fill(db, many)
        found.filling = time.monotonic() - began
        say(f"backlog  {many:,} jobs were added in {found.filling:.0f} s")
        for number in range(1, rounds + 1):
            async with ground.database("pgbaton") as short:
                async with session(short) as db:
                    await fill(db, FEW)
                await one(ground, short, FEW, found)
            await one(ground, full, MANY, found)
            say(
                f"backlog  round {number}: a claim takes {found.claim[FEW][-1]:.2f} ms with {FEW:,} waiting, "
                f"{found.claim[MANY][-1]:.2f} ms with {many:,}"
            )
    return found


async def idle(ground: Ground, dsn: str) -> float:
    """The peak memory, MB, of a worker with nothing to do."""
    async with Child.of(ground.log(), "child", "work", "pgbaton", dsn, "http://127.0.0.1:9") as worker:
        await asyncio.sleep(IDLE)
        worker.check()
        return proc.peak_rss(worker.pid)


async def one(ground: Ground, dsn: str, waiting: int, found: Backlog) -> None:
    async with session(dsn) as db, StageServer.on(ground, dsn) as stage:
        await db.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        async with Child.of(ground.log(), "child", "work", "pgbaton", dsn, stage.url) as worker:
            watch = Watch(ground, stage, worker)
            deadline = time.monotonic() + PATIENCE
            start = await watch.until(WARM, deadline)
            await db.execute("SELECT pg_stat_statements_reset()")
            end = await watch.until(WARM + HOPS, deadline)
            claim = await db.fetchrow(CLAIM)
            if claim is None:
                raise ChildFailed("no statement of the worker looks like a claim")
            name = "few" if waiting == FEW else "many"
            found.memory[name] = max(found.memory.get(name, 0.0), proc.peak_rss(worker.pid))
        found.claim[waiting].append(claim["mean_exec_time"])
        found.batch[waiting].append(claim["batch"])
        found.pages[waiting].append(claim["pages"])
        found.speed[waiting].append((end.hops - start.hops) / (end.at - start.at))
