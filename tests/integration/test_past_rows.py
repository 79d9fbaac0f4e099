"""Rows that stood in a routed state before it was routed: asked about, left alone until they move, or called at a rate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest

from graph_line import graph, stage
from line import Line, line, two_stages, until
from pgbaton import Pipeline, insights, operate
from pgbaton.errors import PastRows
from pgbaton.install import past as walking
from pgbaton.install.attach import attach, detach, planned
from pgbaton.install.migrate import migrate
from pgbaton.install.past import Progress, walk
from pgbaton.install.script import attach_sql, pipeline_sql
from pgbaton.operate.adopt import take_over
from pgbaton.rollout import Rollout
from pgbaton.table import read_table
from pgbaton.worker import upkeep
from pgbaton.worker.watch_store import CensusPage, WatchStore


@asynccontextmanager
async def adopted(database: str, **changes: Any) -> AsyncIterator[Line]:
    """The line on a table with history, not attached yet: 30 at (made, done), 20 at (cut, done), 10 elsewhere."""
    async with line(database, prepare=False, **changes) as craft:
        for count, step, status in (
            (30, "made", "done"),
            (20, "cut", "done"),
            (5, "cut", "running"),
            (5, "glue", "done"),
        ):
            await craft.db.execute(
                "INSERT INTO jobs (current_step, status) SELECT $2, $3 FROM generate_series(1, $1)", count, step, status
            )
        yield craft


async def attach_to(craft: Line, **how: Any) -> list[Progress]:
    told: list[Progress] = []
    async with craft.db.acquire() as conn:
        await attach(conn, craft.pipeline, told=told.append, **how)
    return told


async def missing(craft: Line, *, create: bool = False) -> list[tuple[str, str]]:
    async with craft.db.acquire() as conn:
        return await operate.reconcile(conn, await insights.table_of(conn, None), create=create)


async def one_of_the_past(craft: Line) -> str:
    return str(
        await craft.db.fetchval("SELECT job_id FROM jobs WHERE (current_step, status) = ('made', 'done') LIMIT 1")
    )


async def test_no_question_is_asked_about_a_table_without_rows_in_routed_states(database: str) -> None:
    async with line(database, prepare=False) as craft:
        await craft.add("glue", "done")
        await attach_to(craft)
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.adoptions") == 0


async def test_rows_of_the_past_are_asked_about_with_both_ways_and_nothing_was_changed(database: str) -> None:
    async with adopted(database) as craft:
        with pytest.raises(PastRows, match=r"50 rows of 'public\.jobs' .*--from now.*--backfill"):
            await attach_to(craft)
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.pipelines") == 0
        assert await craft.db.fetchval("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'job_state%'") == 0


async def test_from_now_on_rows_of_the_past_are_left_alone_by_workers_and_commands(database: str) -> None:
    async with adopted(database) as craft:
        told = await attach_to(craft, past="now")
        assert (told[-1].mode, told[-1].ended, told[-1].rows) == ("now", True, {"cut": 30, "glue": 20})
        for _ in range(2):  # a restart changes nothing of it
            async with craft.worker(reconcile_every=0.05):
                fresh = await craft.add()
                await craft.until_row(fresh, "glue", "done")
                await asyncio.sleep(0.3)  # several rounds of the reconcile loop
        assert await missing(craft, create=True) == []
        assert len(craft.server.calls) == 4
        assert (
            await craft.db.fetchval("SELECT count(*) FROM jobs WHERE (current_step, status) = ('made', 'done')") == 30
        )


async def test_a_row_of_the_past_that_moves_is_called(database: str) -> None:
    async with adopted(database) as craft:
        await attach_to(craft, past="now")
        job = await one_of_the_past(craft)
        async with craft.worker(reconcile_every=0):
            await craft.put(job, "cut", "running")
            await craft.put(job, "cut", "done")
            await craft.until_row(job, "glue", "done")
        assert [call.path for call in craft.server.calls] == ["/glue"]


async def test_a_row_of_the_past_says_so_and_can_be_called_by_hand(database: str) -> None:
    async with adopted(database) as craft, craft.db.acquire() as conn:
        await attach_to(craft, past="now")
        job, table = await one_of_the_past(craft), await insights.table_of(conn, None)
        said = await insights.explain(conn, table, job)
        assert said is not None
        assert (said.code, said.moves) == ("left_alone", False)
        assert (await operate.rerun(conn, table, job, "cut", who="me")).count == 1
        assert await craft.states(job) == [("cut", "available")]
        assert await conn.fetchval("SELECT count(*) FROM pgbaton.past WHERE job_key = $1", job) == 0


async def test_a_row_of_the_past_that_has_moved_or_is_gone_is_not_left_alone_any_more(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "RECONCILE_PAGE", 7)
    async with adopted(database) as craft:
        await attach_to(craft, past="now")
        moved = await one_of_the_past(craft)
        await craft.put(moved, "cut", "failed")
        await craft.db.execute(
            "DELETE FROM jobs WHERE job_id IN (SELECT job_id FROM jobs WHERE (current_step, status) = ('cut', 'done') LIMIT 3)"
        )
        async with craft.worker(reconcile_every=0.05):
            await until(lambda: entries(craft), "no entry is left without its row")
            await craft.db.execute("ALTER TABLE jobs DISABLE TRIGGER USER")
            await craft.put(moved, "made", "done")  # no trigger saw that it came back: the reconciler calls it
            await craft.db.execute("ALTER TABLE jobs ENABLE TRIGGER USER")
            await craft.until_row(moved, "glue", "done")
        assert {call.job_id for call in craft.server.calls} == {moved}


async def entries(craft: Line) -> bool:
    """Whether each row that is left alone is where it was, and all such rows are left alone."""
    left = await craft.db.fetchval("SELECT count(*) FROM pgbaton.past")
    standing = "SELECT count(*) FROM jobs WHERE (current_step, status) IN (('made', 'done'), ('cut', 'done'))"
    return bool(left == await craft.db.fetchval(standing))


async def test_a_backfill_calls_each_row_once_at_its_rate_and_tells_by_stage(database: str) -> None:
    async with adopted(database) as craft:
        began = asyncio.get_running_loop().time()
        told = await attach_to(craft, past="backfill", rate=100)
        assert asyncio.get_running_loop().time() - began >= 0.3, "50 jobs at 100 a second"
        assert told[-1].rows == {"cut": 30, "glue": 20}
        assert await duties_per_job(craft) == {1: 50}
        async with craft.worker():
            await craft.until_settled()
        assert len(craft.server.calls) == 80


async def duties_per_job(craft: Line) -> dict[int, int]:
    rows = await craft.db.fetch(
        "SELECT n, count(*) FROM (SELECT count(*) AS n FROM pgbaton.dispatches GROUP BY job_key) AS j GROUP BY n"
    )
    return {r["n"]: r["count"] for r in rows}


@pytest.mark.parametrize("how", ["now", "backfill"])
async def test_a_walk_that_was_broken_off_goes_on_where_it_was(
    database: str, how: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "PAGE", 7)

    class Killed(Exception):
        pass

    def die(_: Progress) -> None:
        raise Killed

    async with adopted(database) as craft, craft.db.acquire() as conn:
        with suppress(Killed):
            await attach(conn, craft.pipeline, past=how, rate=10_000, told=die)
        before = await conn.fetchrow("SELECT after_key, ended_at FROM pgbaton.adoptions")
        assert before["after_key"] is not None
        assert before["ended_at"] is None
        assert await missing(craft, create=True) == [], "reconciled while the walk had not ended"
        plan = await planned(conn, craft.pipeline)
        assert (plan.continues, plan.question) == (how, False)
        told = await attach_to(craft, rate=10_000)
        assert (told[-1].mode, told[-1].rows) == (how, {"cut": 30, "glue": 20})
        assert await duties_per_job(craft) == ({1: 50} if how == "backfill" else {})


async def test_backfills_at_once_and_writers_beside_them_make_one_duty_a_job(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "PAGE", 5)
    async with adopted(database) as craft:
        await craft.db.execute(
            "INSERT INTO jobs (current_step, status) SELECT 'made', 'done' FROM generate_series(1, 300)"
        )
        async with craft.db.acquire() as conn:
            await conn.execute(attach_sql(craft.pipeline, decided="backfill"))
            table = await read_table(conn, craft.pipeline)

        async def go() -> None:
            async with craft.db.acquire() as conn:
                async for _ in walk(conn, table, 100_000):
                    pass

        async def note() -> None:
            for _ in range(40):
                await craft.db.execute("UPDATE jobs SET note = 'x' WHERE job_id IN (SELECT job_id FROM jobs LIMIT 30)")

        await asyncio.gather(go(), go(), go(), note())
        await missing(craft, create=True)  # those that the writer held
        assert await duties_per_job(craft) == {1: 350}


async def test_a_row_that_a_writer_moves_and_puts_back_meanwhile_gets_no_second_duty(database: str) -> None:
    async with adopted(database) as craft, craft.db.acquire() as conn, craft.db.acquire() as writer:
        await conn.execute(attach_sql(craft.pipeline, decided="backfill"))
        table, job = await read_table(conn, craft.pipeline), await one_of_the_past(craft)
        async with conn.transaction():
            page = await conn.fetchrow(table.query("operate/unreconciled"), "craft", None, 1000, True)
            assert job in page["keys"]
            await writer.execute("UPDATE jobs SET status = 'held' WHERE job_id = $1::text::uuid", job)
            await writer.execute("UPDATE jobs SET status = 'done' WHERE job_id = $1::text::uuid", job)
            held = await conn.fetch(table.query("install/hold_rows"), [job])
            assert await conn.fetch(table.query("operate/reconcile"), "craft", [r["job_key"] for r in held], True) == []
        assert await conn.fetchval("SELECT count(*) FROM pgbaton.due WHERE job_key = $1 AND stage <> ''", job) == 1


async def test_a_decision_may_be_taken_back(database: str) -> None:
    async with adopted(database) as craft:
        await attach_to(craft, past="now")
        await attach_to(craft, past="backfill", rate=10_000)
        assert await duties_per_job(craft) == {1: 50}
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.past") == 0


async def test_a_stage_that_is_added_behind_the_last_asks_about_what_had_ended_there(database: str) -> None:
    async with line(database) as craft:
        await craft.db.execute("ALTER TABLE jobs DISABLE TRIGGER USER")
        await craft.add("glue", "done")
        await craft.db.execute("ALTER TABLE jobs ENABLE TRIGGER USER")
        document = craft.pipeline.model_dump(mode="json")
        document["stages"] = [*document["stages"], {"step": "pack", "after": "glue", "path": "/cut"}]
        craft.pipeline = Pipeline.model_validate(document)
        with pytest.raises(PastRows, match="1 row of"):
            await attach_to(craft)
        await attach_to(craft, past="now")
        assert await missing(craft) == []


async def test_the_plain_script_leaves_rows_of_the_past_undecided_and_nothing_is_reconciled(database: str) -> None:
    async with adopted(database) as craft:
        await craft.db.execute(pipeline_sql(craft.pipeline))
        assert await craft.db.fetchval("SELECT mode FROM pgbaton.adoptions") == "ask"
        assert await missing(craft, create=True) == []
        with pytest.raises(PastRows, match="50 rows"):
            await attach_to(craft)
        told = await attach_to(craft, past="now")
        assert told[-1].rows == {"cut": 30, "glue": 20}


async def test_rows_whose_trigger_was_off_later_are_reconciled_as_ever(database: str) -> None:
    async with adopted(database) as craft:
        await attach_to(craft, past="now")
        await craft.db.execute("ALTER TABLE jobs DISABLE TRIGGER USER")
        job = await craft.add()
        await craft.db.execute("ALTER TABLE jobs ENABLE TRIGGER USER")
        async with craft.worker(reconcile_every=0.1):

            async def called() -> bool:
                return await craft.row(job) == ("glue", "done")

            await until(called, "the row that no trigger saw is called")
        assert len(craft.server.calls) == 2


async def test_the_plan_says_what_is_installed_and_what_becomes_of_which_rows(database: str) -> None:
    async with adopted(database) as craft, craft.db.acquire() as conn:
        plan = await planned(conn, craft.pipeline)
        assert {(c.kind, c.what) for c in plan.changes} == {
            (kind, "install") for kind in ("pipeline", "stage", "function", "trigger", "home")
        }
        assert {(s.step, s.status): (s.rows, s.fate) for s in plan.states} == {
            ("made", "done"): (30, "asked"),
            ("cut", "running"): (5, "not_called"),
            ("cut", "done"): (20, "asked"),
        }
        assert plan.past == 50
        assert [lock.mode for lock in plan.locks] == ["SHARE ROW EXCLUSIVE"]
        assert await conn.fetchval("SELECT count(*) FROM pgbaton.pipelines") == 0
        await attach(conn, craft.pipeline, past="now")
        again = await planned(conn, craft.pipeline)
        assert (again.changes, again.locks, again.left) == ((), (), 50)
        assert again.as_json()["nothing_changes"] is True


async def test_the_plan_names_stages_that_come_go_and_are_renamed_with_the_jobs_inside(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        for _ in range(3):
            await craft.add("cut")
        await craft.add()
        document = craft.pipeline.model_dump(mode="json")
        document["stages"][1]["step"] = "weld"
        renamed = await planned(conn, Pipeline.model_validate(document))
        assert [(s.step, s.change, s.was, s.open) for s in renamed.stages] == [
            ("cut", "kept", None, 1),
            ("weld", "renamed", "glue", 3),
        ]
        document["stages"] = document["stages"][:1]
        removed = await planned(conn, Pipeline.model_validate(document))
        assert [(s.step, s.change, s.open) for s in removed.stages] == [("cut", "kept", 1), ("glue", "removed", 3)]


async def test_the_plan_tells_what_changes_of_a_graph_and_which_rows_stay_behind(database: str) -> None:
    back = {"after": "draw", "status": "rejected", "to": "draw", "rounds": 2, "then": ["draw", "given_up"]}
    review = {"at": ["review", "waiting"], "choices": {"approve": ["review", "approved"]}}
    waits = {"route": [back, {"after": "draw", "to": ["review", "waiting"]}], "wait": [review]}
    async with line(database, prepare=False) as craft, craft.db.acquire() as conn:
        await migrate(conn)
        await attach(conn, graph([stage("draw", "made")], **waits))
        assert (await planned(conn, graph([stage("draw", "made")], **waits))).changes == ()
        for _ in range(3):
            await craft.add("review", "waiting")
        back["rounds"] = 3
        once_more = await planned(conn, graph([stage("draw", "made")], **waits))
        assert [(s.kind, s.step) for s in once_more.stages if s.change == "changed"] == [("move", "draw.rejected")]
        line_only = await planned(conn, graph([stage("draw", "made")]))
        assert sorted((s.kind, s.step, s.open) for s in line_only.stages if s.change == "removed") == [
            ("move", "draw.done", 0),
            ("move", "draw.rejected", 0),
            ("wait", "review", 3),
        ]
        stays = [(s.step, s.status, s.rows, s.known) for s in line_only.states if s.fate == "waits"]
        assert stays == [("review", "waiting", 3, 3)]


async def test_a_plan_without_changes_and_an_attach_without_changes_agree(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        await conn.execute("ALTER TABLE jobs DISABLE TRIGGER job_state_insert_trigger")
        assert [(c.kind, c.name, c.what) for c in (await planned(conn, craft.pipeline)).changes] == [
            ("trigger", "job_state_insert_trigger", "change")
        ]
        await attach(conn, craft.pipeline)
        assert (await planned(conn, craft.pipeline)).changes == ()


async def test_detach_forgets_rows_of_the_past(database: str) -> None:
    async with adopted(database) as craft, craft.db.acquire() as conn:
        await attach_to(craft, past="now")
        await detach(conn, craft.pipeline)
        for table in ("past", "adoptions", "shadow", "pipelines"):
            assert await conn.fetchval(f"SELECT count(*) FROM pgbaton.{table}") == 0
        with pytest.raises(PastRows, match="50 rows"):
            await attach_to(craft)


async def test_a_table_with_a_key_of_two_columns_and_words_of_its_own_has_a_past_too(database: str) -> None:
    pipeline = two_stages(
        table="orders",
        key=["region", "number"],
        tenant=None,
        step="stage",
        status="state",
        channel=None,
        statuses={"done": ["completed", "ready"], "running": "processing", "failed": "error"},
    )
    async with asyncpg.create_pool(database, min_size=1, max_size=4) as db, db.acquire() as conn:
        await conn.execute("""
            CREATE TABLE orders (region text, number bigint, stage text, state text, updated_at timestamptz DEFAULT now(),
                                 PRIMARY KEY (region, number));
            INSERT INTO orders SELECT 'kr', n, 'made', (ARRAY['completed', 'ready'])[1 + n % 2] FROM generate_series(1, 8) AS n;
            INSERT INTO orders VALUES ('kr', 99, 'cut', 'processing', now() - interval '2 h');
        """)
        plan = await planned(conn, pipeline)
        assert [(s.step, s.status, s.rows) for s in plan.states if s.rows] == [
            ("made", "done", 8),
            ("cut", "running", 1),
        ]
        with pytest.raises(PastRows, match="8 rows"):
            await attach(conn, pipeline)
        await attach(conn, pipeline, past="now")
        assert (await planned(conn, pipeline)).changes == ()
        table = await insights.table_of(conn, None)
        assert await operate.reconcile(conn, table, create=True) == []
        await attach(conn, pipeline, past="backfill", rate=1000)
        assert await conn.fetchval("SELECT count(DISTINCT job_key) FROM pgbaton.due") == 8
        assert (await take_over(conn, table, "cut", None, who="kim")).jobs == ('["kr", "99"]',)
        row = await conn.fetchrow("SELECT stage, state FROM orders WHERE number = 99")
        assert tuple(row) == ("made", "completed")


async def test_rows_of_the_past_are_those_of_every_state_that_a_route_starts_from(database: str) -> None:
    """A route from (judge, rejected): asked about, left alone, not missing for the census; called once it moves again."""
    stages = [stage("judge", "made"), stage("mend", "judge", status="rejected")]
    async with asyncpg.create_pool(database, min_size=1) as db:
        await db.execute(
            "INSERT INTO jobs (current_step, status) SELECT 'judge', unnest(ARRAY['rejected', 'rejected', 'done'])"
        )
        async with db.acquire() as conn:
            await migrate(conn)
            pipeline = graph(stages)
            plan = await planned(conn, pipeline)
            states = {(s.step, s.status): (s.rows, s.stage, s.fate) for s in plan.states}
            assert states == {("made", "done"): (0, "judge", "asked"), ("judge", "rejected"): (2, "mend", "asked")}
            with pytest.raises(PastRows, match="2 rows"):
                await attach(conn, pipeline)
            await conn.execute(pipeline_sql(pipeline))  # the plain script leaves the question open
            assert (await planned(conn, pipeline)).question
            assert (await census(conn)).missing == []

            await attach(conn, pipeline, past="now")
            assert not (await planned(conn, pipeline)).question
            assert await conn.fetchval("SELECT count(*) FROM pgbaton.past WHERE status = 'rejected'") == 2
            page = await census(conn)
            assert (page.missing, [fault for _, _, _, fault, _, _ in page.found if fault]) == ([], [])
            table = await insights.table_of(conn, None)
            assert await operate.reconcile(conn, table, create=False) == []

            await conn.execute("ALTER TABLE jobs DISABLE TRIGGER USER")
            await conn.execute("UPDATE jobs SET current_step = 'made', status = 'done' WHERE status = 'rejected'")
            assert len((await census(conn)).missing) == 2  # a state that they were not left alone in


async def test_a_row_that_is_only_recorded_is_not_missing_for_the_census(database: str) -> None:
    async with line(database, prepare=False) as craft:
        async with craft.db.acquire() as conn:
            await migrate(conn)
            await attach(conn, craft.pipeline, rollout=Rollout(0.0))
        await craft.add()
        async with craft.db.acquire() as conn:
            page = await census(conn)
            assert (page.missing, [fault for _, _, _, fault, _, _ in page.found if fault]) == ([], [])


async def census(conn: asyncpg.Connection) -> CensusPage:
    return await WatchStore(conn, await insights.table_of(conn, None)).census_page(None, 100)
