"""Absurd: a durable task of five steps for each job, spawned in the transaction that adds the row."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from absurd_sdk import AsyncAbsurd
from absurdctl import BUNDLED_SCHEMA_SQL

from benchmarks.contestants.base import Add, Caller, Contestant, session
from benchmarks.jobs import ADD, IN_FLIGHT, STEPS

POLL = 0.01
"""Seconds between two polls of an idle worker, which hears of nothing; by default it is a quarter of a second."""


class AbsurdContestant(Contestant):
    name = "absurd"
    label = "Absurd"
    package = "absurd-sdk"
    jobs = 700

    async def install(self, dsn: str) -> None:
        async with session(dsn) as db:
            await db.execute(BUNDLED_SCHEMA_SQL)
        app = AsyncAbsurd(dsn)
        await app.create_queue()
        await app.close()

    @asynccontextmanager
    async def adding(self, dsn: str) -> AsyncIterator[Add]:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as db:
            app = AsyncAbsurd(db)

            async def add(keys: Sequence[str]) -> None:
                async with db.transaction():
                    await db.execute(ADD.format("%s"), [list(keys)])
                    for key in keys:
                        await app.spawn("line", {"key": key}, queue="default")

            yield add

    async def work(self, dsn: str, url: str) -> None:
        caller = Caller(url)
        app = AsyncAbsurd(dsn)

        @app.register_task(name="line")
        async def line(params: dict[str, Any], ctx: Any) -> None:
            for step in STEPS:
                await ctx.step(step, lambda step=step: caller.post(step, params["key"]))

        await app.start_worker(concurrency=IN_FLIGHT, poll_interval=POLL)
