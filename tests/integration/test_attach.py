"""Attach and detach on the user's own, busy table; and the same as a plain SQL file."""

from __future__ import annotations

import asyncio
import secrets
import time

import asyncpg
import pytest

from attaching import add, again, dispatches, stages, traces
from line import attached, line, two_stages
from pgbaton import Pipeline
from pgbaton.errors import AttachError, LockNotHad
from pgbaton.install import attach as attaching
from pgbaton.install.attach import attach, detach
from pgbaton.install.checks import check_attached
from pgbaton.install.script import pipeline_sql
from pgbaton.table import read_table

# -- again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jobs", "a table without a tenant", "a table with an updated_at"])
async def test_to_attach_again_changes_nothing_at_all(database: str, kind: str) -> None:
    plain = "CREATE TABLE orders (job_id int PRIMARY KEY, current_step text, status text"
    pipeline, ddl = {
        "jobs": (two_stages(), None),
        "a table without a tenant": (two_stages(table="orders", tenant=None), f"{plain})"),
        "a table with an updated_at": (
            two_stages(table="orders", tenant=None),
            f"{plain}, updated_at timestamp)",
        ),
    }[kind]
    async with attached(database, pipeline, ddl) as db:
        before = await traces(db)
        await again(db, pipeline)
        await db.execute(pipeline_sql(pipeline))
        assert await traces(db) == before
        assert [len(before[what]) for what in before] == [2, 1, 1, 2]


async def test_to_attach_again_takes_no_lock_that_a_writer_or_a_dump_would_mind(database: str) -> None:
    async with attached(database) as db, db.acquire() as dump, dump.transaction():
        await dump.execute("LOCK TABLE jobs IN ACCESS SHARE MODE")
        await dump.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
        began = time.monotonic()
        await again(db)
        assert time.monotonic() - began < 1


async def test_many_who_attach_at_once_do_it_once(database: str) -> None:
    async with asyncpg.create_pool(database, min_size=10, max_size=10) as db:
        await asyncio.gather(*(again(db) for _ in range(10)))
        assert {what: len(rows) for what, rows in (await traces(db)).items()} == {
            "triggers": 2,
            "functions": 1,
            "pipelines": 1,
            "stages": 2,
        }
        await add(db)
        assert await dispatches(db) == [("cut", "available")]


# -- other routes ---------------------------------------------------------------------------------


async def test_changed_settings_of_a_stage_are_written_and_the_trigger_stays(database: str) -> None:
    async with attached(database, two_stages(tenant=None)) as db:
        before = await traces(db)
        await again(db, two_stages(tenant=None, cut_timeout=1.5, cut_attempts=7, cut_concurrency=3))
        now = await traces(db)
        assert (now["triggers"], now["functions"]) == (before["triggers"], before["functions"])
        row = await db.fetchrow("SELECT timeout, attempts, concurrency FROM pgbaton.stages WHERE step = 'cut'")
        assert (row["timeout"].total_seconds(), row["attempts"], row["concurrency"]) == (1.5, 7, 3)
        assert now["stages"][1] == before["stages"][1], "the stage that did not change was rewritten"


async def test_another_channel_is_another_function_and_the_trigger_stays(database: str) -> None:
    async with attached(database) as db:
        before = await traces(db)
        await again(db, two_stages(channel="other"))
        now = await traces(db)
        assert now["triggers"] == before["triggers"]
        assert now["functions"] != before["functions"]
        assert now["stages"] == before["stages"]
        assert await db.fetchval("SELECT channel FROM pgbaton.pipelines") == "other"


async def test_stages_that_change_places_have_one_route_each_at_any_moment(database: str) -> None:
    async with attached(database) as db:
        swapped = two_stages(cut_after="glue", glue_after="made")
        await again(db, swapped)
        assert await stages(db) == [("glue", "made", True), ("cut", "glue", True)]
        await add(db)
        assert await dispatches(db) == [("glue", "available")]
        await again(db)
        assert await stages(db) == [("cut", "made", True), ("glue", "cut", True)]


async def test_a_stage_put_between_two_others_is_called_between_them(database: str) -> None:
    longer = Pipeline.model_validate(
        two_stages().model_dump()
        | {
            "stages": [
                {"step": "cut", "after": "made", "path": "/cut"},
                {"step": "dry", "after": "cut", "path": "/dry"},
                {"step": "glue", "after": "dry", "path": "/glue"},
            ]
        }
    )
    async with attached(database) as db:
        await add(db)
        await again(db, longer)
        await db.execute("UPDATE jobs SET current_step = 'cut'")
        await db.execute("UPDATE jobs SET current_step = 'dry'")
        assert await dispatches(db) == [("cut", "completed"), ("dry", "completed"), ("glue", "available")]


async def test_a_removed_stage_keeps_its_open_dispatch_and_calls_it_when_it_comes_back(database: str) -> None:
    async with line(database) as craft:
        job = await craft.add("cut")
        only_cut = two_stages(craft.server.base_url)
        only_cut = only_cut.model_copy(update={"stages": only_cut.stages[:1]})
        await again(craft.db, only_cut)
        assert await stages(craft.db) == [("cut", "made", True), ("glue", "cut", False)]
        assert await craft.states(job) == [("glue", "available")]
        second = await craft.add("cut")
        assert await craft.states(second) == [], "a stage that is not in the pipeline got a new dispatch"
        await again(craft.db, craft.pipeline, past="now")
        async with craft.worker():
            await craft.until_row(job, "glue", "done")
        assert await craft.states(job) == [("glue", "completed")]


async def test_a_worker_does_not_start_on_routes_that_are_not_in_the_database(database: str) -> None:
    async with attached(database) as db, db.acquire() as conn:
        longer = two_stages(cut_after="drawn")
        with pytest.raises(AttachError, match="routes of cut are not in the database: run pgbaton attach"):
            await check_attached(conn, longer, await read_table(conn, longer))
        other = two_stages(name="other")
        with pytest.raises(AttachError, match=r"'other' is not attached to 'public\.jobs': run pgbaton"):
            await check_attached(conn, other, await read_table(conn, other))
        await check_attached(conn, two_stages(), await read_table(conn, two_stages()))


# -- a busy table ---------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> float:
    """For how long a lock is tried, in seconds, made short."""
    monkeypatch.setattr(attaching, "LOCK_PATIENCE", 0.3)
    return 0.3


@pytest.mark.parametrize("lock", ["ROW EXCLUSIVE", "SHARE", "ACCESS EXCLUSIVE"])
async def test_a_busy_table_is_left_alone_soon_and_nothing_was_changed(
    database: str, impatient: float, lock: str
) -> None:
    async with asyncpg.create_pool(database, min_size=1) as db:
        nothing = await traces(db)
        async with db.acquire() as busy, busy.transaction():
            await busy.execute(f"LOCK TABLE jobs IN {lock} MODE")
            began = time.monotonic()
            with pytest.raises(LockNotHad, match=r"busy for 0.3 s.*Nothing was changed; try again"):
                await again(db)
            assert impatient <= time.monotonic() - began < 10 * impatient
        assert await traces(db) == nothing
        await again(db)
        await add(db)
        assert await dispatches(db) == [("cut", "available")]


async def test_a_busy_table_is_not_detached_by_halves(database: str, impatient: float) -> None:
    async with attached(database) as db:
        await add(db)
        before = await traces(db)
        async with db.acquire() as busy, busy.transaction():
            await busy.execute("UPDATE jobs SET note = 'busy'")
            async with db.acquire() as conn:
                with pytest.raises(LockNotHad):
                    await detach(conn, two_stages())
        assert await traces(db) == before
        assert await dispatches(db) == [("cut", "available")]


async def test_a_session_that_could_not_have_the_lock_is_usable_at_once(database: str, impatient: float) -> None:
    async with asyncpg.create_pool(database, min_size=1) as db, db.acquire() as conn:
        async with db.acquire() as busy, busy.transaction():
            await busy.execute("LOCK TABLE jobs IN SHARE MODE")
            with pytest.raises(LockNotHad):
                await attach(conn, two_stages())
        assert not conn.is_in_transaction()
        assert await conn.fetchval("SHOW lock_timeout") == "0"
        await attach(conn, two_stages())


async def test_many_writers_neither_fail_nor_keep_a_pipeline_from_being_attached(database: str) -> None:
    stop = asyncio.Event()
    written = slowest = 0.0

    async def write(db: asyncpg.Pool, mine: int) -> None:
        nonlocal written, slowest
        insert = "INSERT INTO jobs (current_step, status) VALUES ('made', 'done') RETURNING job_id"
        async with db.acquire() as conn:
            job = await conn.fetchval(insert)
            while not stop.is_set():
                began = time.monotonic()
                step, status = secrets.choice([("made", "done"), ("cut", "running"), ("cut", "done"), ("glue", "done")])
                await conn.execute(
                    "UPDATE jobs SET current_step = $1, status = $2 WHERE job_id = $3", step, status, job
                )
                written, slowest = written + 1, max(slowest, time.monotonic() - began)

    async with asyncpg.create_pool(database, min_size=8, max_size=8) as db, asyncio.TaskGroup() as writers:
        for n in range(6):
            writers.create_task(write(db, n))
        try:
            for changes in ({}, {"cut_after": "drawn"}, {}, {"tenant": None}, {}):
                await again(db, two_stages(**changes), past="now")
                async with db.acquire() as conn:
                    await detach(conn, two_stages())
            await again(db, past="now")
        finally:
            stop.set()
    assert written > 100
    assert slowest < 3


# -- what cannot be attached ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"table": "jobz"}, "pipeline.table: there is no table 'public.jobz' in this database"),
        ({"table": "shop.jobs"}, "pipeline.table: there is no table 'shop.jobs' in this database"),
        ({"table": "Jobs"}, "pipeline.table: there is no table 'public.Jobs' in this database"),
        (
            {"table": "a_view"},
            "pipeline.table: 'public.a_view' is a view, and triggers see its changes only on the table beneath",
        ),
        ({"step": "Current_Step"}, "pipeline.step: the table 'public.jobs' has no column 'Current_Step' (did you mean"),
        ({"status": "state"}, "pipeline.status: the table 'public.jobs' has no column 'state' (it has current_step,"),
        ({"tenant": "customer"}, "pipeline.tenant: the table 'public.jobs' has no column 'customer'"),
        ({"key": "id"}, "pipeline.key: the table 'public.jobs' has no column 'id'"),
        ({"key": "ctid"}, "pipeline.key: the table 'public.jobs' has no column 'ctid'"),
        ({"key": "note"}, "pipeline.key: the column 'note' of 'public.jobs' is not unique by itself"),
        ({"key": "partly"}, "pipeline.key: the column 'partly' of 'public.jobs' is not unique by itself"),
        ({"key": "together"}, "pipeline.key: the column 'together' of 'public.jobs' is not unique by itself"),
        ({"key": "shouted"}, "pipeline.key: the column 'shouted' of 'public.jobs' is not unique by itself"),
    ],
)
async def test_a_pipeline_that_does_not_fit_its_table_is_refused_in_a_sentence_and_nothing_was_changed(
    database: str, changes: dict[str, str], sentence: str
) -> None:
    async with asyncpg.create_pool(database, min_size=1) as db:
        await db.execute("""
            CREATE VIEW a_view AS SELECT * FROM jobs;
            ALTER TABLE jobs ADD partly int, ADD together int, ADD shouted text, ADD UNIQUE (together, partly);
            CREATE UNIQUE INDEX ON jobs (partly) WHERE partly > 0;
            CREATE UNIQUE INDEX ON jobs (upper(shouted));
        """)
        nothing = await traces(db)
        with pytest.raises(AttachError) as refused:
            await again(db, two_stages(**changes))
        assert str(refused.value).startswith(sentence)
        assert await traces(db) == nothing


async def test_a_key_is_unique_by_an_index_with_other_columns_beside_it_too(database: str) -> None:
    async with asyncpg.create_pool(database, min_size=1) as db:
        await db.execute("ALTER TABLE jobs ADD ref text; CREATE UNIQUE INDEX ON jobs (ref) INCLUDE (note)")
        await again(db, two_stages(key="ref"))
        await db.execute("INSERT INTO jobs (ref, current_step, status) VALUES ('a-1', 'made', 'done')")
        assert await db.fetchval("SELECT job_key FROM pgbaton.dispatches") == "a-1"


async def test_a_pipeline_is_attached_to_one_table(database: str) -> None:
    async with attached(database) as db:
        await db.execute("CREATE TABLE others (LIKE jobs INCLUDING ALL)")
        before = await traces(db)
        with pytest.raises(AttachError, match=r"'craft' is attached to jobs: detach it from there first"):
            await again(db, two_stages(table="others"))
        assert await traces(db) == before


async def test_a_table_that_was_dropped_and_made_again_is_attached_again(database: str) -> None:
    async with attached(database) as db:
        await add(db)
        await db.execute("ALTER TABLE jobs RENAME TO old; CREATE TABLE jobs (LIKE old INCLUDING ALL); DROP TABLE old")
        await again(db)
        await add(db)
        assert await dispatches(db) == [("cut", "available"), ("cut", "available")]


@pytest.mark.parametrize("owned", ["nothing", "the schema pgbaton"])
async def test_a_role_that_may_not_is_told_so_and_nothing_was_changed(database: str, owned: str) -> None:
    role = f"pgbaton_test_{secrets.token_hex(6)}"
    conn = await asyncpg.connect(database)
    try:
        await conn.execute(f"CREATE ROLE {role}")
    except asyncpg.InsufficientPrivilegeError:
        await conn.close()
        pytest.skip("the test server's user cannot make roles")
    try:
        if owned == "the schema pgbaton":
            await conn.execute(
                f"GRANT ALL ON SCHEMA pgbaton, public TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA pgbaton TO {role}"
            )
        nothing = await traces(conn)
        await conn.execute(f"SET ROLE {role}")
        with pytest.raises(AttachError, match=r"no right to attach to 'public.jobs': .+"):
            await attach(conn, two_stages())
        await conn.execute("RESET ROLE")
        assert await traces(conn) == nothing
    finally:
        await conn.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")
        await conn.close()


# -- detach ---------------------------------------------------------------------------------------


async def test_detach_leaves_the_users_table_as_it_was_and_keeps_the_history(database: str) -> None:
    async with asyncpg.create_pool(database, min_size=1) as db:
        await db.execute("""
            CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
            CREATE TRIGGER mine BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION mine();
        """)
        of_the_table = (
            "SELECT array_agg(tgname ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'jobs'::regclass",
            "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
            "SELECT relacl::text FROM pg_class WHERE oid = 'jobs'::regclass",
        )
        before = [await db.fetchval(query) for query in of_the_table]
        await again(db)
        await add(db)
        await add(db, "cut")
        await db.execute("UPDATE jobs SET current_step = 'glue' WHERE current_step = 'cut'")
        rows = await db.fetch("SELECT * FROM jobs ORDER BY job_id")
        async with db.acquire() as conn:
            await detach(conn, two_stages())
        assert [await db.fetchval(query) for query in of_the_table] == before
        assert await db.fetch("SELECT * FROM jobs ORDER BY job_id") == rows
        assert await dispatches(db) == [("cut", "cancelled"), ("glue", "completed")]
        assert (await traces(db))["stages"] == []
        await add(db)
        await db.execute("TRUNCATE jobs")
        assert len(await dispatches(db)) == 2


async def test_detach_may_be_done_again_and_undone(database: str) -> None:
    async with attached(database) as db, db.acquire() as conn:
        await detach(conn, two_stages())
        await detach(conn, two_stages())
        await attach(conn, two_stages())
        await add(db)
        assert await dispatches(db) == [("cut", "available")]


async def test_a_pipeline_whose_table_is_gone_can_be_detached(database: str) -> None:
    async with attached(database) as db, db.acquire() as conn:
        await db.execute("DROP TABLE jobs")
        await detach(conn, two_stages())
        assert (await traces(db))["pipelines"] == []


async def test_detach_of_one_pipeline_leaves_the_others(database: str) -> None:
    other = two_stages(name="other", table="others")
    async with attached(database, other, "CREATE TABLE others (LIKE jobs INCLUDING ALL)") as db, attached(database):
        await db.execute("INSERT INTO others (current_step, status) VALUES ('made', 'done')")
        async with db.acquire() as conn:
            await detach(conn, two_stages())
        assert await dispatches(db) == [("cut", "available")]
        await db.execute("UPDATE others SET current_step = 'cut'")
        assert await dispatches(db) == [("cut", "completed"), ("glue", "available")]
