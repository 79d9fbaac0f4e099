"""A real database and the rules side by side: every statement of the protocol, done to both, and the comparison.

Nothing here waits or decides what comes next: a test does, one step at a time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any, TypeVar

import asyncpg
import pytest

from line import two_stages
from pgbaton.decision.outcome import Answer, Reply, Verb, decide_claimed
from pgbaton.decision.verdict import Job, Verdict, resolve
from pgbaton.errors import LeaseLost
from pgbaton.install.attach import attach
from pgbaton.model import RUNNING, Advance, Dispatch, Row, Stage
from pgbaton.table import JobTable, read_table
from pgbaton.worker.store import Move, Store
from support import protocol_rules as rules
from support.protocol_rules import ATTEMPTS, DOWN, ENTRY, LIMIT, OPEN, Model, Place

T = TypeVar("T")

READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE = "read_committed", "repeatable_read", "serializable"
JOBS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(2)]
TENANTS = ("acme", "blue")
WORKERS = 2
ALL = 100

LOOK = """
SELECT json_build_object(
    'jobs', (SELECT json_agg(ARRAY[job_id::text, current_step, status]) FROM jobs),
    'notes', (SELECT json_agg(json_build_array(job_key, id, stage) ORDER BY id) FROM pgbaton.due),
    'stages', (SELECT json_agg(json_build_object('step', step, 'strikes', strikes, 'circuit',
                   CASE WHEN open_until > clock_timestamp() THEN 'open'
                        WHEN open_until IS NOT NULL THEN 'past' ELSE 'closed' END,
                   'later', extract(epoch FROM open_until - clock_timestamp())))
                 FROM pgbaton.stages),
    'dispatches', (
        SELECT json_agg(json_build_object(
                   'id', d.id, 'job', d.job_key, 'stage', d.stage, 'state', d.state, 'attempt', d.attempt,
                   'failures', d.failures, 'worker', d.worker, 'order', d.available_at, 'settled', d.settled_at,
                   'due', d.available_at <= clock_timestamp(),
                   'later', extract(epoch FROM d.available_at - clock_timestamp()),
                   'parked', d.available_at = pgbaton.parked(),
                   'left', d.deadline IS NOT NULL, 'overdue', d.deadline <= clock_timestamp(),
                   'calls', (SELECT json_agg(json_build_array(t.attempt, t.outcome, t.started_at, t.finished_at)
                                             ORDER BY t.attempt)
                               FROM pgbaton.attempts t WHERE t.dispatch_id = d.id)) ORDER BY d.id)
          FROM pgbaton.dispatches d))
"""
CLEAN = """
DELETE FROM pgbaton.due; DELETE FROM pgbaton.calls; DELETE FROM pgbaton.history; DELETE FROM pgbaton.workers;
DELETE FROM pgbaton.paused_tenants; DELETE FROM jobs; DELETE FROM pgbaton.due;
UPDATE pgbaton.stages SET strikes = 0, open_until = NULL;
"""
PUT = "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id = $1 RETURNING true"
ADD = "INSERT INTO jobs (job_id, current_step, status, tenant_id) VALUES ($1, $2, $3, $4) RETURNING true"
DELETE = "DELETE FROM jobs WHERE job_id = $1 RETURNING true"


@dataclass(eq=False)
class Hand:
    """A claimed attempt in a worker's hands, and the call that was made for it."""

    worker: int
    dispatch: Dispatch
    held: bool = True
    called: bool = False
    step: str = "claimed"
    """``claimed``, ``calling``, ``answered``, in this order."""
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
        """The stage has the call, and may work, also where its caller has given it up."""
        return self.called and not self.ended and self.answer != "refused"

    def __str__(self) -> str:
        return f"{self.stage} of job {self.job}, attempt {self.dispatch.attempt} by worker {self.worker}, {self.step}"


@dataclass(eq=False)
class Decided:
    """A decision about a job as it was seen, to be written now, later, or once more."""

    verdict: Verdict
    seen: rules.Seen
    answer: str | None = None
    given_back: bool = False
    hand: Hand | None = None

    def __str__(self) -> str:
        decision = self.verdict.decision
        said = f"{decision.verb} {decision.outcome}" if decision else "duties"
        return f"job {self.seen.job}, seen at {self.seen.row} with {self.seen.call}: {said}"


@dataclass
class Transaction:
    """The user's open one: what it did, as (job, row)."""

    isolation: str
    versions: list[int]
    done: list[tuple[int, Place | None]] = field(default_factory=list)

    @property
    def jobs(self) -> set[int]:
        return {job for job, _ in self.done}


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
            # Tenants take no turns at the limited stage: the rules of this trial know the limit; turns have tests of their own.
            await look.execute("UPDATE pgbaton.stages SET takes_turns = false")
            table = await read_table(look, pipeline)
            for session in (user, holder):  # a transaction that reads the small table whole conflicts with every other
                await session.execute("SET enable_seqscan = off")
            for session in (work, look, user):  # none of these may wait for the user's transaction
                await session.execute("SET lock_timeout = '500ms'")
            yield cls(Store(work, table, [s.step for s in pipeline.stages]), table, work, look, user, holder)
        finally:
            for session in sessions:
                session.terminate()


class Trial:
    """One example: the rows, the workers, and what is in their hands."""

    def __init__(self, ground: Ground, cut: Advance = Advance.STAGE, glue: Advance = Advance.STAGE) -> None:
        self.ground = ground
        self.store = ground.store
        stages = two_stages(
            cut_attempts=ATTEMPTS["cut"], glue_attempts=ATTEMPTS["glue"], cut_advance=cut, glue_advance=glue
        ).stages
        self.stages: dict[str, Stage] = {stage.step: stage for stage in stages}
        self.model = Model(len(JOBS), {s.step: s.advance is Advance.STAGE for s in stages})
        self.leases: list[int] = []
        self.hands: list[Hand] = []
        self.decided: list[Decided] = []
        self.moves: list[tuple[Hand, Move]] = []
        self.transaction: Transaction | None = None
        self.versions = [0] * len(JOBS)
        self.by_hand = [True] * len(JOBS)
        self.entered: Counter[tuple[int, str]] = Counter()
        self.effects: Counter[tuple[int, str]] = Counter()

    async def start(self) -> None:
        """Empty tables, and workers that are alive."""
        await self.ground.look.execute(CLEAN)
        self.leases = [(await self.store.take_lease(None, f"w{n}", 10, 3600, []))[0] for n in range(WORKERS)]
        self.model.alive = dict.fromkeys(self.leases, True)

    async def then(self, step: Awaitable[T]) -> T:
        """One step, and the comparison."""
        found = await step
        await self.compare()
        return found

    def keeps_state(self, stage: str) -> bool:
        return self.model.keeps_state[stage]

    def is_free(self, job: int) -> bool:
        """No open transaction of the user's holds the row."""
        return not self.transaction or job not in self.transaction.jobs

    @property
    def held_rows(self) -> set[int]:
        return self.transaction.jobs if self.transaction else set()

    # -- the user's rows

    async def put(self, job: int, row: Place | None, isolation: str = READ_COMMITTED) -> None:
        """The user makes the row, moves it, or (None) deletes it."""
        if self.is_free(job):
            await self._put(job, row, isolation, self._put_statement(job, row), by_hand=True)

    async def _put(
        self, job: int, row: Place | None, isolation: str, statement: tuple[Any, ...], *, by_hand: bool = False
    ) -> bool:
        """Whether the statement changed anything, in a transaction of its own. It may never fail, unless two
        serializable ones of the user's overlap."""
        try:
            async with self.ground.user.transaction(isolation=isolation):
                done = bool(await self.ground.user.fetchval(*statement))
        except asyncpg.SerializationError:
            if self._overlaps(isolation):
                return False
            raise
        if done:
            self._was_put(job, row, by_hand=by_hand)
        return done

    def _overlaps(self, isolation: str) -> bool:
        return isolation == SERIALIZABLE == (self.transaction.isolation if self.transaction else None)

    def _put_statement(self, job: int, row: Place | None) -> tuple[Any, ...]:
        if row is None:
            return DELETE, JOBS[job]
        if self._row_in_reach(job):
            return PUT, JOBS[job], *row
        return ADD, JOBS[job], *row, self.model.jobs[job].tenant

    def _row_in_reach(self, job: int) -> Place | None:
        """The row as the user sees it, whose own open transaction may have changed it."""
        mine = [row for number, row in self.transaction.done if number == job] if self.transaction else []
        return mine[-1] if mine else self.model.jobs[job].row

    def _was_put(self, job: int, row: Place | None, *, by_hand: bool = False) -> None:
        changed = row != self.model.jobs[job].row
        self.model.change(job, row)
        self.versions[job] += 1
        self.by_hand[job] = by_hand
        if changed and (stage := self.model.routed(job)):
            self.entered[job, stage] += 1

    async def move_to_tenant(self, job: int, tenant: str) -> None:
        """The user gives the job to another tenant."""
        if self.is_free(job):
            await self.ground.user.execute("UPDATE jobs SET tenant_id = $2 WHERE job_id = $1", JOBS[job], tenant)
            self.model.jobs[job].tenant = tenant
            self.versions[job] += 1

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
            if await self.ground.holder.fetchval(*self._put_statement(job, row)):
                mine.done.append((job, row))
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
            for job, row in mine.done:
                self._was_put(job, row, by_hand=True)

    async def roll_back(self) -> None:
        self.transaction = None
        await self.ground.holder.execute("ROLLBACK")

    # -- stages: compare-and-set, as the guard does it

    async def begin(self, hand: Hand, isolation: str = READ_COMMITTED) -> None:
        hand.begun = True
        stands = self.model.jobs[hand.job].row == ENTRY[hand.stage]
        statement = self.ground.table.query("guard/begin"), JOBS[hand.job], None, *ENTRY[hand.stage], hand.stage
        done = await self._put(hand.job, (hand.stage, "running"), isolation, statement)
        assert done == stands or self._overlaps(isolation)

    async def end(self, hand: Hand, status: str = "done", isolation: str = READ_COMMITTED) -> None:
        hand.ended = True
        stands = self.model.jobs[hand.job].row == (hand.stage, "running")
        statement = self.ground.table.query("guard/end"), JOBS[hand.job], hand.stage, status
        done = await self._put(hand.job, (hand.stage, status), isolation, statement)
        assert done == stands or self._overlaps(isolation)
        self.effects[hand.job, hand.stage] += done and status == "done"

    # -- workers, one statement at a time

    async def turn(self, worker: int, most: int = ALL, *, heard: bool = True, calling: bool = True) -> list[Hand]:
        """``heard`` false: the reply is lost. What the turn names is looked at by :meth:`look`."""
        lease = self.leases[worker]
        answered = [h for h in self.hands if h.worker == worker and h.held and h.step == "answered"]
        answers = [(h.dispatch, answer(h.answer)) for h in answered]
        if not self.model.alive[lease]:
            with pytest.raises(LeaseLost):
                await self.store.turn(lease, most, answers, calling=calling)
            return []
        expected = self.model.turn(lease, most, calling=calling)
        found = await self.store.turn(lease, most, answers, calling=calling)
        assert found.ended == {d.id for d in expected.completed}
        if not found.found:
            await self._ask_when_something_is_due()
        if heard:
            for hand in answered:
                hand.held = hand.dispatch.id not in found.ended
        return self._took(worker, found.claimed, found.others, expected, heard=heard)

    async def claim_waiting(self, worker: int, most: int = ALL, *, heard: bool = True) -> list[Hand]:
        lease = self.leases[worker]
        if not self.model.alive[lease]:
            with pytest.raises(LeaseLost):
                await self.store.claim_waiting(lease, most)
            return []
        expected = self.model.claim_waiting(lease, most)
        found = await self.store.claim_waiting(lease, most)
        return self._took(worker, found.claimed, found.others, expected, heard=heard)

    def _took(
        self, worker: int, claimed: tuple[Dispatch, ...], others: frozenset[str], expected: rules.Turn, *, heard: bool
    ) -> list[Hand]:
        assert sorted((d.id, d.job_key, d.stage, d.attempt, d.probing) for d in claimed) == sorted(
            (d.id or 0, JOBS[job], d.stage, len(d.attempts), probing) for job, d, probing in expected.claimed
        )
        assert others == {JOBS[job] for job in expected.others}
        for d in claimed:
            assert d.row.at == self.model.jobs[JOBS.index(d.job_key)].row
        hands = [Hand(worker, d) for d in claimed if heard]
        self.hands += hands
        return hands

    async def _ask_when_something_is_due(self) -> None:
        assert (await self.store.next_due() is not None) == self.model.something_waits()

    async def go_on(self, hand: Hand) -> list[Decided]:
        """The worker's next statement for what it has in its hands (none while a call is under way)."""
        if hand.step == "answered":
            return await self._note_and_look([hand])
        if hand.step == "calling":
            return []
        stage = self.stages[hand.stage]
        verb = decide_claimed(stage, hand.dispatch.row).verb
        target = {Verb.REWIND: stage.entry, Verb.BEGIN: (stage.step, RUNNING)}.get(verb)
        said = {Verb.CALL: "call", Verb.BEGIN: "call", Verb.REWIND: "rewind"}.get(verb, "give back")
        assert said == rules.before_call(hand.stage, hand.dispatch.row.at)
        if verb is Verb.CALL:
            hand.step, hand.called = "calling", True
            return []
        if target is None:
            return await self.look([hand.job], giving_back=[hand])
        move = Move(hand.dispatch, (hand.dispatch.row.step or "", hand.dispatch.row.status or ""), target)
        self.moves.append((hand, move))
        if await self.prepare(hand, move):
            hand.dispatch = replace(hand.dispatch, row=Row(None, *target))
            if verb is Verb.BEGIN:
                hand.step, hand.called = "calling", True
            return []
        return await self._look_again(hand)

    async def prepare(self, hand: Hand, move: Move) -> bool:
        """``move`` may be one of long ago."""
        lease = self.leases[hand.worker]
        moved = await self.store.prepare(lease, [move])
        stands = self.model.holds(hand.job, hand.dispatch.name, lease) and self.is_free(hand.job)
        stands = stands and self.model.jobs[hand.job].row == move.source
        assert moved == ({JOBS[hand.job]} if stands else set())
        if stands:
            self._engine_puts(hand.job, lambda: self.model.change(hand.job, move.target, quiet=True))
        return stands

    async def _look_again(self, hand: Hand) -> list[Decided]:
        """The row is not where the claim saw it."""
        (job,) = await self.store.look([hand.dispatch.job_key])
        if not self.model.holds(hand.job, hand.dispatch.name, self.leases[hand.worker]) or job.row is None:
            hand.held = False
        else:
            hand.dispatch = replace(hand.dispatch, row=job.row)
        return []

    def _engine_puts(self, job: int, put: Callable[[], T]) -> T:
        before = self.model.jobs[job].row
        found = put()
        if self.model.jobs[job].row != before:
            self.versions[job] += 1
            self.by_hand[job] = False
        return found

    async def _note_and_look(self, answered: list[Hand]) -> list[Decided]:
        """Keep late answers; look at the jobs of the others."""
        late = await self.store.note([(h.dispatch, answer(h.answer)) for h in answered])
        expected = {h.dispatch.name: ended for h in answered if (ended := self.model.ended(h.dispatch.name))}
        assert {name: (str(o), s and str(s)) for name, (o, s) in late.items()} == expected
        for hand in answered:
            hand.held = hand.dispatch.name not in late
        return await self.look({h.job for h in answered if h.held}, ended=[h for h in answered if h.held])

    async def look_at_answers(self, worker: int) -> list[Decided]:
        """All of a worker's answers at once, as the resolver does it."""
        mine = [h for h in self.hands if h.worker == worker and h.held and h.step == "answered"]
        return await self._note_and_look(mine) if mine else []

    async def look(
        self, jobs: Iterable[int], ended: Iterable[Hand] = (), giving_back: Iterable[Hand] = ()
    ) -> list[Decided]:
        """Look at jobs and decide them; nothing is written."""
        found = []
        for job in await self.store.look([JOBS[job] for job in jobs]):
            number = JOBS.index(job.key)
            seen = self.model.look(number)
            self._assert_seen(job, seen)
            decided = Decided(resolve(job, self.stages.__getitem__), seen)
            for hand in (h for h in ended if h.job == number):
                if self._is_held(hand):
                    decided = Decided(
                        resolve(job, self.stages.__getitem__, answer(hand.answer)), seen, hand.answer, hand=hand
                    )
                    await self._mind_circuit(hand, decided.verdict)
                else:
                    hand.held = False
            for hand in (h for h in giving_back if h.job == number):
                if (job.call and (job.call.id, job.call.attempt)) == hand.dispatch.name:
                    verdict = resolve(job, self.stages.__getitem__, given_back=True)
                    decided = Decided(verdict, seen, given_back=True, hand=hand)
            found.append(decided)
        self.decided = [*self.decided, *found][-6:]
        return found

    def _is_held(self, hand: Hand) -> bool:
        return self.model.holds(hand.job, hand.dispatch.name, self.leases[hand.worker])

    async def _mind_circuit(self, hand: Hand, verdict: Verdict) -> None:
        probing = hand.dispatch.probing
        if verdict.decision and verdict.decision.down:
            assert hand.answer in DOWN
            await self.store.strike(hand.stage, probed=probing)
            self.model.strike(hand.stage, probed=probing)
        elif probing and answer(hand.answer).status is not None:
            await self.store.close_circuit(hand.stage)
            self.model.close(hand.stage)

    async def settle(self, decided: list[Decided]) -> None:
        """Write decisions, each if all is as it was seen."""
        latest = {d.seen.job: d for d in decided}  # one a job, as the resolver does it
        if not latest:
            return
        pairs = [(d.verdict, answer(d.answer) if d.answer else None) for d in latest.values()]
        written = await self.store.settle(pairs, self.stages)
        for job, d in latest.items():
            before = self.model.jobs[job]
            call, at = before.call, before.row
            stands = self._engine_puts(job, lambda d=d: self._settle_in_model(d))  # type: ignore[misc]
            assert (JOBS[job] in written) == stands, str(d)
            now = self.model.jobs[job].row
            if stands and d.verdict.decision and d.verdict.decision.verb is Verb.ADVANCE and call and now != at:
                self.effects[job, call.stage] += 1
                if stage := self.model.routed(job):
                    self.entered[job, stage] += 1
            if stands and d.hand:
                d.hand.held = False

    def _settle_in_model(self, d: Decided) -> bool:
        return self.model.settle(d.seen, self.held_rows, d.answer, given_back=d.given_back)

    async def resolve(self, jobs: Iterable[int]) -> None:
        """Look at jobs, decide and settle them, at once."""
        for job in jobs:
            await self.settle(await self.look([job]))

    # -- rescue

    async def rescue(self) -> list[Decided]:
        """Look at what lost its worker, or is overdue."""
        lost = [JOBS.index(key) for key in await self.store.lost("", ALL)]
        assert sorted(lost) == self.model.lost()
        return await self.look(lost)

    async def look_for_missing(self) -> None:
        """Every routed row has its duty or call."""
        assert (await self.store.unreconciled(None, ALL)).missing == ()
        assert await self.store.reconcile(JOBS) == []

    # -- what befalls workers, and time

    async def lose_lease(self, worker: int, *, forgets: bool) -> None:
        """``forgets``: the process is gone; else it was only frozen, and goes on as if nothing had happened."""
        query = "UPDATE pgbaton.workers SET expires_at = clock_timestamp() - interval '1 s' WHERE id = $1"
        await self.ground.look.execute(query, self.leases[worker])
        self.model.alive[self.leases[worker]] = False
        for hand in self.hands:
            hand.held &= not (forgets and hand.worker == worker)

    async def renew(self, worker: int) -> None:
        lease = self.leases[worker]
        assert await self.store.renew(lease, 3600, False) == self.model.alive[lease]

    async def give_up_lease(self, worker: int) -> None:
        await self.store.give_up_lease(self.leases[worker])
        self.model.alive[self.leases[worker]] = False

    async def take_lease(self, worker: int) -> None:
        """A new one in place of the old; the worker keeps what it has in its hands, where that is its own still."""
        old = self.leases[worker]
        mine = [h for h in self.hands if h.worker == worker and h.held]
        fresh, kept = await self.store.take_lease(old, f"w{worker}", 10, 3600, [h.dispatch.name for h in mine])
        expected = {h.dispatch.name for h in mine if self.model.holds(h.job, h.dispatch.name, old)}
        assert kept == expected
        for hand in mine:
            hand.held = hand.dispatch.name in kept
            if hand.held and (call := self.model.jobs[hand.job].call):
                call.worker = fresh
        self.model.alive[old] = False
        self.model.alive[fresh] = True
        self.leases[worker] = fresh

    async def make_due(self, job: int) -> None:
        """The backoff of a waiting call has passed."""
        call = self.model.jobs[job].call
        if call and call.standing == "waiting" and not call.parked:
            await self._shift(job, "due_at = clock_timestamp()")
            call.due = True

    async def pass_deadline(self, job: int) -> None:
        call = self.model.jobs[job].call
        if call and call.standing == "left":
            await self._shift(job, "deadline = clock_timestamp() - interval '1 s'")
            call.overdue = True

    async def pass_a_day(self, job: int) -> None:
        call = self.model.jobs[job].call
        if call:
            await self._shift(job, "created_at = created_at - interval '1 day'")
            call.dispatch.old = True

    async def _shift(self, job: int, change: str) -> None:
        await self.ground.look.execute(f"UPDATE pgbaton.calls SET {change} WHERE job_key = $1", JOBS[job])

    async def pass_circuits(self) -> None:
        query = "UPDATE pgbaton.stages SET open_until = clock_timestamp() - interval '1 s' WHERE open_until IS NOT NULL"
        await self.ground.look.execute(query)
        for circuit in self.model.circuits.values():
            circuit.at = "past" if circuit.at == "open" else circuit.at

    # -- tenants

    async def pause(self, tenant: str) -> None:
        await self.ground.work.fetch(
            self.ground.table.query("operate/pause_tenant"), "craft", tenant, "an operator", None
        )
        self.model.paused[tenant] = True

    async def resume(self, tenant: str) -> None:
        await self.ground.work.fetch(
            self.ground.table.query("operate/resume_tenant"), "craft", tenant, "an operator", None
        )
        if tenant in self.model.paused:
            self.model.paused[tenant] = False

    async def unpark(self) -> None:
        assert await self.store.unpark(ALL) == self.model.unpark()

    # -- all well, and the end

    async def do_call(self, hand: Hand, isolation: str = READ_COMMITTED) -> None:
        """From a claim to its end."""
        for _ in range(4):  # at most a rewind, and the engine's own writing
            if hand.held and hand.step == "claimed":
                await self.then(self.settle(await self.then(self.go_on(hand))))
        if not hand.held or hand.step != "calling":
            return  # done already, or the user's transaction holds the row
        if self.keeps_state(hand.stage) and self.is_free(hand.job):
            await self.then(self.begin(hand, isolation))
            await self.then(self.end(hand, "done", isolation))
        hand.answer, hand.step = "200", "answered"
        await self.then(self.settle(await self.then(self._note_and_look([hand]))))

    async def come_to_rest(self) -> None:
        """Faults stop; a worker goes on until nothing is left to do, and every job is at its end or visibly stopped."""
        if self.transaction:
            await self.roll_back()
        for worker in range(WORKERS):
            await self.lose_lease(worker, forgets=True)
        for tenant in list(self.model.paused):
            await self.resume(tenant)
        await self.take_lease(0)
        for _ in range(40):
            await self.settle(await self.rescue())
            await self.unpark()
            await self.compare()
            if not any(job.call or job.notes for job in self.model.jobs):
                break
            for job in range(len(JOBS)):
                await self.make_due(job)
                await self.pass_deadline(job)
            await self.pass_circuits()
            await self.compare()
            for hand in [*await self.claim_waiting(0), *await self.turn(0)]:
                await self.do_call(hand)
            await self.compare()
            await self.resolve(range(len(JOBS)))
            await self.compare()
        else:
            raise AssertionError(f"no rest:\n{self.model}")
        await self.look_for_missing()
        for number, job in enumerate(self.model.jobs):
            stopped = job.row is None or job.row[1] == "failed" or job.row == ("glue", "done")
            assert stopped or self.by_hand[number], f"job {number} stands at {job.row}, and no user put it there"
            assert not self.model.routed(number), f"job {number} stands at {job.row}, and no worker calls its stage"

    # -- the comparison

    def _assert_seen(self, job: Job, seen: rules.Seen) -> None:
        """A worker reads exactly the rows that there are."""
        assert (job.row.at if job.row else None) == seen.row
        assert tuple(d.id for d in job.duties) == seen.notes
        call = job.call
        read = (call.id, call.attempt, call.worker, call.standing.value, call.seen) if call else None
        assert read == seen.call
        assert job.paused == seen.paused
        if call:
            assert (call.alive, call.overdue) == (seen.alive, seen.overdue)

    async def compare(self) -> None:
        """The database holds what the rules say, and what must always hold does."""
        found = json.loads(await self.ground.look.fetchval(LOOK))
        for record in found["stages"]:
            circuit = self.model.circuits[record["step"]]
            if record["circuit"] == "past" and circuit.at == "open":
                # It opens for a quarter of a second at least; a machine that stalls for longer has let it pass.
                assert record["later"] > -10
                record["circuit"] = "open"
            assert (record["strikes"], record["circuit"]) == (circuit.strikes, circuit.at), record["step"]
        rows = {key: tuple(row) for key, *row in found["jobs"] or []}
        assert rows == {key: job.row for key, job in zip(JOBS, self.model.jobs, strict=True) if job.row is not None}
        for key, job in zip(JOBS, self.model.jobs, strict=True):
            notes = [(id, stage) for of, id, stage in found["notes"] or [] if of == key]
            assert [stage for _, stage in notes] == [n.dispatch.stage if n.dispatch else "" for n in job.notes], key
            for note, (note_id, _) in zip(job.notes, notes, strict=True):
                note.id = note_id
                if note.dispatch:
                    note.dispatch.id = note_id
            records = [record for record in found["dispatches"] or [] if record["job"] == key]
            for dispatch, record in zip(job.dispatches, records, strict=False):
                if job.call and job.call.dispatch is dispatch:
                    job.call.order = record["order"]
                    if job.call.standing == "waiting" and not job.call.due and not job.call.parked:
                        await self._put_off(record)
            shown = [(dispatch.id, job.shown(dispatch)) for dispatch in job.dispatches]
            assert [(r["id"], self._shown(r)) for r in records] == shown, f"\nthe rules say:\n{self.model}\n"
            self._assert_invariants(JOBS.index(key), records)
        for entry, times in self.effects.items():
            assert times <= self.entered[entry], f"{entry}: {times} effects, entered {self.entered[entry]} times"
        await self._keep_circuits_open()

    def _shown(self, record: dict[str, Any]) -> str:
        """A record of the views in the words of :meth:`protocol_rules.Job.shown`."""
        when, state = "", record["state"]
        if state == "running":
            assert record["worker"] is not None or record["left"], "a call under way has a worker or a deadline"
            when = (" overdue" if record["overdue"] else " left") if record["left"] else f" by {record['worker']}"
        elif state in OPEN and record["id"] in self._waiting:
            when = " parked" if record["parked"] else " due" if record["due"] else " later"
        calls = record["calls"] or []
        attempts = [f"{outcome or ''}{'.' if finished else '…'}" for _, outcome, _, finished in calls]
        assert [number for number, *_ in calls] == list(range(1, record["attempt"] + 1)), "every attempt is on record"
        assert (record["settled"] is None) == (state in OPEN)
        return f"{record['stage']} {state}{when} failures={record['failures']} attempts=[{','.join(attempts)}]"

    @property
    def _waiting(self) -> set[int | None]:
        return {j.call.dispatch.id for j in self.model.jobs if j.call and j.call.standing == "waiting"}

    async def _put_off(self, record: dict[str, Any]) -> None:
        """A new delay is a matter of dice: check its bounds, and let it end when the test says so."""
        if record["later"] < 3600:
            assert -10 < record["later"] <= 300
            later = "UPDATE pgbaton.calls SET due_at = clock_timestamp() + interval '1 day' WHERE id = $1"
            await self.ground.look.execute(later, record["id"])
        record["due"] = False

    async def _keep_circuits_open(self) -> None:
        if any(circuit.at == "open" for circuit in self.model.circuits.values()):
            await self.ground.look.execute(
                "UPDATE pgbaton.stages SET open_until = clock_timestamp() + interval '1 day' "
                "WHERE step = ANY ($1) AND open_until < clock_timestamp() + interval '1 hour'",
                [step for step, circuit in self.model.circuits.items() if circuit.at == "open"],
            )

    def _assert_invariants(self, job: int, records: list[dict[str, Any]]) -> None:
        """Of the views alone: nothing lost, nothing twice, every attempt ended before the next began."""
        open_ones = [record["stage"] for record in records if record["state"] in OPEN]
        if stage := self.model.routed(job):
            assert stage in open_ones, f"job {job}: its stage is not to be called"
        assert sum(record["state"] == "running" for record in records) <= 1, f"job {job}: two calls"
        calls = sorted((began, ended) for record in records for _, _, began, ended in record["calls"] or [])
        for (_, ended), (began, _) in pairwise(calls):
            assert ended, f"job {job}: a call began before another had ended"
            assert datetime.fromisoformat(ended) <= datetime.fromisoformat(began), f"job {job}: two calls at once"


def answer(name: str) -> Answer:
    return Answer(Reply.ANSWERED, int(name)) if name.isdigit() else Answer(Reply(name))
