"""The trigger in the user's own transaction: one INSERT or none, a signal, an event; and nothing that stands in
the way."""

from __future__ import annotations

import asyncio
import json
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from line import Ear, attached, line, two_stages, until
from pgbaton import Pipeline, Stage
from pgbaton.table import read_table
from pgbaton.worker.store import Store
from stage_server import Call, Say, StageServer
from store_bench import LEVELS, WAYS, bench

INSERT = "INSERT INTO jobs (current_step, status) VALUES ($1, $2) RETURNING job_id"
MOVE = "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id = $1"


async def left(db: asyncpg.Pool) -> list[tuple[str, str | None, str | None]]:
    """The duties and looks (stage '') that were left since the last question: stage, step and status; taken away."""
    rows = await db.fetch(
        "WITH d AS (DELETE FROM pgbaton.due RETURNING *) SELECT stage, step, status FROM d ORDER BY id"
    )
    return [tuple(row) for row in rows]


async def states(db: asyncpg.Pool) -> list[tuple[str, str]]:
    return [tuple(r) for r in await db.fetch("SELECT stage, state FROM pgbaton.dispatches ORDER BY id")]


# -- the table: what a change leaves ----------------------------------------------------------------

# The line is made → cut → glue. From where a dispatch may be open (the entry of a stage, or in its hands) every way but the
# beginning of that stage leaves something: a duty where a stage follows, else a look.
LEAVES = """
from          | to            | leaves
-             | made done     | cut
-             | cut done      | glue
-             | glue done     |
-             | made running  |
-             | made DONE     |
-             | cut running   |
-             | cut failed    |
-             | NULL done     |
-             | made NULL     |
-             | NULL NULL     |
made done     | cut running   |
made done     | cut done      | glue
made done     | cut failed    | look
made done     | cut waiting   | look
made done     | cut NULL      | look
made done     | made running  | look
made done     | made failed   | look
made done     | glue running  | look
made done     | glue failed   | look
made done     | glue done     | look
made done     | archived done | look
made done     | Made done     | look
made done     | NULL done     | look
made done     | NULL NULL     | look
cut running   | cut done      | glue
cut running   | cut failed    | look
cut running   | cut waiting   | look
cut running   | made done     | cut
cut running   | glue running  | look
cut running   | archived done | look
cut running   | NULL NULL     | look
cut failed    | cut running   |
cut failed    | cut done      | glue
cut failed    | made done     | cut
cut failed    | archived done | look
cut done      | glue running  |
cut done      | cut running   | look
cut done      | cut failed    | look
cut done      | made done     | cut
cut done      | glue done     | look
cut done      | archived done | look
glue running  | glue done     | look
glue running  | glue failed   | look
glue running  | cut done      | glue
glue failed   | glue running  |
glue failed   | glue done     | look
glue done     | archived done |
glue done     | glue running  |
glue done     | cut done      | glue
made running  | made done     | cut
made running  | made failed   |
draft running | draft done    |
draft done    | cut running   |
NULL NULL     | made done     | cut
cut waiting   | cut done      | glue
cut waiting   | glue running  |
"""


def changes() -> list[Any]:
    head, *lines = (tuple(cell.strip() for cell in line.split("|")) for line in LEAVES.strip().splitlines())
    assert head == ("from", "to", "leaves")

    def at(cell: str) -> tuple[str | None, ...] | None:
        return None if cell == "-" else tuple(None if word == "NULL" else word for word in cell.split())

    return [pytest.param(at(a), at(b), leaves, id=f"{a} to {b}") for a, b, leaves in lines]


@pytest.mark.parametrize("isolation", LEVELS)
async def test_a_change_leaves_a_duty_a_look_or_nothing_as_the_table_says(database: str, isolation: str) -> None:
    async with attached(database) as db, db.acquire() as conn:
        for case in changes():
            source, target, leaves = case.values
            if source is not None:
                job = await db.fetchval(INSERT, *source)
                await left(db)
            async with conn.transaction(isolation=isolation):
                if source is None:
                    job = await conn.fetchval(INSERT, *target)
                else:
                    await conn.execute(MOVE, job, *target)
            rows = await db.fetch("SELECT job_key, pipeline, tenant FROM pgbaton.due")
            assert [tuple(row) for row in rows] == [(str(job), "craft", "acme")] * bool(leaves), case.id
            assert await left(db) == [("" if leaves == "look" else leaves, *target)] * bool(leaves), case.id


STATES_OF_A_CALL = ["", "held", "left", "waiting", "parked", "dead"]


@pytest.mark.parametrize("isolation", LEVELS)
@pytest.mark.parametrize("standing", STATES_OF_A_CALL)
async def test_a_writer_changes_and_locks_no_row_of_the_engines_and_reads_none(
    database: str, standing: str, isolation: str
) -> None:
    """With any call of the job, one INSERT into due is the only write to the engine's tables."""
    async with bench(database) as b:
        job = await b.job_in(standing)
        ways = [w for w in WAYS if w != "TRUNCATE jobs"]
        for way in ways:
            before = await b.engine_rows()
            duties = await b.db.fetchval("SELECT count(*) FROM pgbaton.due")
            async with b.db.acquire() as conn:
                transaction = conn.transaction(isolation=isolation)
                await transaction.start()
                await conn.execute(way.replace("$1", f"'{job}'"))
                touched = await conn.fetch(
                    "SELECT DISTINCT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
                    " WHERE l.pid = pg_backend_pid() AND c.relnamespace = 'pgbaton'::regnamespace"
                )
                assert {tuple(r) for r in touched} <= {
                    ("due", "RowExclusiveLock"),
                    ("due_of_stage", "RowExclusiveLock"),
                    ("due_of_job", "RowExclusiveLock"),
                    ("due_id_seq", "RowExclusiveLock"),
                    ("due_id_seq", "AccessShareLock"),
                }, way
                left_now = await conn.fetchval("SELECT count(*) FROM pgbaton.due")
                assert left_now - duties in (0, 1), way
                async with b.db.acquire() as other, other.transaction():
                    for table in ("due", "calls", "history", "workers", "stages", "pipelines", "paused_tenants"):
                        await other.execute(f"SELECT FROM pgbaton.{table} FOR UPDATE NOWAIT")
                await transaction.rollback()
            assert await b.engine_rows() == before, way


@pytest.mark.parametrize("isolation", LEVELS)
async def test_a_writer_neither_waits_for_a_claim_nor_is_aborted_by_it(database: str, isolation: str) -> None:
    """A turn, a settlement and a claim of what waits are under way and hold their locks; the writer took its snapshot before
    they began."""
    async with bench(database) as b:
        fresh, held, waiting = await b.job_in(""), await b.job_in("held"), await b.job_in("waiting")
        await b.add_duty(fresh)
        async with b.db.acquire() as writer, b.db.acquire() as busy, writer.transaction(isolation=isolation):
            await writer.fetchval("SELECT count(*) FROM jobs")
            working = busy.transaction()
            await working.start()
            worker = Store(busy, b.table, b.store.steps)
            assert (await worker.turn(b.worker, 9)).claimed
            assert (await worker.claim_waiting(b.worker, 9)).claimed
            await b.settle_with(worker, held, 500)
            async with asyncio.timeout(5):
                for job in (fresh, held, waiting):
                    for at in (("cut", "running"), ("made", "done"), ("cut", "done")):
                        await writer.execute(MOVE, uuid.UUID(job), *at)
            await working.rollback()
        left_by = await b.db.fetchval("SELECT count(*) FROM pgbaton.due WHERE stage = 'glue'")
        assert left_by == 3


@pytest.mark.parametrize("isolation", LEVELS)
async def test_writers_on_neighbouring_rows_never_abort_one_another(database: str, isolation: str) -> None:
    """They share pages of the engine's indexes, and nothing else."""
    async with attached(database) as db:
        # The transaction's own reads and writes of jobs must not conflict: rows are found by the primary key, and an
        # update finds room on its page, so that no index of the user's is written.
        await db.execute("ALTER TABLE jobs SET (fillfactor = 10)")
        jobs = [await db.fetchval(INSERT, "draft", "done") for _ in range(8)]

        async def write(job: uuid.UUID) -> None:
            async with db.acquire() as conn:
                await conn.execute("SET enable_seqscan = off")
                for at in (("made", "done"), ("cut", "running"), ("cut", "done"), ("glue", "done")) * 10:
                    async with conn.transaction(isolation=isolation):
                        await conn.execute(MOVE, job, *at)

        await asyncio.gather(*map(write, jobs))
        assert await db.fetchval("SELECT count(*) FROM pgbaton.due") == 8 * 30


async def test_a_serializable_writer_leaves_no_mark_on_a_table_of_the_engines(database: str) -> None:
    """Only what one transaction reads and another writes can abort either."""
    async with attached(database) as db:
        job = await db.fetchval(INSERT, "made", "done")
        async with db.acquire() as conn, conn.transaction(isolation="serializable"):
            for status in ("running", "failed", "done"):
                await conn.execute("UPDATE jobs SET current_step = 'cut', status = $1", status)
            await conn.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
            await conn.execute("DELETE FROM jobs WHERE job_id = $1", job)
            read = await conn.fetch(
                "SELECT DISTINCT c.relnamespace::regnamespace::text AS schema, c.relname AS name"
                "  FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
                " WHERE l.mode = 'SIReadLock' AND l.pid = pg_backend_pid()"
            )
        assert "jobs" in [r["name"] for r in read]  # so the question was asked in the right way
        assert [r["name"] for r in read if r["schema"] == "pgbaton"] == []


async def test_a_job_that_is_gone_leaves_nothing_and_its_duty_is_found_to_be_void(database: str) -> None:
    async with bench(database) as b:
        for statement in ("DELETE FROM jobs", "TRUNCATE jobs", "DELETE FROM ONLY jobs"):
            job = await b.add()
            before = await b.engine_rows()
            await b.db.execute(statement)
            assert await b.engine_rows() == before
            await b.resolve(await b.store.turn(b.worker, 9))
            assert await b.states(job) == [("cut", "cancelled")]


# -- quiet: the engine's own writes -----------------------------------------------------------------


async def test_a_rewind_of_the_engines_is_silent_for_its_own_keys_and_no_others(database: str) -> None:
    async with attached(database) as db, db.acquire() as conn, Ear.on(database, "job_state_changed") as ear:
        ours, other = await db.fetchval(INSERT, "cut", "failed"), await db.fetchval(INSERT, "cut", "failed")
        await ear.heard()
        async with conn.transaction():
            rewinds = json.dumps({"craft": {str(ours): ["made", "done"]}, "other": {str(other): ["made", "done"]}})
            await conn.execute("SELECT set_config('pgbaton.quiet', $1, true)", rewinds)
            await conn.execute("UPDATE jobs SET current_step = 'made', status = 'done'")
            assert [r["job_key"] for r in await conn.fetch("SELECT job_key FROM pgbaton.due")] == [str(other)]
            await conn.execute(MOVE, ours, "cut", "done")  # as a trigger of the user's may, in the same statement
        keys = [r["job_key"] for r in await db.fetch("SELECT job_key FROM pgbaton.due ORDER BY id")]
        assert keys == [str(other), str(ours)]
        assert len(await ear.events()) == 3, "what is published is every change"
        await left(db)
        await conn.execute(MOVE, ours, "cut", "failed")
        assert await left(db) == [("", "cut", "failed")], "the setting ends with its transaction"


async def test_a_users_trigger_that_moves_other_rows_in_the_engines_statement_leaves_their_duties(
    database: str,
) -> None:
    async with bench(database) as b:
        await b.db.execute("""
            CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN UPDATE jobs SET current_step = 'made', status = 'done' WHERE note = NEW.job_id::text;
               RETURN NULL; END $$;
            CREATE TRIGGER zz_after_jobs AFTER UPDATE ON jobs FOR EACH ROW WHEN (NEW.current_step = 'made' AND
                NEW.note IS NULL) EXECUTE FUNCTION follow();
        """)
        job = await b.job_in("held")
        await b.put(job, "cut", "running")
        follower = await b.add("draft", "done")
        await b.db.execute("UPDATE jobs SET note = $1 WHERE job_id = $2::text::uuid", job, follower)
        await b.settle_with(b.store, job, 500)
        assert await b.row(job) == ("made", "done")
        assert [r["job_key"] for r in await b.db.fetch("SELECT job_key FROM pgbaton.due")] == [follower]


# -- which statements it sees ---------------------------------------------------------------------


async def test_many_rows_in_one_statement_leave_one_duty_each(database: str) -> None:
    async with attached(database) as db:
        await db.execute("INSERT INTO jobs (current_step, status) SELECT 'made', 'done' FROM generate_series(1, 500)")
        await db.execute("UPDATE jobs SET current_step = 'cut'")
        counts = await db.fetch("SELECT stage, state, count(*) FROM pgbaton.dispatches GROUP BY 1, 2 ORDER BY 1")
        assert [tuple(c) for c in counts] == [("cut", "completed", 500), ("glue", "available", 500)]


async def test_rows_that_are_copied_in_are_seen(database: str) -> None:
    async with attached(database) as db, db.acquire() as conn:
        await conn.copy_records_to_table("jobs", records=[("made", "done")] * 3, columns=["current_step", "status"])
        assert await states(db) == [("cut", "available")] * 3


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE jobs SET note = 'other', tenant_id = 'umbrella', updated_at = now()",
        "UPDATE jobs SET current_step = current_step, status = status",
        "UPDATE jobs SET current_step = 'made', status = 'done'",
        "UPDATE jobs SET status = 'running' WHERE false",
        "SELECT * FROM jobs FOR UPDATE",
    ],
)
async def test_a_change_of_neither_step_nor_status_is_no_event(database: str, statement: str) -> None:
    async with attached(database) as db, Ear.on(database, "job_state_changed", "pgbaton_wake") as ear:
        for at in (("made", "done"), ("cut", "running"), ("draft", None)):
            await db.execute("DELETE FROM jobs")
            await db.fetchval(INSERT, *at)
            await left(db)
            await ear.heard()
            await db.execute(statement.replace("'made'", "current_step").replace("'done'", "status"))
            assert await left(db) == [], at
            assert await ear.heard() == [], at


async def test_a_job_that_gets_another_key_leaves_the_duty_of_its_new_key(database: str) -> None:
    async with bench(database) as b:
        old = await b.add()
        new = str(await b.db.fetchval("UPDATE jobs SET job_id = gen_random_uuid() RETURNING job_id"))
        await b.resolve(await b.store.turn(b.worker, 9))
        assert await b.states(old) == [("cut", "cancelled")]
        assert await b.states(new) == [("cut", "running")]


async def test_a_job_that_comes_back_under_its_old_key_leaves_a_new_duty(database: str) -> None:
    async with attached(database) as db, db.acquire() as conn:
        job = await db.fetchval(INSERT, "made", "done")
        assert await left(db) == [("cut", "made", "done")]
        async with conn.transaction():
            await conn.execute("DELETE FROM jobs")
            await conn.execute("INSERT INTO jobs (job_id, current_step, status) VALUES ($1, 'made', 'done')", job)
        assert await left(db) == [("cut", "made", "done")]


async def test_both_halves_of_an_upsert_are_seen(database: str) -> None:
    upsert = (
        "INSERT INTO jobs (job_id, current_step, status) VALUES ($1, $2, $3) "
        "ON CONFLICT (job_id) DO UPDATE SET current_step = EXCLUDED.current_step, status = EXCLUDED.status"
    )
    async with attached(database) as db:
        job = uuid.uuid4()
        await db.execute(upsert, job, "made", "done")
        assert await left(db) == [("cut", "made", "done")]
        await db.execute(upsert, job, "cut", "done")
        await db.execute(upsert, job, "cut", "done")
        assert await left(db) == [("glue", "cut", "done")]


async def test_a_merge_is_seen(database: str) -> None:
    async with attached(database) as db:
        if int(await db.fetchval("SHOW server_version_num")) < 150000:
            pytest.skip("MERGE came with PostgreSQL 15")
        await db.fetchval(INSERT, "made", "done")
        await db.execute(
            "MERGE INTO jobs AS j USING (SELECT 'cut' AS step) AS s ON true "
            "WHEN MATCHED THEN UPDATE SET current_step = s.step "
            "WHEN NOT MATCHED THEN INSERT (current_step, status) VALUES ('made', 'done')"
        )
        assert await left(db) == [("cut", "made", "done"), ("glue", "cut", "done")]


async def test_the_row_counts_as_a_before_trigger_of_the_users_leaves_it(database: str) -> None:
    async with attached(database) as db:
        await db.execute("""
            CREATE FUNCTION finish() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.note = 'finish' THEN NEW.current_step := 'cut'; NEW.status := 'done'; END IF;
               IF NEW.note = 'never mind' THEN NEW.status := OLD.status; END IF; RETURN NEW; END $$;
            CREATE TRIGGER before_jobs BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION finish();
        """)
        await db.fetchval(INSERT, "made", "done")
        await db.execute("UPDATE jobs SET status = 'broken', note = 'never mind'")
        assert await left(db) == [("cut", "made", "done")]
        await db.execute("UPDATE jobs SET note = 'finish'")
        assert await left(db) == [("glue", "cut", "done")]


async def test_a_users_own_after_trigger_that_moves_the_row_on_is_followed(database: str) -> None:
    async with attached(database) as db:
        await db.execute("""
            CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN UPDATE jobs SET current_step = 'cut' WHERE job_id = NEW.job_id AND current_step = 'made';
               RETURN NULL; END $$;
            CREATE TRIGGER zz_after_jobs AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION skip();
        """)
        await db.fetchval(INSERT, "made", "done")
        assert await left(db) == [("cut", "made", "done"), ("glue", "cut", "done")]


# -- the transaction ------------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", LEVELS)
async def test_a_transaction_that_is_rolled_back_leaves_nothing(database: str, isolation: str) -> None:
    async with attached(database) as db, Ear.on(database, "job_state_changed") as ear:
        job = await db.fetchval(INSERT, "draft", "done")
        await ear.heard()
        async with db.acquire() as conn:
            transaction = conn.transaction(isolation=isolation)
            await transaction.start()
            await conn.execute(MOVE, job, "cut", "done")
            await conn.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
            await transaction.rollback()
        assert await left(db) == []
        assert await ear.heard() == []


@pytest.mark.parametrize("isolation", LEVELS)
async def test_only_what_was_kept_of_a_transaction_counts(database: str, isolation: str) -> None:
    async with attached(database) as db, Ear.on(database, "job_state_changed") as ear:
        job = await db.fetchval(INSERT, "made", "done")
        await left(db)
        await ear.heard()
        async with db.acquire() as conn, conn.transaction(isolation=isolation):
            inner = conn.transaction()
            await inner.start()
            await conn.execute(MOVE, job, "archived", "done")
            await inner.rollback()
            await conn.execute(MOVE, job, "cut", "done")
        assert await left(db) == [("glue", "cut", "done")]
        assert [(e["current_step"], e["status"]) for e in await ear.events()] == [("cut", "done")]


async def test_several_steps_in_one_transaction_leave_a_duty_for_each_routed_state(database: str) -> None:
    async with attached(database) as db, db.acquire() as conn:
        async with conn.transaction():
            job = await conn.fetchval(INSERT, "made", "done")
            await conn.execute(MOVE, job, "cut", "running")
            await conn.execute(MOVE, job, "cut", "done")
            await conn.execute(MOVE, job, "glue", "running")
        assert await left(db) == [("cut", "made", "done"), ("glue", "cut", "done")]


async def test_no_worker_sees_a_duty_before_the_commit_that_leaves_it(database: str) -> None:
    async with bench(database) as b, b.db.acquire() as conn, conn.transaction():
        await conn.fetchval(INSERT, "made", "done")
        assert (await b.store.turn(b.worker, 9)).found == 0


# -- the event ------------------------------------------------------------------------------------


async def test_every_change_is_published_with_the_keys_and_types_of_the_contract(database: str) -> None:
    async with attached(database) as db, Ear.on(database, "job_state_changed") as ear:
        job = await db.fetchval(INSERT, "img_gen", "running")
        await db.execute(MOVE, job, "img_gen", "failed")
        await db.execute(MOVE, job, None, None)
        inserted, updated, emptied = await ear.events()
        when = await db.fetchval("SELECT to_json(updated_at)#>>'{}' FROM jobs")
        assert inserted == {
            "job_id": str(job),
            "current_step": "img_gen",
            "status": "running",
            "tenant_id": "acme",
            "updated_at": when,
        }
        assert list(inserted) == ["job_id", "current_step", "status", "tenant_id", "updated_at"]
        assert updated == inserted | {"status": "failed"}
        assert emptied == inserted | {"current_step": None, "status": None}


async def test_a_deleted_job_publishes_nothing(database: str) -> None:
    async with attached(database) as db, Ear.on(database, "job_state_changed") as ear:
        await db.fetchval(INSERT, "made", "done")
        await ear.heard()
        await db.execute("DELETE FROM jobs")
        assert await ear.heard() == []


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(dsn)
    try:
        yield conn
    finally:
        await conn.close()


CLOSE_THE_GATE = "SELECT pg_advisory_lock(72394502, hashtext('craft'))"
OPEN_THE_GATE = "SELECT pg_advisory_unlock(72394502, hashtext('craft'))"


async def test_a_writer_without_a_channel_and_without_a_sleeping_worker_notifies_no_session(database: str) -> None:
    async with attached(database, two_stages(channel=None)) as db, Ear.on(database, "pgbaton_wake") as ear:
        await db.execute(INSERT, "made", "done")
        assert await ear.heard() == []


async def test_a_worker_that_only_waits_to_fall_asleep_is_woken_too(database: str) -> None:
    """A transaction of long ago keeps the gate from closing; a writer that comes after the worker has asked notifies."""
    async with (
        attached(database, two_stages(channel=None)) as db,
        connected(database) as writer,
        connected(database) as sleeper,
        Ear.on(database, "pgbaton_wake") as ear,
    ):
        long = writer.transaction()
        await long.start()
        early = await writer.fetchval(INSERT, "made", "done")
        falling_asleep = asyncio.create_task(sleeper.execute(CLOSE_THE_GATE))
        waiting = "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await until(lambda: db.fetchval(waiting), "the sleeper waits for the gate")
        await db.execute(INSERT, "made", "done")
        assert await ear.heard() == [("pgbaton_wake", "craft")]
        assert not falling_asleep.done()
        await long.commit()
        assert await ear.heard() == []
        await falling_asleep  # and only now it claims once more: what was written unheard is there
        assert await db.fetchval("SELECT count(*) FROM pgbaton.due WHERE job_key = $1", str(early)) == 1


async def test_without_a_channel_only_a_duty_or_look_wakes_a_sleeping_worker_and_nothing_is_published(
    database: str,
) -> None:
    channels = ("job_state_changed", "pgbaton_wake")
    async with (
        attached(database, two_stages(channel=None)) as db,
        connected(database) as sleeper,
        Ear.on(database, *channels) as ear,
    ):
        await sleeper.execute(CLOSE_THE_GATE)
        job = await db.fetchval(INSERT, "draft", "running")
        assert await ear.heard() == []
        await db.execute(MOVE, job, "made", "done")
        assert await ear.heard() == [("pgbaton_wake", "craft")]
        await db.execute(MOVE, job, "cut", "running")
        assert await ear.heard() == []
        await db.execute(MOVE, job, "cut", "failed")
        assert await ear.heard() == [("pgbaton_wake", "craft")]


async def test_the_payload_of_any_length_stays_under_8000_bytes_and_is_json(database: str) -> None:
    async with attached(database) as db:
        rows = await db.fetch(
            "SELECT n, s, "
            "       pgbaton.event_payload(repeat('k', n), repeat(s, n / 3), 'done', repeat('\"', n / 5), now()) AS said"
            "  FROM generate_series(1, 9000, 7) AS n CROSS JOIN (VALUES ('x'), ('한'), ('\\'), (E'\\x01')) AS v (s)"
        )
        assert 7950 < max(len(row["said"].encode()) for row in rows) < 8000
        for row in rows:
            n, event = row["n"], json.loads(row["said"])
            whole = {
                "job_id": "k" * n,
                "current_step": row["s"] * (n // 3),
                "status": "done",
                "tenant_id": '"' * (n // 5),
            }
            kept = [name for name in event if name != "updated_at"]
            assert kept == [name for name in whole if name in event]
            assert all(event[name] == whole[name] for name in kept)
            assert ("job_id" in event) == (n <= 7982)  # it comes first: nothing else can take its room


@pytest.mark.parametrize("name", ["job_id", "current_step", "status", "tenant_id"])
async def test_an_oversized_value_never_fails_the_users_transaction(database: str, name: str) -> None:
    pipeline = two_stages(table="notes")
    ddl = "CREATE TABLE notes (job_id text PRIMARY KEY, tenant_id text, current_step text, status text)"
    columns = ("job_id", "tenant_id", "current_step", "status")
    async with attached(database, pipeline, ddl) as db, Ear.on(database, "job_state_changed") as ear:
        for letter in ("k", '"', "한", "\x01"):
            values = dict(zip(columns, ("j1", "acme", "made", "done"), strict=True)) | {name: letter * 10_000}
            await db.execute("INSERT INTO notes VALUES ($1, $2, $3, $4)", *values.values())
            ((_, payload),) = await ear.heard()
            assert len(payload.encode()) < 8000
            assert json.loads(payload) == {c: values[c] for c in columns if c != name} | {"updated_at": None}
            routed = name in ("job_id", "tenant_id")
            assert await states(db) == [("cut", "available")] * routed
            await db.execute("UPDATE notes SET status = 'running'")
            await db.execute("DELETE FROM notes")
            await db.execute("TRUNCATE pgbaton.due")
            await ear.heard()


@pytest.mark.parametrize(("length", "driven"), [(2000, True), (2640, True), (2641, False), (2690, False)])
async def test_a_key_that_the_users_own_index_can_hold_never_fails_the_users_transaction(
    database: str, length: int, driven: bool
) -> None:
    """Theirs holds 2,692 bytes that do not compress, and ours less: the engine leaves the job of such a key alone."""
    pipeline = two_stages(table="notes", name="a" * 48)
    ddl = "CREATE TABLE notes (job_id text PRIMARY KEY, tenant_id text, current_step text, status text)"
    async with attached(database, pipeline, ddl) as db, db.acquire() as conn:
        said: list[str] = []

        def hear(_conn: object, message: asyncpg.PostgresLogMessage) -> None:
            said.append(message.message)

        conn.add_log_listener(hear)
        key = "".join(chr(33 + secrets.randbelow(94)) for _ in range(length))  # nothing to compress
        await conn.execute("INSERT INTO notes VALUES ($1, 'acme', 'made', 'done')", key)
        store = Store(db, await read_table(conn, pipeline), ["cut", "glue"])
        assert (await store.unreconciled(None, 9)).missing == ()
        assert await store.reconcile([key]) == []
        assert [r[0] for r in await db.fetch("SELECT job_key FROM pgbaton.dispatches")] == [key] * driven
        assert [message[:27] for message in said] == ["pgbaton leaves a job alone "] * (not driven)
        conn.remove_log_listener(hear)
        if driven:  # what fits into the index of the duties fits into the others
            worker, _ = await store.take_lease(None, "me", 1, 60, [])
            (claimed,) = (await store.turn(worker, 9)).claimed
            assert claimed.job_key == key
        await conn.execute("UPDATE notes SET status = 'running'")
        await conn.execute("DELETE FROM notes")


@pytest.mark.parametrize("isolation", LEVELS)
async def test_a_row_without_a_key_is_left_alone(database: str, isolation: str) -> None:
    pipeline = two_stages(table="notes", key="ref")
    ddl = "CREATE TABLE notes (id int PRIMARY KEY, ref text UNIQUE, tenant_id text, current_step text, status text)"
    async with attached(database, pipeline, ddl) as db, Ear.on(database, "job_state_changed") as ear:
        async with db.acquire() as conn, conn.transaction(isolation=isolation):
            await conn.execute(
                "INSERT INTO notes VALUES (1, NULL, 'acme', 'made', 'done'), (2, NULL, NULL, NULL, NULL)"
            )
            await conn.execute("UPDATE notes SET current_step = 'cut', status = 'done'")
        assert (await left(db), await ear.heard()) == ([], [])
        await db.execute("UPDATE notes SET ref = 'r1' WHERE id = 1")
        assert await left(db) == [("glue", "cut", "done")]
        await db.execute("UPDATE notes SET ref = NULL WHERE id = 1")
        assert await left(db) == []


# -- whose right it is ----------------------------------------------------------------------------


@asynccontextmanager
async def a_role(dsn: str) -> AsyncIterator[tuple[asyncpg.Connection, str]]:
    """A session that acts as a role of no rights but those that the test gives it; the role's name."""
    owner = await asyncpg.connect(dsn)
    name = f"pgbaton_test_{secrets.token_hex(6)}"
    try:
        await owner.execute(f"CREATE ROLE {name}")
    except asyncpg.InsufficientPrivilegeError:
        await owner.close()
        pytest.skip("the test server's user cannot make roles")
    session = await asyncpg.connect(dsn)
    try:
        yield session, name
    finally:
        await session.close()
        await owner.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
        await owner.close()


async def test_a_role_with_no_right_on_pgbaton_can_change_its_jobs(database: str) -> None:
    async with attached(database) as db, a_role(database) as (app, role):
        await db.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON jobs TO {role}")
        await app.execute(f"SET ROLE {role}")
        job = await app.fetchval(INSERT, "made", "done")
        await app.execute(MOVE, job, "cut", "done")
        await app.execute("UPDATE jobs SET job_id = gen_random_uuid()")
        await app.execute("DELETE FROM jobs")
        await app.fetchval(INSERT, "made", "done")
        await app.execute("TRUNCATE jobs")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.fetch("SELECT * FROM pgbaton.dispatches")
        assert await left(db) == [
            ("cut", "made", "done"),
            ("glue", "cut", "done"),
            ("glue", "cut", "done"),
            ("cut", "made", "done"),
        ]


async def test_a_role_cannot_use_the_trigger_function_for_a_table_of_its_own(database: str) -> None:
    async with attached(database) as db, a_role(database) as (app, role):
        await db.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
        await app.execute(f"SET ROLE {role}")
        await app.execute("CREATE TABLE mine (job_id text, tenant_id text, current_step text, status text)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(
                "CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION notify_job_state_change()"
            )


HOSTILE = """
CREATE SCHEMA evil;
CREATE DOMAIN evil.text AS pg_catalog.varchar(1);
CREATE DOMAIN evil.timestamptz AS pg_catalog.timestamp;
CREATE DOMAIN evil.jsonb AS pg_catalog.text;
CREATE FUNCTION evil.fooled(anyelement, anyelement) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.is(pg_catalog.text, pg_catalog.text) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.is(pg_catalog.varchar, pg_catalog.varchar) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.is(pg_catalog.int4, pg_catalog.int4) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE OPERATOR evil.= (LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text, FUNCTION = evil.is);
CREATE OPERATOR evil.<> (LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text, FUNCTION = evil.is);
CREATE OPERATOR evil.= (LEFTARG = pg_catalog.varchar, RIGHTARG = pg_catalog.varchar, FUNCTION = evil.is);
CREATE OPERATOR evil.<> (LEFTARG = pg_catalog.varchar, RIGHTARG = pg_catalog.varchar, FUNCTION = evil.is);
CREATE OPERATOR evil.> (LEFTARG = pg_catalog.int4, RIGHTARG = pg_catalog.int4, FUNCTION = evil.is);
CREATE OPERATOR evil.< (LEFTARG = pg_catalog.int4, RIGHTARG = pg_catalog.int4, FUNCTION = evil.is);
CREATE FUNCTION evil.pg_notify(pg_catalog.text, pg_catalog.text) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.clock_timestamp() RETURNS pg_catalog.timestamptz LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.current_setting(pg_catalog.text, boolean) RETURNS pg_catalog.text LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.hashtext(pg_catalog.text) RETURNS pg_catalog.int4 LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.pg_notification_queue_usage() RETURNS pg_catalog.float8 LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.pg_try_advisory_xact_lock_shared(pg_catalog.int4, pg_catalog.int4) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
"""


@pytest.mark.parametrize("channel", ["job_state_changed", None])
async def test_a_hostile_search_path_changes_nothing(database: str, channel: str | None) -> None:
    """An attacker's schema stands first, with operators, functions and types that have the names of Postgres' own. The
    trigger runs with its owner's rights: nothing of the attacker's may run in it."""
    async with (
        attached(database, two_stages(channel=channel)) as db,
        db.acquire() as conn,
        connected(database) as sleeper,
    ):
        await sleeper.execute(CLOSE_THE_GATE)
        await conn.execute(HOSTILE)
        await conn.execute("SET search_path = evil, pg_catalog, public")
        await conn.execute(
            "INSERT INTO public.jobs (current_step, status, tenant_id) VALUES ('made', 'done', 'umbrella')"
        )
        for step, status in (
            ("cut", "running"),
            ("cut", "failed"),
            ("cut", "running"),
            ("cut", "done"),
            ("aside", "x"),
        ):
            await conn.execute(f"UPDATE public.jobs SET current_step = '{step}', status = '{status}'")
        await conn.execute('SET pgbaton.quiet = \'{"craft": {"x": ["made", "done"]}}\'')
        await conn.execute("UPDATE public.jobs SET current_step = 'made', status = 'done'")
        assert {r["tenant"] for r in await db.fetch("SELECT tenant FROM pgbaton.due")} == {"umbrella"}
        assert [stage for stage, *_ in await left(db)] == ["cut", "", "glue", "", "cut"]
        await conn.execute("RESET ALL")


# -- all kinds of tables --------------------------------------------------------------------------

KINDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a bigint key": (
        "CREATE TABLE orders (id bigserial PRIMARY KEY, step text, status text, tenant text)",
        {"table": "orders", "key": "id", "tenant": "tenant"},
        "INSERT INTO orders (step, status, tenant) VALUES ('made', 'done', 'acme')",
    ),
    "a text key, no tenant, no updated_at": (
        "CREATE TABLE orders (id text PRIMARY KEY, step text, status text)",
        {"table": "orders", "key": "id"},
        "INSERT INTO orders VALUES ('한글 \"quoted\" ''key'' \\', 'made', 'done')",
    ),
    "a unique key that is not the primary one": (
        "CREATE TABLE orders (id int PRIMARY KEY, ref varchar(40) UNIQUE, step text, status text)",
        {"table": "orders", "key": "ref"},
        "INSERT INTO orders VALUES (1, 'A-1', 'made', 'done'), (2, NULL, 'made', 'done')",
    ),
    "enum columns": (
        "CREATE TYPE step AS ENUM ('made', 'cut', 'glue'); CREATE TYPE state AS ENUM ('running', 'done', 'failed');"
        "CREATE TABLE orders (id int PRIMARY KEY, step step, status state)",
        {"table": "orders", "key": "id"},
        "INSERT INTO orders VALUES (1, 'made', 'done')",
    ),
    "char and domain columns": (
        "CREATE DOMAIN state AS varchar(20) CHECK (VALUE <> ''); CREATE DOMAIN ref AS char(8);"
        "CREATE TABLE orders (id ref PRIMARY KEY, step char(10), status state, updated_at timestamp)",
        {"table": "orders", "key": "id"},
        "INSERT INTO orders VALUES ('a-1', 'made', 'done')",
    ),
    "a schema, a table and columns in capitals": (
        'CREATE SCHEMA "Shop"; '
        'CREATE TABLE "Shop"."Orders" ("Id" int PRIMARY KEY, "Step" text, "Status" text, "For" text)',
        {"table": "Shop.Orders", "key": "Id", "step": "Step", "status": "Status", "tenant": "For"},
        """INSERT INTO "Shop"."Orders" VALUES (1, 'made', 'done', 'acme')""",
    ),
    "names that are SQL words and signs": (
        """CREATE SCHEMA "select"; CREATE TABLE "select"."o'clock 100%s $fn$ {key} 주문" """
        """("from's" int PRIMARY KEY, "%I" text, "$ddl$" text, "{table}" text, updated_at timestamptz)""",
        {
            "table": "select.o'clock 100%s $fn$ {key} 주문",
            "key": "from's",
            "step": "%I",
            "status": "$ddl$",
            "tenant": "{table}",
        },
        """INSERT INTO "select"."o'clock 100%s $fn$ {key} 주문" VALUES (1, 'made', 'done', 'acme')""",
    ),
    "a name of 63 bytes": (
        f"CREATE TABLE {'t' * 63} (id int PRIMARY KEY, step text, status text)",
        {"table": "t" * 63, "key": "id"},
        f"INSERT INTO {'t' * 63} VALUES (1, 'made', 'done')",
    ),
    "partitions": (
        "CREATE TABLE orders (id int PRIMARY KEY, step text, status text, updated_at timestamptz) "
        "PARTITION BY HASH (id);"
        "CREATE TABLE orders_0 PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE orders_1 PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 1);",
        {"table": "orders", "key": "id"},
        "INSERT INTO orders SELECT n, 'made', 'done' FROM generate_series(1, 8) AS n",
    ),
    "an updated_at that is no time": (
        "CREATE TABLE orders (id int PRIMARY KEY, step text, status text, updated_at text)",
        {"table": "orders", "key": "id"},
        "INSERT INTO orders VALUES (1, 'made', 'done', 'yesterday')",
    ),
    "a generated column and a dropped one": (
        "CREATE TABLE orders (gone text, id int PRIMARY KEY, step text, status text, "
        "long text GENERATED ALWAYS AS (step || status) STORED); ALTER TABLE orders DROP COLUMN gone",
        {"table": "orders", "key": "id"},
        "INSERT INTO orders VALUES (1, 'made', 'done')",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_jobs_of_a_table_with(database: str, kind: str) -> None:
    """… go all the way, with every statement of the engine on the way: the engine itself writes the row."""
    ddl, names, insert = KINDS[kind]
    names = {"tenant": None, "step": "step", "status": "status", **names}

    async def fail_once(server: StageServer, call: Call) -> Say:
        return Say(429, {"retry-after": "0"}) if call.attempt == 1 else Say()

    db = await asyncpg.connect(database)
    await db.execute(ddl)
    engine = {"cut_advance": "engine", "glue_advance": "engine"}
    async with line(database, fail_once, **names, **engine) as craft, Ear.on(database, "job_state_changed") as ear:
        async with craft.worker(poll=60):
            await db.execute(insert)
            where = f"FROM {_quoted(names['table'])} AS t"
            step, status, key = (f't."{names[n]}"' for n in ("step", "status", "key"))
            unfinished = f"SELECT count(*) = 0 {where} WHERE ({step}::text, {status}::text) <> ('glue', 'done') "
            unfinished += f"AND {key} IS NOT NULL"
            await until(lambda: db.fetchval(unfinished), "every job done")
            await craft.until_settled()
        keys = {row["key"] for row in await db.fetch(f"SELECT {key}::text AS key {where} WHERE {key} IS NOT NULL")}
        assert {c.job_id for c in craft.server.calls} == keys
        assert {s for _, s in await craft.states()} == {"completed"}
        assert len(await craft.dispatches()) == 2 * len(keys)
        events = await ear.events()
        assert {e["job_id"] for e in events} == keys
        assert {e["tenant_id"] for e in events} == ({"acme"} if names["tenant"] else {None})
        assert {e["updated_at"] is None for e in events[len(keys) :]} == {"updated_at timestamp" not in ddl}
    await db.close()


def _quoted(table: str) -> str:
    return ".".join(f'"{part}"' for part in table.split("."))


async def test_a_job_that_moves_to_another_partition_leaves_exactly_one_duty_that_its_row_asks_for(
    database: str,
) -> None:
    ddl, names, insert = KINDS["partitions"]
    pipeline = Pipeline(
        name="craft",
        step="step",
        status="status",
        base_url="http://127.0.0.1:9",
        stages=[Stage(step="cut", after="made", path="/cut")],
        **names,
    )
    async with attached(database, pipeline, ddl) as db:
        await db.execute(insert)
        await db.execute("DELETE FROM pgbaton.due")
        await db.execute("UPDATE orders SET id = id + 100")
        keys = [r["job_key"] for r in await db.fetch("SELECT job_key FROM pgbaton.due ORDER BY id")]
        assert sorted(keys) == sorted(str(n + 100) for n in range(1, 9))


async def test_two_tables_of_one_schema_each_have_a_function_of_their_own(database: str) -> None:
    names = ["jobs", "job", "Job", "orders", "j" * 63, "j" * 62 + "k"]
    async with attached(database) as db:
        for n, name in enumerate(names[1:]):
            ddl = f'CREATE TABLE "{name}" (LIKE jobs INCLUDING ALL)'
            async with attached(database, two_stages(name=f"p{n}", table=name), ddl):
                pass
        for name in names:
            await db.execute(f"INSERT INTO \"{name}\" (current_step, status) VALUES ('made', 'done')")
        found = await db.fetch("SELECT pipeline FROM pgbaton.dispatches ORDER BY id")
        assert [f["pipeline"] for f in found] == ["craft", "p0", "p1", "p2", "p3", "p4"]
