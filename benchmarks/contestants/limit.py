"""The limit: tasks that only POST, with no queue at all. Nothing that keeps a queue can be faster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from benchmarks.contestants.base import Caller, Contestant, session
from benchmarks.jobs import IN_FLIGHT, STEPS


class Limit(Contestant):
    name = "limit"
    label = "the limit: 64 tasks that only POST"
    jobs = 4000

    async def work(self, dsn: str, url: str) -> None:
        async with session(dsn) as db:
            jobs = iter([str(row["job_id"]) for row in await db.fetch("SELECT job_id FROM jobs")])
        caller = Caller(url)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(IN_FLIGHT):
                tasks.create_task(walk(caller, jobs))
        await asyncio.Event().wait()

    async def follow(self, caller: Caller, key: str) -> None:
        await walk(caller, iter([key]))


async def walk(caller: Caller, jobs: Iterator[str]) -> None:
    """Take one job after the other through its hops."""
    for job in jobs:
        for step in STEPS:
            await caller.post(step, job)
