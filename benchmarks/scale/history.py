"""The cost of a long history: hops with nothing behind them, and behind a million dispatches that ended."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from benchmarks.contestants.base import session
from benchmarks.ground import Ground
from benchmarks.jobs import ADD, HOPS, new_keys
from benchmarks.processes import Child
from benchmarks.run import Watch
from benchmarks.stage_server import StageServer

SETTLED = 1_000_000
WARM, MEASURED = 500, 10_000
"""Hops before the measurement and in it."""
PATIENCE = 60.0

HISTORY = f"""
SET session_replication_role = replica;
INSERT INTO jobs SELECT gen_random_uuid(), 'acme', 's{HOPS}', 'done' FROM generate_series(1, $settled / {HOPS});
RESET session_replication_role;
INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, run, worker, outcome, state,
                             http_status, created_at, started_at, ended_at)
SELECT nextval('pgbaton.due_id_seq'), 1, true, 'bench', job_id, tenant_id, 's' || hop, 1, 1, 'completed', 'completed',
       200, at, at, at
  FROM jobs CROSS JOIN generate_series(1, {HOPS}) AS hop
 CROSS JOIN LATERAL (SELECT now() - random() * interval '7 days') AS t (at);
"""


@dataclass
class History:
    """One figure a round, without a history and with one: hops/s, and Postgres' CPU, ms a hop."""

    speed: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})
    postgres: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})
    settled: int = SETTLED


async def measure(ground: Ground, rounds: int, say: Callable[[str], None], settled: int = SETTLED) -> History:
    found = History(settled=settled)
    async with AsyncExitStack() as stack:
        # None is dropped before the end: that is a checkpoint, and the first writes after one cost a long index most.
        fresh = [await stack.enter_async_context(ground.database("pgbaton")) for _ in range(rounds)]
        full = await stack.enter_async_context(old(ground, settled))
        for number, empty in enumerate(fresh, 1):
            await one(ground, empty, found, behind=False)
            await one(ground, full, found, behind=True)
            say(
                f"history  round {number}: {found.speed[False][-1]:.0f} hops/s, "
                f"behind {settled:,} that ended {found.speed[True][-1]:.0f}"
            )
    return found


@asynccontextmanager
async def old(ground: Ground, settled: int) -> AsyncIterator[str]:
    """A database whose jobs are all at their end; gives the DSN."""
    async with ground.database("pgbaton") as dsn:
        async with session(dsn) as db:
            await db.execute(HISTORY.replace("$settled", str(settled)))
            await db.execute("VACUUM ANALYZE")
        yield dsn


async def one(ground: Ground, dsn: str, found: History, *, behind: bool) -> None:
    async with session(dsn) as db, StageServer.on(ground, dsn) as stage:
        await db.execute(ADD.format("$1"), new_keys((WARM + MEASURED) // HOPS + 100))
        async with Child.of(ground.log(), "child", "work", "pgbaton", dsn, stage.url) as worker:
            watch = Watch(ground, stage, worker)
            deadline = time.monotonic() + PATIENCE
            start = await watch.until(WARM, deadline)
            end = await watch.until(WARM + MEASURED, deadline)
            # Jobs that are left over may not wait for the next round.
            await watch.until((WARM + MEASURED) // HOPS * HOPS + 100 * HOPS, deadline)
    hops = end.hops - start.hops
    found.speed[behind].append(hops / (end.at - start.at))
    found.postgres[behind].append(1000 * (end.postgres - start.postgres) / hops)
