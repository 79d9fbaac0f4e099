"""Rows that another system began and never ended: found, shown, and taken over in bulk, guarded and audited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import asyncpg
import pytest

from line import Line, line, until
from pgbaton import insights
from pgbaton.errors import ConfigError, DatabaseError
from pgbaton.health import examine, of_all
from pgbaton.insights.unowned import unowned
from pgbaton.install.attach import attach
from pgbaton.operate.adopt import take_over
from pgbaton.rollout import Rollout
from pgbaton.table import JobTable


@asynccontextmanager
async def left_behind(database: str) -> AsyncIterator[tuple[Line, asyncpg.Connection, JobTable, datetime]]:
    """37 rows running at cut since three hours, 3 since now; and one that the engine itself has called."""
    async with line(database, prepare=False) as craft, craft.db.acquire() as conn:
        old = "INSERT INTO jobs (current_step, status, updated_at) SELECT 'cut', 'running', now() - $2::interval FROM generate_series(1, $1)"
        await conn.execute(old, 37, timedelta(hours=3))
        await conn.execute(old, 3, timedelta())
        await attach(conn, craft.pipeline)
        yield craft, conn, await insights.table_of(conn, None), datetime.now().astimezone() - timedelta(hours=1)


async def test_they_are_found_by_the_doctor_and_shown_by_stage(database: str) -> None:
    async with left_behind(database) as (craft, conn, table, before):
        async with craft.worker():

            async def found() -> bool:
                codes = {f.code: f for f in of_all(await examine(conn))}
                return "rows_unheld" in codes and "pgbaton takeover --stage cut" in codes["rows_unheld"].remedy()

            await until(found, "the census found them")
        shown = await unowned(conn, table, None, before)
        assert shown is not None
        assert [(u.stage, u.rows, len(u.jobs)) for u in shown] == [("cut", 37, 10)]


async def test_they_go_back_to_be_called_and_no_others_do(database: str) -> None:
    async with left_behind(database) as (craft, conn, table, before):
        done = await take_over(conn, table, "cut", before, who="kim")
        assert (done.count, done.seen) == (37, 37)
        counts = await conn.fetch("SELECT current_step, status, count(*) FROM jobs GROUP BY 1, 2 ORDER BY 1")
        assert [tuple(r) for r in counts] == [("cut", "running", 3), ("made", "done", 37)]
        audited = await conn.fetchrow("SELECT who, action, stage, jobs FROM pgbaton.audit")
        assert tuple(audited) == ("kim", "takeover", "cut", 37)
        assert (await take_over(conn, table, "cut", before, who="kim")).count == 0
        async with craft.worker():
            await craft.until_settled()
        assert len(craft.server.calls) == 74


async def test_a_row_that_a_worker_has_called_is_not_taken_over(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        job = await craft.add()
        await craft.put(job, "cut", "running")
        assert (await take_over(conn, await insights.table_of(conn, None), None, None, who="kim")).seen == 0


async def test_a_row_that_is_held_or_has_moved_on_is_left_as_it_is(database: str) -> None:
    async with left_behind(database) as (craft, conn, table, before), craft.db.acquire() as other:
        jobs = [r[0] for r in await conn.fetch("SELECT job_id FROM jobs WHERE updated_at < $1 LIMIT 2", before)]
        await other.execute("UPDATE jobs SET status = 'done' WHERE job_id = $1", jobs[0])
        async with other.transaction():
            await other.execute("UPDATE jobs SET note = 'mine' WHERE job_id = $1", jobs[1])
            assert (await take_over(conn, table, None, before, who="kim")).count == 35
        assert await craft.row(str(jobs[0])) == ("cut", "done")
        assert await craft.row(str(jobs[1])) == ("cut", "running")


async def test_many_go_in_batches(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgbaton.operate.adopt.BATCH", 10)
    async with left_behind(database) as (_, conn, table, before):
        assert (await take_over(conn, table, None, before, who="kim")).count == 37
        assert [r[0] for r in await conn.fetch("SELECT jobs FROM pgbaton.audit ORDER BY id")] == [10, 10, 10, 7]


async def test_jobs_in_shadow_mode_are_the_old_systems(database: str) -> None:
    async with left_behind(database) as (craft, conn, table, before):
        await attach(conn, craft.pipeline, rollout=Rollout())
        assert (await take_over(conn, table, None, before, who="kim")).seen == 0


async def test_a_table_that_refuses_the_state_says_so(database: str) -> None:
    async with left_behind(database) as (_, conn, table, before):
        await conn.execute("ALTER TABLE jobs ADD CHECK (current_step <> 'made') NOT VALID")
        with pytest.raises(DatabaseError, match="refuses this takeover"):
            await take_over(conn, table, None, before, who="kim")


async def test_a_table_that_does_not_tell_since_when_is_not_asked_for_that(database: str) -> None:
    async with left_behind(database) as (craft, conn, _, before):
        await conn.execute("ALTER TABLE jobs DROP COLUMN updated_at")
        await attach(conn, craft.pipeline)
        table = await insights.table_of(conn, None)
        for asking in (unowned(conn, table, None, before), take_over(conn, table, None, before, who="kim")):
            with pytest.raises(ConfigError, match="no column updated_at"):
                await asking
        assert (await take_over(conn, table, None, None, who="kim")).count == 40
