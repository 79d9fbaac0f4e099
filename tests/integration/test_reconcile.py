"""Rows in a routed state that no trigger saw are found, shown, and given their dispatch."""

from __future__ import annotations

import asyncpg

from journal_rows import kill
from line import line
from pgbaton import Pipeline, Stage, insights, operate
from pgbaton.install.attach import attach
from stage_server import Call, Say, StageServer


async def _missing(conn: asyncpg.Connection, *, create: bool) -> list[tuple[str, str]]:
    return await operate.reconcile(conn, await insights.table_of(conn, None), create=create)


async def test_rows_changed_while_the_trigger_was_off_get_their_dispatch(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        await conn.execute("ALTER TABLE jobs DISABLE TRIGGER USER")
        job = await craft.add()
        await craft.add("made", "running")
        await conn.execute("ALTER TABLE jobs ENABLE TRIGGER USER")
        known = await craft.add()
        assert await _missing(conn, create=False) == [(job, "cut")]
        assert await craft.states(job) == []
        assert await _missing(conn, create=True) == [(job, "cut")]
        assert await craft.states(job) == [("cut", "available")]
        assert await craft.states(known) == [("cut", "available")]
        assert await _missing(conn, create=True) == []


async def test_a_row_moved_on_while_the_trigger_was_off_settles_what_was_open(database: str) -> None:
    async with line(database) as craft:
        job = await craft.add()
        await craft.db.execute("ALTER TABLE jobs DISABLE TRIGGER USER")
        await craft.put(job, "cut", "done")
        await craft.db.execute("ALTER TABLE jobs ENABLE TRIGGER USER")
        async with craft.worker(reconcile_every=0.2):
            await craft.until_row(job, "glue", "done")
        assert await craft.states(job) == [("cut", "completed"), ("glue", "completed")]
        assert [c.path for c in craft.server.calls] == ["/glue"]


async def test_workers_reconcile_by_themselves_page_after_page(database: str) -> None:
    async with line(database) as craft:
        await craft.db.execute("ALTER TABLE jobs DISABLE TRIGGER USER")
        await craft.add_many(2500)
        job = await craft.add()
        await craft.db.execute("DELETE FROM jobs WHERE job_id <> $1::text::uuid AND random() < 0.5", job)
        await craft.db.execute("UPDATE jobs SET status = 'archived' WHERE job_id <> $1::text::uuid", job)
        await craft.db.execute("ALTER TABLE jobs ENABLE TRIGGER USER")
        async with craft.worker(reconcile_every=0.1):
            await craft.until_row(job, "glue", "done")
        assert len(craft.server.calls) == 2


async def test_a_dead_job_is_not_missing_anything(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        job = await craft.add()
        await kill(conn, job, "cut")
        await conn.execute("DELETE FROM pgbaton.due")
        assert await _missing(conn, create=True) == []
        assert await craft.states(job) == [("cut", "dead")]


async def test_a_stage_put_between_two_others_takes_over_what_waited_there(database: str) -> None:
    async with line(database) as craft:
        job = await craft.add("cut", "done")
        assert await craft.states(job) == [("glue", "available")]
        dry = Stage(step="dry", after="cut", path="/cut")
        glue = craft.pipeline.stage("glue").model_copy(update={"after": "dry"})
        craft.pipeline = craft.pipeline.model_copy(update={"stages": (craft.pipeline.stage("cut"), dry, glue)})
        craft.pipeline = Pipeline.model_validate(craft.pipeline.model_dump())
        async with craft.db.acquire() as conn:
            await attach(conn, craft.pipeline)
        craft.server.behaviours["/cut"] = _dry
        async with craft.worker(reconcile_every=0):
            await craft.until_row(job, "glue", "done")
        assert [c.path for c in craft.server.calls] == ["/cut", "/glue"]


async def _dry(server: StageServer, call: Call) -> Say:
    for status in ("running", "done"):
        await server.pool.execute(
            "UPDATE jobs SET current_step = 'dry', status = $2 WHERE job_id::text = $1", call.job_id, status
        )
    return Say()
