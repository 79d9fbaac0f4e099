"""DBOS: a durable workflow of five steps for each job, enqueued in the transaction that adds the row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import sqlalchemy
from dbos import DBOS, DBOSClient

from benchmarks.contestants.base import Add, Caller, Contestant
from benchmarks.jobs import ADD, IN_FLIGHT, STEPS

QUEUE = "lines"
POLL = 0.05
"""Seconds between two polls of the queue, which hears of nothing; by default it is a second."""


class Engine:
    """The objects that the workflow uses; there is one set in a process."""

    caller: Caller


@DBOS.step()
async def call(step: str, key: str) -> None:
    await Engine.caller.post(step, key)


@DBOS.workflow()
async def line(key: str) -> None:
    for step in STEPS:
        await call(step, key)


class DBOSContestant(Contestant):
    name = "dbos"
    label = "DBOS"
    package = "dbos"
    jobs = 250
    limit: ClassVar[int | None] = None
    """Workflows at once of all workers together; None: no limit but each worker's own."""

    async def install(self, dsn: str) -> None:
        await launch(dsn, self.limit)
        DBOS.destroy()

    @asynccontextmanager
    async def adding(self, dsn: str) -> AsyncIterator[Add]:
        engine = sqlalchemy.create_engine(dsn.replace("postgresql://", "postgresql+psycopg://", 1))
        client = DBOSClient(system_database_url=dsn)

        async def add(keys: Sequence[str]) -> None:
            with engine.begin() as db:
                db.execute(sqlalchemy.text(ADD.format("(:keys)")), {"keys": list(keys)})
                for key in keys:
                    client.enqueue_in_transaction(db, {"queue_name": QUEUE, "workflow_name": "line"}, key)

        yield add
        client.destroy()
        engine.dispose()

    async def work(self, dsn: str, url: str) -> None:
        Engine.caller = Caller(url)
        await launch(dsn, self.limit)
        await asyncio.Event().wait()


class DBOSLimited(DBOSContestant):
    name = "dbos-limited"
    label = "DBOS, global_concurrency"
    limit = IN_FLIGHT


async def launch(dsn: str, limit: int | None) -> None:
    """Logging as quiet as everybody's."""
    DBOS(config={"name": "bench", "system_database_url": dsn, "log_level": "WARNING"})
    DBOS.launch()
    await DBOS.register_queue_async(
        QUEUE, worker_concurrency=IN_FLIGHT, global_concurrency=limit, polling_interval_sec=POLL
    )
