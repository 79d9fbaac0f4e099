"""settle.sql: a verdict is written as a whole and only where nothing that it was decided on has changed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from line import two_stages
from pgbaton.decision.outcome import Answer, Reply
from store_bench import Bench, bench, quickly, said

LOST = Answer(Reply.LOST, error="the connection broke")

# -- what is written: by the row, and the answer ------------------------------------------------------

WRITTEN = [
    # row while called, answer: state of the dispatch, outcome of the attempt, row, counts
    (("made", "done"), said(500, "why"), "retryable", "failed", ("made", "done"), 1),
    (("cut", "running"), said(500, "why"), "retryable", "failed", ("made", "done"), 1),
    (("cut", "failed"), said(500, "why"), "retryable", "failed", ("cut", "failed"), 1),
    (("cut", "running"), said(202, "why"), "running", "accepted", ("cut", "running"), 0),
    (("cut", "running"), LOST, "running", "unknown", ("cut", "running"), 0),
    (("made", "done"), said(404, "why"), "dead", "rejected", ("cut", "failed"), 0),
    (("made", "done"), said(204, "why"), "dead", "breach", ("cut", "failed"), 0),
    (("made", "done"), said(429, "why"), "retryable", "deferred", ("made", "done"), 0),
    (("cut", "done"), said(500, "why"), "completed", "completed", ("cut", "done"), 0),
    (("aside", "done"), said(200, "why"), "cancelled", "superseded", ("aside", "done"), 0),
]


@pytest.mark.parametrize(("at", "answer", "state", "outcome", "after", "failures"), WRITTEN)
async def test_a_verdict_is_written_to_the_call_the_attempt_and_the_row(
    database: str,
    at: tuple[str, str],
    answer: Answer,
    state: str,
    outcome: str,
    after: tuple[str, str],
    failures: int,
) -> None:
    async with bench(database) as b:
        claimed = await b.claimed()
        job = claimed.job_key
        if at != ("made", "done"):
            await b.put(job, *at)
        before = await b.db.fetchval("SELECT updated_at FROM jobs")
        assert await b.settle(await b.verdict(job, answer), answer)
        assert (await b.states(job))[0] == ("cut", state)
        assert await b.row(job) == after
        assert (await b.db.fetchval("SELECT updated_at FROM jobs") > before) == (after != at)
        row = await b.db.fetchrow("SELECT * FROM pgbaton.dispatches WHERE id = $1", claimed.id)
        assert (row["attempt"], row["failures"], row["worker"]) == (1, failures, None)
        assert (row["settled_at"] is not None) == (state in ("completed", "dead", "cancelled"))
        assert (row["deadline"] is not None) == (state == "running")
        attempt = await b.db.fetchrow(
            "SELECT * FROM pgbaton.attempts WHERE dispatch_id = $1 AND attempt = 1", claimed.id
        )
        assert (attempt["outcome"], attempt["http_status"]) == (outcome, answer.status)
        assert (attempt["error"] or "").startswith(answer.error or "") or outcome == "breach"
        assert (attempt["finished_at"] is None) == (state == "running")
        assert attempt["worker"] == "me"
        left = await b.db.fetch("SELECT stage FROM pgbaton.due")
        assert [r["stage"] for r in left] == (["glue"] if at == ("cut", "done") else []), (
            "the engine's rewinds leave no duty"
        )


@pytest.mark.parametrize("status", [500, 429])
async def test_a_row_that_was_not_begun_is_left_as_it_is(database: str, status: int) -> None:
    async with bench(database) as b:
        job = (await b.claimed()).job_key
        before = await b.db.fetch("SELECT xmin, * FROM jobs")
        await b.settle_with(b.store, job, status)
        assert await b.db.fetch("SELECT xmin, * FROM jobs") == before


async def test_the_engines_advance_leaves_the_next_stages_duty(database: str) -> None:
    async with bench(database, two_stages(cut_advance="engine")) as b:
        job = (await b.claimed()).job_key
        await b.settle_with(b.store, job, 200)
        assert await b.row(job) == ("cut", "done")
        assert await b.states(job) == [("cut", "completed"), ("glue", "available")]
        (claimed,) = (await b.store.turn(b.worker, 9)).claimed
        assert claimed.stage == "glue"


async def test_a_stage_is_waited_for_from_the_calls_start_and_not_from_the_answer(database: str) -> None:
    async with bench(database, two_stages(cut_timeout=100)) as b:
        job = (await b.begun()).job_key
        await b.db.execute("UPDATE pgbaton.calls SET started_at = started_at - interval '60 s'")
        await b.settle_with(b.store, job, 202)
        assert 35 < await b.seconds_until("deadline", job) <= 40


async def test_a_stage_begun_by_another_caller_is_waited_for_from_now(database: str) -> None:
    async with bench(database, two_stages(cut_timeout=100)) as b:
        job = await b.add()
        await b.put(job, "cut", "running")
        await b.resolve([job])
        call = await b.call(job)
        assert call is not None
        assert (call["worker"], call["attempt"]) == (None, 1)
        assert 95 < await b.seconds_until("deadline", job) <= 100
        assert await b.states(job) == [("cut", "running")]


async def test_a_call_waits_as_long_as_the_verdict_says_by_the_databases_clock(database: str) -> None:
    async with bench(database) as b:
        job = (await b.claimed()).job_key
        verdict = replace(await b.verdict(job, said(429)), delay=120.0)
        written = await b.store.settle([(verdict, said(429))], b.stages)
        assert written[job].due_in is not None
        assert 115 < written[job].due_in <= 120
        assert 115 < await b.seconds_until("due_at", job) <= 120


async def test_a_duty_that_comes_while_the_call_is_under_way_is_kept_in_it(database: str) -> None:
    async with bench(database) as b:
        first = await b.begun()
        await b.put(first.job_key, "made", "done")
        (kept,) = await b.duties(first.job_key)
        await b.resolve(await b.store.turn(b.worker, 9))
        call = await b.call(first.job_key)
        assert call is not None
        assert (call["id"], call["next_id"], call["seen"], call["worker"]) == (first.id, kept, kept, b.worker)
        assert await b.duties(first.job_key) == []
        assert await b.states(first.job_key) == [("cut", "running"), ("cut", "available")]
        await b.put(first.job_key, "cut", "done")
        await b.resolve(await b.store.turn(b.worker, 9))
        assert await b.states(first.job_key) == [("cut", "completed"), ("cut", "completed"), ("glue", "available")]


async def test_a_rewind_after_the_stage_ended_is_called_with_attempts_of_its_own(database: str) -> None:
    async with bench(database) as b:
        first = await b.begun()
        await b.put(first.job_key, "cut", "done")
        await b.put(first.job_key, "made", "done")
        await b.settle_with(b.store, first.job_key, 200)
        (again,) = (await b.store.turn(b.worker, 9)).claimed
        assert (again.stage, again.attempt) == ("cut", 1)
        assert again.id > first.id
        assert await b.states(first.job_key) == [("cut", "completed"), ("glue", "cancelled"), ("cut", "running")]


# -- the fences -------------------------------------------------------------------------------------

BETWEEN = {
    "a duty was taken by another worker": "DELETE FROM pgbaton.due",
    "a duty came": "INSERT INTO pgbaton.due (pipeline, stage, job_key) SELECT pipeline, 'cut', job_key FROM pgbaton.calls",
    "a look came": "INSERT INTO pgbaton.due (pipeline, stage, job_key) SELECT pipeline, '', job_key FROM pgbaton.calls",
    "another attempt": "UPDATE pgbaton.calls SET attempt = attempt + 1",
    "another dispatch": "UPDATE pgbaton.calls SET id = id + 100",
    "another worker": "UPDATE pgbaton.calls SET worker = worker + 1",
    "a duty or look was taken meanwhile": "UPDATE pgbaton.calls SET seen = 1",
    "the call waits now": "UPDATE pgbaton.calls SET due_at = now(), waits_for = 'cut'",
    "the call has ended": "DELETE FROM pgbaton.calls",
    "the row moved": "ALTER TABLE jobs DISABLE TRIGGER ALL; UPDATE jobs SET current_step = 'aside'",
    "the row has ended": "ALTER TABLE jobs DISABLE TRIGGER ALL; UPDATE jobs SET status = 'done'",
    "the row is gone": "DELETE FROM jobs",
}


@pytest.mark.parametrize("between", BETWEEN)
async def test_a_verdict_whose_job_has_changed_since_the_look_changes_nothing(database: str, between: str) -> None:
    async with bench(database) as b:
        job = (await b.begun()).job_key
        await b.add_duty(job, "", "cut", "x")
        verdicts = [(await b.verdict(job, answer), answer) for answer in (said(500), said(404))]
        assert all(v.target is not None for v, _ in verdicts), "its row is to be written: all fences at once"
        await b.db.execute(BETWEEN[between])
        before, row = await b.engine_rows(), await b.db.fetch("SELECT xmin, * FROM jobs")
        for verdict, answer in verdicts:
            assert not await b.settle(verdict, answer)
        assert await b.engine_rows() == before
        assert await b.db.fetch("SELECT xmin, * FROM jobs") == row


async def test_a_verdict_of_a_job_in_no_call_is_not_written_where_it_is_in_one_now(database: str) -> None:
    async with bench(database) as b:
        job = await b.add()
        await b.put(job, "cut", "running")
        verdict = await b.verdict(job)
        await b.put(job, "made", "done")
        await b.db.execute("DELETE FROM pgbaton.due WHERE id > $1", verdict.job.duties[0].id)
        (claimed,) = (await b.store.turn(b.worker, 9)).claimed
        before = await b.engine_rows()
        assert not await b.settle(verdict)
        assert await b.engine_rows() == before
        assert claimed.job_key == job


async def test_a_verdict_is_written_once(database: str) -> None:
    async with bench(database) as b:
        job = (await b.begun()).job_key
        verdict = await b.verdict(job, said(500))
        written = await asyncio.gather(*(b.settle(verdict, said(500)) for _ in range(8)))
        assert sorted(written) == [False] * 7 + [True]
        assert len(await b.history(job)) == 1
        call = await b.call(job)
        assert call is not None
        assert (call["failures"], call["attempt"]) == (1, 1)


async def test_a_late_worker_changes_nothing_with_any_decision(database: str) -> None:
    """Its lease lapsed, its call was rescued and is called again by another worker."""
    async with bench(database) as b:
        job = (await b.begun()).job_key
        late = [(await b.verdict(job, a), a) for a in (said(500), said(404), said(202), said(429), LOST)]
        late.append((await b.verdict(job, given_back=True), said(0)))
        await b.put(job, "made", "done")
        await b.let_lapse()
        other = await b.another_worker()
        await b.resolve(await b.store.lost("", 9))
        await b.db.execute("UPDATE pgbaton.calls SET due_at = clock_timestamp() WHERE due_at IS NOT NULL")
        claims = [*(await b.store.turn(other, 9)).claimed, *(await b.store.claim_waiting(other, 9)).claimed]
        assert [c.job_key for c in claims] == [job]
        await b.put(job, "cut", "running")
        before, row = await b.engine_rows(), await b.row(job)
        for verdict, answer in late:
            assert not await b.settle(verdict, answer)
        assert (await b.engine_rows(), await b.row(job)) == (before, row)


# -- locks ------------------------------------------------------------------------------------------

HELD = {
    "its duty": "SELECT FROM pgbaton.due WHERE job_key = $1 FOR UPDATE",
    "its call": "SELECT FROM pgbaton.calls WHERE job_key = $1 FOR UPDATE",
    "its row": "SELECT FROM jobs WHERE job_id::text = $1 FOR UPDATE",
}


@pytest.mark.parametrize("lock", HELD)
async def test_a_job_of_which_a_lock_is_held_is_skipped_and_the_rest_of_the_batch_written(
    database: str, lock: str
) -> None:
    async with bench(database) as b:
        jobs = [(await b.begun()).job_key for _ in range(4)]
        for job in jobs:
            await b.add_duty(job, "", "cut", "x")
        verdicts = [(await b.verdict(job, said(500)), said(500)) for job in jobs]
        async with b.holding(HELD[lock], jobs[1]):
            written = await quickly(b.store.settle(verdicts, b.stages))
        assert written.keys() == {jobs[0], jobs[2], jobs[3]}
        assert await b.settle(await b.verdict(jobs[1], said(500)), said(500))


async def test_a_verdict_that_writes_no_row_does_not_need_its_lock(database: str) -> None:
    async with bench(database) as b:
        job = (await b.begun()).job_key
        async with b.holding("SELECT FROM jobs FOR UPDATE"):
            assert await quickly(b.settle(await b.verdict(job, said(202)), said(202)))


async def test_a_row_that_a_foreign_key_refers_to_is_written_all_the_same(database: str) -> None:
    async with bench(database) as b:
        job = (await b.claimed()).job_key
        async with b.holding("SELECT FROM jobs FOR KEY SHARE"):
            assert await quickly(b.settle(await b.verdict(job, said(404)), said(404)))
        assert await b.row(job) == ("cut", "failed")


async def test_a_writer_that_moves_the_row_while_the_verdict_is_written_is_not_written_over(database: str) -> None:
    """The writer has committed after the look, and before the statement has the lock: the row is compared under it."""
    async with bench(database) as b:
        job = (await b.begun()).job_key
        verdict = await b.verdict(job, said(500))
        async with b.db.acquire() as writer:
            moving = writer.transaction()
            await moving.start()
            await writer.execute("UPDATE jobs SET status = 'done'")
            assert not await quickly(b.settle(verdict, said(500))), "the lock is not waited for"
            await moving.commit()
        assert not await b.settle(verdict, said(500))
        assert await b.row(job) == ("cut", "done")
        assert await b.states(job) == [("cut", "completed"), ("glue", "available")]


async def test_a_batch_is_written_in_one_go_each_job_by_its_own_verdict(database: str) -> None:
    async with bench(database) as b:
        answers = [said(500), said(404), said(429), said(202), LOST, said(200)]
        jobs = [(await b.claimed()).job_key for _ in answers]
        verdicts: list[Any] = [(await b.verdict(j, a), a) for j, a in zip(jobs, answers, strict=True)]
        assert (await b.store.settle(verdicts, b.stages)).keys() == set(jobs)
        states = [(await b.states(job))[0][1] for job in jobs]
        assert states == ["retryable", "dead", "retryable", "running", "retryable", "dead"]


# -- paused tenants ---------------------------------------------------------------------------------


async def _pause(b: Bench) -> None:
    await b.db.execute("INSERT INTO pgbaton.paused_tenants (pipeline, tenant) VALUES ('craft', 'acme')")


async def test_a_duty_of_a_paused_tenant_is_parked_where_no_claim_reads_it(database: str) -> None:
    async with bench(database) as b:
        job = await b.add()
        await _pause(b)
        await b.resolve(await b.store.turn(b.worker, 9))
        assert await b.duties(job) == []
        assert await b.states(job) == [("cut", "available")]
        assert await b.db.fetchval("SELECT due_at = pgbaton.parked() FROM pgbaton.calls")
        for _ in range(2):
            assert (await b.store.turn(b.worker, 9)).found == (await b.store.claim_waiting(b.worker, 9)).found == 0


async def test_a_call_of_a_tenant_that_was_resumed_since_the_look_is_not_parked(database: str) -> None:
    async with bench(database) as b:
        job = await b.add()
        await _pause(b)
        verdict = await b.verdict(job)
        assert verdict.parked
        await b.db.execute("UPDATE pgbaton.paused_tenants SET resumed_at = now()")
        await b.settle(verdict)
        assert not await b.db.fetchval("SELECT due_at = pgbaton.parked() FROM pgbaton.calls")
        (claimed,) = (await b.store.claim_waiting(b.worker, 9)).claimed
        assert (claimed.job_key, claimed.attempt) == (job, 1)


async def test_a_call_that_waits_for_a_paused_tenant_is_parked_and_keeps_its_attempts(database: str) -> None:
    async with bench(database) as b:
        job = await b.job_in("waiting")
        await _pause(b)
        await b.resolve((await b.store.claim_waiting(b.worker, 9)).others)
        call = await b.call(job)
        assert call is not None
        assert (call["attempt"], call["failures"]) == (1, 1)
        assert await b.db.fetchval("SELECT due_at = pgbaton.parked() FROM pgbaton.calls")
