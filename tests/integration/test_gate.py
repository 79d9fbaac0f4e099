"""A worker that sleeps says so: with polls far apart a job moves only by a wake-up that was not lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

from line import Ear, line, until
from pgbaton.events import EventLog
from pgbaton.model import WAKE_CHANNEL
from pgbaton.worker.gate import FULL_TURNS, Gate, Gatekeeper
from pgbaton.worker.periodic import Wake
from stage_server import Call, Say, StageServer, work

HELD = "SELECT count(*) = $1 FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted"
ASKED = "SELECT count(*) = $1 FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND NOT granted"
END_HOLDER = """
SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted
"""
ADD = "INSERT INTO jobs (current_step, status) VALUES ('made', 'done') RETURNING job_id::text"


@asynccontextmanager
async def gate(dsn: str) -> AsyncIterator[tuple[Gate, Wake]]:
    wake = Wake()
    keeper = Gatekeeper(dsn, EventLog())
    gate = keeper.gate("craft", wake)
    tending = asyncio.create_task(keeper.run())
    try:
        yield gate, wake
    finally:
        tending.cancel()
        with suppress(asyncio.CancelledError):
            await tending


async def asleep(gate: Gate, wake: Wake) -> None:
    """A claim came back short, and once the gate was closed one more did."""
    gate.close()
    assert await wake.wait(5), "it was not woken for one more claim"
    assert gate.held


async def test_a_sleeping_worker_is_woken_at_once_where_nothing_is_published(database: str) -> None:
    async with line(database, channel=None) as craft, craft.worker(poll=60):
        await until(lambda: craft.db.fetchval(HELD, 1), "the worker sleeps")
        for _ in range(3):
            job = await craft.add()
            await craft.until_row(job, "glue", "done", 10)


async def test_a_duty_of_a_writer_that_began_before_the_worker_fell_asleep_is_found_when_it_commits(
    database: str,
) -> None:
    """The writer shares the gate, so it sends no NOTIFY; the worker is not asleep before that commit."""
    async with line(database, channel=None) as craft, Ear.on(database, WAKE_CHANNEL) as ear:
        writer = await asyncpg.connect(database)
        transaction = writer.transaction()
        await transaction.start()
        job = await writer.fetchval(ADD)
        async with craft.worker(poll=60):
            await until(lambda: craft.db.fetchval(ASKED, 1), "the worker asks for the gate")
            await transaction.commit()
            assert await ear.heard() == []
            await craft.until_row(job, "glue", "done", 10)
        await writer.close()


async def test_a_burst_that_ends_while_the_worker_is_awake_leaves_nothing_behind(database: str) -> None:
    async with line(database, channel=None) as craft, craft.worker(poll=60, capacity=2):
        writing = [asyncio.create_task(craft.db.fetchval(ADD)) for _ in range(40)]
        for job in [await w for w in writing]:
            await craft.until_row(job, "glue", "done", 30)


async def test_a_worker_opens_the_gate_only_when_it_has_had_enough_to_do_for_a_while(database: str) -> None:
    async with line(database) as craft, gate(database) as (one, wake):
        await asleep(one, wake)
        for _ in range(FULL_TURNS - 1):
            one.came_full()
        await asyncio.sleep(0.1)
        assert await craft.db.fetchval(HELD, 1)
        one.came_full()
        await until(lambda: craft.db.fetchval(HELD, 0), "the gate is open")
        assert not one.held
        await asleep(one, wake)


async def test_a_worker_without_a_free_slot_opens_the_gate(database: str) -> None:
    answering = asyncio.Event()

    async def wait(server: StageServer, call: Call) -> Say:
        await answering.wait()
        return await work(server, call)

    async with (
        line(database, wait, channel=None) as craft,
        Ear.on(database, WAKE_CHANNEL) as ear,
        craft.worker(poll=60, capacity=1),
    ):
        await until(lambda: craft.db.fetchval(HELD, 1), "the worker sleeps")
        await craft.add()
        await asyncio.wait_for(craft.server.called.wait(), 10)
        await until(lambda: craft.db.fetchval(HELD, 0), "the gate is open")
        await ear.heard()
        await craft.add_many(3)
        assert await ear.heard() == []
        answering.set()
        await craft.until_settled()


async def test_of_two_sleepers_one_starts_at_once_and_the_other_follows(database: str) -> None:
    async with line(database), gate(database) as (one, wake), gate(database) as (two, later):
        await asleep(one, wake)
        two.close()
        one.heard()
        two.heard()
        assert await wake.wait(0)
        assert not await later.wait(0)
        two.heard()
        assert await later.wait(5)


async def test_where_a_sleeper_dies_the_next_one_claims_and_sleeps_in_its_place(database: str) -> None:
    async with line(database) as craft, gate(database) as (one, wake), gate(database) as (two, later):
        await asleep(one, wake)
        two.close()
        await until(lambda: craft.db.fetchval(ASKED, 1), "the other one asks")
        await craft.db.execute(END_HOLDER)
        assert await later.wait(5)
        assert two.held
        assert await craft.db.fetchval(HELD, 1)
        await until(lambda: craft.db.fetchval(ASKED, 1), "the first one is back, behind it")
        assert not one.held
