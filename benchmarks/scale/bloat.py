"""Throughput while a snapshot is held open: no duty that was taken, and no old version of a row, can be removed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.contestants.base import session
from benchmarks.ground import Ground
from benchmarks.jobs import HOPS
from benchmarks.processes import Child
from benchmarks.run import Watch
from benchmarks.scale.ready import fill
from benchmarks.stage_server import StageServer

DISPATCHES = 500_000
START, END = (0.02, 0.12), (0.85, 0.95)
"""The parts of the run that are compared; the end is not the very end, where the worker runs dry."""
LOOK = 0.5
PATIENCE = 900.0


@dataclass
class Bloat:
    """``course``: (seconds, hops) as seen every half second; ``total`` hops that there were to do."""

    course: list[tuple[float, int]] = field(default_factory=list)
    total: int = DISPATCHES

    @property
    def start(self) -> float:
        """Hops/s at the start."""
        return speed(self.course, *(share * self.total for share in START))

    @property
    def end(self) -> float:
        """Hops/s at the end, or, where the run was cut off, in its last tenth."""
        reached = self.course[-1][1] / (END[1] * self.total)
        return speed(self.course, *(share * self.total * min(1.0, reached) for share in END))


def speed(course: Sequence[tuple[float, int]], low: float, high: float) -> float:
    """Hops a second between the moments at which ``low`` and ``high`` hops were done."""
    first = next((point for point in course if point[1] >= low), course[-1])
    last = next((point for point in course if point[1] >= high), course[-1])
    return (last[1] - first[1]) / (last[0] - first[0]) if last[0] > first[0] else 0.0


async def measure(ground: Ground, say: Callable[[str], None], dispatches: int = DISPATCHES) -> Bloat:
    found = Bloat(total=dispatches)
    async with (
        ground.database("pgbaton") as dsn,
        session(dsn) as reader,
        StageServer.on(ground, dsn) as stage,
    ):
        await fill(reader, dispatches // HOPS)
        async with reader.transaction(isolation="repeatable_read"):
            await reader.fetchval("SELECT count(*) FROM jobs")
            async with Child.of(ground.log(), "child", "work", "pgbaton", dsn, stage.url) as worker:
                watch = Watch(ground, stage, worker)
                began = time.monotonic()
                while time.monotonic() < began + PATIENCE:
                    sight = await watch.until(0, 0)
                    worker.check()
                    found.course.append((sight.at - began, sight.hops))
                    if sight.hops >= END[1] * dispatches:
                        break
                    await asyncio.sleep(LOOK)
    say(f"bloat  {found.course[-1][1]:,} hops under one snapshot: {found.start:.0f} hops/s, at the end {found.end:.0f}")
    return found
