"""The cost of limits: the command behind ``make bench-limits``.

``hops``: pgbaton, PgQueuer and DBOS without and with a limit for all workers together that is never reached, in one
interleaved run. ``claims``: a claim of a stage with limits, with few and with very many jobs waiting, and how soon a
single job is called behind a tenant's ten thousand.

A claim is the worker's own statement, timed from its client; the calls that it has made end before the next one, so
that each finds the same places free, and their jobs come again, so that each finds as many waiting.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from benchmarks.contestants.base import session
from benchmarks.contestants.baton import Pgbaton
from benchmarks.ground import Ground
from benchmarks.hops import contest
from benchmarks.jobs import ENTRY, STEPS
from pgbaton import Pipeline
from pgbaton.database import STEADY_PLANS
from pgbaton.install.attach import attach
from pgbaton.install.migrate import migrate
from pgbaton.table import read_table
from pgbaton.worker.store import Store

PAIRS = (
    ("pgbaton", "pgbaton-limited"),
    ("pgbaton", "pgbaton-all-limits"),
    ("pgqueuer", "pgqueuer-limited"),
    ("dbos", "dbos-limited"),
)
FEWEST = 0.85
"""Share of its hops/s without limits that pgbaton must keep with them."""
MOST = 1.5
"""Times that a claim may take with very many jobs waiting of what it takes with few."""
AT_ONCE = 16
"""Calls that one claim makes; the stage's ``concurrency``."""
CLAIMS = 200
"""Claims that are timed; as many are made before them."""
FILL = """
WITH job AS (
    INSERT INTO jobs (job_id, tenant_id, current_step, status)
    SELECT gen_random_uuid(), $1::text || (n % $2::int)::text, $4, 'done' FROM generate_series(0, $3::int - 1) AS n
    RETURNING job_id::text AS key, tenant_id AS tenant, current_step AS step)
INSERT INTO pgbaton.due (pipeline, stage, job_key, tenant, step, status, rank)
SELECT 'bench', $5, key, tenant, step, 'done', clock_timestamp() FROM job
"""
"""$3 jobs of $2 tenants, and the duties that the trigger leaves."""

END = """
WITH ended AS (DELETE FROM pgbaton.calls WHERE tenant IS DISTINCT FROM 'blocked0' RETURNING *)
INSERT INTO pgbaton.due (pipeline, stage, job_key, tenant, step, status, rank)
SELECT pipeline, stage, job_key, tenant, entry, 'done', clock_timestamp() FROM ended
"""


class Claims:
    """A database with one stage that has limits, and a worker's store on it."""

    def __init__(self, db: asyncpg.Connection, store: Store, worker: int) -> None:
        self.db, self.store, self.worker = db, store, worker

    async def fill(self, name: str, tenants: int, jobs: int) -> None:
        for rest in range(jobs, 0, -100_000):
            await self.db.execute(FILL, name, tenants, min(rest, 100_000), ENTRY, STEPS[0])

    async def claim(self, limit: int = AT_ONCE) -> list[str | None]:
        """The tenants of the calls that one claim makes."""
        return [d.row.tenant for d in (await self.store.turn(self.worker, limit)).claimed]

    async def end(self) -> None:
        """End all calls but those of a tenant that is blocked on purpose; their jobs come again, so as many wait."""
        await self.db.execute(END)

    async def milliseconds(self) -> float:
        """Of a claim, the median. Its commit waits for no disk, which writes the many jobs down meanwhile."""
        await self.db.execute("VACUUM ANALYZE")
        await self.db.execute("CHECKPOINT")
        await self.db.execute("SET synchronous_commit = off")
        taken = []
        for _ in range(2 * CLAIMS):
            began = time.perf_counter()
            made = len(await self.claim())
            taken.append(time.perf_counter() - began)
            if made == 0:
                raise RuntimeError("a claim has made no call")
            await self.end()
        return 1000 * statistics.median(taken[CLAIMS:])


def limited(per_tenant: int) -> Pipeline:
    """The first stage alone, with limits."""
    whole = Pgbaton().pipeline("http://127.0.0.1:9")
    stage = whole.stages[0].model_copy(update={"concurrency": AT_ONCE, "per_tenant": per_tenant})
    return whole.model_copy(update={"stages": (stage,)})


@asynccontextmanager
async def claims(ground: Ground, name: str, per_tenant: int = AT_ONCE) -> AsyncIterator[Claims]:
    async with ground.database("limit") as dsn, session(dsn, STEADY_PLANS) as db:  # as a worker's own
        pipeline = limited(per_tenant)
        await migrate(db)
        await attach(db, pipeline)
        await db.execute("ALTER TABLE jobs DISABLE TRIGGER USER")
        store = Store(db, await read_table(db, pipeline), [s.step for s in pipeline.stages])
        worker, _ = await store.take_lease(None, name, AT_ONCE, 3600.0, ())
        yield Claims(db, store, worker)


async def of_many_tenants(ground: Ground, jobs: int, tenants: int) -> float:
    async with claims(ground, "many") as c:
        await c.fill("t", tenants, jobs)
        return await c.milliseconds()


async def behind_a_blocked_one(ground: Ground, blocked: int) -> float:
    """A claim for a tenant with jobs enough, behind ``blocked`` jobs of one that is at its limit."""
    async with claims(ground, "blocked", per_tenant=AT_ONCE // 2) as c:
        await c.fill("blocked", 1, blocked)
        await c.claim()
        await c.fill("free", 1, 1_000)
        return await c.milliseconds()


async def rounds_until_called(ground: Ground, behind: int) -> int:
    """How many times all places come free until a single job is called that came behind so many of another tenant."""
    async with claims(ground, "single") as c:
        await c.fill("much", 1, behind)
        await c.claim()
        await c.fill("single", 1, 1)
        for rounds in range(1, behind):
            await c.end()
            if "single0" in await c.claim():
                return rounds
        raise RuntimeError("the single job was not called")


async def measure_claims(size: float) -> bool:
    many, tenants, ahead = round(1_000_000 * size), round(10_000 * size), round(10_000 * size)
    async with Ground.prepared() as ground:
        figures = [
            (
                f"a claim with {many:,} waiting in {tenants:,} tenants, against 1,000 in 10",
                await of_many_tenants(ground, 1_000, 10),
                await of_many_tenants(ground, many, tenants),
            ),
            (
                f"a claim for a free tenant behind {many:,} of a blocked one, against 1,000",
                await behind_a_blocked_one(ground, 1_000),
                await behind_a_blocked_one(ground, many),
            ),
        ]
        waited = await rounds_until_called(ground, ahead)
    for what, few, much in figures:
        print(f"{what}: {much:.2f} ms, {few:.2f} ms: {much / few:.2f} (at most {MOST})")
    print(f"a single job behind {ahead:,} of another tenant: called in round {waited} (at most 2)", flush=True)
    return waited <= 2 and all(much / few <= MOST for _, few, much in figures)


async def measure_hops(size: float, rounds: int) -> bool:
    names = tuple(dict.fromkeys(name for pair in PAIRS for name in pair))
    async with Ground.prepared() as ground:
        entries = {entry.name: entry for entry in await contest(ground, names, rounds, size, print)}
    reached = True
    for free, bound in PAIRS:
        one, other = entries[free], entries[bound]
        if absent := one.absent or other.absent:
            print(f"{other.label}: dropped out: {absent}")
            reached = reached and not bound.startswith("pgbaton")
            continue
        without, with_it = statistics.median(one.speeds), statistics.median(other.speeds)
        print(f"{other.label}: {with_it:,.0f} hops/s, without {without:,.0f}: {with_it / without:.2f}", flush=True)
        reached = reached and (with_it / without >= FEWEST or not bound.startswith("pgbaton"))
    return reached


def main() -> int:
    import uvloop

    parser = argparse.ArgumentParser(prog="benchmarks.limits", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("hops", "claims", "all"), default="all")
    parser.add_argument("--size", type=float, default=1.0, help="share of the usual amount, for a quick look")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    reached = True
    if given.part != "hops":
        reached = uvloop.run(measure_claims(given.size)) and reached
    if given.part != "claims":
        reached = uvloop.run(measure_hops(given.size, given.rounds)) and reached
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
