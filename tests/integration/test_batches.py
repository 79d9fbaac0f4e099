"""Calls that carry several jobs: each row is judged by itself, and one that spoils a batch takes the others with it once."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from line import line
from stage_server import Call, Say, StageServer, work

BATCH = {"max": 8, "wait": "100ms"}


def jobs_of(call: Call) -> list[dict[str, Any]]:
    return list(call.body["jobs"])  # type: ignore[arg-type]


async def finish(server: StageServer, step: str, jobs: list[str]) -> None:
    for status in ("running", "done"):
        await server.pool.execute(
            "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id::text = ANY ($1)", jobs, step, status
        )


async def all_done(server: StageServer, call: Call) -> Say:
    await finish(server, server.step(call), [job["job_id"] for job in jobs_of(call)])
    return Say()


async def test_one_call_carries_the_jobs_that_are_due_up_to_its_size(database: str) -> None:
    async with line(database, work, cut_batch=BATCH) as craft:
        craft.server.behaviours["/cut"] = all_done
        await craft.add_many(20)
        async with craft.worker():
            await craft.until_settled()
        sizes = [len(jobs_of(call)) for call in craft.server.calls_to("/cut")]
        assert sum(sizes) == 20
        assert max(sizes) == 8
        assert len(sizes) <= 4
        job = jobs_of(craft.server.calls_to("/cut")[0])[0]
        assert set(job) == {"job_id", "tenant_id", "idempotency_key", "attempt"}
        assert len(craft.server.calls_to("/glue")) == 20


async def test_a_job_that_spoils_a_batch_is_dead_by_itself_and_burns_no_other_an_attempt(database: str) -> None:
    poison = ""

    async def spoiled(server: StageServer, call: Call) -> Say:
        jobs = [job["job_id"] for job in jobs_of(call)]
        if poison in jobs:
            return Say(422)
        await finish(server, "cut", jobs)
        return Say()

    async with line(database, work, cut_batch=BATCH, cut_attempts=1) as craft:
        craft.server.behaviours["/cut"] = spoiled
        jobs = [await craft.add() for _ in range(8)]
        poison = jobs[3]
        async with craft.worker(), asyncio.timeout(30):
            await craft.until_state(poison, "cut", "dead")
            await craft.until_settled()
        assert [await craft.row(job) for job in jobs if job != poison] == [("glue", "done")] * 7
        sizes = [len(jobs_of(call)) for call in craft.server.calls_to("/cut")]
        assert sum(sizes) == 8 + 8 + 4 + 2, "each time only the half with the poisoned one is called again"
        assert max(sizes[1:]) <= 4
        assert await craft.db.fetchval("SELECT max(failures) FROM pgbaton.history WHERE job_key <> $1", poison) == 0


async def test_a_row_that_commits_done_is_done_though_the_batch_failed(database: str) -> None:
    async def half(server: StageServer, call: Call) -> Say:
        jobs = [job["job_id"] for job in jobs_of(call)]
        if len(jobs) == 1:
            return await all_done(server, call)
        await finish(server, "cut", jobs[:4])
        return Say(500)

    async with line(database, work, cut_batch=BATCH) as craft:
        craft.server.behaviours["/cut"] = half
        await craft.add_many(8)
        async with craft.worker():
            await craft.until_settled()
        called = Counter(job["job_id"] for call in craft.server.calls_to("/cut") for job in jobs_of(call))
        assert sorted(called.values()) == [1] * 4 + [2] * 4


async def test_limits_count_jobs_and_not_calls(database: str) -> None:
    overlapping = 0

    async def counting(server: StageServer, call: Call) -> Say:
        nonlocal overlapping
        overlapping = max(overlapping, len(jobs_of(call)))
        return await all_done(server, call)

    async with line(database, work, cut_batch=BATCH, cut_concurrency=3) as craft:
        craft.server.behaviours["/cut"] = counting
        await craft.add_many(12)
        async with craft.worker():
            await craft.until_settled()
        assert overlapping == 3


async def test_jobs_that_are_gathered_when_a_worker_stops_are_called_or_given_back(database: str) -> None:
    async with line(database, work, cut_batch={"max": 100, "wait": 30}) as craft:
        craft.server.behaviours["/cut"] = all_done
        await craft.add_many(5)
        async with craft.worker(drain_timeout=0.2):
            await asyncio.sleep(0)
            while not await craft.db.fetchval("SELECT count(*) = 5 FROM pgbaton.calls"):
                await asyncio.sleep(0.01)
        assert craft.server.calls == []
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.calls WHERE due_at IS NOT NULL") == 5
