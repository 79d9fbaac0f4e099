"""Tables as they exist: constraints, lengths, enums, triggers and names of other people's making."""

from __future__ import annotations

import asyncio
import logging

import asyncpg
import pytest

from line import Line, attached, line, two_stages, until
from pgbaton import Pipeline, Stage, insights, operate
from pgbaton.errors import AttachError
from pgbaton.install.attach import attach
from pgbaton.table import read_table
from pgbaton.worker.watch_store import WatchStore
from stage_server import Call, Say, StageServer, work

TABLE = """
DROP TABLE jobs;
CREATE TABLE jobs (
    job_id       uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id    varchar(255) NOT NULL DEFAULT 'acme',
    current_step {step},
    status       {status},
    note         text,
    updated_at   timestamptz NOT NULL DEFAULT now()
    {more}
)
"""


def table(step: str = "text", status: str = "text", more: str = "") -> str:
    return TABLE.format(step=step, status=status, more=more)


async def alter(dsn: str, *statements: str) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await conn.execute(statement)
    finally:
        await conn.close()


# -- a row that cannot be written


async def rejects_every_tenth(server: StageServer, call: Call) -> Say:
    number = int(await server.pool.fetchval("SELECT note FROM jobs WHERE job_id = $1::text::uuid", call.job_id))
    return Say(422) if number % 10 == 0 else await work(server, call)


REFUSING = {
    "a CHECK": "ALTER TABLE jobs ADD CHECK (status <> 'failed' OR tenant_id = 'allowed')",
    "a trigger that raises": """
        CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.status = 'failed' THEN RAISE 'no failures here, said %', NEW.note; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER forbid BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION forbid()""",
    "a trigger that keeps the row": """
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.status = 'failed' THEN RETURN NULL; END IF; RETURN NEW; END $$;
        CREATE TRIGGER keep BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION keep()""",
    "a foreign key": """
        CREATE TABLE statuses (name text PRIMARY KEY);
        INSERT INTO statuses VALUES ('done'), ('running');
        ALTER TABLE jobs ADD FOREIGN KEY (status) REFERENCES statuses""",
}


@pytest.mark.parametrize("how", REFUSING)
async def test_a_row_that_the_table_refuses_is_dead_alone_and_all_others_go_on(
    database: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with line(database, rejects_every_tenth) as craft:
        await craft.db.execute(REFUSING[how])
        await craft.db.execute(
            "INSERT INTO jobs (current_step, status, note) SELECT 'made', 'done', n FROM generate_series(1, 40) n"
        )
        async with craft.worker(capacity=16):
            await craft.until_settled()
        ended = await craft.db.fetch("SELECT state, count(*) FROM pgbaton.dispatches GROUP BY 1 ORDER BY 1")
        assert {r["state"]: r["count"] for r in ended} == {"completed": 72, "dead": 4}
        dead = await craft.db.fetch("SELECT outcome, error FROM pgbaton.attempts WHERE outcome <> 'completed'")
        assert {r["outcome"] for r in dead} == {"refused"}
        assert all("the table refuses ('cut', 'failed')" in r["error"] for r in dead)
        left = await craft.db.fetch("SELECT current_step, status FROM jobs WHERE note::int % 10 = 0")
        assert {tuple(r) for r in left} == {("made", "done")}
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert not any("database not reachable" in line for line in said)
    assert not any("Failing row" in line for line in said)


async def test_an_engine_stages_row_that_the_table_refuses_ends_its_job_before_the_call(database: str) -> None:
    async with line(database, cut_advance="engine") as craft:
        await craft.db.execute("ALTER TABLE jobs ADD CHECK (status <> 'running')")
        job = await craft.add()
        async with craft.worker():
            await craft.until_state(job, "cut", "dead")
        assert await craft.row(job) == ("made", "done")
        assert craft.server.calls == []


async def test_a_users_trigger_finds_its_own_tables_when_the_engine_rewinds_a_row(database: str) -> None:
    failed: set[str] = set()

    async def fails_at_first(server: StageServer, call: Call) -> Say:
        if call.path == "/cut" and call.job_id not in failed:
            failed.add(call.job_id)
            await server.pool.execute(
                "UPDATE jobs SET current_step = 'cut', status = 'running' WHERE job_id = $1::text::uuid", call.job_id
            )
            return Say(500)
        return await work(server, call)

    async with line(database, fails_at_first) as craft:
        await craft.db.execute("""
            CREATE TABLE moves (step text, status text);
            CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO moves VALUES (NEW.current_step, NEW.status); RETURN NEW; END $$;
            CREATE TRIGGER write_down BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION write_down()""")
        job = await craft.add()
        async with craft.worker():
            await craft.until_row(job, "glue", "done")
        assert await craft.db.fetchval("SELECT count(*) FROM moves WHERE (step, status) = ('made', 'done')") == 1


# -- what attach refuses, and says


REFUSED = {
    "an enum without a word": (
        "CREATE TYPE word AS ENUM ('running', 'done', 'error'); " + table(status="word"),
        "pipeline.status: the column 'status' is an enum without 'failed'",
    ),
    "a number": (table(status="integer"), "pipeline.status: the column 'status' has the type integer"),
    "a status that is too short": (table(status="varchar(6)"), "holds 6 characters, and 'running' has 7"),
    "a step that is too short": (table(step="char(3)"), "holds 3 characters, and 'made' has 4"),
    "a domain of a short type": (
        "CREATE DOMAIN short AS varchar(3); " + table(step="short"),
        "holds 3 characters, and 'made' has 4",
    ),
    "a CHECK of the status": (
        table(status="text CHECK (status IN ('running', 'done', 'error'))"),
        "pipeline.status: the column 'status' refuses 'failed': CHECK",
    ),
    "a CHECK of the step": (
        table(step="varchar(20) CHECK (current_step IN ('made', 'cut'))"),
        "pipeline.step: the column 'current_step' refuses 'glue': CHECK",
    ),
    "a generated column": (
        table(status="text GENERATED ALWAYS AS (CASE WHEN note IS NULL THEN 'running' ELSE 'done' END) STORED"),
        "pipeline.status: the column 'status' is generated",
    ),
    "a view": (
        "ALTER TABLE jobs RENAME TO real_jobs; CREATE VIEW jobs AS SELECT * FROM real_jobs",
        "'public.jobs' is a view",
    ),
    "another case": ('ALTER TABLE jobs RENAME TO "Jobs"', "did you mean 'public.Jobs'?"),
    "a function of that name": (
        "CREATE FUNCTION notify_job_state_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        'the function "public"."notify_job_state_change"() is not pgbaton\'s',
    ),
    "a trigger of that name": (
        "CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; "
        "CREATE TRIGGER job_state_change_trigger AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION mine()",
        'the trigger job_state_change_trigger on "public"."jobs" is not pgbaton\'s',
    ),
}


@pytest.mark.parametrize("how", REFUSED)
async def test_a_table_that_cannot_hold_the_words_is_refused_and_left_as_it_is(database: str, how: str) -> None:
    ddl, sentence = REFUSED[how]
    await alter(database, ddl)
    conn = await asyncpg.connect(database)
    try:
        with pytest.raises(AttachError) as refused:
            await attach(conn, two_stages())
        assert sentence in str(refused.value)
        assert await conn.fetchval("SELECT count(*) FROM pgbaton.pipelines") == 0
        ours = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'job_state%' AND obj_description(oid) IS NOT NULL"
        assert await conn.fetchval(ours) == 0
    finally:
        await conn.close()


FITTING = {
    "an enum": "CREATE TYPE word AS ENUM ('running', 'done', 'failed', 'new'); " + table(status="word"),
    "a domain": "CREATE DOMAIN word AS varchar(7); " + table(status="word"),
    "a CHECK": table(status="varchar(7) CHECK (status IN ('running', 'done', 'failed'))"),
    "exact lengths": table(step="varchar(4)", status="varchar(7)"),
    "a CHECK of two columns": table(more=", CHECK (status <> 'failed' OR current_step IS NOT NULL)"),
    "a collation of its own": table(step='text COLLATE "POSIX"', status='text COLLATE "POSIX"'),
}


@pytest.mark.parametrize("how", FITTING)
async def test_a_table_that_can_hold_the_words_is_worked_through_failures_included(database: str, how: str) -> None:
    await alter(database, FITTING[how])

    async def glue_fails(server: StageServer, call: Call) -> Say:
        return Say(422) if call.path == "/glue" else await work(server, call)

    async with line(database, glue_fails) as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "glue", "failed")
        assert await craft.states(job) == [("cut", "completed"), ("glue", "dead")]


# -- names of others


@pytest.fixture
async def hijacked(database: str) -> str:
    """A database in whose schema public another role has functions of the names that statements of the engine use."""
    functions = {
        "array_position": "bigint[], bigint",
        "make_interval": "secs double precision",
        "cardinality": "bigint[]",
        "jsonb_build_object": "text, jsonb",
        "to_regclass": "text",
        "left": "text, integer",
        "hashtext": "text",
    }
    await alter(
        database,
        "CREATE TABLE caught (name text)",
        *(
            f"CREATE FUNCTION public.{name}({arguments}) RETURNS text LANGUAGE plpgsql AS "
            f"$$ BEGIN INSERT INTO caught VALUES ('{name}'); RETURN NULL; END $$"
            for name, arguments in functions.items()
        ),
    )
    return database


async def test_no_function_of_another_role_is_found_in_place_of_postgres_own(hijacked: str) -> None:
    async def cut_fails_once(server: StageServer, call: Call) -> Say:
        return Say(500) if call.path == "/cut" and call.attempt == 1 else await work(server, call)

    async with line(hijacked, cut_fails_once) as craft, craft.worker():
        job = await craft.add()
        await craft.until_state(job, "cut", "retryable")
        await craft.make_due()
        await craft.until_row(job, "glue", "done")
        assert await craft.db.fetch("SELECT * FROM caught") == []


# -- routes that are others in the database


async def _ended(craft: Line) -> int:
    return int(await craft.db.fetchval("SELECT count(*) FROM pgbaton.history"))


async def test_a_worker_of_another_route_leaves_the_stage_alone_and_makes_nothing_again(database: str) -> None:
    async with line(database) as craft:
        newer = Pipeline(
            **{
                **craft.pipeline.model_dump(),
                "stages": [
                    Stage(step="cut", after="made", path="/cut"),
                    Stage(step="sand", after="cut", path="/sand"),
                    Stage(step="glue", after="sand", path="/glue"),
                ],
            }
        )
        async with craft.worker(reconcile_every=1):
            async with craft.db.acquire() as conn:
                await attach(conn, newer)
            at_cut, at_sand = await craft.add("cut", "done"), await craft.add("sand", "done")
            job = await craft.add()
            await craft.until_row(job, "cut", "done")  # which both know alike
            await until(lambda: _looked_a_while(craft), "several looks at everything")
            assert await _ended(craft) <= 1
        assert [await craft.row(j) for j in (at_cut, at_sand)] == [("cut", "done"), ("sand", "done")]
        assert [c.path for c in craft.server.calls] == ["/cut"]


async def _looked_a_while(craft: Line) -> bool:
    """A worker that renewed its lease has polled and reconciled before."""
    query = "SELECT max(renewed_at - started_at) > interval '3 s' FROM pgbaton.workers"
    return bool(await craft.db.fetchval(query))


async def test_a_value_that_does_not_fit_is_an_error_and_not_cut(database: str) -> None:
    await alter(database, table(status="varchar(7)"))
    async with attached(database, two_stages(channel=None)) as db:
        await db.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
        async with db.acquire() as conn:
            known = await read_table(conn, two_stages())
        assert known.status_type == "character varying"
        with pytest.raises(asyncpg.StringDataRightTruncationError):
            await db.execute(f"UPDATE jobs SET status = 'cancelled'::{known.status_type}")


async def test_a_refused_row_at_its_entry_is_not_called_again_until_it_moves_or_a_person_says(database: str) -> None:
    """The row stays at (made, done) with no duty: to the reconciler and the census it looked like one that no trigger saw,
    and every few seconds it was called, refused and dead anew."""

    async def rejects(_server: StageServer, _call: Call) -> Say:
        return Say(422)

    async with line(database, rejects) as craft:
        await craft.db.execute("ALTER TABLE jobs ADD CHECK (status <> 'failed')")
        job = await craft.add()
        async with craft.worker(watch_every=0.2, reconcile_every=0.1):
            await craft.until_state(job, "cut", "dead")
            assert await craft.row(job) == ("made", "done")
            # A row that is really missing, behind it: when it has its duty both pages have been read.
            await craft.db.execute("ALTER TABLE jobs DISABLE TRIGGER USER")
            for _ in range(2):
                other = await craft.add()
                await craft.until_state(other, "cut", "dead")
            await craft.db.execute("ALTER TABLE jobs ENABLE TRIGGER USER")
            assert await craft.states(job) == [("cut", "dead")]
            async with craft.db.acquire() as conn:
                table = await read_table(conn, craft.pipeline)
                page = await WatchStore(conn, table).census_page(None, 100)
                assert page.missing == []
            await craft.put(job, "made", "draft")
            await craft.put(job, "made", "done")
            await until(lambda: _dead_twice(craft, job), "called again once it moved")


@pytest.mark.parametrize("begins", [True, False])
async def test_a_refused_row_is_shown_as_dead_and_is_retried_once_the_table_takes_it(
    database: str, begins: bool
) -> None:
    """Its row stands at (cut, running), or still at its entry, and not at (cut, failed): nothing is dead, it was said."""
    mended = asyncio.Event()

    async def rejects(server: StageServer, call: Call) -> Say:
        if mended.is_set():
            return await work(server, call)
        if begins:
            await server.move(call, "running")
        return Say(422)

    async with line(database, rejects, cut_attempts=1) as craft, craft.db.acquire() as conn:
        await conn.execute("ALTER TABLE jobs ADD CONSTRAINT never CHECK (status <> 'failed')")
        job = await craft.add()
        async with craft.worker(watch_every=0.2):
            await craft.until_state(job, "cut", "dead")
            assert await craft.row(job) == (("cut", "running") if begins else ("made", "done"))
            table = await insights.table_of(conn, None)
            (group,) = (await insights.dead_groups(conn, table)).groups
            assert (group.stage, group.count, group.jobs) == ("cut", 1, (job,))
            said = await insights.explain(conn, table, job)
            assert said is not None
            assert said.code == "dead"
            page = await WatchStore(conn, table).census_page(None, 100)
            assert [fault for _step, _status, _stage, fault, *_ in page.found if fault] == []
            mended.set()
            await conn.execute("ALTER TABLE jobs DROP CONSTRAINT never")
            assert (await operate.retry(conn, table, [job], who="me")).count == 1
            await craft.until_row(job, "glue", "done")
        await craft.put(job, "cut", "cancelled")
        assert (await insights.dead_groups(conn, table)).groups == ()


async def test_a_unique_index_on_what_runs_concerns_one_job_and_it_can_be_retried(database: str) -> None:
    """One lost attempt a second for each job that waited, for ever, and the log said that the database is away."""
    goes_on = asyncio.Event()

    async def waits(_server: StageServer, call: Call) -> Say:
        if call.path == "/cut":
            await goes_on.wait()
        return Say()

    async with line(database, waits, cut_advance="engine", glue_advance="engine") as craft, craft.db.acquire() as conn:
        await conn.execute("CREATE UNIQUE INDEX one_runs ON jobs (tenant_id) WHERE status = 'running'")
        async with craft.worker():
            first = await craft.add()
            await craft.until_row(first, "cut", "running")
            second = await craft.add()
            await craft.until_state(second, "cut", "dead")
            assert await craft.row(second) == ("made", "done")
            goes_on.set()
            await craft.until_row(first, "glue", "done")
            assert (await operate.retry(conn, await insights.table_of(conn, None), [second], who="me")).count == 1
            await craft.until_row(second, "glue", "done")
        assert len(await craft.attempts()) <= 5, "one refusal, and no more"


async def _dead_twice(craft: Line, job: str) -> bool:
    return (await craft.states(job)).count(("cut", "dead")) == 2
