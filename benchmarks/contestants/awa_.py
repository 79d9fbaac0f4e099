"""Awa: a task that calls the stage and inserts the next hop; the first comes in with the row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import awa
from awa.bridge import insert_job

from benchmarks.contestants.base import POOL, Add, Caller, Contestant, after, session
from benchmarks.jobs import ADD, IN_FLIGHT, STEPS

QUEUE = "hops"


@dataclass
class Hop:
    step: str
    key: str


class AwaContestant(Contestant):
    name = "awa"
    label = "Awa"
    package = "awa-pg"
    jobs = 350

    async def install(self, dsn: str) -> None:
        await awa.migrate(dsn)

    @asynccontextmanager
    async def adding(self, dsn: str) -> AsyncIterator[Add]:
        async with session(dsn) as db:

            async def add(keys: Sequence[str]) -> None:
                async with db.transaction():
                    await db.execute(ADD.format("$1"), keys)
                    for key in keys:
                        await insert_job(db, Hop(STEPS[0], key), queue=QUEUE)

            yield add

    async def work(self, dsn: str, url: str) -> None:
        caller = Caller(url)
        client = awa.AsyncClient(dsn, max_connections=POOL)

        @client.task(Hop, queue=QUEUE)
        async def hop(job: Any) -> None:
            await caller.post(job.args.step, job.args.key)
            if following := after(job.args.step):
                await client.insert(Hop(following, job.args.key), queue=QUEUE)

        await client.start([(QUEUE, IN_FLIGHT)])
        await asyncio.Event().wait()
