"""Each statement of the store on its own: what it takes, what it leaves alone, and whom it waits for (nobody)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from line import attached, two_stages
from pgbaton import Pipeline
from pgbaton.table import read_table
from pgbaton.errors import LeaseLost
from pgbaton.model import Dispatch, Outcome, Row, State
from pgbaton.outcome import Answer, Decision, Reply, Verb
from pgbaton.worker.store import Move, Store


class Bench:
    """A store with one registered worker, and the database behind it."""

    def __init__(self, db: asyncpg.Pool, store: Store, worker: int) -> None:
        self.db, self.store, self.worker = db, store, worker

    async def add(self, step: str = "made", status: str = "done") -> str:
        insert = "INSERT INTO jobs (current_step, status) VALUES ($1, $2) RETURNING job_id::text"
        return str(await self.db.fetchval(insert, step, status))

    async def put(self, job: str, step: str | None, status: str | None) -> None:
        update = "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id = $1::text::uuid"
        await self.db.execute(update, job, step, status)

    async def row(self, job: str) -> tuple[str, str]:
        return tuple(await self.db.fetchrow("SELECT current_step, status FROM jobs WHERE job_id = $1::text::uuid", job))

    async def claimed(self, step: str = "made") -> Dispatch:
        """A fresh job's dispatch, claimed."""
        job = await self.add(step)
        (dispatch,) = await self.store.claim(self.worker, 1)
        assert dispatch.job_key == job
        return dispatch

    async def begun(self) -> Dispatch:
        """As :meth:`claimed`, and the stage has written running."""
        dispatch = await self.claimed()
        await self.put(dispatch.job_key, "cut", "running")
        return (await self.store.look([dispatch.id]))[dispatch.id]

    async def dispatch(self, of: Dispatch) -> dict[str, Any]:
        return dict(await self.db.fetchrow("SELECT * FROM pgbaton.dispatches WHERE id = $1", of.id))

    async def attempt(self, of: Dispatch) -> dict[str, Any]:
        query = "SELECT * FROM pgbaton.attempts WHERE dispatch_id = $1 AND attempt = $2"
        return dict(await self.db.fetchrow(query, of.id, of.attempt))

    async def seconds_until(self, column: str, of: Dispatch) -> float:
        query = f"SELECT extract(epoch FROM {column} - clock_timestamp())::float8 FROM pgbaton.dispatches WHERE id = $1"
        return float(await self.db.fetchval(query, of.id))

    async def let_lapse(self, worker: int | None = None) -> None:
        await self.db.execute(
            "UPDATE pgbaton.workers SET expires_at = clock_timestamp() - interval '1 s' "
            "WHERE $1::bigint IS NULL OR id = $1",
            worker,
        )

    @asynccontextmanager
    async def holding(self, query: str) -> AsyncIterator[None]:
        """Somebody holds what `query` locks."""
        async with self.db.acquire() as conn, conn.transaction():
            assert await conn.fetch(query)
            yield


@asynccontextmanager
async def bench(
    dsn: str, pipeline: Pipeline | None = None, steps: tuple[str, ...] = ("cut", "glue")
) -> AsyncIterator[Bench]:
    pipeline = pipeline or two_stages()
    async with attached(dsn, pipeline) as db:
        async with db.acquire() as conn:
            table = await read_table(conn, pipeline)
        store = Store(db, table, steps)
        yield Bench(db, store, await store.register("me", 8, 60))


async def quickly(what: Any) -> Any:
    """What must not wait for somebody's lock: well below any lock timeout."""
    async with asyncio.timeout(5):
        return await what


# -- claim ----------------------------------------------------------------------------------------


async def test_later_stages_are_claimed_first_and_the_longest_due_within_a_stage(database: str) -> None:
    async with bench(database) as b:
        jobs = [await b.add(step) for step in ("made", "cut", "made", "cut", "made")]
        await b.db.execute(
            "UPDATE pgbaton.dispatches SET available_at = clock_timestamp() - interval '1 hour' WHERE job_key = $1",
            jobs[4],
        )
        claimed = [d.job_key for d in await b.store.claim(b.worker, 3)]
        assert claimed == [jobs[1], jobs[3], jobs[4]]
        assert [d.job_key for d in await b.store.claim(b.worker, 9)] == [jobs[0], jobs[2]]
        assert await b.store.claim(b.worker, 9) == []


async def test_a_claim_may_look_back_only_so_far_in_each_stage(database: str) -> None:
    async with bench(database) as b:
        old_cut, new_cut, old_glue = await b.add("made"), await b.add("made"), await b.add("cut")
        await b.db.execute(
            "UPDATE pgbaton.dispatches SET available_at = now() - interval '1 min' WHERE job_key = ANY ($1)",
            [old_cut, old_glue],
        )
        _, claimed = await b.store.turn(b.worker, 9, [], [30.0, 30.0])
        assert [d.job_key for d in claimed] == [new_cut]
        _, claimed = await b.store.turn(b.worker, 9, [], [30.0, None])
        assert [d.job_key for d in claimed] == [old_glue]
        assert [d.job_key for d in await b.store.claim(b.worker, 9)] == [old_cut]


async def test_a_claim_names_the_worker_the_attempt_and_the_row(database: str) -> None:
    async with bench(database) as b:
        dispatch = await b.claimed()
        assert dispatch.row == Row("acme", "made", "done")
        assert (dispatch.stage, dispatch.state, dispatch.attempt) == ("cut", State.RUNNING, 1)
        assert dispatch.worker == b.worker
        attempt = await b.attempt(dispatch)
        assert (attempt["worker"], attempt["outcome"], attempt["finished_at"]) == ("me", None, None)
        assert await b.store.look([dispatch.id]) == {dispatch.id: dispatch}


async def test_each_claim_of_a_dispatch_is_an_attempt_of_its_own(database: str) -> None:
    async with bench(database) as b:
        dispatch = await b.claimed()
        await b.store.settle([(dispatch, Decision(Verb.RELEASE, Outcome.RELEASED))])
        (second,) = await b.store.claim(b.worker, 1)
        assert (second.id, second.attempt) == (dispatch.id, 2)
        assert (await b.attempt(dispatch))["outcome"] == "released"
        assert (await b.attempt(second))["outcome"] is None


@pytest.mark.parametrize("limit", [0, 1, 4, 5, 6])
async def test_a_claim_takes_no_more_than_asked_for(database: str, limit: int) -> None:
    async with bench(database) as b:
        for step in ("made", "cut", "made", "cut", "made"):
            await b.add(step)
        assert len(await b.store.claim(b.worker, limit)) == min(limit, 5)


@pytest.mark.parametrize("how", ["stage", "pipeline"])
async def test_what_is_paused_is_not_claimed(database: str, how: str) -> None:
    async with bench(database) as b:
        cut, glue = await b.add("made"), await b.add("cut")
        table, where = ("stages", "step = 'glue'") if how == "stage" else ("pipelines", "true")
        await b.db.execute(f"UPDATE pgbaton.{table} SET paused_at = now() WHERE {where}")
        claimed = [d.job_key for d in await b.store.claim(b.worker, 9)]
        assert claimed == ([cut] if how == "stage" else [])
        await b.db.execute(f"UPDATE pgbaton.{table} SET paused_at = NULL")
        assert glue in [d.job_key for d in await b.store.claim(b.worker, 9)]


async def test_a_worker_leaves_stages_alone_that_it_does_not_know(database: str) -> None:
    async with bench(database, steps=("cut", "dry")) as b:
        cut, glue = await b.add("made"), await b.add("cut")
        assert [d.job_key for d in await b.store.claim(b.worker, 9)] == [cut]
        assert [d.job_key for d in await b.store.orphans(b.worker, [], 0, 9)] == [cut]
        await b.db.execute(
            "UPDATE pgbaton.dispatches SET state = 'running', deadline = now() - interval '1 s' WHERE job_key = $1",
            glue,
        )
        assert await b.store.overdue(0, 9) == []


async def test_what_is_not_due_yet_is_not_claimed(database: str) -> None:
    async with bench(database) as b:
        dispatch = await b.claimed()
        await b.store.settle([(dispatch, Decision(Verb.DEFER, Outcome.DEFERRED, after=3600))])
        assert await b.store.claim(b.worker, 9) == []
        await b.db.execute("UPDATE pgbaton.dispatches SET available_at = clock_timestamp()")
        assert [d.attempt for d in await b.store.claim(b.worker, 9)] == [2]


async def test_a_dispatch_that_somebody_holds_is_skipped_and_not_waited_for(database: str) -> None:
    async with bench(database) as b:
        held, free = await b.add(), await b.add()
        async with b.holding(f"SELECT 1 FROM pgbaton.dispatches WHERE job_key = '{held}' FOR UPDATE"):
            assert [d.job_key for d in await quickly(b.store.claim(b.worker, 9))] == [free]
        assert [d.job_key for d in await b.store.claim(b.worker, 9)] == [held]


async def test_a_row_that_somebody_holds_does_not_keep_its_dispatch_from_being_claimed(database: str) -> None:
    async with bench(database) as b:
        job = await b.add()
        async with b.holding("SELECT 1 FROM jobs FOR UPDATE"):
            assert [d.job_key for d in await quickly(b.store.claim(b.worker, 9))] == [job]


async def test_a_claim_without_a_lease_takes_nothing(database: str) -> None:
    async with bench(database) as b:
        await b.add()
        await b.let_lapse()
        with pytest.raises(LeaseLost, match=f"worker {b.worker} holds no lease"):
            await b.store.claim(b.worker, 1)
        with pytest.raises(LeaseLost):
            await b.store.claim(b.worker + 99, 1)
        assert await b.db.fetchval("SELECT state || attempt FROM pgbaton.dispatches") == "available0"
        assert await b.store.renew(b.worker, 60, False)
        assert len(await b.store.claim(b.worker, 1)) == 1


async def test_many_who_claim_at_once_share_without_loss_or_overlap(database: str) -> None:
    async with bench(database) as b:
        await b.db.execute("INSERT INTO jobs (current_step, status) SELECT 'made', 'done' FROM generate_series(1, 300)")
        claims = await asyncio.gather(*(b.store.claim(b.worker, 50) for _ in range(8)))
        claims += await asyncio.gather(*(b.store.claim(b.worker, 50) for _ in range(8)))
        ids = [d.id for claimed in claims for d in claimed]
        assert len(ids) == len(set(ids)) == 300
        assert await b.db.fetchval("SELECT count(*) FROM pgbaton.attempts WHERE attempt = 1") == 300


async def test_the_fleets_limit_counts_all_that_run_whoever_claimed_them(database: str) -> None:
    async with bench(database, two_stages(cut_concurrency=3)) as b:
        await b.db.execute("INSERT INTO jobs (current_step, status) SELECT 'made', 'done' FROM generate_series(1, 30)")
        other = await b.store.register("other", 8, 60)
        claims = await asyncio.gather(*(b.store.claim(worker, 2) for worker in (b.worker, other) * 4))
        claimed = [d for claim in claims for d in claim]
        assert len(claimed) == 3
        await b.put(claimed[0].job_key, "cut", "running")
        await b.store.settle(
            [((await b.store.look([claimed[0].id]))[claimed[0].id], Decision(Verb.WAIT, Outcome.ACCEPTED))]
        )
        assert await b.store.claim(b.worker, 9) == [], "a stage that was accepted is still at work"
        await b.put(claimed[0].job_key, "cut", "done")
        later = await b.store.claim(b.worker, 9)
        assert sorted(d.stage for d in later) == ["cut", "glue"]


async def test_another_pipelines_dispatches_are_not_touched(database: str) -> None:
    other = two_stages(name="other", table="others")
    async with attached(database, other, "CREATE TABLE others (LIKE jobs INCLUDING ALL)") as db, bench(database) as b:
        await db.execute("INSERT INTO others (current_step, status) VALUES ('made', 'done')")
        assert await b.store.claim(b.worker, 9) == []
        await db.execute("UPDATE pgbaton.dispatches SET state = 'running', worker = 999, attempt = 1")
        assert await b.store.orphans(b.worker, [], 0, 9) == []
        await db.execute("UPDATE pgbaton.dispatches SET worker = NULL, deadline = now() - interval '1 s'")
        assert await b.store.overdue(0, 9) == []


# -- settle ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "outcome", "state", "at", "failures"),
    [
        (Verb.COMPLETE, Outcome.COMPLETED, "completed", ("cut", "running"), 0),
        (Verb.CANCEL, Outcome.SUPERSEDED, "cancelled", ("cut", "running"), 0),
        (Verb.WAIT, Outcome.ACCEPTED, "running", ("cut", "running"), 0),
        (Verb.FAIL, Outcome.FAILED, "retryable", ("made", "done"), 1),
        (Verb.KILL, Outcome.REJECTED, "dead", ("cut", "failed"), 0),
        (Verb.DEFER, Outcome.DEFERRED, "retryable", ("made", "done"), 0),
        (Verb.RELEASE, Outcome.LOST, "available", ("made", "done"), 0),
    ],
)
async def test_a_verb_settles_the_dispatch_the_attempt_and_the_row(
    database: str, verb: Verb, outcome: Outcome, state: str, at: tuple[str, str], failures: int
) -> None:
    async with bench(database) as b:
        seen = await b.begun()
        assert await b.store.settle([(seen, Decision(verb, outcome, "why"))]) == {seen.id: State(state)}
        now, attempt = await b.dispatch(seen), await b.attempt(seen)
        assert (now["state"], now["worker"], now["failures"], now["attempt"]) == (state, None, failures, 1)
        assert (now["settled_at"] is not None) == (state in ("completed", "cancelled", "dead"))
        assert (now["deadline"] is not None) == (verb is Verb.WAIT)
        assert (attempt["outcome"], attempt["error"]) == (outcome.value, "why")
        assert (attempt["finished_at"] is None) == (verb is Verb.WAIT)
        assert await b.row(seen.job_key) == at


@pytest.mark.parametrize("verb", [Verb.FAIL, Verb.DEFER, Verb.RELEASE])
async def test_a_row_that_was_not_begun_is_left_where_it_is(database: str, verb: Verb) -> None:
    async with bench(database) as b:
        seen = await b.claimed()
        before = await b.db.fetch("SELECT xmin, * FROM jobs")
        await b.store.settle([(seen, Decision(verb, Outcome.FAILED))])
        assert await b.db.fetch("SELECT xmin, * FROM jobs") == before


async def test_the_last_failure_marks_the_row_failed(database: str) -> None:
    async with bench(database, two_stages(cut_attempts=1)) as b:
        seen = await b.claimed()
        assert await b.store.settle([(seen, Decision(Verb.FAIL, Outcome.FAILED))]) == {seen.id: State.DEAD}
        assert await b.row(seen.job_key) == ("cut", "failed")
        assert (await b.dispatch(seen))["failures"] == 1


async def test_the_engines_own_write_keeps_updated_at_true(database: str) -> None:
    async with bench(database) as b:
        seen = await b.begun()
        before = await b.db.fetchval("SELECT updated_at FROM jobs")
        await b.store.settle([(seen, Decision(Verb.FAIL, Outcome.FAILED))])
        assert await b.db.fetchval("SELECT updated_at FROM jobs") > before


async def test_a_stage_is_waited_for_from_the_calls_start_and_not_from_the_answer(database: str) -> None:
    async with bench(database, two_stages(cut_timeout=100)) as b:
        seen = await b.begun()
        await b.db.execute("UPDATE pgbaton.attempts SET started_at = started_at - interval '60 s'")
        await b.store.settle([(seen, Decision(Verb.WAIT, Outcome.ACCEPTED))])
        assert 35 < await b.seconds_until("deadline", seen) <= 40


async def test_a_deferral_waits_as_long_as_the_stage_asked_for(database: str) -> None:
    async with bench(database) as b:
        seen = await b.claimed()
        await b.store.settle([(seen, Decision(Verb.DEFER, Outcome.DEFERRED, after=120))])
        assert 115 < await b.seconds_until("available_at", seen) <= 120


async def test_a_deferral_without_a_wish_backs_off_for_half_a_minute_at_most(database: str) -> None:
    async with bench(database) as b:
        seen = await b.claimed()
        await b.db.execute("UPDATE pgbaton.dispatches SET attempt = 50")
        await b.db.execute("UPDATE pgbaton.attempts SET attempt = 50")
        seen = (await b.store.look([seen.id]))[seen.id]
        await b.store.settle([(seen, Decision(Verb.DEFER, Outcome.DEFERRED))])
        assert -1 < await b.seconds_until("available_at", seen) <= 30


async def test_a_stage_that_says_not_now_for_a_day_is_failing(database: str) -> None:
    async with bench(database) as b:
        seen = await b.claimed()
        await b.db.execute("UPDATE pgbaton.dispatches SET created_at = created_at - interval '25 hours'")
        await b.store.settle([(seen, Decision(Verb.DEFER, Outcome.DEFERRED, after=1))])
        assert (await b.dispatch(seen))["failures"] == 1


@pytest.mark.parametrize("fence", ["attempt", "worker", "no worker", "step", "status", "row", "state"])
async def test_a_late_settlement_changes_nothing(database: str, fence: str) -> None:
    async with bench(database) as b:
        seen = await b.claimed()
        assert seen.row
        late = {
            "attempt": replace(seen, attempt=2),
            "worker": replace(seen, worker=b.worker + 1),
            "no worker": replace(seen, worker=None),
            "step": replace(seen, row=replace(seen.row, step="drawn")),
            "status": replace(seen, row=replace(seen.row, status=None)),
            "row": replace(seen, row=None),
            "state": seen,
        }[fence]
        if fence == "state":
            await b.put(seen.job_key, "cut", "done")
            await b.put(seen.job_key, "made", "done")
            assert (await b.dispatch(seen))["state"] == "completed"
        before = [
            await b.db.fetch(f"SELECT xmin, * FROM {t}") for t in ("jobs", "pgbaton.dispatches", "pgbaton.attempts")
        ]
        for verb in Verb:
            assert await b.store.settle([(late, Decision(verb, Outcome.FAILED, "late"))]) == {}
        after = [
            await b.db.fetch(f"SELECT xmin, * FROM {t}") for t in ("jobs", "pgbaton.dispatches", "pgbaton.attempts")
        ]
        assert after == before


async def test_a_row_that_moved_since_it_was_seen_is_decided_again(database: str) -> None:
    async with bench(database) as b:
        seen = await b.begun()
        await b.put(seen.job_key, "cut", "done")
        assert await b.store.settle([(seen, Decision(Verb.FAIL, Outcome.FAILED))]) == {}
        assert await b.row(seen.job_key) == ("cut", "done")
        assert (await b.dispatch(seen))["state"] == "completed"


async def test_a_row_that_somebody_holds_is_skipped_and_the_rest_of_the_batch_settled(database: str) -> None:
    async with bench(database) as b:
        held, free = await b.claimed(), await b.claimed()
        fail = Decision(Verb.FAIL, Outcome.FAILED)
        async with b.holding(f"SELECT 1 FROM jobs WHERE job_id = '{held.job_key}' FOR UPDATE"):
            assert await quickly(b.store.settle([(held, fail), (free, fail)])) == {free.id: State.RETRYABLE}
        assert await b.store.settle([(held, fail)]) == {held.id: State.RETRYABLE}


async def test_a_row_that_is_only_referred_to_by_a_foreign_key_is_not_held(database: str) -> None:
    async with bench(database) as b:
        seen = await b.claimed()
        async with b.holding("SELECT 1 FROM jobs FOR KEY SHARE"):
            assert await quickly(b.store.settle([(seen, Decision(Verb.KILL, Outcome.REJECTED))])) == {
                seen.id: State.DEAD
            }


async def test_a_batch_is_settled_in_one_go_each_by_its_own_verb(database: str) -> None:
    async with bench(database) as b:
        seen = [await b.claimed() for _ in range(6)]
        verbs = [Verb.FAIL, Verb.KILL, Verb.DEFER, Verb.RELEASE, Verb.CANCEL, Verb.FAIL]
        settled = await b.store.settle([(d, Decision(v, Outcome.FAILED)) for d, v in zip(seen, verbs, strict=True)])
        states = ["retryable", "dead", "retryable", "available", "cancelled", "retryable"]
        assert [settled[d.id].value for d in seen] == states


async def test_a_dispatch_without_a_job_is_cancelled_unless_the_job_is_there_after_all(database: str) -> None:
    async with bench(database) as b:
        gone, here = await b.claimed(), await b.claimed()
        others_only = f"DELETE FROM jobs; INSERT INTO jobs (job_id) VALUES ('{here.job_key}')"
        await b.db.execute(f"SET session_replication_role = replica; {others_only}; RESET ALL")
        seen = await b.store.look([gone.id, here.id])
        assert seen[gone.id].row is None
        assert seen[here.id].row == Row("acme", None, None)
        cancel = Decision(Verb.CANCEL, Outcome.SUPERSEDED)
        settled = await b.store.settle([(replace(d, row=None), cancel) for d in (gone, here)])
        assert settled == {gone.id: State.CANCELLED}
        assert (await b.attempt(gone))["outcome"] == "superseded"
        assert await b.store.settle([(seen[here.id], cancel)]) == {here.id: State.CANCELLED}


async def test_an_overdue_stage_is_settled_though_no_worker_holds_it(database: str) -> None:
    async with bench(database) as b:
        seen = await b.begun()
        await b.store.settle([(seen, Decision(Verb.WAIT, Outcome.ACCEPTED))])
        await b.db.execute("UPDATE pgbaton.dispatches SET deadline = clock_timestamp()")
        (overdue,) = await b.store.overdue(0, 9)
        assert overdue == replace(seen, worker=None)
        await b.store.settle([(overdue, Decision(Verb.FAIL, Outcome.TIMEOUT, "no end"))])
        assert (await b.dispatch(seen))["state"] == "retryable"
        assert (await b.attempt(seen))["outcome"] == "timeout"
        assert await b.row(seen.job_key) == ("made", "done")


# -- look, note, move -----------------------------------------------------------------------------


async def test_an_answer_is_written_down_and_the_row_read_beside_it(database: str) -> None:
    async with bench(database) as b:
        dispatch = await b.claimed()
        await b.put(dispatch.job_key, "cut", "running")
        answer = Answer(Reply.ANSWERED, 500, error="HTTP 500")
        seen = await b.store.note([(dispatch, answer)])
        assert seen == {dispatch.id: replace(dispatch, row=Row("acme", "cut", "running"))}
        attempt = await b.attempt(dispatch)
        assert (attempt["http_status"], attempt["error"], attempt["finished_at"]) == (500, "HTTP 500", None)


async def test_an_answer_that_comes_after_the_commit_is_still_written_down(database: str) -> None:
    async with bench(database) as b:
        dispatch = await b.claimed()
        await b.put(dispatch.job_key, "cut", "done")
        seen = await b.store.note([(dispatch, Answer(Reply.LOST, error="the connection broke"))])
        assert seen[dispatch.id].state is State.COMPLETED
        attempt = await b.attempt(dispatch)
        assert (attempt["outcome"], attempt["http_status"], attempt["error"]) == (
            "completed",
            None,
            "the connection broke",
        )


async def test_an_attempt_that_somebody_holds_is_not_waited_for(database: str) -> None:
    async with bench(database) as b:
        held, free = await b.claimed(), await b.claimed()
        answer = Answer(Reply.ANSWERED, 200)
        async with b.holding(f"SELECT 1 FROM pgbaton.attempts WHERE dispatch_id = {held.id} FOR UPDATE"):
            assert set(await quickly(b.store.note([(held, answer), (free, answer)]))) == {held.id, free.id}
        assert (await b.attempt(held))["http_status"] is None
        assert (await b.attempt(free))["http_status"] == 200


async def test_a_dispatch_that_was_pruned_is_not_among_what_is_seen(database: str) -> None:
    async with bench(database) as b:
        dispatch = await b.claimed()
        await b.db.execute("DELETE FROM pgbaton.dispatches")
        assert await b.store.look([dispatch.id]) == {}
        assert await b.store.note([(dispatch, Answer(Reply.ANSWERED, 200))]) == {}


async def test_a_move_is_made_only_from_where_it_starts(database: str) -> None:
    async with bench(database) as b:
        there, elsewhere = await b.claimed(), await b.claimed()
        await b.db.execute("UPDATE jobs SET note = 'seen' WHERE job_id::text = $1", there.job_key)
        moves = [Move(d, ("made", "done"), ("cut", "running")) for d in (there, elsewhere)]
        await b.db.execute("ALTER TABLE jobs DISABLE TRIGGER ALL")
        await b.db.execute("UPDATE jobs SET current_step = 'drawn' WHERE job_id::text = $1", elsewhere.job_key)
        await b.db.execute("ALTER TABLE jobs ENABLE TRIGGER ALL")
        assert await b.store.move(moves) == {there.id}
        assert await b.row(there.job_key) == ("cut", "running")
        assert await b.row(elsewhere.job_key) == ("drawn", "done")
        assert await b.store.move(moves) == set()


async def test_a_move_skips_a_row_that_somebody_holds(database: str) -> None:
    async with bench(database) as b:
        held, free = await b.claimed(), await b.claimed()
        moves = [Move(d, ("made", "done"), ("cut", "running")) for d in (held, free)]
        async with b.holding(f"SELECT 1 FROM jobs WHERE job_id = '{held.job_key}' FOR UPDATE"):
            assert await quickly(b.store.move(moves)) == {free.id}


async def test_a_worker_that_lost_its_attempt_moves_no_row(database: str) -> None:
    async with bench(database) as b:
        late = await b.claimed()
        for change in ("attempt = attempt + 1", "worker = worker + 1", "state = 'available', worker = NULL"):
            async with b.db.acquire() as conn:
                transaction = conn.transaction()
                await transaction.start()
                await conn.execute(f"UPDATE pgbaton.dispatches SET {change}")
                await transaction.commit()
            assert await b.store.move([Move(late, ("made", "done"), ("cut", "running"))]) == set()
        assert await b.row(late.job_key) == ("made", "done")


# -- orphans, overdue -----------------------------------------------------------------------------


async def test_what_a_living_worker_holds_is_no_orphan_and_what_a_lost_one_held_is(database: str) -> None:
    async with bench(database) as b:
        dispatch = await b.claimed()
        rescuer = await b.store.register("rescuer", 1, 60)
        assert await b.store.orphans(rescuer, [], 0, 9) == []
        await b.let_lapse(b.worker)
        assert await b.store.orphans(rescuer, [], 0, 9) == [dispatch]
        await b.store.leave(b.worker)
        assert await b.store.orphans(rescuer, None, 0, 9) == [dispatch]


async def test_what_the_table_gives_to_a_worker_that_knows_nothing_of_it_is_an_orphan(database: str) -> None:
    async with bench(database) as b:
        known, unknown = await b.claimed(), await b.claimed()
        assert await b.store.orphans(b.worker, [(known.id, known.attempt)], 0, 9) == [unknown]
        assert await b.store.orphans(b.worker, [(d.id, d.attempt) for d in (known, unknown)], 0, 9) == []
        assert await b.store.orphans(b.worker, None, 0, 9) == [], "while it claims it cannot say what it holds"


async def test_what_is_open_but_not_running_is_nobodys_orphan(database: str) -> None:
    async with bench(database) as b:
        await b.add()
        seen = await b.claimed("cut")
        await b.store.settle([(seen, Decision(Verb.FAIL, Outcome.FAILED))])
        await b.let_lapse()
        assert await b.store.orphans(0, [], 0, 9) == []
        assert await b.store.overdue(0, 9) == []


async def test_orphans_and_overdue_ones_come_page_by_page_in_the_order_of_ids(database: str) -> None:
    async with bench(database) as b:
        for _ in range(5):
            await b.add()
        ids = [d.id for d in await b.store.claim(b.worker, 5)]

        async def pages(read: Any) -> list[list[int]]:
            found, after = [], 0
            while page := [d.id for d in await read(after)]:
                found.append(page)
                after = page[-1]
            return found

        wanted = [ids[0:2], ids[2:4], ids[4:]]
        assert await pages(lambda after: b.store.orphans(b.worker, [], after, 2)) == wanted
        await b.db.execute("UPDATE pgbaton.dispatches SET worker = NULL, deadline = clock_timestamp()")
        assert await pages(lambda after: b.store.overdue(after, 2)) == wanted


async def test_a_stage_that_has_time_left_is_not_overdue(database: str) -> None:
    async with bench(database, two_stages(cut_timeout=60)) as b:
        seen = await b.begun()
        await b.store.settle([(seen, Decision(Verb.WAIT, Outcome.ACCEPTED))])
        assert await b.store.overdue(0, 9) == []


# -- next_due, prune, leases ----------------------------------------------------------------------


async def test_the_next_retry_is_told_by_the_databases_clock(database: str) -> None:
    async with bench(database, steps=("cut",)) as b:
        assert await b.store.next_due() == (None, False)
        for after in (500, 100, 900):
            seen = await b.claimed()
            await b.store.settle([(seen, Decision(Verb.DEFER, Outcome.DEFERRED, after=after))])
        due, _ = await b.store.next_due()
        assert due is not None
        assert 95 < due <= 100
        await b.add("cut")
        await b.db.execute("UPDATE pgbaton.dispatches SET available_at = now() + interval '9 s' WHERE stage = 'glue'")
        due, _ = await b.store.next_due()
        assert due is not None
        assert due > 90, "a stage that this worker does not know"
        await b.db.execute("UPDATE pgbaton.stages SET paused_at = now()")
        assert await b.store.next_due() == (None, False)


async def test_settled_history_is_pruned_after_its_retention_with_its_attempts(database: str) -> None:
    async with bench(database) as b:
        old, young, still_open = await b.claimed(), await b.claimed(), await b.claimed()
        for dispatch in (old, young):
            await b.put(dispatch.job_key, "archived", "done")
        await b.db.execute(
            "UPDATE pgbaton.dispatches SET settled_at = settled_at - interval '61 s' WHERE id = $1", old.id
        )
        await b.db.execute("UPDATE pgbaton.dispatches SET created_at = now() - interval '1 year'")
        assert await b.store.prune(60) == 1
        assert set(await b.store.look([old.id, young.id, still_open.id])) == {young.id, still_open.id}
        left = await b.db.fetch("SELECT dispatch_id FROM pgbaton.attempts ORDER BY 1")
        assert [a["dispatch_id"] for a in left] == [young.id, still_open.id]
        assert await b.store.prune(60) == 0


async def test_no_more_than_a_thousand_are_pruned_at_once_and_the_held_ones_are_left(database: str) -> None:
    async with bench(database) as b:
        await b.db.execute(
            "INSERT INTO pgbaton.dispatches (pipeline, job_key, stage, state, settled_at) "
            "SELECT 'craft', n::text, 'cut', 'completed', now() - interval '1 day' FROM generate_series(1, 1500) AS n"
        )
        assert await b.store.prune(60) == 1000
        async with b.holding("SELECT 1 FROM pgbaton.dispatches LIMIT 10 FOR UPDATE"):
            assert await quickly(b.store.prune(60)) == 490
        assert await b.store.prune(60) == 10


async def test_workers_long_gone_are_forgotten_and_the_silent_ones_not_yet(database: str) -> None:
    async with bench(database) as b:
        silent, gone = await b.store.register("silent", 1, 60), await b.store.register("gone", 1, 60)
        await b.let_lapse(silent)
        await b.db.execute("UPDATE pgbaton.workers SET expires_at = now() - interval '61 min' WHERE id = $1", gone)
        await b.store.prune(60)
        left = await b.db.fetch("SELECT id FROM pgbaton.workers ORDER BY id")
        assert [w["id"] for w in left] == [b.worker, silent]


async def test_a_lease_is_renewed_while_its_row_is_there(database: str) -> None:
    async with bench(database) as b:
        await b.let_lapse()
        assert await b.store.renew(b.worker, 30, True)
        row = await b.db.fetchrow(
            "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 AS left, draining FROM pgbaton.workers"
        )
        assert 25 < row["left"] <= 30
        assert row["draining"]
        await b.store.leave(b.worker)
        assert not await b.store.renew(b.worker, 30, True)
        assert await b.store.register("me", 8, 60) > b.worker, "an id is never used twice"
