"""Every table of the zoo through a pipeline: success, failure and retry, timeout, rescue, cancel, detach."""

from __future__ import annotations

import asyncpg
import pytest

from line import make_due, two_stages, until
from pgbaton import operate
from pgbaton.errors import AttachError, DatabaseError
from pgbaton.install.attach import attach, detach
from pgbaton.worker.store import Store
from stage_server import Call, Say, StageServer
from support.shapes import Herd, herd
from support.zoo import REFUSED, ZOO


@pytest.mark.parametrize("name", ZOO)
async def test_a_table_that_is_taken_goes_the_whole_way(database: str, name: str) -> None:
    assert len(ZOO) + len(REFUSED) >= 25
    async with herd(database, ZOO[name], cut_timeout=2) as the:  # a busy machine answers late
        rescued = await _held_by_a_lost_worker(the)
        fine, rejected, silent = [await the.add() for _ in range(3)]
        ways = {rejected: Say(422), silent: Say(202)}

        async def behave(server: StageServer, call: Call) -> Say:
            job = the.key_of(call)
            await the.put(job, server.step(call), "running")
            if call.path == "/cut" and call.attempt == 1 and (said := ways.pop(job, None)):
                return said
            await the.put(job, server.step(call), "done")
            return Say()

        the.server.behave = behave
        async with the.worker(lease=3):
            await the.until_row(rejected, "cut", "failed")
            await until(lambda: _timed_out(the, silent), "given up, and back at its entry")
            await make_due(the.db)
            await _retried(the, rejected)
            for job in (fine, rejected, silent, rescued):
                await the.until_row(job, "glue", "done")
            await until(lambda: _settled(the), "everything settled")
        expected = [("cut", "completed"), ("glue", "completed")]
        assert await the.states(fine) == await the.states(silent) == await the.states(rescued) == expected
        assert await the.states(rejected) == [("cut", "dead"), *expected]
        await _cancelled(the)
        await _detached(the)


async def _timed_out(the: Herd, job: str) -> bool:
    """Its pause may be over at once, so nothing is asked that holds for the pause alone."""
    query = "SELECT EXISTS (SELECT FROM pgbaton.history WHERE job_key = $1 AND outcome = 'timeout')"
    return bool(await the.db.fetchval(query, job))


async def _held_by_a_lost_worker(the: Herd) -> str:
    job = await the.add()
    store = Store(the.db, await the.known(), ["cut", "glue"])
    worker, _ = await store.take_lease(None, "lost", 1, 5, ())
    turn = await store.turn(worker, 10)
    assert [d.job_key for d in turn.claimed] == [job]
    past = "now() - interval '1 hour'"
    await the.db.execute(f"UPDATE pgbaton.workers SET renewed_at = {past}, expires_at = {past}")
    return job


async def _retried(the: Herd, job: str) -> None:
    async with the.db.acquire() as conn:
        assert (await operate.retry(conn, await the.known(), [job], who="me")).count == 1


async def _cancelled(the: Herd) -> None:
    job, words = await the.add(), the.shape.words
    async with the.db.acquire() as conn:
        if "cancelled" in words:
            assert (await operate.cancel(conn, await the.known(), [job], who="me")).count == 1
            assert await the.row(job) == ("cut", words["cancelled"])
        else:
            with pytest.raises(DatabaseError, match="refuses this cancel"):
                await operate.cancel(conn, await the.known(), [job], who="me")
            assert await the.row(job) == ("made", words["done"])


async def _detached(the: Herd) -> None:
    async with the.db.acquire() as conn:
        await detach(conn, the.pipeline)
        assert await conn.fetchval("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'job_state%'") == 0
    before = await the.db.fetchval("SELECT count(*) FROM pgbaton.due")
    await the.add()
    assert await the.db.fetchval("SELECT count(*) FROM pgbaton.due") == before


async def _settled(the: Herd) -> bool:
    open_ones = "SELECT NOT EXISTS (SELECT FROM pgbaton.due) AND NOT EXISTS (SELECT FROM pgbaton.calls)"
    return bool(await the.db.fetchval(open_ones))


@pytest.mark.parametrize("name", REFUSED)
async def test_a_table_that_is_not_taken_is_refused_with_a_sentence_and_left_alone(database: str, name: str) -> None:
    shape, sentence = REFUSED[name]
    conn = await asyncpg.connect(database)
    try:
        await conn.execute(f"DROP TABLE jobs; {shape.ddl}")
        with pytest.raises(AttachError) as refused:
            await attach(conn, two_stages(**shape.of))
        assert sentence in str(refused.value)
        assert await conn.fetchval("SELECT count(*) FROM pgbaton.pipelines") == 0
        assert await conn.fetchval("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'job_state%'") == 0
    finally:
        await conn.close()
