"""The trigger in the user's own transaction: one INSERT or none, a signal, an event; and nothing that stands in
the way."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest

from line import Ear, attached
from pgbaton.worker.store import Store
from store_bench import LEVELS, WAYS, bench
from writer import INSERT, MOVE, left, states

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
        # update finds room on its page, so that no index of the user's is written. The page has room for 80 versions of
        # rows; open snapshots keep them all until a VACUUM between two rounds.
        await db.execute("ALTER TABLE jobs SET (fillfactor = 10)")
        jobs = [await db.fetchval(INSERT, "draft", "done") for _ in range(8)]

        async def write(job: uuid.UUID) -> None:
            async with db.acquire() as conn:
                await conn.execute("SET enable_seqscan = off")
                for at in (("made", "done"), ("cut", "running"), ("cut", "done"), ("glue", "done")) * 2:
                    async with conn.transaction(isolation=isolation):
                        await conn.execute(MOVE, job, *at)

        for _ in range(5):
            await asyncio.gather(*map(write, jobs))
            await db.execute("VACUUM jobs")
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
