"""The trigger within a transaction, and the notification that its commit brings: what is published, who is woken, and how long it may be."""

from __future__ import annotations

import asyncio
import json
import secrets

import asyncpg
import pytest

from line import Ear, attached, two_stages, until
from pgbaton.table import read_table
from pgbaton.worker.store import Store
from store_bench import LEVELS, bench
from writer import CLOSE_THE_GATE, INSERT, MOVE, connected, left, states

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
