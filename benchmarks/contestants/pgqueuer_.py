"""PgQueuer: an entrypoint that calls the stage and enqueues the next hop; the first comes in with the row."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.contestants.base import POOL, Add, Caller, Contestant, after, session
from benchmarks.jobs import ADD, IN_FLIGHT, STEPS


class PgQueuerContestant(Contestant):
    name = "pgqueuer"
    label = "PgQueuer"
    package = "pgqueuer"
    jobs = 1200
    limit: ClassVar[int] = 0
    """Calls at once of all workers together; 0: no limit."""

    async def install(self, dsn: str) -> None:
        async with session(dsn) as db:
            await Queries(AsyncpgDriver(db)).install()

    @asynccontextmanager
    async def adding(self, dsn: str) -> AsyncIterator[Add]:
        async with session(dsn) as db:
            queries = Queries(AsyncpgDriver(db))

            async def add(keys: Sequence[str]) -> None:
                payloads: list[bytes | None] = [payload(STEPS[0], key) for key in keys]
                async with db.transaction():
                    await db.execute(ADD.format("$1"), keys)
                    await queries.enqueue(["hop"] * len(keys), payloads, [0] * len(keys))

            yield add

    async def work(self, dsn: str, url: str) -> None:
        caller = Caller(url)
        async with asyncpg.create_pool(dsn, min_size=2, max_size=POOL) as pool:
            engine = PgQueuer.from_asyncpg_pool(pool)

            @engine.entrypoint("hop", concurrency_limit=self.limit)
            async def hop(job: Job) -> None:
                step, key = json.loads(job.payload or b"")
                await caller.post(step, key)
                if following := after(step):
                    await engine.qm.queries.enqueue("hop", payload(following, key))

            # It wants room for two batches.
            await engine.run(batch_size=IN_FLIGHT // 2, max_concurrent_tasks=IN_FLIGHT)


class PgQueuerLimited(PgQueuerContestant):
    name = "pgqueuer-limited"
    label = "PgQueuer, concurrency_limit"
    limit = IN_FLIGHT


def payload(step: str, key: str) -> bytes:
    return json.dumps([step, key]).encode()
