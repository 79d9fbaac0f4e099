"""Writers above READ COMMITTED, with workers at work: never aborted because of pgbaton, and nothing is lost by it.

What the trigger does at each level by itself is in test_trigger.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import asyncpg
import pytest

from line import Line, line, until
from stage_server import Call, Say, StageServer
from store_bench import LEVELS


@pytest.mark.parametrize("isolation", LEVELS)
async def test_stages_move_their_jobs_at_every_isolation_level(database: str, isolation: str) -> None:
    """Many at once, on neighbouring rows: what they share is pages of the engine's indexes, and that may not abort them."""
    aborted: list[str] = []

    async def strict(server: StageServer, call: Call) -> Say:
        for status in ("running", "done"):
            async with server.pool.acquire() as conn:
                try:
                    async with conn.transaction(isolation=isolation):
                        await conn.execute(
                            "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id = $1::text::uuid",
                            call.job_id,
                            server.step(call),
                            status,
                        )
                        await asyncio.sleep(0.005)
                except asyncpg.SerializationError as error:
                    aborted.append(str(error))
                    raise
        return Say()

    async with line(database, strict) as craft:
        # The transaction's own reads and writes of jobs must not conflict: rows are found by the primary key,
        # and an update finds room on its page, so that no index is written.
        await craft.db.execute("ALTER TABLE jobs SET (fillfactor = 10)")
        name = await craft.db.fetchval("SELECT current_database()")
        await craft.db.execute(f"ALTER DATABASE {name} SET enable_seqscan = off")
        await craft.server.pool.expire_connections()
        async with craft.worker():
            await craft.add_many(60)
            await until(lambda: _all_at_end(craft), "60 jobs done", 40)
        calls = [(c.job_id, c.path) for c in craft.server.calls]
        assert aborted == []
        assert len(calls) == len(set(calls)) == 120


async def _all_at_end(craft: Line) -> bool:
    return await craft.db.fetchval("SELECT bool_and((current_step, status) = ('glue', 'done')) FROM jobs")


@pytest.mark.parametrize("isolation", LEVELS)
async def test_a_job_added_at_any_isolation_level_wakes_a_worker(database: str, isolation: str) -> None:
    async with line(database) as craft, craft.worker(poll=60):
        async with craft.db.acquire() as conn, conn.transaction(isolation=isolation):
            job = str(
                await conn.fetchval("INSERT INTO jobs (current_step, status) VALUES ('made', 'done') RETURNING job_id")
            )
        await craft.until_row(job, "glue", "done")


@pytest.mark.parametrize("isolation", LEVELS)
async def test_a_job_deleted_at_any_isolation_level_has_its_dispatch_cancelled(database: str, isolation: str) -> None:
    async with line(database) as craft:
        job = await craft.add()
        async with craft.db.acquire() as conn, conn.transaction(isolation=isolation):
            await conn.execute("DELETE FROM jobs")
        async with craft.worker():
            await craft.until_state(job, "cut", "cancelled")
        assert craft.server.calls == []


async def test_a_job_whose_row_is_locked_is_called_all_the_same_and_keeps_no_other_waiting(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        await conn.execute("INSERT INTO jobs (current_step, status) SELECT 'made', 'done' FROM generate_series(1, 2)")
        first, second = [str(r["job_id"]) for r in await craft.db.fetch("SELECT job_id FROM jobs ORDER BY job_id")]
        holding = conn.transaction()
        await holding.start()
        await conn.execute("SELECT FROM jobs WHERE job_id = $1::text::uuid FOR UPDATE", first)
        async with craft.worker():
            await craft.until_row(second, "glue", "done")
            await until(lambda: _called(craft, first), "the stage is called for the first")
            await holding.rollback()
            await craft.until_row(first, "glue", "done")


async def _called(craft: Line, job: str) -> bool:
    return job in [c.job_id for c in craft.server.calls]


async def test_a_failure_counts_once_though_its_row_and_its_answer_both_tell_it(database: str) -> None:
    async def fail(server: StageServer, call: Call) -> Say:
        for status in ("running", "failed"):
            async with server.pool.acquire() as conn, conn.transaction(isolation="serializable"):
                # A transaction that reads the small table whole conflicts with all the others that write to it.
                await conn.execute("SET LOCAL enable_seqscan = off")
                await conn.execute(
                    "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id = $1::text::uuid",
                    call.job_id,
                    server.step(call),
                    status,
                )
        return Say(500)

    async with line(database, fail, cut_attempts=3) as craft, craft.worker():
        jobs = [await craft.add() for _ in range(20)]
        for job in jobs:
            await craft.until_state(job, "cut", "dead", 40)
            await craft.make_due()
        calls = Counter(c.job_id for c in craft.server.calls)
        assert calls == dict.fromkeys(jobs, 3)


async def test_a_job_that_went_through_an_entry_state_unseen_is_not_stranded(database: str) -> None:
    async with line(database, glue_timeout=0.5) as craft:
        job = await craft.add("cut", "running")
        async with craft.db.acquire() as conn, conn.transaction(isolation="serializable"):
            await conn.execute("UPDATE jobs SET status = 'done'")
        await craft.put(job, "glue", "running")  # begun by a late or doubled call, which dies
        async with craft.worker():
            await craft.until_row(job, "glue", "done")
