"""Chancy: an async job that calls the stage and pushes the next hop; the first comes in with the row."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from chancy import Chancy, Queue, Worker, job
from psycopg.rows import dict_row

from benchmarks.contestants.base import POOL, Add, Caller, Contestant, after
from benchmarks.jobs import ADD, IN_FLIGHT, STEPS

# Its default queue, or its worker would keep a pool of processes for that beside it.
QUEUE = Queue("default", concurrency=IN_FLIGHT, executor=Chancy.Executor.Async, eager_polling=True)


class Engine:
    """The objects that the job function uses; there is one set in a process."""

    caller: Caller
    app: Chancy


@job(queue=QUEUE.name)
async def hop(*, step: str, key: str) -> None:
    await Engine.caller.post(step, key)
    if following := after(step):
        await Engine.app.push(hop.job.with_kwargs(step=following, key=key))


class ChancyContestant(Contestant):
    name = "chancy"
    label = "Chancy"
    package = "chancy"
    jobs = 1000

    async def install(self, dsn: str) -> None:
        async with app(dsn) as chancy:
            await chancy.migrate()
            await chancy.declare(QUEUE)

    @asynccontextmanager
    async def adding(self, dsn: str) -> AsyncIterator[Add]:
        async with app(dsn) as chancy:

            async def add(keys: Sequence[str]) -> None:
                async with chancy.pool.connection() as db, db.cursor(row_factory=dict_row) as cursor:
                    await cursor.execute(ADD.format("%s"), [list(keys)])
                    await chancy.push_many_ex(cursor, [hop.job.with_kwargs(step=STEPS[0], key=key) for key in keys])

            yield add

    async def work(self, dsn: str, url: str) -> None:
        Engine.caller = Caller(url)
        async with app(dsn) as chancy:
            Engine.app = chancy
            async with Worker(chancy, register_signal_handlers=False) as worker:
                await worker.wait_for_shutdown()


def app(dsn: str) -> Chancy:
    """Logging as quiet as everybody's."""
    return Chancy(dsn, max_connection_pool_size=POOL, log=logging.getLogger("chancy"))
