"""The smaller statements of the journal: look, note, prepare, lost, leases, prune, park and unpark."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from pgbaton.decision.verdict import Standing
from pgbaton.model import Outcome, State
from pgbaton.worker.store import Move
from store_bench import bench, quickly, said

# -- look and note ----------------------------------------------------------------------------------


async def test_a_look_shows_a_job_with_its_row_its_call_and_its_duties_in_their_order(database: str) -> None:
    async with bench(database) as b:
        first = await b.begun()
        await b.put(first.job_key, "made", "done")
        await b.put(first.job_key, "aside", "done")
        job = await b.look(first.job_key)
        assert job.row is not None
        assert job.row.at == ("aside", "done")
        assert [(d.stage, d.entered) for d in job.duties] == [("cut", ("made", "done")), ("", ("aside", "done"))]
        call = job.call
        assert call is not None
        assert (call.id, call.stage, call.entry, call.attempt, call.worker) == (first.id, "cut", "made", 1, b.worker)
        assert (call.standing, call.alive, call.overdue, call.next, call.seen) == (
            Standing.HELD,
            True,
            False,
            None,
            None,
        )
        assert 0 <= call.age < 5


@pytest.mark.parametrize(
    ("standing", "is_now"), [("held", Standing.HELD), ("left", Standing.LEFT), ("waiting", Standing.WAITING)]
)
async def test_a_look_tells_how_the_call_stands(database: str, standing: str, is_now: Standing) -> None:
    async with bench(database) as b:
        job = await b.job_in(standing)
        call = (await b.look(job)).call
        assert call is not None
        assert (call.standing, call.parked) == (is_now, False)
        await b.let_lapse()
        await b.db.execute("UPDATE pgbaton.calls SET deadline = now() WHERE deadline IS NOT NULL")
        call = (await b.look(job)).call
        assert call is not None
        assert not call.alive
        assert call.overdue == (standing == "left")


async def test_a_look_at_a_job_that_is_nowhere_shows_nothing(database: str) -> None:
    async with bench(database) as b:
        nowhere = await b.look(str(uuid.uuid4()))
        assert (nowhere.row, nowhere.call, nowhere.duties, nowhere.paused) == (None, None, (), False)


async def test_a_look_tells_a_paused_tenant_by_the_row_as_it_is_now(database: str) -> None:
    async with bench(database) as b:
        job = await b.add(tenant="acme")
        await b.db.execute("INSERT INTO pgbaton.paused_tenants (pipeline, tenant) VALUES ('craft', 'umbrella')")
        assert not (await b.look(job)).paused
        await b.db.execute("UPDATE jobs SET tenant_id = 'umbrella'")
        assert (await b.look(job)).paused
        await b.db.execute("UPDATE pgbaton.paused_tenants SET resumed_at = now()")
        assert not (await b.look(job)).paused


async def test_an_answer_to_an_attempt_that_has_ended_is_kept_with_it(database: str) -> None:
    async with bench(database) as b:
        first = await b.claimed()
        await b.put(first.job_key, "cut", "done")
        await b.store.turn(b.worker, 9)
        noted = await b.store.note([(first, said(500, "HTTP 500"))])
        assert noted == {first.name: (Outcome.COMPLETED, State.COMPLETED)}
        (ended,) = await b.history(first.job_key)
        assert (ended["http_status"], ended["error"], ended["outcome"]) == (500, "HTTP 500", "completed")


async def test_a_turn_keeps_the_answers_to_attempts_that_an_earlier_turn_ended(database: str) -> None:
    async with bench(database) as b:
        first, second = [await b.claimed() for _ in range(2)]
        await b.put(first.job_key, "cut", "done")
        early = await b.store.turn(b.worker, 9)
        assert (early.ended, early.late) == ({first.id}, {})
        answers = [(first, said(500, "HTTP 500")), (second, said(200))]
        turn = await b.store.turn(b.worker, 9, answers)
        assert turn.late == {first.name: (Outcome.COMPLETED, State.COMPLETED)}, "the second one goes on"
        assert (turn.found, turn.ended, turn.claimed) == (0, frozenset(), ())
        (ended,) = await b.history(first.job_key)
        assert (ended["http_status"], ended["error"], ended["outcome"]) == (500, "HTTP 500", "completed")


async def test_an_answer_to_an_attempt_that_goes_on_is_not_noted(database: str) -> None:
    async with bench(database) as b:
        first = await b.claimed()
        assert await b.store.note([(first, said(200))]) == {}
        await b.settle_with(b.store, first.job_key, 500)
        assert await b.store.note([(first, said(500))]) == {first.name: (Outcome.FAILED, None)}
        await b.db.execute("DELETE FROM pgbaton.history")
        assert await b.store.note([(first, said(200))]) == {}, "it was pruned"


# -- prepare ----------------------------------------------------------------------------------------


def _to_running(*dispatches: Any) -> list[Move]:
    return [Move(d, ("made", "done"), ("cut", "running")) for d in dispatches]


async def test_a_row_is_prepared_only_from_where_the_worker_saw_it(database: str) -> None:
    async with bench(database) as b:
        there, elsewhere = await b.claimed(), await b.claimed()
        await b.put(elsewhere.job_key, "drawn", "done")
        assert await b.store.prepare(b.worker, _to_running(there, elsewhere)) == {there.job_key}
        assert await b.row(there.job_key) == ("cut", "running")
        assert await b.row(elsewhere.job_key) == ("drawn", "done")
        assert await b.store.prepare(b.worker, _to_running(there, elsewhere)) == set()


async def test_a_row_that_is_rewound_before_its_call_leaves_no_duty(database: str) -> None:
    async with bench(database) as b:
        first = await b.claimed()
        await b.put(first.job_key, "cut", "failed")
        await b.db.execute("DELETE FROM pgbaton.due")
        move = Move(first, ("cut", "failed"), ("made", "done"))
        assert await b.store.prepare(b.worker, [move]) == {first.job_key}
        assert await b.row(first.job_key) == ("made", "done")
        assert await b.duties(first.job_key) == []


@pytest.mark.parametrize("lock", ["jobs WHERE job_id::text", "pgbaton.calls WHERE job_key"])
async def test_a_row_or_call_that_is_locked_is_not_prepared_and_not_waited_for(database: str, lock: str) -> None:
    async with bench(database) as b:
        held, free = await b.claimed(), await b.claimed()
        async with b.holding(f"SELECT FROM {lock} = $1 FOR UPDATE", held.job_key):
            assert await quickly(b.store.prepare(b.worker, _to_running(held, free))) == {free.job_key}


@pytest.mark.parametrize(
    "change",
    [
        "SET attempt = attempt + 1",
        "SET worker = worker + 1",
        "SET id = id + 1",
        "SET due_at = now(), waits_for = 'cut', worker = NULL",
    ],
)
async def test_a_worker_that_lost_its_attempt_prepares_no_row(database: str, change: str) -> None:
    async with bench(database) as b:
        late = await b.claimed()
        await b.db.execute(f"UPDATE pgbaton.calls {change}")
        assert await b.store.prepare(b.worker, _to_running(late)) == set()
        assert await b.row(late.job_key) == ("made", "done")


# -- lost -------------------------------------------------------------------------------------------


async def test_a_call_is_lost_when_its_workers_lease_has_lapsed_or_ended(database: str) -> None:
    async with bench(database) as b:
        job = (await b.claimed()).job_key
        assert await b.store.lost("", 9) == []
        await b.let_lapse()
        assert await b.store.lost("", 9) == [job]
        await b.db.execute("UPDATE pgbaton.workers SET expires_at = now() + interval '1 h'")
        assert await b.store.lost("", 9) == []
        await b.store.give_up_lease(b.worker)
        assert await b.store.lost("", 9) == [job]
        await b.db.execute("DELETE FROM pgbaton.workers")
        assert await b.store.lost("", 9) == [job]


async def test_a_call_that_waits_or_is_left_in_time_is_not_lost_with_its_worker(database: str) -> None:
    async with bench(database) as b:
        await b.job_in("waiting")
        await b.job_in("parked")
        left = await b.job_in("left")
        await b.let_lapse()
        assert await b.store.lost("", 9) == []
        await b.db.execute("UPDATE pgbaton.calls SET deadline = clock_timestamp() WHERE deadline IS NOT NULL")
        assert await b.store.lost("", 9) == [left]


async def test_lost_calls_come_page_by_page_in_the_order_of_keys(database: str) -> None:
    async with bench(database) as b:
        jobs = sorted([(await b.claimed()).job_key for _ in range(5)])
        await b.let_lapse()
        first = await b.store.lost("", 2)
        second = await b.store.lost(first[-1], 2)
        assert [*first, *second, *await b.store.lost(second[-1], 2)] == jobs


# -- leases -----------------------------------------------------------------------------------------


async def test_a_lease_is_renewed_until_it_has_lapsed(database: str) -> None:
    async with bench(database) as b:
        assert await b.store.renew(b.worker, 30, True)
        row = await b.db.fetchrow(
            "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 AS left, draining FROM pgbaton.workers"
        )
        assert 25 < row["left"] <= 30
        assert row["draining"]
        await b.let_lapse()
        assert not await b.store.renew(b.worker, 30, True), "what it held is another's by now"
        fresh = await b.another_worker()
        await b.store.give_up_lease(fresh)
        assert not await b.store.renew(fresh, 30, False)


async def test_a_worker_that_takes_a_new_lease_keeps_the_attempts_in_its_hands_and_no_others(database: str) -> None:
    async with bench(database) as b:
        held, unknown, left = await b.claimed(), await b.claimed(), await b.claimed()
        await b.settle_with(b.store, left.job_key, 202)
        late = (held.id, held.attempt + 1)
        fresh, kept = await b.store.take_lease(b.worker, "me", 8, 60, [held.name, late, (999, 1)])
        assert fresh > b.worker
        assert kept == {held.name}
        assert await b.store.lost("", 9) == [unknown.job_key]
        assert not await b.store.renew(b.worker, 60, False)
        call = await b.call(held.job_key)
        assert call is not None
        assert call["worker"] == fresh


async def test_a_worker_that_takes_a_new_lease_gets_nothing_of_what_another_worker_rescued(database: str) -> None:
    async with bench(database) as b:
        held = await b.claimed()
        await b.let_lapse()
        other = await b.another_worker()
        await b.resolve(await b.store.lost("", 9))
        await b.db.execute("UPDATE pgbaton.calls SET due_at = clock_timestamp()")
        assert len((await b.store.claim_waiting(other, 9)).claimed) == 1
        _, kept = await b.store.take_lease(b.worker, "me", 8, 60, [held.name])
        assert kept == set()
        call = await b.call(held.job_key)
        assert call is not None
        assert (call["worker"], call["attempt"]) == (other, 2)


async def test_leases_that_lapsed_while_postgres_was_away_get_their_length_once_more(database: str) -> None:
    """No test restarts the cluster that all share: the start of the server is what the lease is compared with."""
    async with bench(database) as b:
        job = (await b.claimed()).job_key
        await b.db.execute(
            "UPDATE pgbaton.workers SET renewed_at = pg_postmaster_start_time() - interval '1 day', "
            "expires_at = pg_postmaster_start_time() - interval '1 day' + (clock_timestamp() - pg_postmaster_start_time()) "
            "             + interval '1 h'"
        )
        assert await b.store.lost("", 9) == []
        await b.db.execute(
            "UPDATE pgbaton.workers SET expires_at = renewed_at + (clock_timestamp() - pg_postmaster_start_time()) / 2"
        )
        assert await b.store.lost("", 9) == [job]


# -- prune ------------------------------------------------------------------------------------------


async def test_history_is_pruned_after_its_retention_and_open_dispatches_never(database: str) -> None:
    async with bench(database) as b:
        old, young, still_open = await b.job_in("dead"), await b.job_in("dead"), await b.job_in("left")
        await b.db.execute("UPDATE pgbaton.history SET ended_at = ended_at - interval '61 s' WHERE job_key = $1", old)
        await b.db.execute("UPDATE pgbaton.calls SET created_at = now() - interval '1 year'")
        assert (await b.store.prune(60))[0] == 1
        assert [await b.states(job) for job in (old, young, still_open)] == [
            [],
            [("cut", "dead")],
            [("cut", "running")],
        ]
        assert (await b.store.prune(60))[0] == 0


async def test_no_more_than_a_thousand_are_pruned_at_once_and_locked_ones_are_left(database: str) -> None:
    async with bench(database) as b:
        await b.db.execute(
            "INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, stage, run, outcome, state, created_at, ended_at) "
            "SELECT n, 1, true, 'craft', n::text, 'cut', n, 'completed', 'completed', now(), now() - interval '1 day' "
            "  FROM generate_series(1, 1500) AS n"
        )
        assert (await b.store.prune(60))[0] == 1000
        async with b.holding("SELECT FROM pgbaton.history LIMIT 10 FOR UPDATE"):
            assert (await quickly(b.store.prune(60)))[0] == 490
        assert (await b.store.prune(60))[0] == 10


async def test_a_worker_long_gone_is_forgotten_but_not_one_whose_call_names_it(database: str) -> None:
    async with bench(database) as b:
        silent, gone, named = [await b.another_worker() for _ in range(3)]
        await b.add()
        await b.store.turn(named, 9)
        await b.let_lapse(silent)
        await b.db.execute(
            "UPDATE pgbaton.workers SET expires_at = now() - interval '61 min' WHERE id = ANY ($1)", [gone, named]
        )
        await b.store.prune(60)
        left = [w["id"] for w in await b.db.fetch("SELECT id FROM pgbaton.workers ORDER BY id")]
        assert left == [b.worker, silent, named]


# -- park and unpark --------------------------------------------------------------------------------


async def _park(b: Any, limit: int = 100) -> int:
    return int(await b.db.fetchval(b.table.query("operate/park"), "craft", "acme", limit))


async def test_a_pause_parks_the_duties_of_its_tenant_and_a_resume_makes_them_due(database: str) -> None:
    async with bench(database) as b:
        acme, other = [await b.add() for _ in range(5)], await b.add(tenant="other")
        assert await _park(b) == 0, "the tenant is not paused"
        await b.db.execute("INSERT INTO pgbaton.paused_tenants (pipeline, tenant) VALUES ('craft', 'acme')")
        assert [await _park(b, 3), await _park(b, 3), await _park(b, 3)] == [3, 2, 0]
        assert [d.job_key for d in (await b.store.turn(b.worker, 9)).claimed] == [other]
        assert await b.store.unpark(9) == 0
        await b.db.execute("UPDATE pgbaton.paused_tenants SET resumed_at = now()")
        assert [await b.store.unpark(3), await b.store.unpark(3), await b.store.unpark(3)] == [3, 2, 0]
        assert await b.db.fetchval("SELECT count(*) FROM pgbaton.paused_tenants") == 0
        claimed = (await b.store.claim_waiting(b.worker, 9)).claimed
        assert {d.job_key for d in claimed} == set(acme)
        assert {d.attempt for d in claimed} == {1}


async def test_a_pause_leaves_jobs_that_are_no_everyday_ones_to_the_workers(database: str) -> None:
    async with bench(database) as b:
        two, called, locked = await b.add(), (await b.claimed()).job_key, await b.add()
        await b.db.execute("DELETE FROM pgbaton.calls WHERE job_key = ANY ($1)", [two, locked])
        for job in (two, called, locked):
            await b.db.execute("DELETE FROM pgbaton.due WHERE job_key = $1", job)
            await b.add_duty(job)
        await b.add_duty(two, "", "x", "y")
        await b.db.execute("INSERT INTO pgbaton.paused_tenants (pipeline, tenant) VALUES ('craft', 'acme')")
        async with b.holding("SELECT FROM pgbaton.due WHERE job_key = $1 FOR UPDATE", locked):
            assert await quickly(_park(b)) == 0
        assert await _park(b) == 1


async def test_a_resume_waits_for_a_park_that_is_under_way(database: str) -> None:
    """Or a call would be parked behind its back, and never be due again."""
    async with bench(database) as b:
        await b.add()
        await b.db.execute("INSERT INTO pgbaton.paused_tenants (pipeline, tenant) VALUES ('craft', 'acme')")
        async with b.db.acquire() as conn:
            parking = conn.transaction()
            await parking.start()
            assert await conn.fetchval(b.table.query("operate/park"), "craft", "acme", 9) == 1
            resuming = asyncio.create_task(
                b.db.fetchval(b.table.query("operate/resume_tenant"), "craft", "acme", "m", None)
            )
            waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            while not await b.db.fetchval(waits):
                assert not resuming.done()
            await parking.commit()
            await resuming
        assert await b.store.unpark(9) == 1


async def test_calls_that_are_unparked_at_once_are_made_due_once(database: str) -> None:
    async with bench(database) as b:
        for _ in range(20):
            await b.job_in("parked")
        await b.db.execute(
            "INSERT INTO pgbaton.paused_tenants (pipeline, tenant, resumed_at) VALUES ('craft', 'acme', now())"
        )
        due = await asyncio.gather(*(b.store.unpark(20) for _ in range(4)))
        assert sum(due) == 20
        while await b.store.unpark(20):
            pass
        assert await b.db.fetchval("SELECT count(*) FROM pgbaton.paused_tenants") == 0
