"""The table of a running system changes: columns and the table are renamed, dropped, get another type; steps too."""

from __future__ import annotations

import pytest

from journal_rows import put_off
from line import RETYPED, Line, line, two_stages, until
from pgbaton import Stage, health, operate
from pgbaton.install.attach import attach
from pgbaton.install.migrate import migrate
from pgbaton.table import read_table
from stage_server import Call, Say, StageServer

CHANGES = {
    "status renamed": ("ALTER TABLE jobs RENAME status TO state", {"status": "state"}, "column_renamed"),
    "step renamed": ("ALTER TABLE jobs RENAME current_step TO at", {"step": "at"}, "column_renamed"),
    "key renamed": ("ALTER TABLE jobs RENAME job_id TO id", {"key": "id"}, "column_renamed"),
    "tenant renamed": ("ALTER TABLE jobs RENAME tenant_id TO org", {"tenant": "org"}, "column_renamed"),
    "tenant dropped": ("ALTER TABLE jobs DROP tenant_id", {"tenant": None}, "column_dropped"),
    "status dropped, another there": (
        "ALTER TABLE jobs ADD state text; UPDATE jobs SET state = status; ALTER TABLE jobs DROP status",
        {"status": "state"},
        "column_dropped",
    ),
    "the table renamed": ("ALTER TABLE jobs RENAME TO orders", {"table": "public.orders"}, "table_renamed"),
    "another schema": (
        "CREATE SCHEMA shop; ALTER TABLE jobs SET SCHEMA shop",
        {"table": "shop.jobs"},
        "table_renamed",
    ),
}


async def codes(craft: Line) -> set[str]:
    async with craft.db.acquire() as conn:
        return {f.code for f in health.of_all(await health.examine(conn, invariants=True))}


@pytest.mark.parametrize("channel", ["job_state_changed", None])
@pytest.mark.parametrize("how", CHANGES)
async def test_no_users_transaction_fails_by_a_name_that_changed_and_attach_takes_it_up(
    database: str, how: str, channel: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    change, names, code = CHANGES[how]
    async with line(database, channel=channel) as craft:
        async with craft.worker():
            job = await craft.add()
            await craft.until_row(job, "glue", "done")
            await craft.until_settled()
            await craft.db.execute(change)
            now = two_stages(craft.pipeline.base_url, channel=channel, **names)
            insert = f"INSERT INTO {now.table} ({now.step}, {now.status}) VALUES ('made', 'done')"
            await craft.db.execute(insert)
            await craft.db.execute(f"UPDATE {now.table} SET note = 'x', {now.status} = {now.status}")
            assert code in await codes(craft)
            if not code.startswith("table"):
                await until(lambda: _said(caplog), "the worker says it", 4)
                assert (await craft.states())[2:] == []
        async with craft.db.acquire() as conn:
            await attach(conn, now)
            found = {f.code for f in health.of_all(await health.examine(conn))}
            assert not found & {code, "trigger_drifted", "trigger_missing"}
            table = await read_table(conn, now)
            await operate.reconcile(conn, table, create=True)
        craft.pipeline = now
        async with craft.worker():
            await craft.db.execute(insert)
            for step in ("cut", "glue"):  # the stages here know the old names only
                query = f"UPDATE {now.table} SET {now.step} = '{step}', {now.status} = 'done'"
                await craft.db.execute(query)
            await craft.until_settled()
        functions = "SELECT count(*) FROM pg_proc WHERE prosrc LIKE '%INSERT INTO pgbaton.due (%' AND prokind = 'f'"
        assert await craft.db.fetchval(functions + " AND prorettype = 'trigger'::regtype") == 1


async def _said(caplog: pytest.LogCaptureFixture) -> bool:
    return any(
        "is not as it was attached" in r.getMessage() and "has no column" in r.getMessage() for r in caplog.records
    )


async def answers(server: StageServer, call: Call) -> Say:
    return Say()


@pytest.mark.parametrize("how", RETYPED)
async def test_a_worker_goes_on_after_a_column_got_another_type(database: str, how: str) -> None:
    async with line(database, answers, cut_advance="engine", glue_advance="engine") as craft, craft.worker():
        await craft.add()
        await until(lambda: _ended(craft, 2), "the first job is through")
        await craft.db.execute(RETYPED[how])
        await craft.db.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
        await until(lambda: _ended(craft, 4), "the second job is through")
        assert {s for _, s in await craft.states()} == {"completed"}


async def _ended(craft: Line, count: int) -> bool:
    return sum(state == "completed" for _, state in await craft.states()) >= count


async def test_a_dump_of_the_table_alone_lets_its_transactions_through(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as planned:
        add = "INSERT INTO jobs (current_step, status) VALUES ('made', 'done')"
        await planned.execute(add)  # this session has its plans, which name the engine's table
        await craft.db.execute("DROP SCHEMA pgbaton CASCADE")
        await planned.execute(add)
        await planned.execute("DELETE FROM jobs")
        job = await craft.add()
        await craft.put(job, "made", "failed")
        async with craft.db.acquire() as conn:
            await migrate(conn)
            await attach(conn, craft.pipeline)
        await craft.put(job, "made", "done")
        assert await craft.states(job) == [("cut", "available")]


async def test_a_table_that_is_gone_is_told_and_the_pipeline_can_be_attached_to_another(database: str) -> None:
    async with line(database) as craft:
        await craft.db.execute("CREATE TABLE others (LIKE jobs INCLUDING ALL); DROP TABLE jobs")
        assert "table_gone" in await codes(craft)
        async with craft.db.acquire() as conn:
            await attach(conn, two_stages(table="others"))
        assert "table_gone" not in await codes(craft)


async def test_the_jobs_of_a_renamed_step_are_seen_and_moved(database: str) -> None:
    async with line(database) as craft:
        waits = await craft.add()
        in_old_step = await craft.add("cut", "done")
        renamed = two_stages(
            craft.pipeline.base_url,
            stages=[Stage(step="carve", after="made", path="/cut"), Stage(step="glue", after="carve", path="/glue")],
        )
        async with craft.db.acquire() as conn:
            await attach(conn, renamed)
            found = {f.code: f for f in health.of_all(await health.examine(conn))}
            assert found["stage_unrouted"].values == {"stage": "cut", "count": 1}
            table = await read_table(conn, renamed)
            assert await operate.reconcile(conn, table, create=True) == [(waits, "carve")]
            assert (await operate.rerun(conn, table, in_old_step, "glue", who="me")).count == 1
        assert await craft.row(in_old_step) == ("carve", "done")
        craft.pipeline = renamed
        craft.server.steps["/cut"] = "carve"
        async with craft.worker():
            for job in (waits, in_old_step):
                await craft.until_row(job, "glue", "done")
            await craft.until_settled()
        assert await craft.states(waits) == [("cut", "cancelled"), ("carve", "completed"), ("glue", "completed")]
        assert ("stage_unrouted" in await codes(craft)) is False


async def test_a_rename_that_is_rolled_back_strands_no_job(database: str) -> None:
    """Those that became due, that failed once and that died while the stage had its other name."""
    old = two_stages()
    renamed = two_stages(stages=[old.stages[0], Stage(step="paste", after="cut", path="/paste", attempts=2)])
    async with line(database) as craft:
        at_home = craft.pipeline
        async with craft.db.acquire() as conn:
            await attach(conn, renamed)
            waits, rerun, tried, died = [await craft.add("cut", "done") for _ in range(4)]
            table = await read_table(conn, renamed)
            await put_off(conn, tried)
            assert (await operate.quarantine(conn, table, [died], who="me")).count == 1
            await attach(conn, at_home)
            found = {f.code: f for f in health.of_all(await health.examine(conn))}
            assert found["stage_unrouted"].values == {"stage": "paste", "count": 3}
            table = await read_table(conn, at_home)
            assert (await operate.rerun(conn, table, rerun, "glue", who="me")).count == 1
            made = await operate.reconcile(conn, table, create=True)
            assert sorted(made) == sorted([(waits, "glue"), (tried, "glue")])
            assert (await operate.rerun(conn, table, died, "glue", who="me")).count == 1
        async with craft.worker():
            for job in (waits, rerun, tried, died):
                await craft.until_row(job, "glue", "done")
            await craft.until_settled()
        assert "stage_unrouted" not in await codes(craft)


async def test_workers_find_the_jobs_of_a_rolled_back_rename_by_themselves(database: str) -> None:
    old = two_stages()
    renamed = two_stages(stages=[old.stages[0], Stage(step="paste", after="cut", path="/paste")])
    async with line(database) as craft:
        async with craft.db.acquire() as conn:
            await attach(conn, renamed)
            jobs = [await craft.add("cut", "done") for _ in range(3)]
            await attach(conn, craft.pipeline)
        async with craft.worker():
            for job in jobs:
                await craft.until_row(job, "glue", "done")
