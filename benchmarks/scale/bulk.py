"""100,000 rows that become ready in one UPDATE: what that costs the writer, and the worker that drains them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks import proc
from benchmarks.contestants.base import session
from benchmarks.ground import Ground
from benchmarks.processes import Child
from benchmarks.run import Watch
from benchmarks.scale.ready import fill
from benchmarks.stage_server import StageServer
from benchmarks.writer import NO_TRIGGER, VARIANTS, database

ROWS = 100_000
PATIENCE = 180.0


@dataclass
class Bulk:
    """``seconds``: the UPDATE's, one figure a round, by variant; ``drained``: seconds and hops/s of the drain;
    ``memory``: (hops done, RSS in MB) of the worker meanwhile."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    drained: tuple[float, float] = (0.0, 0.0)
    memory: list[tuple[int, float]] = field(default_factory=list)


async def measure(ground: Ground, rounds: int, say: Callable[[str], None], rows: int = ROWS) -> Bulk:
    found = Bulk()
    for number in range(1, rounds + 1):
        for variant in VARIANTS:
            async with database(ground, variant) as dsn:
                async with session(dsn) as db:
                    await fill(db, rows, "s4", "running")
                    began = time.monotonic()
                    await db.execute("UPDATE jobs SET status = 'done', updated_at = now()")
                    found.seconds.setdefault(variant, []).append(time.monotonic() - began)
                if variant == "pgbaton" and number == rounds:
                    await drain(ground, dsn, rows, found)
        times = ", ".join(f"{variant} {found.seconds[variant][-1]:.2f} s" for variant in VARIANTS)
        say(f"bulk  round {number}: {rows:,} rows: {times}".replace(NO_TRIGGER, "no trigger"))
    say(f"bulk  drained in {found.drained[0]:.0f} s, {found.memory[0][1]:.0f} to {found.memory[-1][1]:.0f} MB")
    return found


async def drain(ground: Ground, dsn: str, rows: int, found: Bulk) -> None:
    async with (
        StageServer.on(ground, dsn) as stage,
        Child.of(ground.log(), "child", "work", "pgbaton", dsn, stage.url) as worker,
    ):
        watch = Watch(ground, stage, worker)
        began = time.monotonic()
        first = await watch.until(rows // 100, began + PATIENCE)
        found.memory.append((first.hops, proc.rss(worker.pid)))
        while (hops := await stage.done()) < rows and time.monotonic() < began + PATIENCE:
            worker.check()
            found.memory.append((hops, proc.rss(worker.pid)))
            await asyncio.sleep(0.25)
        last = await watch.look()
        found.drained = last.at - began, (last.hops - first.hops) / (last.at - first.at)
