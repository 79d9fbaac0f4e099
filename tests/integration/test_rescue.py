"""A lost worker's calls are taken back by the row: once, not too early, and not kept waiting by locked rows."""

from __future__ import annotations

import asyncio

from line import Line, line, until
from pgbaton.decision.verdict import resolve
from pgbaton.worker.upkeep import PAGE
from stage_server import Call, Say, StageServer, work
from store_bench import said


async def _lost_worker(craft: Line, claims: int) -> None:
    """A worker that claimed and died."""
    store = await craft.store()
    worker, _ = await store.take_lease(None, "lost", claims, 3600, [])
    assert len((await store.turn(worker, claims)).claimed) == claims
    await store.give_up_lease(worker)


async def test_a_page_of_locked_rows_does_not_starve_the_rest(database: str) -> None:
    async with line(database) as craft:
        await craft.add_many(PAGE)
        free = await craft.add()
        await _lost_worker(craft, PAGE + 1)
        await craft.db.execute("UPDATE jobs SET current_step = 'cut', status = 'failed'")
        async with craft.db.acquire() as conn, conn.transaction():
            await conn.execute("SELECT FROM pgbaton.calls WHERE job_key <> $1 FOR UPDATE", free)
            async with craft.worker():
                await craft.until_row(free, "glue", "done")
        assert len([c for c in craft.server.calls if c.job_id == free]) == 2


async def test_a_stage_that_still_works_is_not_given_up_before_its_timeout(database: str) -> None:
    async def accept(server: StageServer, call: Call) -> Say:
        await server.move(call, "running")
        return Say(202)

    async with line(database, accept, cut_timeout=60) as craft, craft.worker():
        job = await craft.add()
        await until(lambda: _waits_for_stage(craft), "the call is left to its stage")
        await _after_two_rescues(craft)
        assert await craft.row(job) == ("cut", "running")
        assert len([c for c in craft.server.calls if c.job_id == job]) == 1
        await craft.put(job, "cut", "done")
        await craft.until_state(job, "cut", "completed")


async def _after_two_rescues(craft: Line) -> None:
    """Until other workers' calls have been rescued twice: every act of a rescue has been done."""
    for _ in range(2):
        other = await craft.add("cut")
        store = await craft.store()
        worker, _ = await store.take_lease(None, "lost", 1, 3600, [])
        await store.turn(worker, 9)
        await store.give_up_lease(worker)
        await craft.until_row(other, "glue", "running")
        await craft.put(other, "glue", "done")


async def test_a_stage_begun_by_a_lost_workers_call_is_waited_for_not_called_again(database: str) -> None:
    async with line(database) as craft:
        job = await craft.add()
        await _lost_worker(craft, 1)
        await craft.put(job, "cut", "running")
        async with craft.worker():
            await until(lambda: _waits_for_stage(craft), "the call is left to its stage")
            await craft.put(job, "cut", "done")
            await craft.until_row(job, "glue", "done")
        assert craft.server.calls_to("/cut") == []


async def _waits_for_stage(craft: Line) -> bool:
    query = "SELECT count(*) = 1 FROM pgbaton.dispatches WHERE state = 'running' AND worker IS NULL"
    return await craft.db.fetchval(query)


async def test_a_late_settlement_of_a_rescued_attempt_changes_nothing(database: str) -> None:
    async with line(database) as craft:
        job = await craft.add()
        store, stages = await craft.store(), {s.step: s for s in craft.pipeline.stages}
        frozen, _ = await store.take_lease(None, "frozen", 1, 3600, [])
        (held,) = (await store.turn(frozen, 1)).claimed
        (seen,) = await store.look([job])
        await craft.db.execute("UPDATE pgbaton.workers SET ended_at = now()")
        other, _ = await store.take_lease(None, "other", 1, 3600, [])
        (lost,) = await store.look(await store.lost("", 10))
        released = await store.settle([(resolve(lost, stages.__getitem__), None)], stages)
        assert released[job].written
        (again,) = (await store.claim_waiting(other, 1)).claimed
        assert (again.id, again.attempt) == (held.id, 2)
        for answer in (said(200), said(202), said(404), said(429), said(500)):
            late = resolve(seen, stages.__getitem__, answer)
            assert await store.settle([(late, answer)], stages) == {}
        call = (await store.look([job]))[0].call
        assert call is not None
        assert (call.attempt, call.worker, call.failures) == (2, other, 0)
        assert await craft.row(job) == ("made", "done")


async def test_two_rescuers_at_once_take_a_lost_call_once(database: str) -> None:
    async with line(database) as craft:
        await craft.add_many(50)
        await _lost_worker(craft, 50)
        store, stages = await craft.store(), {s.step: s for s in craft.pipeline.stages}
        jobs = await store.look(await store.lost("", 100))
        released = [(resolve(job, stages.__getitem__), None) for job in jobs]
        first, second = await asyncio.gather(store.settle(released, stages), store.settle(released, stages))
        assert len(first) + len(second) == 50
        assert not first.keys() & second.keys()


async def test_a_worker_without_a_lease_claims_nothing_until_it_has_one_again(database: str) -> None:
    async with line(database, work) as craft, craft.worker(lease=3):
        await craft.db.execute("UPDATE pgbaton.workers SET expires_at = now() - interval '1 h', renewed_at = now()")
        job = await craft.add()
        await craft.until_row(job, "glue", "done")
        assert len(craft.server.calls) == 2
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.workers") == 2


async def test_a_worker_whose_lease_was_forgotten_takes_another(database: str) -> None:
    async with line(database) as craft, craft.worker(lease=3):
        await craft.db.execute("DELETE FROM pgbaton.workers")
        job = await craft.add()
        await craft.until_row(job, "glue", "done")
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.workers WHERE ended_at IS NULL") == 1
