"""Shadow mode: what would be called is recorded, nothing is called and no row is written; then live, by share or tenant."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from line import Line, line
from pgbaton import insights, operate
from pgbaton.errors import AttachError, Refused
from pgbaton.health import checks
from pgbaton.insights.shadow import compared, recorded
from pgbaton.install.attach import attach, planned
from pgbaton.install.script import pipeline_sql
from pgbaton.rollout import Rollout
from stage_server import Call, Say, StageServer, work


async def rolled(craft: Line, rollout: Rollout | None, **how: Any) -> None:
    async with craft.db.acquire() as conn:
        await attach(conn, craft.pipeline, rollout=rollout, **how)


async def records(craft: Line) -> list[tuple[str, str]]:
    return [tuple(r) for r in await craft.db.fetch("SELECT stage, job_key FROM pgbaton.shadow ORDER BY id")]


async def nothing_happens(craft: Line) -> None:
    """A worker, its reconcile loop included, has had the time to do something."""
    async with craft.worker(reconcile_every=0.05):
        await asyncio.sleep(0.4)


async def test_in_shadow_mode_calls_are_recorded_and_neither_made_nor_any_row_written(database: str) -> None:
    async with line(database, prepare=False) as craft:
        old = await craft.add()  # of the past: not even recorded
        await rolled(craft, Rollout())
        job = await craft.add()
        await nothing_happens(craft)
        assert await records(craft) == [("cut", job)]
        assert (await craft.row(job), await craft.row(old)) == (("made", "done"), ("made", "done"))
        assert craft.server.calls == []
        assert await craft.dispatches() == []
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.due") == 0


async def test_a_record_is_the_call_that_is_made_once_the_job_is_live(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        await rolled(craft, Rollout())
        await craft.add()
        (record,) = await recorded(conn, await insights.table_of(conn, None), None, None, 10)
        assert record.url == f"{craft.server.base_url}/cut"
        await rolled(craft, None, past="backfill", rate=1000)
        async with craft.worker():
            await craft.until_settled()
        call = craft.server.calls[0]
        assert record.body == {"job_id": call.job_id, "tenant_id": "acme"}
        assert {name for name in record.headers if name != "content-type"} == {"idempotency-key", "x-pgbaton-attempt"}
        assert record.headers["x-pgbaton-attempt"] == "1"


async def test_the_moves_of_the_old_system_are_compared_with_the_recorded_calls(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        await rolled(craft, Rollout())
        through, begun, failed, waits, gone, elsewhere = [await craft.add() for _ in range(6)]
        await craft.put(through, "cut", "running")
        await craft.put(through, "cut", "done")
        await craft.put(through, "glue", "done")
        await craft.put(begun, "cut", "running")
        await craft.put(failed, "cut", "failed")
        await craft.put(elsewhere, "shelf", "kept")
        await conn.execute("DELETE FROM jobs WHERE job_id = $1::text::uuid", gone)
        found = await recorded(conn, await insights.table_of(conn, None), None, None, 100)
        assert {(r.job_key, r.stage): r.became for r in found} == {
            (through, "cut"): "reached",
            (through, "glue"): "reached",
            (begun, "cut"): "running",
            (failed, "cut"): "failed",
            (waits, "cut"): "waits",
            (gone, "cut"): "gone",
            (elsewhere, "cut"): "elsewhere",
        }
        by_stage = {c.stage: c for c in compared(found)}
        assert by_stage["cut"].recorded == 6
        assert by_stage["cut"].seconds is not None


async def test_a_share_of_the_jobs_goes_live_and_the_same_jobs_stay_so_as_it_grows(database: str) -> None:
    async with line(database) as craft:
        await rolled(craft, Rollout())
        live: list[set[str]] = []
        for share in (10.0, 40.0):
            await rolled(craft, Rollout(share))
            await craft.add_many(200)
            expected = await craft.db.fetch(
                "SELECT job_id::text FROM jobs WHERE pgbaton.share_of(job_id::text) < $1", share
            )
            live.append({r[0] for r in expected})
        assert live[0] < live[1]
        due = {r[0] for r in await craft.db.fetch("SELECT job_key FROM pgbaton.due")}
        shadowed = {job for _, job in await records(craft)}
        assert due <= live[1]
        assert not due & shadowed
        assert len(due) + len(shadowed) == 400
        assert 60 < len(due) < 150, "about 10 % of 200 and 40 % of 200"


async def test_a_share_is_the_same_on_every_server(database: str) -> None:
    async with line(database) as craft:
        shares = [await craft.db.fetchval("SELECT pgbaton.share_of($1)", key) for key in ("1", "2")]
        assert [round(share, 4) for share in shares] == [76.8711, 78.1715]


async def test_chosen_tenants_go_live(database: str) -> None:
    async with line(database) as craft:
        await rolled(craft, Rollout(0.0, ("o'hara",)))
        theirs = await craft.db.fetchval(
            "INSERT INTO jobs (current_step, status, tenant_id) VALUES ('made', 'done', 'o''hara') RETURNING job_id::text"
        )
        other = await craft.add()
        async with craft.worker(reconcile_every=0.05):
            await craft.until_row(theirs, "glue", "done")
            await asyncio.sleep(0.3)
        assert await craft.row(other) == ("made", "done")
        assert await records(craft) == [("cut", other)]


async def test_rows_that_stood_there_while_in_shadow_are_left_alone_when_all_go_live(database: str) -> None:
    async with line(database) as craft:
        await rolled(craft, Rollout())
        old = await craft.add()
        await rolled(craft, None)
        async with craft.worker(reconcile_every=0.05):
            fresh = await craft.add()
            await craft.until_row(fresh, "glue", "done")
            await asyncio.sleep(0.3)
        assert await craft.row(old) == ("made", "done")
        await rolled(craft, None, past="backfill", rate=1000)
        assert await craft.states(old) == [("cut", "available")]


async def test_to_attach_again_keeps_shadow_mode_and_the_plain_script_refuses_to_end_it(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        await rolled(craft, Rollout(25.0))
        await attach(conn, craft.pipeline)
        plan = await planned(conn, craft.pipeline)
        assert plan.rollout is not None
        assert (plan.rollout.share, plan.changes) == (25.0, ())
        with pytest.raises(Exception, match="shadow mode"):
            await conn.execute(pipeline_sql(craft.pipeline))
        await conn.execute("ROLLBACK")
        await attach(conn, craft.pipeline)


async def test_a_share_that_somebody_else_has_just_changed_is_not_overwritten(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        await rolled(craft, Rollout(25.0))
        plan = await planned(conn, craft.pipeline, rollout=Rollout(50.0), past="now")
        await rolled(craft, Rollout(75.0))

        async def stale(*_: object, **__: object) -> Any:
            return plan

        monkeypatch.setattr("pgbaton.install.attach.planned", stale)
        with pytest.raises(AttachError, match="its share has just changed"):
            await attach(conn, craft.pipeline, rollout=Rollout(50.0))


async def test_shadow_mode_is_said_where_people_look(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        await rolled(craft, Rollout(5.0))
        while await craft.db.fetchval("SELECT count(*) FROM pgbaton.shadow") == 0:
            job = await craft.add()
        found = {f.code: f for f in await checks(conn, "craft")}
        assert "5 % of the jobs are called" in found["shadow"].sentence()
        assert "trigger_drifted" not in found
        table = await insights.table_of(conn, None)
        said = await insights.explain(conn, table, job)
        assert said is not None
        assert said.code == "shadow"
        with pytest.raises(Refused, match="shadow"):
            await operate.rerun(conn, table, job, "glue", who="me")
        assert await insights.table_of(conn, None) == table


async def test_a_call_that_was_open_when_the_share_shrank_ends_as_usual(database: str) -> None:
    release = asyncio.Event()

    async def slowly(server: StageServer, call: Call) -> Say:
        await release.wait()
        return await work(server, call)

    async with line(database, slowly) as craft, craft.worker():
        job = await craft.add()
        await craft.until_state(job, "cut", "running")
        await rolled(craft, Rollout())
        release.set()
        await craft.until_row(job, "cut", "done")
        await craft.until_state(job, "cut", "completed")
        assert await records(craft) == [("glue", job)]
