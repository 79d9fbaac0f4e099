"""Oban for Python: a worker that calls the stage and enqueues the next hop; the first comes in with the row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from oban import Job, Oban, worker
from oban.schema import install

from benchmarks.contestants.base import POOL, Add, Caller, Contestant, after
from benchmarks.jobs import ADD, IN_FLIGHT, STEPS


@worker(queue="hops")
class Hop:
    caller: Caller
    new: Any  # these two come with the decorator
    enqueue: Any

    async def process(self, job: Job) -> None:
        step, key = job.args["step"], job.args["key"]
        await self.caller.post(step, key)
        if following := after(step):
            await Hop.enqueue({"step": following, "key": key})


class ObanContestant(Contestant):
    name = "oban"
    label = "Oban (Python)"
    package = "oban"
    jobs = 1000

    async def install(self, dsn: str) -> None:
        pool = await Oban.create_pool(dsn)
        await install(pool)
        await pool.close()

    @asynccontextmanager
    async def adding(self, dsn: str) -> AsyncIterator[Add]:
        pool = await Oban.create_pool(dsn)
        async with Oban(pool=pool) as oban:

            async def add(keys: Sequence[str]) -> None:
                async with pool.connection() as db:
                    await db.execute(ADD.format("%s"), [list(keys)])
                    await oban.enqueue_many((Hop.new({"step": STEPS[0], "key": key}) for key in keys), conn=db)

            yield add
        await pool.close()

    async def work(self, dsn: str, url: str) -> None:
        Hop.caller = Caller(url)
        pool = await Oban.create_pool(dsn, max_size=POOL)
        async with Oban(pool=pool, queues={"hops": IN_FLIGHT}):
            await asyncio.Event().wait()
