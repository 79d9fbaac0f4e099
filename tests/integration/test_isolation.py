"""Transactions above READ COMMITTED never abort because of pgbaton, and lose nothing by it."""

from __future__ import annotations

import asyncio
from collections import Counter

import asyncpg
import pytest

from line import Line, line, until
from stage_server import Call, Say, StageServer

LEVELS = ["repeatable_read", "serializable"]


@pytest.mark.parametrize("isolation", LEVELS)
async def test_stages_that_commit_above_read_committed_move_their_jobs(database: str, isolation: str) -> None:
    """Many at once, on neighbouring rows: what they share is pages of our indexes, and that may not abort them."""
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
        # What a transaction reads and writes of jobs itself must not conflict: rows are found by the primary key,
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


async def test_a_serializable_transaction_reads_no_table_of_ours_that_another_writes(database: str) -> None:
    """Only what one reads and the other writes can abort either; pipelines are written by operators alone."""
    async with line(database) as craft:
        job = await craft.add()
        async with craft.db.acquire() as conn, conn.transaction(isolation="serializable"):
            for status in ("running", "failed", "done"):
                await conn.execute("UPDATE jobs SET current_step = 'cut', status = $1", status)
            await conn.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
            await conn.execute("DELETE FROM jobs WHERE job_id = $1::text::uuid", job)
            read = await conn.fetch(
                "SELECT DISTINCT c.relnamespace::regnamespace::text AS schema, c.relname AS name"
                "  FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
                " WHERE l.mode = 'SIReadLock' AND l.pid = pg_backend_pid()"
            )
        assert "jobs" in [r["name"] for r in read]  # so the question was asked in the right way
        assert {r["name"] for r in read if r["schema"] == "pgbaton"} <= {"pipelines", "pipelines_pkey"}


async def _all_at_end(craft: Line) -> bool:
    return await craft.db.fetchval("SELECT bool_and((current_step, status) = ('glue', 'done')) FROM jobs")


async def test_a_claim_after_its_snapshot_does_not_abort_a_repeatable_read_transaction(database: str) -> None:
    async with line(database) as craft:
        job = await craft.add()
        async with craft.db.acquire() as conn, conn.transaction(isolation="repeatable_read"):
            await conn.fetchval("SELECT count(*) FROM jobs")  # the snapshot is taken here
            await craft.db.execute("UPDATE pgbaton.dispatches SET attempt = 7")  # what a worker may do meanwhile
            await conn.execute("UPDATE jobs SET current_step = 'cut', status = 'done'")
        assert await craft.states(job) == [("cut", "available")]
        async with craft.worker():
            await craft.until_row(job, "glue", "done")
        assert [c.path for c in craft.server.calls] == ["/glue"]
        assert await craft.states(job) == [("cut", "completed"), ("glue", "completed")]
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.changes") == 0


@pytest.mark.parametrize("isolation", LEVELS)
async def test_a_job_added_above_read_committed_is_called(database: str, isolation: str) -> None:
    async with line(database) as craft, craft.worker(poll=60):
        async with craft.db.acquire() as conn, conn.transaction(isolation=isolation):
            job = str(
                await conn.fetchval("INSERT INTO jobs (current_step, status) VALUES ('made', 'done') RETURNING job_id")
            )
        await craft.until_row(job, "glue", "done")


@pytest.mark.parametrize("isolation", LEVELS)
async def test_a_job_deleted_above_read_committed_has_its_dispatch_cancelled(database: str, isolation: str) -> None:
    async with line(database) as craft:
        await craft.db.execute("UPDATE pgbaton.pipelines SET paused_at = now()")
        job = await craft.add()
        async with craft.worker():
            async with craft.db.acquire() as conn, conn.transaction(isolation=isolation):
                await conn.execute("DELETE FROM jobs")
            await craft.until_state(job, "cut", "cancelled")


async def test_a_change_that_is_rolled_back_leaves_no_trace_in_the_inbox(database: str) -> None:
    async with line(database) as craft:
        async with craft.db.acquire() as conn:
            transaction = conn.transaction(isolation="serializable")
            await transaction.start()
            await conn.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
            await transaction.rollback()
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.changes") == 0


async def test_a_change_whose_row_is_held_waits_for_it_without_keeping_others_waiting(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        async with conn.transaction(isolation="serializable"):
            await conn.execute(
                "INSERT INTO jobs (current_step, status) SELECT 'made', 'done' FROM generate_series(1, 2)"
            )
        first, second = [str(r["job_id"]) for r in await craft.db.fetch("SELECT job_id FROM jobs ORDER BY job_id")]
        holding = conn.transaction()
        await holding.start()
        await conn.execute("SELECT FROM jobs WHERE job_id = $1::text::uuid FOR UPDATE", first)
        async with craft.worker():
            await craft.until_row(second, "glue", "done")
            assert await craft.states(first) == []
            await holding.rollback()
            await craft.until_row(first, "glue", "done")


async def test_a_failure_in_the_inbox_counts_once_though_the_worker_saw_it_too(database: str) -> None:
    async def fail(server: StageServer, call: Call) -> Say:
        for status in ("running", "failed"):
            async with server.pool.acquire() as conn, conn.transaction(isolation="serializable"):
                # Whoever reads the small table whole conflicts with all the others who write to it.
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


async def test_a_job_that_went_through_an_entry_state_in_the_inbox_is_not_stranded(database: str) -> None:
    async with line(database, glue_timeout=0.5) as craft:
        job = await craft.add("cut", "running")
        async with craft.db.acquire() as conn, conn.transaction(isolation="serializable"):
            await conn.execute("UPDATE jobs SET status = 'done'")
        await craft.put(job, "glue", "running")  # begun by a late or doubled call, which dies
        async with craft.worker():
            await craft.until_row(job, "glue", "done")
