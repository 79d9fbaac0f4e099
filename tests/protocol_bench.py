"""A real database and the model side by side: every statement of the protocol, done to both, and the comparison.

Nothing here waits or decides what comes next: a test does, one step at a time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import asyncpg
import pytest

import protocol_model as model
from line import two_stages
from pgbaton import operate
from pgbaton.install.attach import attach
from pgbaton.table import read_table
from pgbaton.errors import LeaseLost
from pgbaton.model import Advance, Dispatch, State
from pgbaton.outcome import Answer, Begin, Decision, Reply, Verb, decide, decide_claimed, decide_lost, decide_overdue
from pgbaton.worker.store import Move, Store
from pgbaton.table import JobTable
from protocol_model import ATTEMPTS, DOWN, ENTRY, LIMIT, OPEN, Duty, Model, Place

T = TypeVar("T")

READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE = "read_committed", "repeatable_read", "serializable"
JOBS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(2)]
WORKERS = 2
ALL = 1000

LOOK = """
SELECT json_build_object(
    'jobs', (SELECT json_agg(ARRAY[job_id::text, current_step, status]) FROM jobs),
    'inbox', (SELECT json_agg(job_key ORDER BY id) FROM pgbaton.changes),
    'stages', (SELECT json_agg(json_build_object('step', step, 'strikes', strikes, 'circuit',
                   CASE WHEN open_until > clock_timestamp() THEN 'open'
                        WHEN open_until IS NOT NULL THEN 'past' ELSE 'closed' END,
                   'later', extract(epoch FROM open_until - clock_timestamp())))
                 FROM pgbaton.stages),
    'dispatches', (
        SELECT json_agg(json_build_object(
                   'id', d.id, 'job', d.job_key, 'stage', d.stage, 'state', d.state, 'attempt', d.attempt,
                   'failures', d.failures, 'worker', d.worker, 'order', d.available_at,
                   'due', d.available_at <= clock_timestamp(),
                   'later', extract(epoch FROM d.available_at - clock_timestamp()),
                   'waits', d.deadline IS NOT NULL, 'overdue', d.deadline < clock_timestamp(),
                   'calls', (SELECT json_agg(json_build_array(t.attempt, t.outcome, t.finished_at) ORDER BY t.attempt)
                               FROM pgbaton.attempts t WHERE t.dispatch_id = d.id)) ORDER BY d.id)
          FROM pgbaton.dispatches d))
"""
CLEAN = """
DELETE FROM pgbaton.attempts; DELETE FROM pgbaton.dispatches; DELETE FROM pgbaton.workers; DELETE FROM jobs;
DELETE FROM pgbaton.changes; UPDATE pgbaton.stages SET strikes = 0, open_until = NULL;
"""
PUT = "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id = $1 RETURNING true"
ADD = "INSERT INTO jobs (job_id, current_step, status) VALUES ($1, $2, $3) RETURNING true"
DELETE = "DELETE FROM jobs WHERE job_id = $1 RETURNING true"
FREE = "id = (SELECT id FROM pgbaton.dispatches WHERE id = $1 FOR UPDATE SKIP LOCKED) RETURNING true"
OPEN_IDS = "SELECT id FROM pgbaton.dispatches WHERE settled_at IS NULL"


@dataclass(eq=False)
class Hand:
    """A claimed attempt in a worker's hands, and the call that was made for it."""

    worker: int
    dispatch: Dispatch
    held: bool = True
    called: bool = False
    step: str = "claimed"
    """``claimed``, ``looked``, ``calling``, ``answered``, ``noted``, in this order."""
    seen: Dispatch | None = None
    begin: Begin | Decision | None = None
    answer: str = ""
    begun: bool = False
    ended: bool = False

    @property
    def stage(self) -> str:
        return self.dispatch.stage

    @property
    def job(self) -> int:
        return JOBS.index(self.dispatch.job_key)

    @property
    def at_the_stage(self) -> bool:
        """The stage has the call, and may work, whatever its caller thinks of it."""
        return self.called and not self.ended and self.answer != "refused"

    def __str__(self) -> str:
        return f"{self.stage} of job {self.job}, attempt {self.dispatch.attempt} by w{self.worker}"


@dataclass(frozen=True, eq=False)
class Verdict:
    """A decision about a dispatch as it was seen, to be carried out now, later, or once more."""

    dispatch: Dispatch
    decision: Decision

    def __str__(self) -> str:
        job = JOBS.index(self.dispatch.job_key)
        return f"{said_by(self.decision)}: {self.dispatch.stage} of job {job}, attempt {self.dispatch.attempt}"


@dataclass
class Transaction:
    """The user's open one: what it did, as (job, row, what went to the inbox)."""

    isolation: str
    versions: list[int]
    done: list[tuple[int, Place | None, model.Change | None]] = field(default_factory=list)

    @property
    def jobs(self) -> set[int]:
        return {job for job, _, _ in self.done}


@dataclass(frozen=True)
class Ground:
    """The database, and a session each for workers, for the tests' own looks, and for the user's transactions."""

    store: Store
    table: JobTable
    work: asyncpg.Connection
    look: asyncpg.Connection
    user: asyncpg.Connection
    holder: asyncpg.Connection

    @classmethod
    @asynccontextmanager
    async def on(cls, dsn: str) -> AsyncIterator[Ground]:
        """A database with a jobs table, on which the pipeline is attached."""
        pipeline = two_stages(
            cut_attempts=ATTEMPTS["cut"], glue_attempts=ATTEMPTS["glue"], glue_concurrency=LIMIT["glue"], channel=None
        )
        sessions = work, look, user, holder = [await asyncpg.connect(dsn) for _ in range(4)]
        try:
            await attach(look, pipeline)
            table = await read_table(look, pipeline)
            for session in (user, holder):  # who reads the small table whole conflicts with everybody
                await session.execute("SET enable_seqscan = off")
            for session in (work, look, user):  # nobody waits for the user's transaction
                await session.execute("SET lock_timeout = '500ms'")
            yield cls(Store(work, table, [s.step for s in pipeline.stages]), table, work, look, user, holder)
        finally:
            for session in sessions:
                session.terminate()


class Bench:
    """One example: the rows, the workers, and what is in their hands."""

    def __init__(self, ground: Ground, cut: Advance = Advance.STAGE, glue: Advance = Advance.STAGE) -> None:
        self.ground = ground
        self.store = ground.store
        self.pipeline = two_stages(cut_advance=cut, glue_advance=glue)
        self.model = Model(len(JOBS))
        self.ids: list[int] = []
        self.hands: list[Hand] = []
        self.verdicts: list[Verdict] = []
        self.transaction: Transaction | None = None
        self.versions = [0] * len(JOBS)
        self.by_hand = [True] * len(JOBS)
        self.entered: Counter[tuple[int, str]] = Counter()
        self.effects: Counter[tuple[int, str]] = Counter()

    async def start(self) -> None:
        """Empty tables, and workers that are alive."""
        await self.ground.look.execute(CLEAN)
        self.ids = [await self.store.register(f"w{n}", 10, 3600) for n in range(WORKERS)]
        self.model.alive = dict.fromkeys(range(WORKERS), True)

    async def then(self, step: Awaitable[T]) -> T:
        """One step, and the comparison."""
        found = await step
        await self.compare()
        return found

    def keeps_state(self, stage: str) -> bool:
        return self.pipeline.stage(stage).advance is Advance.STAGE

    def is_free(self, job: int) -> bool:
        """No open transaction of the user's holds the row."""
        return not self.transaction or job not in self.transaction.jobs

    # -- the user's rows

    async def put(self, job: int, row: Place | None, isolation: str = READ_COMMITTED) -> None:
        """Somebody makes the row, moves it, or (None) deletes it."""
        if self.is_free(job):
            await self._put(job, row, isolation, self._put_statement(job, row), by_hand=True)

    async def _put(
        self, job: int, row: Place | None, isolation: str, statement: tuple[Any, ...], *, by_hand: bool = False
    ) -> bool:
        """Whether the statement changed anything, in a transaction of its own. It may never fail, unless two
        serializable ones of the user's overlap."""
        user = self.ground.user
        try:
            async with user.transaction(isolation=isolation):
                done, inbox = await self._do_and_look(user, job, isolation, statement)
        except asyncpg.SerializationError:
            if self._overlaps(isolation):
                return False
            raise
        if done:
            self._was_put(job, row, self.model.write_down(job, row) if inbox else None, by_hand=by_hand)
        return done

    def _overlaps(self, isolation: str) -> bool:
        return isolation == SERIALIZABLE == (self.transaction.isolation if self.transaction else None)

    async def _do_and_look(
        self, conn: asyncpg.Connection, job: int, isolation: str, statement: tuple[Any, ...]
    ) -> tuple[bool, bool]:
        """Whether a statement changed anything, and whether the trigger could only write that down. (A serializable
        one always does: to look would be a read that it could conflict by.)"""
        count = "SELECT count(*) FROM pgbaton.changes WHERE job_key = $1"
        before = await conn.fetchval(count, JOBS[job]) if isolation == REPEATABLE_READ else 0
        done = bool(await conn.fetchval(*statement))
        after = await conn.fetchval(count, JOBS[job]) if isolation == REPEATABLE_READ else isolation == SERIALIZABLE
        return done, after > before

    def _put_statement(self, job: int, row: Place | None) -> tuple[Any, ...]:
        if row is None:
            return DELETE, JOBS[job]
        return (PUT if self._row_in_reach(job) else ADD), JOBS[job], *row

    def _row_in_reach(self, job: int) -> Place | None:
        """The row as the user sees it, who may have changed it in his own open transaction."""
        mine = [row for number, row, _ in self.transaction.done if number == job] if self.transaction else []
        return mine[-1] if mine else self.model.jobs[job].row

    def _was_put(self, job: int, row: Place | None, inbox: model.Change | None, *, by_hand: bool = False) -> None:
        changed = row != self.model.jobs[job].row
        self.model.change(job, row, inbox)
        self.versions[job] += 1
        self.by_hand[job] = by_hand
        if changed and (stage := self.model.routed(job)):
            self.entered[job, stage] += 1

    async def retry(self) -> None:
        """A person gives every job another life that has come to a stop, and haste to those that wait."""
        held = self.transaction.jobs if self.transaction else set()
        before = [job.row for job in self.model.jobs]
        expected = self.model.retry(held, await self._locked())
        retried = await operate.retry(self.ground.work, self.ground.table, JOBS, who="a person")
        assert sorted(retried.jobs) == sorted(JOBS[job] for job in expected)
        for job in expected:
            if self.model.jobs[job].row != before[job]:
                self.versions[job] += 1
                self.entered[job, str(self.model.routed(job))] += 1

    async def open_transaction(self, isolation: str) -> None:
        """Its snapshot is taken here."""
        await self.ground.holder.execute(f"BEGIN ISOLATION LEVEL {isolation.replace('_', ' ')}; SELECT 1")
        self.transaction = Transaction(isolation, list(self.versions))

    async def put_in_transaction(self, job: int, row: Place | None) -> None:
        mine = self.transaction
        assert mine
        if row is None and self._row_in_reach(job) is None:
            return
        try:
            done, inbox = await self._do_and_look(
                self.ground.holder, job, mine.isolation, self._put_statement(job, row)
            )
            if done:
                mine.done.append((job, row, self.model.write_down(job, row) if inbox else None))
        except (asyncpg.SerializationError, asyncpg.UniqueViolationError):
            assert mine.isolation != READ_COMMITTED, "aborted in READ COMMITTED"
            assert self.versions != mine.versions or mine.isolation == SERIALIZABLE, "aborted, and no row had changed"
            await self.roll_back()

    async def commit(self) -> None:
        mine = self.transaction
        assert mine
        try:
            await self.ground.holder.execute("COMMIT")
        except asyncpg.SerializationError:
            assert mine.isolation == SERIALIZABLE
            await self.roll_back()
        else:
            self.transaction = None
            for job, row, inbox in mine.done:
                self._was_put(job, row, inbox, by_hand=True)

    async def roll_back(self) -> None:
        self.transaction = None
        await self.ground.holder.execute("ROLLBACK")

    # -- stages: compare-and-set, as the guard does it

    async def begin(self, hand: Hand, isolation: str = READ_COMMITTED) -> None:
        hand.begun = True
        stands = self.model.jobs[hand.job].row == ENTRY[hand.stage]
        statement = self.ground.table.query("guard_begin"), JOBS[hand.job], None, *ENTRY[hand.stage], hand.stage
        done = await self._put(hand.job, (hand.stage, "running"), isolation, statement)
        assert done == stands or self._overlaps(isolation)

    async def end(self, hand: Hand, status: str = "done", isolation: str = READ_COMMITTED) -> None:
        hand.ended = True
        stands = self.model.jobs[hand.job].row == (hand.stage, "running")
        statement = self.ground.table.query("guard_end"), JOBS[hand.job], hand.stage, status
        done = await self._put(hand.job, (hand.stage, status), isolation, statement)
        assert done == stands or self._overlaps(isolation)
        self.effects[hand.job, hand.stage] += done and status == "done"

    # -- workers, one statement at a time

    async def claim(self, worker: int, most: int = 10, *, heard: bool = True) -> list[Hand]:
        """``heard`` false: the reply is lost."""
        if not self.model.alive[worker]:
            with pytest.raises(LeaseLost):
                await self.store.claim(self.ids[worker], most)
            return []
        expected = self.model.claim(worker, most, await self._locked())
        claimed = await self.store.claim(self.ids[worker], most)
        assert sorted((d.id, d.job_key, d.stage, d.attempt, d.probing) for d in claimed) == sorted(
            (duty.id, JOBS[job], duty.stage, duty.attempt, probing) for job, duty, probing in expected
        )
        for d in claimed:
            assert at(d) == self.model.jobs[JOBS.index(d.job_key)].row
        if not claimed:
            await self._ask_when_something_is_due()
        hands = [self._took(worker, d) for d in claimed if heard]
        self.hands += hands
        return hands

    def _took(self, worker: int, d: Dispatch) -> Hand:
        plain = self.keeps_state(d.stage) and decide_claimed(self.pipeline.stage(d.stage), d.row) is Begin.CALL
        return Hand(worker, d, called=plain, step="calling" if plain else "claimed")

    async def _locked(self) -> set[int]:
        """Dispatches that the user's open transaction has written."""
        if not self.transaction:
            return set()
        every = {r["id"] for r in await self.ground.look.fetch(OPEN_IDS)}
        return every - {r["id"] for r in await self.ground.look.fetch(f"{OPEN_IDS} FOR UPDATE SKIP LOCKED")}

    async def _ask_when_something_is_due(self) -> None:
        due, changes = await self.store.next_due()
        waits = any(
            duty.state in ("available", "retryable")
            and (not duty.due or self.model.stages[duty.stage].circuit == "open")
            for duty in self.model.open_duties
        )
        assert (due is not None, changes) == (waits, bool(self.model.inbox))

    async def go_on(self, hand: Hand) -> None:
        """The worker's next statement for what it has in its hands (none while a call is under way)."""
        match hand.step:
            case "claimed":
                await self._look(hand)
            case "looked":
                await self._act(hand)
            case "answered":
                await self._note([hand])
            case "noted":
                await self._decide_and_settle([hand])

    async def _look(self, hand: Hand) -> None:
        hand.seen = (await self.store.look([hand.dispatch.id]))[hand.dispatch.id]
        self._assert_seen(hand.seen)
        if not same_attempt(hand.seen, hand.dispatch):
            hand.held = False
            return
        hand.begin = decide_claimed(self.pipeline.stage(hand.stage), hand.seen.row)
        said = hand.begin.name.lower() if isinstance(hand.begin, Begin) else said_by(hand.begin)
        assert said == model.before_call(hand.stage, self.model.jobs[hand.job].row)
        hand.step = "looked"

    async def _act(self, hand: Hand) -> None:
        assert hand.seen
        hand.step = "claimed"
        if isinstance(hand.begin, Decision):
            if await self.carry_out([Verdict(hand.seen, hand.begin)]):
                hand.held = False
        elif hand.begin is Begin.REWIND:
            await self._move(hand, (hand.stage, "failed"), ENTRY[hand.stage])
        elif self.keeps_state(hand.stage) or await self._move(hand, ENTRY[hand.stage], (hand.stage, "running")):
            hand.dispatch = replace(hand.seen, probing=hand.dispatch.probing)
            hand.step, hand.called = "calling", True

    async def _move(self, hand: Hand, source: Place | None, target: Place) -> bool:
        assert hand.seen
        moved = await self.store.move([Move(hand.seen, source, target)])  # type: ignore[arg-type]
        stands = self.model.runs(hand.seen.id, hand.seen.attempt, hand.worker) and self.is_free(hand.job)
        stands = stands and self.model.jobs[hand.job].row == source
        assert moved == ({hand.seen.id} if stands else set())
        if stands:
            self._engine_puts(hand.job, lambda: self.model.change(hand.job, target))
        return stands

    def _engine_puts(self, job: int, put: Callable[[], Any]) -> Any:
        before = self.model.jobs[job].row
        found = put()
        if self.model.jobs[job].row != before:
            self.versions[job] += 1
            self.by_hand[job] = False
        return found

    async def settle_all(self, worker: int) -> None:
        """All of a worker's answers in one batch, as the dispatcher does it."""
        answered = [h for h in self.hands if h.worker == worker and h.held and h.step == "answered"]
        await self._note(answered)
        await self._decide_and_settle([h for h in answered if h.held])

    async def _note(self, answered: list[Hand]) -> None:
        seen = await self.store.note([(h.dispatch, answer(h.answer)) for h in answered])
        for hand in answered:
            hand.seen, hand.step = seen[hand.dispatch.id], "noted"
            self._assert_seen(hand.seen)
            hand.held = same_attempt(hand.seen, hand.dispatch)

    async def _decide_and_settle(self, noted: list[Hand]) -> None:
        decided = []
        for hand in noted:
            assert hand.seen
            decision = decide(self.pipeline.stage(hand.stage), hand.seen.row, answer(hand.answer))
            keeps_state = self.keeps_state(hand.stage)
            said = model.after_call(hand.stage, at(hand.seen), hand.answer, keeps_state=keeps_state)
            assert said_by(decision) == said
            await self._mind_circuit(hand, decision)
            decided.append((hand, Verdict(hand.seen, decision)))
        for hand, verdict in decided:
            hand.step = "answered"
            if verdict.decision.verb is Verb.ADVANCE and await self._move(
                hand, at(verdict.dispatch), (hand.stage, "done")
            ):
                self._engine_wrote_done(hand)
        rest = [(h, v) for h, v in decided if v.decision.verb is not Verb.ADVANCE]
        settled = await self.carry_out([v for _, v in rest])
        for hand, _ in rest:
            hand.held = hand.dispatch.id not in settled

    def _engine_wrote_done(self, hand: Hand) -> None:
        hand.held = False
        self.effects[hand.job, hand.stage] += 1
        if stage := self.model.routed(hand.job):
            self.entered[hand.job, stage] += 1

    async def _mind_circuit(self, hand: Hand, decision: Decision) -> None:
        probing = hand.dispatch.probing
        if decision.down:
            assert hand.answer in DOWN
            await self.store.strike(hand.stage, probed=probing)
            self.model.strike(hand.stage, probed=probing)
        elif probing and answer(hand.answer).status is not None:
            await self.store.close_circuit(hand.stage)
            self.model.close(hand.stage)

    async def carry_out(self, verdicts: list[Verdict]) -> dict[int, State]:
        """Settle, if all is as it was seen; returns what was."""
        if not verdicts:
            return {}
        self.verdicts += [v for v in verdicts if v not in self.verdicts]
        held = await self._left_for_later()
        settled = await self.store.settle([(v.dispatch, v.decision) for v in verdicts])
        # Those whose job is gone come first, in a statement of their own.
        for v in sorted(verdicts, key=lambda v: v.dispatch.row is not None):
            assert settled.get(v.dispatch.id) == self._settle_in_model(v, held), str(v)
        for v in verdicts:
            job = JOBS.index(v.dispatch.job_key)
            if v.decision.verb in (Verb.COMPLETE, Verb.CANCEL) and self.is_free(job):
                self.model.create_missing(job)  # in the trigger's stead
        return settled

    def _settle_in_model(self, verdict: Verdict, held: set[int]) -> str | None:
        d, said = verdict.dispatch, said_by(verdict.decision)
        worker = self._number_of(d.worker)
        return self._engine_puts(  # type: ignore[no-any-return]
            JOBS.index(d.job_key), lambda: self.model.settle(d.id, d.attempt, worker, at(d), said, held)
        )

    # -- rescue

    async def find_orphans(self, worker: int, *, knows: bool = True) -> list[Verdict]:
        """``knows`` false: a claim is under way, so that it cannot say what is in its hands."""
        mine = {(h.dispatch.id, h.dispatch.attempt) for h in self.hands if h.worker == worker and h.held}
        in_hands = mine if knows else None
        found = await self.store.orphans(self.ids[worker], in_hands, 0, ALL)
        assert [d.id for d in found] == sorted(self.model.orphans(worker, in_hands))
        verdicts = [Verdict(d, decide_lost(self.pipeline.stage(d.stage), d.row)) for d in found]
        for v in verdicts:
            stage = v.dispatch.stage
            assert said_by(v.decision) == model.after_loss(stage, at(v.dispatch), keeps_state=self.keeps_state(stage))
        self.verdicts += verdicts
        return verdicts

    async def find_overdue(self) -> list[Verdict]:
        found = await self.store.overdue(0, ALL)
        assert [d.id for d in found] == sorted(duty.id or 0 for duty in self.model.open_duties if duty.overdue)
        verdicts = [Verdict(d, decide_overdue(self.pipeline.stage(d.stage), d.row)) for d in found]
        for v in verdicts:
            assert said_by(v.decision) == model.after_deadline(v.dispatch.stage, at(v.dispatch))
        self.verdicts += verdicts
        return verdicts

    async def rescue(self, worker: int) -> None:
        """All of a worker's rescue, at once."""
        await self.absorb()
        await self.carry_out(await self.find_orphans(worker))
        await self.carry_out(await self.find_overdue())

    async def absorb(self, most: int = ALL) -> None:
        held = await self._left_for_later()
        assert await self.store.absorb(most) == self.model.absorb(most, held)

    async def _left_for_later(self) -> set[int]:
        """Jobs that the user's open transaction keeps from workers: it holds their rows or, where it has made these
        and nobody sees them yet, their dispatches."""
        locked = await self._locked()
        gone = {job for job, j in enumerate(self.model.jobs) if j.row is None}
        holding = {job for job, j in enumerate(self.model.jobs) if j.open and j.open.id in locked}
        return (self.transaction.jobs - gone) | holding if self.transaction else set()

    async def look_for_missing(self) -> None:
        page = await self.store.unreconciled(None, ALL)
        missing = [
            (JOBS[job], stage)
            for job in range(len(JOBS))
            if (stage := self.model.routed(job)) and not self.model.jobs[job].open and not self.model.waiting(job)
        ]
        assert (page.last, list(page.missing)) == (None, missing)

    async def make_missing(self) -> None:
        """Of all jobs: whoever looked may have done so long ago, when they were elsewhere."""
        made = await self.store.reconcile(JOBS)
        expected = []
        for job, key in enumerate(JOBS):
            if self.is_free(job) and not self.model.jobs[job].open and (stage := self.model.routed(job)):
                self.model.create_missing(job)
                expected.append((key, stage))
        assert sorted(made) == sorted(expected)

    # -- what befalls workers, and time

    async def lose_lease(self, worker: int, *, forgets: bool) -> None:
        """``forgets``: the process is gone; else it was only frozen, and goes on as if nothing had happened."""
        query = "UPDATE pgbaton.workers SET expires_at = clock_timestamp() - interval '1 s' WHERE id = $1"
        await self.ground.look.execute(query, self.ids[worker])
        self.model.alive[worker] = False
        for hand in self.hands:
            hand.held &= not (forgets and hand.worker == worker)

    async def renew(self, worker: int) -> None:
        assert await self.store.renew(self.ids[worker], 3600, False)
        self.model.alive[worker] = True

    async def make_due(self, duty: Duty) -> None:
        if await self._shift(duty, "available_at = clock_timestamp()"):
            duty.due = True

    async def pass_deadline(self, duty: Duty) -> None:
        if await self._shift(duty, "deadline = clock_timestamp() - interval '1 s'"):
            duty.overdue = True

    async def pass_a_day(self, duty: Duty) -> None:
        if await self._shift(duty, "created_at = created_at - interval '1 day'"):
            duty.old = True

    async def _shift(self, duty: Duty, change: str) -> bool:
        return bool(await self.ground.look.fetchval(f"UPDATE pgbaton.dispatches SET {change} WHERE {FREE}", duty.id))

    async def pass_circuits(self) -> None:
        query = "UPDATE pgbaton.stages SET open_until = clock_timestamp() - interval '1 s' WHERE open_until IS NOT NULL"
        await self.ground.look.execute(query)
        for stage in self.model.stages.values():
            stage.circuit = "past" if stage.circuit == "open" else stage.circuit

    # -- all well, and the end

    async def do_duty(self, hand: Hand, isolation: str = READ_COMMITTED) -> None:
        """From a claim to its end."""
        for _ in range(4):  # at most a rewind, and the engine's own writing
            if hand.held and hand.step in ("claimed", "looked"):
                await self.go_on(hand)
        if not hand.held or hand.step != "calling":
            return  # done already, or somebody holds the row
        if self.keeps_state(hand.stage) and self.is_free(hand.job):
            await self.begin(hand, isolation)
            await self.end(hand, "done", isolation)
        hand.answer, hand.step = "200", "answered"
        await self._note([hand])
        if hand.held:
            await self._decide_and_settle([hand])

    async def come_to_rest(self) -> None:
        """Faults stop; a worker goes on until nothing is left to do, and every job is at its end or visibly stopped."""
        if self.transaction:
            await self.roll_back()
        for worker in range(WORKERS):
            await self.lose_lease(worker, forgets=True)
        await self.renew(0)
        for _ in range(40):
            await self.rescue(0)
            await self.compare()
            if not self.model.inbox and not self.model.open_duties:
                break
            for duty in self.model.open_duties:
                if duty.state == "retryable":
                    await self.make_due(duty)
                elif duty.waits:
                    await self.pass_deadline(duty)
            await self.pass_circuits()
            await self.compare()
            for hand in await self.claim(0):
                await self.do_duty(hand)
            await self.compare()
        else:
            raise AssertionError(f"no rest:\n{self.model}")
        broken = await self.ground.look.fetch(self.ground.table.query("invariants"), self.pipeline.name)
        assert [tuple(r) for r in broken] == []
        for number, job in enumerate(self.model.jobs):
            stopped = job.row is None or job.row[1] == "failed" or job.row == ("glue", "done")
            assert stopped or self.by_hand[number], f"job {number} stands at {job.row}, and nobody put it there"

    # -- the comparison

    def _number_of(self, worker: int | None) -> int | None:
        return None if worker is None else self.ids.index(worker)

    def _assert_seen(self, seen: Dispatch) -> None:
        """What a worker reads is what there is."""
        job = self.model.jobs[JOBS.index(seen.job_key)]
        duty = next(d for d in job.duties if d.id == seen.id)
        assert (at(seen), seen.stage, seen.state, seen.attempt, self._number_of(seen.worker)) == (
            job.row,
            duty.stage,
            duty.state,
            duty.attempt,
            duty.worker,
        )

    async def compare(self) -> None:
        """The database holds what the model says, and what must always hold does."""
        found = json.loads(await self.ground.look.fetchval(LOOK))
        by_job: dict[str, list[Any]] = {job: [] for job in JOBS}
        for record in found["dispatches"] or []:
            by_job[record["job"]].append(record)
        for job, key in zip(self.model.jobs, JOBS, strict=True):
            for duty, record in zip(job.duties, by_job[key], strict=False):
                assert duty.id in (None, record["id"])
                duty.id, duty.order = record["id"], record["order"]
                if duty.state == record["state"] == "retryable" and not duty.due:
                    await self._put_off(record)
        seen = Model(len(JOBS))
        seen.inbox = [model.Change(JOBS.index(key)) for key in found["inbox"] or []]
        for key, *row in found["jobs"] or []:
            seen.jobs[JOBS.index(key)].row = tuple(row)
        for job, key in zip(seen.jobs, JOBS, strict=True):
            job.settled = [self._duty_of(record) for record in by_job[key]]
        for record in found["stages"]:
            if record["circuit"] == "past" and self.model.stages[record["step"]].circuit == "open":
                # It opens for a quarter of a second at least; a machine that stalls for longer has let it pass.
                assert record["later"] > -10
                record["circuit"] = "open"
            seen.stages[record["step"]] = model.Stage(record["strikes"], record["circuit"])
        assert str(seen) == str(self.model), f"\nfound:\n{seen}\nthe model says:\n{self.model}\n"
        await self._keep_circuits_open()
        self._assert_invariants(seen)

    def _duty_of(self, record: dict[str, Any]) -> Duty:
        calls = [model.Call(outcome, finished is not None) for _, outcome, finished in record["calls"] or []]
        assert record["attempt"] == len(calls), "every attempt is on record"
        assert (record["state"] == "running") == (record["worker"] is not None or record["waits"])
        return Duty(
            record["stage"],
            id=record["id"],
            state=record["state"],
            failures=record["failures"],
            worker=self._number_of(record["worker"]),
            due=record["due"],
            overdue=bool(record["overdue"]),
            calls=calls,
        )

    async def _put_off(self, record: dict[str, Any]) -> None:
        """A new delay is a matter of dice: check its bounds, and let it end when the test says so."""
        if record["later"] < 3600:
            assert -10 < record["later"] <= 300
            later = "UPDATE pgbaton.dispatches SET available_at = clock_timestamp() + interval '1 day' WHERE " + FREE
            assert await self.ground.look.fetchval(later, record["id"])
        record["due"] = False

    async def _keep_circuits_open(self) -> None:
        if any(stage.circuit == "open" for stage in self.model.stages.values()):
            await self.ground.look.execute(
                "UPDATE pgbaton.stages SET open_until = clock_timestamp() + interval '1 day' "
                "WHERE step = ANY ($1) AND open_until < clock_timestamp() + interval '1 hour'",
                [step for step, stage in self.model.stages.items() if stage.circuit == "open"],
            )

    def _assert_invariants(self, seen: Model) -> None:
        for number, job in enumerate(seen.jobs):
            open_ones = [duty.stage for duty in job.settled if duty.state in OPEN]
            assert len(open_ones) <= 1, f"job {number}: two open dispatches"
            if (stage := seen.routed(number)) and not seen.waiting(number):
                assert open_ones == [stage], f"job {number}: nobody is to be called"
        for entry, times in self.effects.items():
            assert times <= self.entered[entry], f"{entry}: {times} effects, entered {self.entered[entry]} times"


def at(dispatch: Dispatch) -> Place | None:
    return dispatch.row.at if dispatch.row else None


def same_attempt(now: Dispatch, then: Dispatch) -> bool:
    return now.state is State.RUNNING and (now.attempt, now.worker) == (then.attempt, then.worker)


def said_by(decision: Decision) -> str:
    return f"{decision.verb} {decision.outcome}"


def answer(name: str) -> Answer:
    return Answer(Reply.ANSWERED, int(name)) if name.isdigit() else Answer(Reply(name))
