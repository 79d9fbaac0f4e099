"""claim_waiting.sql and next_due.sql: calls that wait are claimed when they are due, and the worker is told when that is."""

from __future__ import annotations

import pytest

from line import two_stages
from store_bench import bench, quickly

LATER = "UPDATE pgbaton.calls SET due_at = clock_timestamp() + make_interval(secs => $2) WHERE job_key = $1"


async def test_each_claim_of_a_dispatch_is_an_attempt_of_its_own(database: str) -> None:
    async with bench(database) as b:
        first = await b.claimed()
        await b.settle_with(b.store, first.job_key, 500)
        await b.db.execute(LATER, first.job_key, 0.0)
        (second,) = (await b.store.claim_waiting(b.worker, 9)).claimed
        assert (second.id, second.attempt, second.run) == (first.id, 2, first.run)
        call = await b.call(first.job_key)
        assert call is not None
        assert (call["worker"], call["failures"], call["outcome"], call["due_at"]) == (b.worker, 1, None, None)
        attempts = await b.db.fetch(
            "SELECT attempt, outcome, finished_at IS NULL FROM pgbaton.attempts ORDER BY attempt"
        )
        assert [tuple(a) for a in attempts] == [(1, "failed", False), (2, None, True)]


async def test_a_call_is_claimed_when_it_is_due_and_not_before(database: str) -> None:
    async with bench(database) as b:
        job = await b.job_in("waiting")
        await b.db.execute(LATER, job, 3600.0)
        assert (await b.store.claim_waiting(b.worker, 9)).found == 0
        await b.db.execute(LATER, job, 0.0)
        assert len((await b.store.claim_waiting(b.worker, 9)).claimed) == 1


async def test_the_longest_due_is_claimed_first_and_no_more_than_asked_for(database: str) -> None:
    async with bench(database) as b:
        jobs = [await b.job_in("waiting") for _ in range(4)]
        for job, age in zip(jobs, (1.0, 4.0, 2.0, 3.0), strict=True):
            await b.db.execute(LATER, job, -age)
        assert [d.job_key for d in (await b.store.claim_waiting(b.worker, 2)).claimed] == [jobs[1], jobs[3]]
        assert (await b.store.claim_waiting(b.worker, 0)).claimed == ()


@pytest.mark.parametrize(
    ("case", "change"),
    [
        ("elsewhere", "UPDATE jobs SET current_step = 'aside'"),
        ("begun", "UPDATE jobs SET current_step = 'cut', status = 'running'"),
        ("gone", "DELETE FROM jobs"),
        (
            "a duty",
            "INSERT INTO pgbaton.due (pipeline, stage, job_key) SELECT 'craft', 'cut', job_key FROM pgbaton.calls",
        ),
        ("a look", "INSERT INTO pgbaton.due (pipeline, stage, job_key) SELECT 'craft', '', job_key FROM pgbaton.calls"),
        ("paused", "INSERT INTO pgbaton.paused_tenants (pipeline, tenant) VALUES ('craft', 'acme')"),
    ],
)
async def test_a_call_whose_job_has_changed_is_left_as_it_is_and_named(database: str, case: str, change: str) -> None:
    async with bench(database) as b:
        job = await b.job_in("waiting")
        await b.db.execute(change)
        before = await b.engine_rows()
        turn = await b.store.claim_waiting(b.worker, 9)
        assert (turn.claimed, turn.others) == ((), {job}), case
        assert await b.engine_rows() == before


async def test_a_call_whose_row_says_failed_is_claimed_to_be_rewound(database: str) -> None:
    async with bench(database) as b:
        job = await b.job_in("held")
        await b.put(job, "cut", "failed")
        await b.resolve(await b.store.turn(b.worker, 9))
        await b.settle_with(b.store, job, 500)
        await b.db.execute(LATER, job, 0.0)
        (claimed,) = (await b.store.claim_waiting(b.worker, 9)).claimed
        assert claimed.row.at == ("cut", "failed")


async def test_a_call_that_another_worker_has_locked_is_skipped_and_not_waited_for(database: str) -> None:
    async with bench(database) as b:
        held, free = await b.job_in("waiting"), await b.job_in("waiting")
        async with b.holding("SELECT FROM pgbaton.calls WHERE job_key = $1 FOR UPDATE", held):
            turn = await quickly(b.store.claim_waiting(b.worker, 9))
        assert [d.job_key for d in turn.claimed] == [free]


async def test_a_row_that_a_writer_has_locked_is_not_waited_for(database: str) -> None:
    async with bench(database) as b:
        job = await b.job_in("waiting")
        async with b.holding("SELECT FROM jobs FOR UPDATE"):
            assert [d.job_key for d in (await quickly(b.store.claim_waiting(b.worker, 9))).claimed] == [job]


async def test_a_parked_call_is_not_claimed_though_no_tenant_is_paused_any_more(database: str) -> None:
    """unpark makes it due."""
    async with bench(database) as b:
        await b.job_in("parked")
        assert (await b.store.claim_waiting(b.worker, 9)).found == 0
        assert await b.store.next_due() is None


async def test_the_next_due_time_is_told_by_the_databases_clock(database: str) -> None:
    async with bench(database, steps=("cut",)) as b:
        assert await b.store.next_due() is None
        for after in (500.0, 100.0, 900.0):
            await b.db.execute(LATER, await b.job_in("waiting"), after)
        due = await b.store.next_due()
        assert due is not None
        assert 95 < due <= 100
        await b.db.execute(
            "UPDATE pgbaton.calls SET waits_for = 'glue', due_at = now() + interval '9 s' WHERE due_at < now() + interval '2 min'"
        )
        due = await b.store.next_due()
        assert due is not None
        assert due > 90, "a stage that this worker does not know"
        await b.db.execute("UPDATE pgbaton.stages SET paused_at = now()")
        assert await b.store.next_due() is None


async def test_a_call_that_became_due_since_the_last_claim_is_told_and_one_that_was_due_then_is_not(
    database: str,
) -> None:
    async with bench(database) as b:
        job = await b.job_in("waiting")
        await b.db.execute(LATER, job, -5.0)
        assert await b.store.next_due(1.0) is None
        due = await b.store.next_due(60.0)
        assert due is not None
        assert -10 < due <= -5


async def test_a_circuit_that_lets_a_probe_through_is_told_where_there_is_something_to_probe_with(
    database: str,
) -> None:
    async with bench(database) as b:
        await b.db.execute(
            "UPDATE pgbaton.stages SET strikes = 1, open_until = now() + interval '10 s' WHERE step = 'cut'"
        )
        assert await b.store.next_due() is None
        await b.add()
        due = await b.store.next_due()
        assert due is not None
        assert 5 < due <= 10


async def test_a_limited_stage_gives_its_slot_to_a_call_that_is_repeated(database: str) -> None:
    async with bench(database, two_stages(cut_concurrency=1)) as b:
        await b.job_in("waiting")
        (claimed,) = (await b.store.claim_waiting(b.worker, 9)).claimed
        call = await b.call(claimed.job_key)
        assert call is not None
        assert call["slot"] == "cut"
        await b.add()
        assert (await b.store.turn(b.worker, 9)).claimed == ()
