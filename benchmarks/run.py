"""One run of one contestant: a batch of waiting jobs, watched in its steady state; then jobs one by one."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from benchmarks import latency, proc
from benchmarks.ground import Ground
from benchmarks.jobs import HOPS
from benchmarks.processes import Child, ChildFailed
from benchmarks.stage_server import StageServer

STEADY = (0.2, 0.9)
"""The part of the batch that counts: its start is warming up, its end is running dry."""
PATIENCE = 45.0
"""Seconds that a batch may take; whatever was done by then counts if it was at least half of the steady part."""
LOOK = 0.05


@dataclass(frozen=True)
class Run:
    """``engine`` and ``postgres``: CPU, ms a hop; ``memory``: the engine's peak RSS, MB; ``first`` and ``hop``: from
    commit to call, ms, at a low rate; ``calls``: calls made for each hop, 1 unless some were repeated."""

    hops_per_second: float
    engine: float
    postgres: float
    memory: float
    calls: float
    first: list[float]
    hop: list[float]


@dataclass(frozen=True)
class Sight:
    """The state of things at one moment; seconds, hops, CPU seconds."""

    at: float
    hops: int
    engine: float
    postgres: float


class Watch:
    """Looks at an engine at work, from outside."""

    def __init__(self, ground: Ground, stage: StageServer, engine: Child) -> None:
        self._ground, self._stage, self._engine = ground, stage, engine

    async def look(self) -> Sight:
        hops = await self._stage.done()
        return Sight(
            time.monotonic(), hops, proc.cpu_of_tree(self._engine.pid), proc.cpu_of_tree(self._ground.postmaster)
        )

    async def until(self, hops: int, deadline: float) -> Sight:
        """When that many are done, or at the deadline (of the monotonic clock)."""
        while await self._stage.done() < hops and time.monotonic() < deadline:
            self._engine.check()
            await asyncio.sleep(LOOK)
        return await self.look()


async def measure(watch: Watch, hops: int) -> tuple[float, float, float]:
    """Hops a second, engine's and Postgres' CPU ms a hop, over the steady part of a batch of ``hops``.

    Raises :class:`ChildFailed` where the engine ended, or did too little in time.
    """
    deadline = time.monotonic() + PATIENCE
    start, end = (round(hops * share) for share in STEADY)
    a = await watch.until(start, deadline)
    b = await watch.until(end, deadline)
    if b.hops - a.hops < (end - start) / 2:
        raise ChildFailed(f"did {b.hops} of {hops} hops in {PATIENCE:g} s")
    done = b.hops - a.hops
    return (
        done / (b.at - a.at),
        1000 * (b.engine - a.engine) / done,
        1000 * (b.postgres - a.postgres) / done,
    )


async def run(ground: Ground, name: str, jobs: int, waiting: bool) -> Run:
    """A fresh database, ``jobs`` jobs of five hops, one engine. Raises :class:`ChildFailed`."""
    async with ground.database(name) as dsn, StageServer.on(ground, dsn) as stage:
        if waiting:
            await add(ground, name, dsn, jobs)
        async with Child.of(ground.log(), "child", "work", name, dsn, stage.url) as engine:
            if not waiting:
                await engine.line()
                await add(ground, name, dsn, jobs)
            watch = Watch(ground, stage, engine)
            speed, engine_cpu, postgres_cpu = await measure(watch, jobs * HOPS)
            end = await watch.until(jobs * HOPS, time.monotonic() + PATIENCE)
            calls = end.hops / (jobs * HOPS)
            first, hop = await latency.measure(ground, stage, name, dsn)
            return Run(speed, engine_cpu, postgres_cpu, proc.peak_rss(engine.pid), calls, first, hop)


async def add(ground: Ground, name: str, dsn: str, jobs: int) -> None:
    await Child.finished(ground.log(), "child", "add", name, dsn, str(jobs))
