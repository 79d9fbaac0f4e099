"""Two transactions that meet, each interleaving played out step by step: nothing stays open, nothing is stranded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from asyncpg.transaction import Transaction

from line import Ear, Line, line, until
from pgbaton import insights, operate
from pgbaton.model import WAKE_CHANNEL, Dispatch, Outcome, State
from pgbaton.outcome import Decision, Verb, decide_lost
from pgbaton.worker.store import Store


async def _store(craft: Line, conn: asyncpg.Connection | None = None) -> Store:
    async with craft.db.acquire() as other:
        table = await insights.table_of(other, None)
    return Store(conn or craft.db, table, ["cut", "glue"])


@asynccontextmanager
async def _kept_waiting(craft: Line, work: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    """Inside, ``work`` waits for a lock that somebody holds; what ends the block lets it go on to its end."""
    task = asyncio.create_task(work)

    async def waits() -> bool:
        assert not task.done(), "it was to wait"
        query = (
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(await craft.db.fetchval(query))

    await until(waits, "somebody waits for a lock")
    yield
    await asyncio.wait_for(task, 10)


async def _rerun(craft: Line) -> None:
    async with craft.db.acquire() as conn:
        job = await conn.fetchval("SELECT job_id::text FROM jobs")
        await operate.rerun(conn, await insights.table_of(conn, None), job, "glue", who="m", force=True)


CANCELLING: dict[str, Callable[[Line], Coroutine[Any, Any, Any]]] = {
    "deleted": lambda craft: craft.db.execute("DELETE FROM jobs"),
    "given another key": lambda craft: craft.db.execute("UPDATE jobs SET job_id = gen_random_uuid()"),
    "truncated": lambda craft: craft.db.execute("TRUNCATE jobs"),
    "moved away": lambda craft: craft.db.execute("UPDATE jobs SET current_step = 'aside'"),
    "run again": _rerun,
}


@pytest.mark.parametrize("what", CANCELLING)
async def test_a_job_that_goes_while_it_is_being_claimed_leaves_no_attempt_open(database: str, what: str) -> None:
    """The claim has locked the dispatch; whoever cancels it waits, with a snapshot older than the claim's attempt."""
    async with line(database) as craft:
        await craft.add()
        (dispatch,) = await craft.dispatches()
        async with craft.db.acquire() as conn:
            store = await _store(craft, conn)
            worker = await store.register("claims", 1, 60)
            claiming = conn.transaction()
            await claiming.start()
            assert [d.id for d in await store.claim(worker, 1)] == [dispatch["id"]]
            async with _kept_waiting(craft, CANCELLING[what](craft)):
                await claiming.commit()
        state = await craft.db.fetchval("SELECT state FROM pgbaton.dispatches WHERE id = $1", dispatch["id"])
        assert (state, [a["outcome"] for a in await craft.attempts()]) == ("cancelled", ["superseded"])
        assert all(a["finished_at"] for a in await craft.attempts())


async def _claimed_and_gone(craft: Line) -> tuple[str, list[tuple[Dispatch, Decision]]]:
    """A job that is claimed and then deleted above READ COMMITTED; what its worker is about to settle."""
    job = await craft.add()
    store = await _store(craft)
    (claimed,) = await store.claim(await store.register("claims", 1, 60), 1)
    async with craft.db.acquire() as conn, conn.transaction(isolation="repeatable_read"):
        await conn.execute("DELETE FROM jobs")
    seen = (await store.look([claimed.id]))[claimed.id]
    return job, [(seen, decide_lost(craft.pipeline.stage("cut"), seen.row))]


AGAIN = "INSERT INTO jobs (job_id, current_step, status) VALUES ($1::text::uuid, $2, 'done')"


@asynccontextmanager
async def _begun(
    craft: Line, isolation: str = "read_committed"
) -> AsyncIterator[tuple[asyncpg.Connection, Transaction]]:
    """A session in a transaction, which whoever asked for it ends."""
    async with craft.db.acquire() as conn:
        transaction = conn.transaction(isolation=isolation)
        await transaction.start()
        yield conn, transaction


async def test_a_job_that_is_being_inserted_again_is_not_forgotten(database: str) -> None:
    """Its trigger has found the dispatch open and made no other. A worker to whom the row is not there yet may not
    cancel that one: neither the one who called, nor the one who applies the deletion that waited in the inbox."""
    async with line(database) as craft:
        job, cancels = await _claimed_and_gone(craft)
        store = await _store(craft)
        async with _begun(craft) as (conn, inserting):
            await conn.execute(AGAIN, job, "made")
            assert await store.settle(cancels) == {}
            assert await store.absorb(10) == 0
            await inserting.commit()
        assert await store.settle(cancels) == {}
        assert await store.absorb(10) == 1
        assert await craft.states(job) == [("cut", "running")]


async def test_whoever_absorbs_a_change_wakes_the_one_who_sleeps(database: str) -> None:
    """The dispatcher that was woken by the commit finds the change held by the one who absorbs it, and sleeps again:
    what then becomes due must be heard."""
    async with line(database) as craft, Ear.on(craft.dsn, WAKE_CHANNEL) as ear:
        store = await _store(craft)
        async with craft.db.acquire() as conn, conn.transaction(isolation="repeatable_read"):
            await conn.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
        await ear.heard()  # the commit
        assert await store.absorb(10) == 1
        assert await ear.heard() == [(WAKE_CHANNEL, "craft")]
        assert await store.absorb(10) == 0
        assert await ear.heard() == []


async def test_a_job_whose_second_insert_was_rolled_back_is_forgotten(database: str) -> None:
    async with line(database) as craft:
        job, cancels = await _claimed_and_gone(craft)
        store = await _store(craft)
        async with _begun(craft) as (conn, inserting):
            await conn.execute(AGAIN, job, "made")
            assert await store.absorb(10) == 0
            await inserting.rollback()
        assert await store.absorb(10) == 1
        assert await store.settle(cancels) == {}
        assert await craft.states(job) == [("cut", "cancelled")]
        assert [a["outcome"] for a in await craft.attempts()] == ["superseded"]


@pytest.mark.parametrize(("step", "next_stage"), [("made", "cut"), ("cut", "glue")])
async def test_a_job_that_is_inserted_again_while_it_is_forgotten_has_a_dispatch_of_its_own(
    database: str, step: str, next_stage: str
) -> None:
    """The insert waits for the worker, and goes by what the worker has left; what was cancelled stays so."""
    async with line(database) as craft:
        job, cancels = await _claimed_and_gone(craft)
        async with _begun(craft) as (conn, forgetting):
            assert list((await (await _store(craft, conn)).settle(cancels)).values()) == [State.CANCELLED]
            async with _kept_waiting(craft, craft.db.execute(AGAIN, job, step)):
                await forgetting.commit()
        assert await craft.states(job) == [("cut", "cancelled"), (next_stage, "available")]


async def test_a_job_that_came_back_after_the_snapshot_is_not_forgotten(database: str) -> None:
    """The worker's statement began when the row was not there, and comes to the dispatch when it is."""
    async with line(database) as craft:
        job, _ = await _claimed_and_gone(craft)
        late = (
            "WITH later AS MATERIALIZED (SELECT pg_advisory_xact_lock(1)) "
            "SELECT pgbaton.forget('craft', ARRAY[$1::text]) FROM later"
        )
        async with _begun(craft) as (conn, waking):
            await conn.execute("SELECT pg_advisory_xact_lock(1)")
            async with _kept_waiting(craft, craft.db.execute(late, job)):
                await craft.db.execute(AGAIN, job, "made")
                await waking.commit()
        assert await craft.states(job) == [("cut", "running")]


async def test_a_job_inserted_again_above_read_committed_while_it_is_forgotten_is_called(database: str) -> None:
    async with line(database) as craft:
        job, _ = await _claimed_and_gone(craft)
        async with _begun(craft, "serializable") as (conn, inserting):
            await conn.execute(AGAIN, job, "made")
            await inserting.commit()
        async with _begun(craft) as (conn, forgetting):
            # As if the row had not been there: it came a moment later.
            await conn.execute("UPDATE pgbaton.dispatches SET state = 'cancelled', worker = NULL, settled_at = now()")
            async with _kept_waiting(craft, (await _store(craft)).absorb(10)):
                await forgetting.commit()
        assert await craft.states(job) == [("cut", "cancelled"), ("cut", "available")]


@pytest.mark.parametrize("ended_before", [False, True])
async def test_a_rewind_that_waited_in_the_inbox_revives_no_job_that_died_meanwhile(
    database: str, ended_before: bool
) -> None:
    """Rewound to the entry of the stage that is being called: the dispatch goes on, and it is that one which died. But
    where the stage had ended before, which waits there too, the job was to go through it once more."""
    async with line(database) as craft:
        job = await craft.add()
        store = await _store(craft)
        (claimed,) = await store.claim(await store.register("claims", 1, 60), 1)
        await craft.put(job, "cut", "running")
        for step in ("cut", "made") if ended_before else ("made",):
            async with _begun(craft, "repeatable_read") as (conn, moving):
                await conn.execute("UPDATE jobs SET current_step = $1, status = 'done'", step)
                await moving.commit()
        seen = (await store.look([claimed.id]))[claimed.id]
        await store.settle([(seen, Decision(Verb.KILL, Outcome.REJECTED))])
        await store.absorb(10)
        assert await craft.row(job) == ("cut", "failed")
        assert await craft.states(job) == [("cut", "dead")] + [("cut", "available")] * ended_before
