"""Two transactions that meet, each interleaving played out step by step: nothing stays open, nothing is stranded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from line import two_stages, until
from pgbaton.decision.outcome import Answer
from pgbaton.events import EventLog
from pgbaton.model import Dispatch
from pgbaton.worker.in_flight import Ended, InFlight
from pgbaton.worker.lease import Lease
from pgbaton.worker.periodic import Wake
from pgbaton.worker.reports import Reports
from pgbaton.worker.resolver import Resolver
from pgbaton.worker.store import Store
from store_bench import LEVELS, WAYS, Bench, bench, quickly, said


@asynccontextmanager
async def _after_its_snapshot(b: Bench, work: Callable[[], Awaitable[Any]]) -> AsyncIterator[asyncio.Task[Any]]:
    """Inside, ``work`` has its snapshot and waits for the row of the limited stage ``cut``; it goes on at the end."""
    async with b.db.acquire() as holder:
        holding = holder.transaction()
        await holding.start()
        await holder.execute("SELECT FROM pgbaton.stages WHERE step = 'cut' FOR UPDATE")
        task = asyncio.ensure_future(work())
        waits = (
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        await until(lambda: b.db.fetchval(waits), "the statement waits for the stage's row")
        yield task
        await holding.commit()
        await asyncio.wait_for(task, 10)


def limited(dsn: str) -> Any:
    return bench(dsn, two_stages(cut_concurrency=5))


# -- a claim and a user -----------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", LEVELS)
@pytest.mark.parametrize("way", [w for w in WAYS if "'made'" not in w and "TRUNCATE" not in w])
async def test_a_job_that_goes_while_it_is_being_claimed_leaves_no_attempt_open(
    database: str, way: str, isolation: str
) -> None:
    """The user waits for nothing, and the claim's attempt ends by the row, at the latest with the stage's answer. (TRUNCATE
    waits for each statement that reads the table.)"""
    async with bench(database) as b:
        job = await b.add()
        async with b.db.acquire() as conn:
            claiming = conn.transaction()
            await claiming.start()
            (claimed,) = (await Store(conn, b.table, b.store.steps).turn(b.worker, 1)).claimed
            async with b.db.acquire() as user, user.transaction(isolation=isolation):
                await quickly(user.execute(way.replace("$1", f"'{job}'")))
            await claiming.commit()
        await b.resolve(await b.store.turn(b.worker, 0))
        if await b.call(job) is not None:
            await b.settle_with(b.store, job, 500)
        states = dict(await b.states(job))
        attempt = await b.db.fetchrow(
            "SELECT outcome, finished_at FROM pgbaton.attempts WHERE dispatch_id = $1", claimed.id
        )
        expected = {
            "running": ("retryable", "failed"),
            "failed": ("retryable", "failed"),
            "done": ("completed", "completed"),
        }
        status = next((s for s in expected if f"'{s}'" in way), "")
        assert (states["cut"], attempt["outcome"]) == expected.get(status, ("cancelled", "superseded"))
        assert attempt["finished_at"] is not None


async def test_a_duty_that_another_worker_takes_after_the_snapshot_is_claimed_once(database: str) -> None:
    async with limited(database) as b:
        job = await b.add()
        async with _after_its_snapshot(b, lambda: b.store.turn(b.worker, 1)) as late:
            await b.db.execute("DELETE FROM pgbaton.due")  # as the other worker's turn does
            await b.db.execute(
                "INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, run, attempt, worker, created_at) "
                "VALUES ('craft', $1, 1, 'cut', 'made', 1, 1, 99, now())",
                job,
            )
        assert late.result().claimed == ()
        call = await b.call(job)
        assert call is not None
        assert call["worker"] == 99


async def test_a_call_that_comes_after_the_snapshot_keeps_the_duty_from_being_claimed(database: str) -> None:
    async with limited(database) as b:
        job = await b.add()
        async with _after_its_snapshot(b, lambda: b.store.turn(b.worker, 1)) as late:
            await b.db.execute(
                "INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, run, attempt, worker, created_at) "
                "VALUES ('craft', $1, 0, 'cut', 'made', 1, 1, 99, now())",
                job,
            )
        assert (late.result().claimed, late.result().others) == ((), {job})
        assert len(await b.duties(job)) == 1


async def test_a_row_that_moves_aside_after_the_snapshot_is_called_at_most_once_and_cancelled(database: str) -> None:
    """Its duty is claimed by the snapshot; the look that the move left comes to it next."""
    async with limited(database) as b:
        job = await b.add()
        async with _after_its_snapshot(b, lambda: b.store.turn(b.worker, 1)) as late:
            await b.put(job, "aside", "done")
        (claimed,) = late.result().claimed
        await b.resolve(await b.store.turn(b.worker, 1))
        assert await b.states(job) == [("cut", "cancelled")]
        assert await b.call(job) is None
        assert (await b.store.turn(b.worker, 9)).found == 0
        assert await b.store.note([(claimed, said(200))]) != {}


async def test_a_duty_that_is_committed_after_the_snapshot_waits_for_the_next_turn(database: str) -> None:
    async with limited(database) as b:
        job = await b.add()
        async with _after_its_snapshot(b, lambda: b.store.turn(b.worker, 9)) as late:
            await b.put(job, "cut", "done")
        (first,) = late.result().claimed
        assert first.stage == "cut"
        turn = await b.store.turn(b.worker, 9)
        assert (turn.ended, [d.stage for d in turn.claimed]) == ({first.id}, ["glue"])
        assert await b.states(job) == [("cut", "completed"), ("glue", "running")]


async def test_a_job_that_is_deleted_and_inserted_again_after_the_snapshot_is_in_one_call(database: str) -> None:
    async with limited(database) as b:
        job = await b.add()
        async with _after_its_snapshot(b, lambda: b.store.turn(b.worker, 1)) as late:
            await b.db.execute("DELETE FROM jobs")
            await b.db.execute(
                "INSERT INTO jobs (job_id, current_step, status) VALUES ($1::text::uuid, 'made', 'done')", job
            )
        (first,) = late.result().claimed
        turn = await b.store.turn(b.worker, 9)
        assert (turn.claimed, turn.others) == ((), {job})
        await b.resolve(turn)
        assert await b.states(job) == [("cut", "running"), ("cut", "available")]
        await b.put(job, "cut", "done")
        await b.resolve(await b.store.turn(b.worker, 9))
        assert (await b.states(job))[-1] == ("glue", "available")
        assert first.job_key == job


# -- two workers at one job -------------------------------------------------------------------------


async def test_a_failure_whose_look_another_worker_takes_while_the_holder_decides_a_202_is_not_waited_out(
    database: str,
) -> None:
    """The stage answers 202, fails and says so in its row. Were the verdict of before written, only the deadline would end
    it: the look is gone."""
    async with bench(database) as b:
        job = (await b.begun()).job_key
        waits = await b.verdict(job, said(202))
        await b.put(job, "cut", "failed")
        await b.resolve(await b.store.turn(await b.another_worker(), 9))
        assert await b.duties(job) == [], "the other worker has taken the look"
        assert not await b.settle(waits, said(202))
        assert await b.settle(await b.verdict(job, said(202)), said(202))
        assert await b.states(job) == [("cut", "retryable")]


async def test_a_failure_that_a_look_told_counts_though_the_worker_is_lost_before_its_answer(database: str) -> None:
    async with bench(database) as b:
        job = (await b.begun()).job_key
        await b.put(job, "cut", "failed")
        await b.resolve(await b.store.turn(await b.another_worker(), 9))
        await b.let_lapse(b.worker)
        await b.resolve(await b.store.lost("", 9))
        call = await b.call(job)
        assert call is not None
        assert (call["failures"], [h["outcome"] for h in await b.history(job)]) == (1, ["failed"])


async def test_workers_that_resolve_one_job_at_once_write_one_verdict(database: str) -> None:
    async with bench(database) as b:
        jobs = [(await b.claimed()).job_key for _ in range(30)]
        await b.let_lapse()
        await asyncio.gather(*(b.resolve(jobs) for _ in range(4)))
        assert [(await b.states(job), len(await b.history(job))) for job in jobs] == [([("cut", "available")], 1)] * 30


async def test_an_answer_and_a_rescue_that_meet_settle_the_call_once(database: str) -> None:
    async with bench(database) as b:
        for answer_first in (True, False):
            job = (await b.begun()).job_key
            await b.put(job, "made", "done")
            await b.db.execute("DELETE FROM pgbaton.due")
            by_answer = await b.verdict(job, said(500))
            await b.let_lapse()
            by_rescue = await b.verdict(job)
            pair = [(by_answer, said(500)), (by_rescue, None)]
            written = [await b.settle(*verdict) for verdict in (pair if answer_first else reversed(pair))]
            assert written == [True, False]
            assert len(await b.history(job)) == 1
            await b.db.execute("UPDATE pgbaton.workers SET expires_at = now() + interval '1 h'")


async def test_a_worker_that_takes_a_new_lease_while_its_turn_is_under_way_loses_what_that_claims(
    database: str,
) -> None:
    async with limited(database) as b:
        job = await b.add()
        async with _after_its_snapshot(b, lambda: b.store.turn(b.worker, 1)) as late:
            fresh, _ = await quickly(b.store.take_lease(b.worker, "me", 8, 60, []))
        assert [d.job_key for d in late.result().claimed] == [job]
        assert await b.store.lost("", 9) == [job], "it is no call of the new lease's"
        await b.resolve([job])
        (again,) = (await b.store.claim_waiting(fresh, 9)).claimed
        assert (again.job_key, again.attempt) == (job, 2)


# -- answers that are lost --------------------------------------------------------------------------


class Cut:
    """A session whose connection breaks after the commit of the next statement that has ``text`` in it; ``behind`` is
    done after the first one that has its text."""

    def __init__(self, db: asyncpg.Pool) -> None:
        self._db = db
        self.text: str | None = None
        self.behind: tuple[str, Callable[[], Awaitable[object]]] | None = None

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        rows = list(await self._db.fetch(query, *args))
        if self.behind is not None and self.behind[0] in query:
            (_, work), self.behind = self.behind, None
            await work()
        if self.text is not None and self.text in query:
            self.text = None
            raise ConnectionResetError("the connection broke")
        return rows


class Worker:
    """The parts of a worker that settle, on a session that may break."""

    def __init__(self, b: Bench) -> None:
        self.session = Cut(b.db)
        self.store = Store(self.session, b.table, b.store.steps)
        log = EventLog("en")
        self.in_flight = InFlight("craft", 8, Wake())
        self.lease = Lease("craft", self.store, self.in_flight, log, seconds=60, capacity=8)
        reports = Reports("craft", log, count_tenants=False)
        self.resolver = Resolver(self.store, self.lease, self.in_flight, reports)

    async def claim(self) -> Dispatch:
        (claimed,) = (await self.store.turn(self.lease.worker, 1)).claimed
        self.in_flight.begin(claimed, asyncio.create_task(asyncio.sleep(0)))
        return claimed

    async def settle(self, dispatch: Dispatch, answer: Answer) -> Any:
        return await self.resolver.resolve([Ended(dispatch, answer, time.monotonic())], [])


async def test_a_verdict_whose_answer_was_lost_after_its_commit_is_not_written_again(database: str) -> None:
    async with bench(database) as b:
        worker = Worker(b)
        await worker.lease.secure()
        job = await b.add()
        claimed = await worker.claim()
        worker.session.text = "-- Write decisions"
        with pytest.raises(ConnectionResetError):
            await worker.settle(claimed, said(500))
        assert claimed in worker.in_flight
        found = await worker.settle(claimed, said(500))
        assert found.again == []
        assert not worker.in_flight
        call = await b.call(job)
        assert call is not None
        assert (call["failures"], len(await b.history(job))) == (1, 1)


async def test_an_acceptance_whose_answer_was_lost_leaves_the_call_to_its_stage(database: str) -> None:
    async with bench(database) as b:
        worker = Worker(b)
        await worker.lease.secure()
        job = await b.add()
        claimed = await worker.claim()
        worker.session.text = "-- Write decisions"
        with pytest.raises(ConnectionResetError):
            await worker.settle(claimed, said(202))
        assert (await worker.settle(claimed, said(202))).again == []
        assert not worker.in_flight
        assert await b.states(job) == [("cut", "running")]
        await b.put(job, "cut", "done")
        assert len((await b.store.turn(b.worker, 9)).claimed) == 1


async def test_a_call_that_a_turn_ends_while_its_answer_is_resolved_is_told_as_the_turn_ended_it(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer is resolved beside the next turn."""
    async with bench(database) as b:
        worker = Worker(b)
        await worker.lease.secure()
        job = await b.add()
        claimed = await worker.claim()
        await b.put(job, "cut", "done")
        worker.session.behind = "all that there is of each job", lambda: b.store.turn(b.worker, 9)
        with caplog.at_level("INFO", "pgbaton"):
            await worker.settle(claimed, said(200))
        assert [getattr(r, "event", "") for r in caplog.records][-1] == "stage_succeeded"
        assert [(h["outcome"], h["http_status"]) for h in await b.history(job)] == [("completed", 200)]
        assert not worker.in_flight


async def test_a_turn_that_raises_after_its_commit_leaves_no_call_in_a_hand_that_does_not_know_it(
    database: str,
) -> None:
    """The worker takes a new lease. It keeps the attempts that it knows of; that claim is rescued as a lost worker's."""
    async with bench(database) as b:
        worker = Worker(b)
        await worker.lease.secure()
        known_job = await b.add()
        known = await worker.claim()
        job = await b.add()
        worker.session.text = "-- A turn"
        with pytest.raises(ConnectionResetError):
            await worker.store.turn(worker.lease.worker, 9)
        worker.lease.doubt()
        assert not worker.lease.holds
        old = worker.lease.worker
        await worker.lease.secure()
        assert worker.lease.worker != old
        assert known in worker.in_flight
        assert await b.store.lost("", 9) == [job]
        await b.resolve([job])
        assert await b.states(job) == [("cut", "available")]
        assert (await worker.settle(known, said(500))).again == []
        assert await b.states(known_job) == [("cut", "retryable")]


async def test_a_worker_whose_call_was_rescued_forgets_it_with_its_next_lease(database: str) -> None:
    async with bench(database) as b:
        worker = Worker(b)
        await worker.lease.secure()
        job = await b.add()
        claimed = await worker.claim()
        await b.let_lapse(worker.lease.worker)
        await b.resolve(await b.store.lost("", 9))
        await worker.lease.renew()
        assert not worker.lease.holds, "the lease has lapsed: it is in doubt"
        await worker.lease.secure()
        assert claimed not in worker.in_flight
        late = await worker.settle(claimed, said(500))
        assert late.again == []
        call = await b.call(job)
        assert call is not None
        assert (call["failures"], [h["outcome"] for h in await b.history(job)]) == (0, ["lost"])
