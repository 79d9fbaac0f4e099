"""1, 4 and 16 workers: the cost of each to Postgres and to writers while there is nothing to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from benchmarks import proc
from benchmarks.contestants.base import session
from benchmarks.ground import Ground
from benchmarks.processes import Child
from benchmarks.stage_server import StageServer
from benchmarks.writer import FILL, MATTERS, MIXES, NOTHING, SETTLE, idle_worker, write

FLEETS = (1, 4, 16)
IDLE = 5.0
"""Seconds of watching them do nothing."""
CLIENTS = 8
VARIANTS = ("pgbaton", "pgbaton-channel")


@dataclass
class Fleets:
    """One figure a round, by variant and number of workers: ``postgres`` and ``workers`` CPU at idle, ms a second (of
    all workers together); ``tps`` by mix, too."""

    postgres: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    workers: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    tps: dict[tuple[str, int, str], list[float]] = field(default_factory=dict)


async def measure(ground: Ground, rounds: int, say: Callable[[str], None]) -> Fleets:
    found = Fleets()
    for number in range(1, rounds + 1):
        for variant in VARIANTS:
            for mix in (NOTHING, MATTERS):
                await growing(ground, variant, mix, found)
            for size in FLEETS:
                nothing, matters = (found.tps[variant, size, mix][-1] for mix in (NOTHING, MATTERS))
                say(
                    f"workers  round {number}  {variant:<16} {size:2}: Postgres "
                    f"{found.postgres[variant, size][-1]:.1f} ms/s idle, writer {nothing:.0f} / {matters:.0f} tps"
                )
    return found


async def growing(ground: Ground, variant: str, mix: str, found: Fleets) -> None:
    """One mix on one table, with one worker, then more of them. What matters fills their hands: their idleness is
    watched where nothing is due."""
    async with ground.database(variant) as dsn, StageServer.on(ground, dsn) as stage, AsyncExitStack() as stack:
        first, sets = MIXES[mix]
        async with session(dsn) as db:
            await db.execute(FILL)
            if first:
                await db.execute(first)
        fleet: list[Child] = []
        for size in FLEETS:
            for _ in range(size - len(fleet)):
                fleet.append(await idle_worker(ground, stack, variant, dsn, stage))
            await asyncio.sleep(SETTLE)
            if mix == NOTHING:
                postgres, workers = await idleness(ground, fleet)
                found.postgres.setdefault((variant, size), []).append(postgres)
                found.workers.setdefault((variant, size), []).append(workers)
            tps = await write(ground, dsn, sets, CLIENTS)
            found.tps.setdefault((variant, size, mix), []).append(tps)


async def idleness(ground: Ground, fleet: list[Child]) -> tuple[float, float]:
    """CPU of Postgres and of all the workers, ms a second."""

    def used() -> tuple[float, float]:
        return proc.cpu_of_tree(ground.postmaster), sum(proc.cpu(worker.pid) for worker in fleet)

    before = used()
    await asyncio.sleep(IDLE)
    after = used()
    return 1000 * (after[0] - before[0]) / IDLE, 1000 * (after[1] - before[1]) / IDLE
