"""What a lost worker held is taken back by the row: once, not too early, and not kept waiting by stuck rows."""

from __future__ import annotations

import asyncio

from line import Line, line, until
from pgbaton.model import State
from pgbaton.outcome import Decision, Outcome, Verb
from pgbaton.table import JobTable
from pgbaton.worker.store import Store
from pgbaton.worker.upkeep import PAGE
from stage_server import Call, Say, StageServer, work


def _store(craft: Line) -> Store:
    table = JobTable(
        "craft", "public", "jobs", "job_id", "tenant_id", "current_step", "status", "uuid", "varchar", "varchar", True
    )
    return Store(craft.db, table, ["cut", "glue"])


async def _lost_worker(craft: Line, claims: int) -> None:
    """A worker that claimed and died."""
    store = _store(craft)
    worker = await store.register("lost", claims, 3600)
    assert len(await store.claim(worker, claims)) == claims
    await craft.db.execute("UPDATE pgbaton.workers SET expires_at = now() - interval '1 s' WHERE id = $1", worker)


async def test_a_page_of_stuck_rows_does_not_starve_the_rest(database: str) -> None:
    async with line(database) as craft:
        await craft.add_many(PAGE)
        free = await craft.add()
        await _lost_worker(craft, PAGE + 1)
        async with craft.db.acquire() as conn, conn.transaction():
            await conn.execute("SELECT FROM jobs WHERE job_id <> $1::text::uuid FOR UPDATE", free)
            async with craft.worker():
                await craft.until_row(free, "glue", "done")
        assert len(craft.server.calls) == 2


async def test_a_stage_that_still_works_is_not_given_up_before_its_timeout(database: str) -> None:
    async def accept(server: StageServer, call: Call) -> Say:
        await server.move(call, "running")
        return Say(202)

    async with line(database, accept, cut_timeout=3.0) as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "cut", "running")
        await asyncio.sleep(1.5)
        assert await craft.row(job) == ("cut", "running")
        assert len(craft.server.calls) == 1
        await craft.put(job, "cut", "done")
        await craft.until_state(job, "cut", "completed")


async def test_a_stage_begun_by_a_lost_workers_call_is_waited_for_not_called_again(database: str) -> None:
    async with line(database) as craft:
        job = await craft.add()
        await _lost_worker(craft, 1)
        await craft.put(job, "cut", "running")
        async with craft.worker():
            await until(lambda: _waits_for_stage(craft), "the dispatch waits for the stage")
            await craft.put(job, "cut", "done")
            await craft.until_row(job, "glue", "done")
        assert craft.server.calls_to("/cut") == []


async def _waits_for_stage(craft: Line) -> bool:
    query = "SELECT count(*) = 1 FROM pgbaton.dispatches WHERE state = 'running' AND worker IS NULL"
    return await craft.db.fetchval(query)


async def test_a_late_settlement_of_a_rescued_attempt_changes_nothing(database: str) -> None:
    async with line(database) as craft:
        job = await craft.add()
        store = _store(craft)
        frozen = await store.register("frozen", 1, 3600)
        (held,) = await store.claim(frozen, 1)
        await craft.db.execute("UPDATE pgbaton.workers SET expires_at = now() - interval '1 s'")
        other = await store.register("other", 1, 3600)
        (orphan,) = await store.orphans(other, [], 0, 10)
        assert await store.settle([(orphan, Decision(Verb.RELEASE, Outcome.LOST))]) == {held.id: State.AVAILABLE}
        (again,) = await store.claim(other, 1)
        assert (again.id, again.attempt) == (held.id, 2)
        for verb in Verb:
            if verb is not Verb.ADVANCE:
                assert await store.settle([(held, Decision(verb, Outcome.FAILED))]) == {}
        now = (await store.look([held.id]))[held.id]
        assert (now.state, now.attempt, now.worker) == (State.RUNNING, 2, other)
        assert await craft.row(job) == ("made", "done")


async def test_two_rescuers_at_once_take_an_orphan_once(database: str) -> None:
    async with line(database) as craft:
        await craft.add_many(50)
        await _lost_worker(craft, 50)
        store = _store(craft)
        orphans = await store.orphans(0, None, 0, 100)
        released = [(d, Decision(Verb.RELEASE, Outcome.LOST)) for d in orphans]
        first, second = await asyncio.gather(store.settle(released), store.settle(released))
        assert len(first) + len(second) == 50
        assert not first.keys() & second.keys()


async def test_a_worker_without_a_lease_claims_nothing_until_it_has_one_again(database: str) -> None:
    async with line(database, work) as craft, craft.worker(lease=3):
        await craft.db.execute("UPDATE pgbaton.workers SET expires_at = now() - interval '1 s'")
        job = await craft.add()
        await craft.until_row(job, "glue", "done")  # after the next renewal, at most a second or so later
        assert len(craft.server.calls) == 2


async def test_a_worker_that_was_forgotten_registers_again(database: str) -> None:
    async with line(database) as craft, craft.worker(lease=3):
        await craft.db.execute("DELETE FROM pgbaton.workers")
        job = await craft.add()
        await craft.until_row(job, "glue", "done")
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.workers") == 1
