"""Locks are taken in the order duties, call, job row, and none is waited for: no transaction is ever chosen to break a deadlock."""

from __future__ import annotations

import asyncio
import contextlib
import random

import asyncpg

from line import Line, line
from pgbaton import insights, operate
from pgbaton.errors import Refused
from pgbaton.insights import JobFilter
from pgbaton.operate import bulk
from stage_server import Call, Say, StageServer, work

SECONDS = 6.0
CALLS = 200
"""It goes on until there were as many: a machine that is busy with other tests makes fewer in the time."""


async def test_everything_at_once_never_deadlocks(database: str) -> None:
    """Bulk edits of all jobs, stages that fail in every way, reconciling, operating and pruning, side by side."""
    dice = random.Random(7)

    async def moody(server: StageServer, call: Call) -> Say:
        mood = dice.random()
        if mood < 0.5:
            return await work(server, call)
        await server.move(call, "running")
        if mood < 0.6:
            await server.move(call, "failed")
        return Say(500 if mood < 0.8 else 202)

    async with line(database, moody, cut_timeout=0.3, glue_timeout=0.3, cut_attempts=2, cut_concurrency=20) as craft:
        await craft.add_many(60)
        async with craft.worker(reconcile_every=0.1), craft.worker(), asyncio.TaskGroup() as tasks:
            until = asyncio.get_running_loop().time() + SECONDS
            for work_on in (_bulk, _scatter, _operate):
                tasks.create_task(_again(until, craft, work_on))
        assert await craft.db.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


async def _again(until: float, craft: Line, work_on) -> None:
    while asyncio.get_running_loop().time() < until or len(craft.server.calls) <= CALLS:
        async with craft.db.acquire() as conn:
            await work_on(conn)


async def _bulk(conn: asyncpg.Connection) -> None:
    """One transaction over every job, always in the same order: it can only deadlock with us."""
    async with conn.transaction():
        for job in await conn.fetch("SELECT job_id FROM jobs ORDER BY job_id FOR UPDATE"):
            await conn.execute(
                "UPDATE jobs SET current_step = 'made', status = CASE WHEN status = 'done' THEN 'redo' ELSE 'done' END "
                "WHERE job_id = $1",
                job["job_id"],
            )
    await asyncio.sleep(0.05)


async def _scatter(conn: asyncpg.Connection) -> None:
    job = await conn.fetchval("SELECT job_id FROM jobs ORDER BY random() LIMIT 1")
    await conn.execute("UPDATE jobs SET current_step = 'made', status = 'done' WHERE job_id = $1", job)


async def _operate(conn: asyncpg.Connection) -> None:
    table = await insights.table_of(conn, None)
    everything = JobFilter("craft")
    await bulk.act_on_matching(conn, table, everything, "retry", 10_001, who="m")
    await operate.reconcile(conn, table, create=True)
    await bulk.act_on_matching(conn, table, everything, "cancel", 5, who="m")
    job = await conn.fetchval("SELECT job_id::text FROM jobs ORDER BY random() LIMIT 1")
    with contextlib.suppress(Refused):
        await operate.rerun(conn, table, job, "cut", who="m", force=True)
    await operate.pause_tenant(conn, table, "acme", who="m")
    await operate.pause(conn, "craft", "glue", who="m")
    await operate.resume(conn, "craft", "glue", who="m")
    await operate.resume_tenant(conn, table, "acme", who="m")
    await conn.execute(
        "UPDATE pgbaton.history SET ended_at = now() - interval '1 year' "
        "WHERE ctid = ANY (ARRAY(SELECT ctid FROM pgbaton.history LIMIT 50 FOR UPDATE SKIP LOCKED))"
    )
    await conn.fetch(table.query("worker/prune"), 3600.0, None)
