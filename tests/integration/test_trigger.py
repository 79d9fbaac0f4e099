"""What the trigger does inside the user's own transaction: settle, create, publish, and never stand in the way."""

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
from pgbaton import Pipeline, Stage, insights
from stage_server import Call, Say, StageServer

OPEN = ("available", "running", "retryable")
INSERT = "INSERT INTO jobs (current_step, status) VALUES ($1, $2) RETURNING job_id"
MOVE = "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id = $1"


async def open_dispatch(db: asyncpg.Pool, state: str, failures: int = 0) -> tuple[uuid.UUID, int]:
    """A job at (made, done) with its dispatch to ``cut`` in ``state``; the job's key and the dispatch's id."""
    job = await db.fetchval(INSERT, "made", "done")
    found = await db.fetchval("UPDATE pgbaton.dispatches SET failures = $1 RETURNING id", failures)
    if state == "available":
        return job, found
    worker = await db.fetchval(
        "INSERT INTO pgbaton.workers (pipeline, name, capacity, expires_at) "
        "VALUES ('craft', 'me', 1, clock_timestamp() + interval '1 hour') RETURNING id"
    )
    claimed = await db.fetch("SELECT id FROM pgbaton.claim('craft', $1, '{cut}', 1)", worker)
    assert [c["id"] for c in claimed] == [found]
    if state == "retryable":
        await db.execute(
            "UPDATE pgbaton.dispatches SET state = 'retryable', worker = NULL, "
            "available_at = clock_timestamp() + interval '1 hour'"
        )
    return job, found


async def in_each_open_state(db: asyncpg.Pool, failures: int = 0) -> AsyncIterator[tuple[str, uuid.UUID, int]]:
    """As :func:`open_dispatch`, one state after the other, each time with nothing else in the tables."""
    for state in OPEN:
        yield state, *await open_dispatch(db, state, failures)
        await db.execute("TRUNCATE jobs, pgbaton.dispatches, pgbaton.attempts, pgbaton.workers")


async def dispatch(db: asyncpg.Pool, dispatch_id: int) -> dict[str, Any]:
    return dict(await db.fetchrow("SELECT * FROM pgbaton.dispatches WHERE id = $1", dispatch_id))


async def states(db: asyncpg.Pool) -> list[tuple[str, str]]:
    return [tuple(r) for r in await db.fetch("SELECT stage, state FROM pgbaton.dispatches ORDER BY id")]


async def attempt(db: asyncpg.Pool) -> tuple[str | None, bool] | None:
    """The only attempt's outcome, and whether it is finished."""
    row = await db.fetchrow("SELECT outcome, finished_at IS NOT NULL AS ended FROM pgbaton.attempts")
    return tuple(row) if row else None


# -- the table: what becomes of an open dispatch --------------------------------------------------


@pytest.mark.parametrize(
    ("at", "becomes", "outcome"),
    [
        (("cut", "done"), "completed", "completed"),
        (("cut", "failed"), "retryable", "failed"),
        (("cut", "waiting"), "cancelled", "superseded"),
        (("cut", None), "cancelled", "superseded"),
        (("made", "running"), "cancelled", "superseded"),
        (("made", "failed"), "cancelled", "superseded"),
        (("glue", "running"), "cancelled", "superseded"),
        (("glue", "failed"), "cancelled", "superseded"),
        (("glue", "done"), "cancelled", "superseded"),
        (("archived", "done"), "cancelled", "superseded"),
        (("Cut", "done"), "cancelled", "superseded"),
        ((None, "done"), "cancelled", "superseded"),
        ((None, None), "cancelled", "superseded"),
    ],
)
async def test_a_row_that_moves_on_settles_the_open_dispatch(
    database: str, at: tuple[str | None, str | None], becomes: str, outcome: str
) -> None:
    async with attached(database) as db:
        async for state, job, found in in_each_open_state(db):
            before = await dispatch(db, found)
            await db.execute(MOVE, job, *at)
            now = await dispatch(db, found)
            assert (now["stage"], now["state"]) == ("cut", becomes), state
            assert (now["worker"], now["deadline"]) == (None, None)
            assert (now["settled_at"] is None) == (becomes == "retryable")
            assert now["failures"] == (1 if outcome == "failed" else 0)
            assert now["attempt"] == before["attempt"]
            assert await attempt(db) == (None if state == "available" else (outcome, True))
            assert await states(db) == [("cut", becomes)] + [("glue", "available")] * (at == ("cut", "done"))


async def test_a_stage_that_begins_leaves_its_dispatch_as_it_is(database: str) -> None:
    async with attached(database) as db:
        async for state, job, found in in_each_open_state(db):
            before = await dispatch(db, found)
            await db.execute(MOVE, job, "cut", "running")
            assert await dispatch(db, found) == before
            assert await states(db) == [("cut", state)]
            assert await attempt(db) == (None if state == "available" else (None, False))


async def test_a_row_that_is_rewound_keeps_its_dispatch_and_gets_no_second_one(database: str) -> None:
    async with attached(database) as db:
        async for state, job, found in in_each_open_state(db):
            before = await dispatch(db, found)
            await db.execute(MOVE, job, "cut", "running")
            await db.execute(MOVE, job, "made", "done")
            assert await dispatch(db, found) == before
            assert await states(db) == [("cut", state)]


async def test_a_failure_of_the_last_attempt_is_the_end(database: str) -> None:
    async with attached(database, two_stages(cut_attempts=3)) as db:
        async for state, job, found in in_each_open_state(db, failures=2):
            await db.execute(MOVE, job, "cut", "failed")
            now = await dispatch(db, found)
            assert (now["state"], now["failures"]) == ("dead", 3), state
            assert now["settled_at"] is not None


async def test_a_failure_is_due_again_after_a_backoff_that_the_database_chose(database: str) -> None:
    async with attached(database, two_stages(cut_attempts=9)) as db:
        job, found = await open_dispatch(db, "running", failures=5)
        await db.execute(MOVE, job, "cut", "failed")
        pause = await db.fetchval(
            "SELECT extract(epoch FROM available_at - clock_timestamp()) FROM pgbaton.dispatches WHERE id = $1", found
        )
        assert -1 < pause <= 32


async def test_the_backoff_doubles_up_to_five_minutes_with_full_jitter(database: str) -> None:
    async with attached(database) as db:
        rows = await db.fetch(
            "SELECT n, max(s) AS most, min(s) AS least FROM generate_series(1, 40) AS n "
            "CROSS JOIN LATERAL (SELECT extract(epoch FROM pgbaton.backoff(n + 0 * i))::float8 AS s "
            "                      FROM generate_series(1, 200) AS i) AS tried GROUP BY n ORDER BY n"
        )
        for row in rows:
            whole = min(300, 2 ** (row["n"] - 1))
            assert 0.8 * whole < row["most"] <= whole
            assert 0 <= row["least"] < 0.2 * whole


async def test_a_failure_after_an_early_rewind_still_counts(database: str) -> None:
    async with attached(database, two_stages(cut_attempts=2)) as db:
        job, found = await open_dispatch(db, "available")
        for failures, state in ((1, "retryable"), (2, "dead")):
            await db.execute(MOVE, job, "made", "done")
            await db.execute(MOVE, job, "cut", "failed")
            now = await dispatch(db, found)
            assert (now["failures"], now["state"]) == (failures, state)


async def test_a_settled_dispatch_is_never_touched_again(database: str) -> None:
    async with attached(database) as db:
        job, found = await open_dispatch(db, "running")
        await db.execute(MOVE, job, "cut", "done")
        settled = await dispatch(db, found)
        for at in (("cut", "failed"), ("cut", "running"), ("archived", "done")):
            await db.execute(MOVE, job, *at)
        assert await dispatch(db, found) == settled


# -- which statements it sees ---------------------------------------------------------------------


async def test_a_row_inserted_in_a_routed_state_gets_one_dispatch(database: str) -> None:
    async with attached(database) as db:
        for at, created in [
            (("made", "done"), [("cut", "available")]),
            (("cut", "done"), [("glue", "available")]),
            (("glue", "done"), []),
            (("made", "running"), []),
            (("made", "DONE"), []),
            ((None, "done"), []),
            (("made", None), []),
            ((None, None), []),
        ]:
            job = await db.fetchval(INSERT, *at)
            assert await states(db) == created
            keys = await db.fetch("SELECT job_key, tenant, attempt, failures FROM pgbaton.dispatches")
            assert [tuple(k) for k in keys] == [(str(job), "acme", 0, 0)] * len(created)
            await db.execute("TRUNCATE pgbaton.dispatches, pgbaton.attempts")


async def test_many_rows_in_one_statement_get_one_dispatch_each(database: str) -> None:
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
async def test_what_changes_neither_step_nor_status_is_no_event(database: str, statement: str) -> None:
    async with attached(database) as db, Ear.on(database, "job_state_changed", "pgbaton_wake") as ear:
        async for state, _, found in in_each_open_state(db):
            await ear.heard()
            before = await db.fetch("SELECT d.*, d.xmin FROM pgbaton.dispatches d")
            await db.execute(statement)
            assert await db.fetch("SELECT d.*, d.xmin FROM pgbaton.dispatches d") == before
            assert await ear.heard() == [], state
            assert found == before[0]["id"]


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM jobs", "TRUNCATE jobs", "TRUNCATE jobs RESTART IDENTITY CASCADE", "DELETE FROM ONLY jobs"],
)
async def test_a_job_that_is_gone_cancels_its_dispatch(database: str, statement: str) -> None:
    async with attached(database) as db:
        async for state, _, found in in_each_open_state(db):
            await db.execute(statement)
            now = await dispatch(db, found)
            assert (now["state"], now["worker"], now["deadline"]) == ("cancelled", None, None)
            assert now["settled_at"] is not None
            assert await attempt(db) == (None if state == "available" else ("superseded", True))


async def test_a_truncate_leaves_other_pipelines_alone(database: str) -> None:
    other = two_stages(name="other", table="public.others")
    ddl = "CREATE TABLE others (LIKE jobs INCLUDING ALL)"
    async with attached(database, other, ddl) as db, attached(database):
        await db.execute("INSERT INTO others (current_step, status) VALUES ('made', 'done')")
        await db.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
        await db.execute("TRUNCATE jobs")
        found = await db.fetch("SELECT pipeline, state FROM pgbaton.dispatches ORDER BY id")
        assert [tuple(f) for f in found] == [("other", "available"), ("craft", "cancelled")]


async def test_a_changed_key_cancels_the_old_jobs_dispatch_and_makes_the_new_jobs_own(database: str) -> None:
    async with attached(database) as db:
        async for state, _, found in in_each_open_state(db):
            new = await db.fetchval("UPDATE jobs SET job_id = gen_random_uuid() RETURNING job_id")
            assert (await dispatch(db, found))["state"] == "cancelled", state
            assert await states(db) == [("cut", "cancelled"), ("cut", "available")]
            assert await db.fetchval("SELECT job_key FROM pgbaton.dispatches WHERE id > $1", found) == str(new)


async def test_a_job_that_comes_back_under_its_old_key_is_a_new_duty(database: str) -> None:
    async with attached(database) as db:
        job, _ = await open_dispatch(db, "running")
        async with db.acquire() as conn, conn.transaction():
            await conn.execute("DELETE FROM jobs")
            await conn.execute("INSERT INTO jobs (job_id, current_step, status) VALUES ($1, 'made', 'done')", job)
        assert await states(db) == [("cut", "cancelled"), ("cut", "available")]


async def test_both_halves_of_an_upsert_are_seen(database: str) -> None:
    upsert = (
        "INSERT INTO jobs (job_id, current_step, status) VALUES ($1, $2, $3) "
        "ON CONFLICT (job_id) DO UPDATE SET current_step = EXCLUDED.current_step, status = EXCLUDED.status"
    )
    async with attached(database) as db:
        job = uuid.uuid4()
        await db.execute(upsert, job, "made", "done")
        assert await states(db) == [("cut", "available")]
        await db.execute(upsert, job, "cut", "done")
        await db.execute(upsert, job, "cut", "done")
        assert await states(db) == [("cut", "completed"), ("glue", "available")]


async def test_a_merge_is_seen(database: str) -> None:
    async with attached(database) as db:
        if int(await db.fetchval("SHOW server_version_num")) < 150000:
            pytest.skip("MERGE came with PostgreSQL 15")
        await db.fetchval(INSERT, "made", "done")
        await db.execute(
            "MERGE INTO jobs AS j USING (SELECT 'cut' AS step) AS s ON true "
            "WHEN MATCHED THEN UPDATE SET current_step = s.step"
        )
        assert await states(db) == [("cut", "completed"), ("glue", "available")]


async def test_what_a_before_trigger_makes_of_the_row_is_what_counts(database: str) -> None:
    async with attached(database) as db:
        await db.execute("""
            CREATE FUNCTION finish() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.note = 'finish' THEN NEW.current_step := 'cut'; NEW.status := 'done'; END IF;
               IF NEW.note = 'never mind' THEN NEW.status := OLD.status; END IF; RETURN NEW; END $$;
            CREATE TRIGGER before_jobs BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION finish();
        """)
        await db.fetchval(INSERT, "made", "done")
        await db.execute("UPDATE jobs SET status = 'broken', note = 'never mind'")
        assert await states(db) == [("cut", "available")]
        await db.execute("UPDATE jobs SET note = 'finish'")
        assert await states(db) == [("cut", "completed"), ("glue", "available")]


async def test_a_users_own_after_trigger_that_moves_the_row_on_is_followed(database: str) -> None:
    async with attached(database) as db:
        await db.execute("""
            CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN UPDATE jobs SET current_step = 'cut' WHERE job_id = NEW.job_id AND current_step = 'made';
               RETURN NULL; END $$;
            CREATE TRIGGER zz_after_jobs AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION skip();
        """)
        await db.fetchval(INSERT, "made", "done")
        assert await states(db) == [("cut", "completed"), ("glue", "available")]


# -- the transaction ------------------------------------------------------------------------------


async def test_a_transaction_that_is_rolled_back_leaves_nothing(database: str) -> None:
    async with attached(database) as db, Ear.on(database, "job_state_changed") as ear:
        job, found = await open_dispatch(db, "running")
        before = await dispatch(db, found)
        await ear.heard()
        async with db.acquire() as conn:
            transaction = conn.transaction()
            await transaction.start()
            await conn.execute(MOVE, job, "cut", "done")
            await conn.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
            await transaction.rollback()
        assert await dispatch(db, found) == before
        assert await states(db) == [("cut", "running")]
        assert await attempt(db) == (None, False)
        assert await ear.heard() == []


async def test_only_what_was_kept_of_a_transaction_counts(database: str) -> None:
    async with attached(database) as db, Ear.on(database, "job_state_changed") as ear:
        job, found = await open_dispatch(db, "running")
        await ear.heard()
        async with db.acquire() as conn, conn.transaction():
            inner = conn.transaction()
            await inner.start()
            await conn.execute(MOVE, job, "archived", "done")
            await inner.rollback()
            await conn.execute(MOVE, job, "cut", "done")
        assert (await dispatch(db, found))["state"] == "completed"
        assert await states(db) == [("cut", "completed"), ("glue", "available")]
        assert [(e["current_step"], e["status"]) for e in await ear.events()] == [("cut", "done")]


async def test_several_steps_in_one_transaction_leave_the_last_dispatch_open(database: str) -> None:
    async with attached(database) as db, db.acquire() as conn:
        async with conn.transaction():
            job = await conn.fetchval(INSERT, "made", "done")
            await conn.execute(MOVE, job, "cut", "running")
            await conn.execute(MOVE, job, "cut", "done")
            await conn.execute(MOVE, job, "glue", "running")
        assert await states(db) == [("cut", "completed"), ("glue", "available")]


async def test_nobody_sees_a_dispatch_before_the_commit_that_makes_it(database: str) -> None:
    async with attached(database) as db, db.acquire() as conn, conn.transaction():
        await conn.fetchval(INSERT, "made", "done")
        assert await states(db) == []


async def test_a_stage_under_repeatable_read_is_not_aborted_by_a_worker_that_renews(database: str) -> None:
    async with attached(database) as db:
        job, found = await open_dispatch(db, "running")
        async with db.acquire() as conn, conn.transaction(isolation="repeatable_read"):
            await conn.execute(MOVE, job, "cut", "running")
            await db.execute("UPDATE pgbaton.workers SET expires_at = expires_at + interval '1 s'")
            await conn.execute(MOVE, job, "cut", "done")
        # Written down in that commit, and applied by any worker.
        assert (await dispatch(db, found))["state"] == "running"
        steps = [(c["step"], c["status"]) for c in await db.fetch("SELECT * FROM pgbaton.changes ORDER BY id")]
        assert steps == [("cut", "running"), ("cut", "done")]


async def test_a_claim_that_is_under_way_makes_the_writer_wait_no_longer_than_its_statement(database: str) -> None:
    async with attached(database) as db, db.acquire() as claimer:
        job, found = await open_dispatch(db, "available")
        claim = claimer.transaction()
        await claim.start()
        await claimer.execute("UPDATE pgbaton.dispatches SET attempt = 1 WHERE id = $1", found)
        async with db.acquire() as writer:
            await writer.execute("SET lock_timeout = '5s'")
            await writer.execute(MOVE, job, "cut", "running")  # needs no lock on the dispatch
            assert await writer.fetchval("SELECT status FROM jobs") == "running"
        await claim.rollback()


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
        await open_dispatch(db, "available")
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


async def test_without_a_channel_and_without_a_sleeper_nobody_is_woken(database: str) -> None:
    async with attached(database, two_stages(channel=None)) as db, Ear.on(database, "pgbaton_wake") as ear:
        await db.execute(INSERT, "made", "done")
        assert await ear.heard() == []


async def test_who_only_waits_to_fall_asleep_is_woken_too(database: str) -> None:
    """A writer of long ago keeps the gate from closing; whoever writes after the sleeper has asked notifies."""
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
        assert await db.fetchval("SELECT count(*) FROM pgbaton.dispatches WHERE job_key = $1", str(early)) == 1


async def test_without_a_channel_only_what_is_due_wakes_the_sleeper_and_nothing_is_published(database: str) -> None:
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
            await db.execute("TRUNCATE pgbaton.dispatches, pgbaton.attempts")
            await ear.heard()


@pytest.mark.parametrize(("length", "driven"), [(2000, True), (2640, True), (2641, False), (2690, False)])
async def test_a_key_that_the_users_own_index_can_hold_never_fails_the_users_transaction(
    database: str, length: int, driven: bool
) -> None:
    """Theirs holds 2,692 bytes that do not compress, and ours less: the job of such a key is left alone, by all."""
    pipeline = two_stages(table="notes", name="a" * 48)
    ddl = "CREATE TABLE notes (job_id text PRIMARY KEY, tenant_id text, current_step text, status text)"
    async with attached(database, pipeline, ddl) as db, db.acquire() as conn:
        said: list[str] = []

        def hear(_conn: object, message: asyncpg.PostgresLogMessage) -> None:
            said.append(message.message)

        conn.add_log_listener(hear)
        key = "".join(chr(33 + secrets.randbelow(94)) for _ in range(length))  # nothing to compress
        await conn.execute("INSERT INTO notes VALUES ($1, 'acme', 'made', 'done')", key)
        assert await insights.reconcile(conn, await insights.table_of(conn, None), create=True) == []
        assert [r[0] for r in await db.fetch("SELECT job_key FROM pgbaton.dispatches")] == [key] * driven
        assert [message[:27] for message in said] == ["pgbaton leaves a job alone "] * (not driven)
        conn.remove_log_listener(hear)
        await conn.execute("UPDATE notes SET status = 'running'")
        await conn.execute("DELETE FROM notes")
        assert await db.fetchval("SELECT count(*) FROM pgbaton.dispatches WHERE settled_at IS NULL") == 0


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
        assert {state for _, state in await states(db)} == {"completed", "cancelled"}


async def test_a_role_cannot_use_the_trigger_function_for_a_table_of_its_own(database: str) -> None:
    async with attached(database) as db, a_role(database) as (app, role):
        await db.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
        await app.execute(f"SET ROLE {role}")
        await app.execute("CREATE TABLE mine (job_id text, tenant_id text, current_step text, status text)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(
                "CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION notify_job_state_change()"
            )


async def test_a_search_path_of_the_callers_choosing_changes_nothing(database: str) -> None:
    async with attached(database) as db, db.acquire() as conn:
        await conn.execute("""
            CREATE SCHEMA evil;
            CREATE FUNCTION evil.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
            CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
            SET search_path = evil, pg_catalog, public;
        """)
        await conn.execute("INSERT INTO public.jobs (current_step, status) VALUES ('made', 'done')")
        await conn.execute("UPDATE public.jobs SET current_step = 'cut'")
        assert await states(db) == [("cut", "completed"), ("glue", "available")]


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


async def test_a_job_that_moves_to_another_partition_keeps_exactly_one_open_dispatch(database: str) -> None:
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
        await db.execute("UPDATE orders SET id = id + 100")
        count = "SELECT count(*) FROM pgbaton.dispatches d WHERE state = $1 AND EXISTS (SELECT FROM orders o WHERE {})"
        assert await db.fetchval(count.format("o.id::text = d.job_key"), "available") == 8
        assert await db.fetchval(count.format("(o.id - 100)::text = d.job_key"), "cancelled") == 8


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
