"""1, 4 and 16 workers: what each costs Postgres while there is nothing to do, and whoever writes."""

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
from benchmarks.writer import FILL, MATTERS, MIXES, working, write

FLEETS = (1, 4, 16)
IDLE = 3.0
"""Seconds of watching them do nothing."""
CLIENTS = 8
NOTHING = "nothing due"
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
            async with ground.database(variant) as dsn, StageServer.on(ground, dsn) as stage, AsyncExitStack() as stack:
                async with session(dsn) as db:
                    await db.execute(FILL)
                fleet: list[Child] = []
                for size in FLEETS:
                    for _ in range(size - len(fleet)):
                        never = f"{stage.url}/never"
                        worker = Child.of(ground.log(), "child", "work", variant, dsn, never)
                        fleet.append(await stack.enter_async_context(worker))
                    await working(dsn, size)
                    await one(ground, dsn, variant, fleet, found)
                    say(
                        f"workers  round {number}  {variant:<16} {size:2}: Postgres "
                        f"{found.postgres[variant, size][-1]:.1f} ms/s idle, writer "
                        f"{found.tps[variant, size, NOTHING][-1]:.0f} / {found.tps[variant, size, MATTERS][-1]:.0f} tps"
                    )
    return found


async def one(ground: Ground, dsn: str, variant: str, fleet: list[Child], found: Fleets) -> None:
    size = len(fleet)
    async with session(dsn) as db:
        # Where the fleet before it left the rows: nothing is due, and no hand holds anything.
        await db.execute("UPDATE jobs SET current_step = 's0', status = 'kept' WHERE status <> 'kept'")
    await asyncio.sleep(1.0)
    before = proc.cpu_of_tree(ground.postmaster), sum(proc.cpu(worker.pid) for worker in fleet)
    await asyncio.sleep(IDLE)
    after = proc.cpu_of_tree(ground.postmaster), sum(proc.cpu(worker.pid) for worker in fleet)
    found.postgres.setdefault((variant, size), []).append(1000 * (after[0] - before[0]) / IDLE)
    found.workers.setdefault((variant, size), []).append(1000 * (after[1] - before[1]) / IDLE)
    for mix in (NOTHING, MATTERS):
        first, sets = MIXES[mix]
        if first:
            async with session(dsn) as db:
                await db.execute(first)
        tps = await write(ground, dsn, sets, CLIENTS)
        found.tps.setdefault((variant, size, mix), []).append(tps)
