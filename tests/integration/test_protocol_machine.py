"""The whole protocol, one statement at a time in any order, against a small model of its rules.

Two stages, a few jobs, three workers, a user with a transaction of his own. Every step may be withheld, repeated or
done late; after every step the database must hold what the model says. PGBATON_EXAMPLES=2000 makes a soak of it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

import protocol_model as model
from line import two_stages
from pgbaton.attach import attach, read_table
from pgbaton.errors import LeaseLost
from pgbaton.model import Advance, Dispatch, Row, State
from pgbaton.outcome import Answer, Begin, Decision, Reply, Verb, decide, decide_claimed, decide_lost, decide_overdue
from pgbaton.store import Move, Store
from pgbaton.table import JobTable
from postgres import Cluster
from protocol_model import ANSWERS, ATTEMPTS, DOWN, ENTRY, LIMIT, Duty, Model, Place

EXAMPLES = int(os.environ.get("PGBATON_EXAMPLES", "0"))
SOAK = EXAMPLES > 0
JOBS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(3)]
ROWS: list[Place] = [
    ("made", "done"),
    ("made", "running"),
    ("cut", "running"),
    ("cut", "failed"),
    ("cut", "done"),
    ("glue", "running"),
    ("glue", "failed"),
    ("glue", "done"),
    ("elsewhere", "done"),
    (None, None),
]
READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE = "read_committed", "repeatable_read", "serializable"
ALL = 1000

LOOK = f"""
SELECT json_build_object(
    'jobs', (SELECT json_agg(ARRAY[job_id::text, current_step, status]) FROM jobs),
    'inbox', (SELECT json_agg(job_key ORDER BY id) FROM pgbaton.changes),
    'stages', (SELECT json_agg(json_build_object('step', step, 'strikes', strikes, 'circuit',
                   CASE WHEN open_until > clock_timestamp() THEN 'open'
                        WHEN open_until IS NOT NULL THEN 'past' ELSE 'closed' END) ORDER BY position DESC)
                 FROM pgbaton.stages),
    'dispatches', (
        SELECT json_agg(json_build_object(
                   'id', d.id, 'job', d.job_key, 'stage', d.stage, 'state', d.state, 'attempt', d.attempt,
                   'failures', d.failures, 'worker', d.worker, 'order', d.available_at, 'waiting', d.deadline IS NOT NULL,
                   'due', d.available_at <= clock_timestamp(), 'overdue', d.deadline < clock_timestamp(),
                   'later', extract(epoch FROM d.available_at - clock_timestamp()),
                   'calls', (SELECT json_agg(json_build_array(t.attempt, t.outcome, t.finished_at) ORDER BY t.attempt)
                               FROM pgbaton.attempts t WHERE t.dispatch_id = d.id)) ORDER BY d.id)
          FROM pgbaton.dispatches d))
"""
CLEAN = """
DELETE FROM pgbaton.attempts; DELETE FROM pgbaton.dispatches; DELETE FROM pgbaton.workers;
ALTER TABLE jobs DISABLE TRIGGER USER; DELETE FROM jobs; ALTER TABLE jobs ENABLE TRIGGER USER;
DELETE FROM pgbaton.changes; UPDATE pgbaton.stages SET strikes = 0, open_until = NULL;
"""
PUT = "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id = $1 RETURNING true"
ADD = "INSERT INTO jobs (job_id, current_step, status) VALUES ($1, $2, $3) RETURNING true"
DELETE = "DELETE FROM jobs WHERE job_id = $1 RETURNING true"
FREE = "id = (SELECT id FROM pgbaton.dispatches WHERE id = $1 FOR UPDATE SKIP LOCKED) RETURNING true"
LOCKED = "SELECT id FROM pgbaton.dispatches WHERE settled_at IS NULL"
UNLOCKED = f"{LOCKED} FOR UPDATE SKIP LOCKED"


@dataclass
class Ground:
    """The database of all examples, and the sessions on it."""

    store: Store
    table: JobTable
    work: asyncpg.Connection
    look: asyncpg.Connection
    user: asyncpg.Connection
    holder: asyncpg.Connection

    @classmethod
    async def on(cls, dsn: str) -> Ground:
        pipeline = two_stages(
            cut_attempts=ATTEMPTS["cut"], glue_attempts=ATTEMPTS["glue"], glue_concurrency=LIMIT["glue"], channel=None
        )
        work, look, user, holder = [await asyncpg.connect(dsn) for _ in range(4)]
        await attach(look, pipeline)
        table = await read_table(look, pipeline)
        await work.execute("SET lock_timeout = '50ms'")
        for conn in (look, user):
            await conn.execute("SET lock_timeout = '2s'")
        return cls(Store(work, table, [s.step for s in pipeline.stages]), table, work, look, user, holder)

    async def close(self) -> None:
        for conn in (self.work, self.look, self.user, self.holder):
            conn.terminate()


@dataclass(eq=False)
class Hand:
    """A claimed attempt in a worker's hands, and the call that was made for it."""

    worker: int
    dispatch: Dispatch
    held: bool = True
    step: str = "claimed"
    seen: Dispatch | None = None
    begin: Begin | Decision | None = None
    answer: str | None = None
    begun: bool = False
    ended: bool = False

    @property
    def stage(self) -> str:
        return self.dispatch.stage

    @property
    def job(self) -> int:
        return JOBS.index(self.dispatch.job_key)

    @property
    def on_the_wire(self) -> bool:
        """The stage was called, and may work, whatever its caller thinks of it."""
        return self.step in ("calling", "answered", "noted", "over") and self.answer != "refused"

    def __repr__(self) -> str:
        return f"<{self.stage} of job {self.job}, attempt {self.dispatch.attempt} by w{self.worker}>"


@dataclass(eq=False)
class Verdict:
    """A decision about a dispatch as it was seen, to be carried out now, later, or once more."""

    dispatch: Dispatch
    decision: Decision

    def __repr__(self) -> str:
        d, c = self.dispatch, self.decision
        return f"<{c.verb} {c.outcome}: {d.stage} of job {JOBS.index(d.job_key)}, attempt {d.attempt}>"


@dataclass
class Held:
    """The user's open transaction: what it did, as (job, row, whether it went to the inbox)."""

    isolation: str
    versions: list[int]
    done: list[tuple[int, Place | None, bool]] = field(default_factory=list)

    @property
    def jobs(self) -> set[int]:
        return {job for job, _, _ in self.done}


workers = st.sampled_from(range(3))
jobs = st.sampled_from(range(len(JOBS)))
rows = st.sampled_from(ROWS)
isolations = st.sampled_from([READ_COMMITTED, READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE])
answers = st.sampled_from(ANSWERS)


def step(do: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """A rule's coroutine, run to its end and followed by the comparison."""

    @wraps(do)
    def run(self: Protocol, *args: Any, **given: Any) -> Any:
        async def then_compare() -> Any:
            found = await do(self, *args, **given)
            await self.compare()
            return found

        try:
            return self.runner.run(then_compare())
        except BaseException:
            self.broken = True
            raise

    return run


class Protocol(RuleBasedStateMachine):
    """Rules are what users, stages, workers and time do; each is at most a few statements."""

    runner: asyncio.Runner
    ground: Ground

    hands = Bundle("hands")
    verdicts = Bundle("verdicts")

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(len(JOBS))
        self.broken = False
        self.ids: list[int] = []
        self.all_hands: list[Hand] = []
        self.transaction: Held | None = None
        self.versions = [0] * len(JOBS)
        self.by_hand = [True] * len(JOBS)
        self.missing: list[str] = []
        self.entered: Counter[tuple[int, str]] = Counter()
        self.effects: Counter[tuple[int, str]] = Counter()

    @property
    def store(self) -> Store:
        return self.ground.store

    @initialize(cut=st.sampled_from(Advance), glue=st.sampled_from(Advance))
    @step
    async def a_clean_table_and_three_workers(self, cut: Advance, glue: Advance) -> None:
        self.pipeline = two_stages(cut_advance=cut, glue_advance=glue)
        await self.ground.look.execute(CLEAN)
        self.ids = [await self.store.register(f"w{n}", 10, 3600) for n in range(3)]
        self.model.alive = dict.fromkeys(range(3), True)

    # -- users

    @rule(job=jobs)
    @step
    async def a_job_is_made(self, job: int) -> None:
        if self.model.jobs[job].row is None:
            await self.user_puts(job, ("made", "done"), READ_COMMITTED)

    @rule(job=jobs, row=rows, isolation=isolations)
    @step
    async def somebody_puts_the_row(self, job: int, row: Place, isolation: str) -> None:
        await self.user_puts(job, row, isolation)

    @rule(job=jobs, isolation=isolations)
    @step
    async def somebody_deletes_the_row(self, job: int, isolation: str) -> None:
        await self.user_puts(job, None, isolation)

    async def user_puts(self, job: int, row: Place | None, isolation: str) -> None:
        if self.transaction and job in self.transaction.jobs:
            return
        if await self.in_a_transaction(self.put_statement(job, row), isolation):
            self.was_put(job, row, isolation == SERIALIZABLE, by_hand=True)

    def put_statement(self, job: int, row: Place | None) -> tuple[Any, ...]:
        if row is None:
            return DELETE, JOBS[job]
        return (PUT if self.row_in_reach(job) else ADD), JOBS[job], *row

    def row_in_reach(self, job: int) -> Place | None:
        """The row as the user sees it, who may have changed it in his own open transaction."""
        mine = [row for number, row, _ in self.transaction.done if number == job] if self.transaction else []
        return mine[-1] if mine else self.model.jobs[job].row

    async def in_a_transaction(self, statement: tuple[Any, ...], isolation: str) -> bool:
        """Whether it did anything. It may never fail, unless two serializable ones of the user's overlap."""
        try:
            async with self.ground.user.transaction(isolation=isolation):
                return bool(await self.ground.user.fetchval(*statement))
        except asyncpg.SerializationError:
            if isolation == SERIALIZABLE and self.transaction and self.transaction.isolation == SERIALIZABLE:
                return False
            raise

    def was_put(self, job: int, row: Place | None, inbox: bool, *, by_hand: bool = False) -> None:
        changed = row != self.model.jobs[job].row
        self.model.change(job, row, inbox=inbox)
        self.versions[job] += 1
        self.by_hand[job] = by_hand
        if changed and (stage := self.model.routed(job)):
            self.entered[job, stage] += 1

    @precondition(lambda self: self.transaction is None)
    @rule(isolation=isolations)
    @step
    async def a_transaction_takes_its_snapshot(self, isolation: str) -> None:
        await self.ground.holder.execute(f"BEGIN ISOLATION LEVEL {isolation.replace('_', ' ')}; SELECT 1")
        self.transaction = Held(isolation, list(self.versions))

    @precondition(lambda self: self.transaction)
    @rule(job=jobs, row=rows | st.none())
    @step
    async def the_transaction_puts_the_row(self, job: int, row: Place | None) -> None:
        held = self.transaction
        assert held
        if row is None and self.row_in_reach(job) is None:
            return
        try:
            before = await self.own_changes(job)
            if await self.ground.holder.fetchval(*self.put_statement(job, row)):
                inbox = held.isolation == SERIALIZABLE or await self.own_changes(job) > before
                held.done.append((job, row, inbox))
        except (asyncpg.SerializationError, asyncpg.UniqueViolationError):
            assert held.isolation != READ_COMMITTED, "aborted in READ COMMITTED"
            assert self.versions != held.versions or held.isolation == SERIALIZABLE, "aborted, and no row had changed"
            await self.give_up_transaction()

    async def own_changes(self, job: int) -> int:
        assert self.transaction
        if self.transaction.isolation != REPEATABLE_READ:
            return 0
        count = "SELECT count(*) FROM pgbaton.changes WHERE job_key = $1"
        return int(await self.ground.holder.fetchval(count, JOBS[job]))

    @precondition(lambda self: self.transaction)
    @rule(commit=st.booleans())
    @step
    async def the_transaction_ends(self, commit: bool) -> None:
        held = self.transaction
        assert held
        if not commit:
            await self.give_up_transaction()
            return
        try:
            await self.ground.holder.execute("COMMIT")
        except asyncpg.SerializationError:
            assert held.isolation == SERIALIZABLE
            await self.give_up_transaction()
        else:
            self.transaction = None
            for job, row, inbox in held.done:
                self.was_put(job, row, inbox, by_hand=True)

    async def give_up_transaction(self) -> None:
        self.transaction = None
        await self.ground.holder.execute("ROLLBACK")

    # -- stages: compare-and-set, as the guard does it

    @rule(hand=hands, isolation=isolations)
    @step
    async def the_stage_begins(self, hand: Hand, isolation: str) -> None:
        if hand.on_the_wire and not hand.begun and self.keeps_state(hand.stage) and self.is_free(hand.job):
            await self.begin(hand, isolation)

    async def begin(self, hand: Hand, isolation: str = READ_COMMITTED) -> None:
        hand.begun = True
        query = self.ground.table.query("guard_begin")
        if await self.in_a_transaction((query, JOBS[hand.job], None, *ENTRY[hand.stage], hand.stage), isolation):
            assert self.model.jobs[hand.job].row == ENTRY[hand.stage]
            self.was_put(hand.job, (hand.stage, "running"), isolation == SERIALIZABLE)

    @rule(hand=hands, status=st.sampled_from(["done", "done", "failed"]), isolation=isolations)
    @step
    async def the_stage_ends(self, hand: Hand, status: str, isolation: str) -> None:
        if hand.begun and not hand.ended and self.is_free(hand.job):
            await self.end(hand, status, isolation)

    async def end(self, hand: Hand, status: str = "done", isolation: str = READ_COMMITTED) -> None:
        hand.ended = True
        query = self.ground.table.query("guard_end")
        if await self.in_a_transaction((query, JOBS[hand.job], hand.stage, status), isolation):
            assert self.model.jobs[hand.job].row == (hand.stage, "running")
            self.was_put(hand.job, (hand.stage, status), isolation == SERIALIZABLE)
            self.effects[hand.job, hand.stage] += status == "done"

    def keeps_state(self, stage: str) -> bool:
        return self.pipeline.stage(stage).advance is Advance.STAGE

    def is_free(self, job: int) -> bool:
        return not self.transaction or job not in self.transaction.jobs

    # -- workers, one statement at a time

    @rule(target=hands, worker=workers, most=st.sampled_from([1, 3]), heard=st.sampled_from([True, True, False]))
    @step
    async def a_worker_claims(self, worker: int, most: int, heard: bool) -> Any:
        return multiple(*await self.claim(worker, most, heard))

    async def claim(self, worker: int, most: int, heard: bool = True) -> list[Hand]:
        """``heard`` false: the reply is lost."""
        if not self.model.alive[worker]:
            with pytest.raises(LeaseLost):
                await self.store.claim(self.ids[worker], most)
            return []
        expected = self.model.claim(worker, most, await self.locked())
        claimed = await self.store.claim(self.ids[worker], most)
        assert sorted((d.id, d.job_key, d.stage, d.attempt, d.probing) for d in claimed) == sorted(
            (duty.id, JOBS[job], duty.stage, duty.attempt, probing) for job, duty, probing in expected
        )
        for d in claimed:
            assert self.at(d) == self.model.jobs[JOBS.index(d.job_key)].row
        if not heard:
            return []
        got = [Hand(worker, d) for d in claimed]
        for hand in got:
            if self.keeps_state(hand.stage) and decide_claimed(self.pipeline.stage(hand.stage), hand.dispatch.row) is (
                Begin.CALL
            ):
                hand.step = "calling"
        self.all_hands += got
        return got

    async def locked(self) -> set[int]:
        """Dispatches that the user's open transaction has written."""
        if not self.transaction:
            return set()
        every = {r["id"] for r in await self.ground.look.fetch(LOCKED)}
        return every - {r["id"] for r in await self.ground.look.fetch(UNLOCKED)}

    @rule(hand=hands)
    @step
    async def the_worker_looks_before_its_call(self, hand: Hand) -> None:
        await self.look(hand)

    async def look(self, hand: Hand) -> None:
        if not hand.held or hand.step != "claimed":
            return
        hand.seen = (await self.store.look([hand.dispatch.id]))[hand.dispatch.id]
        self.assert_seen(hand.seen)
        if not same_attempt(hand.seen, hand.dispatch):
            self.let_go(hand)
            return
        hand.begin = decide_claimed(self.pipeline.stage(hand.stage), hand.seen.row)
        said = hand.begin.name.lower() if isinstance(hand.begin, Begin) else said_by(hand.begin)
        assert said == model.before_call(hand.stage, self.model.jobs[hand.job].row)
        hand.step = "looked"

    @rule(target=verdicts, hand=hands)
    @step
    async def the_worker_acts_on_its_look(self, hand: Hand) -> Any:
        return multiple(*await self.act(hand))

    async def act(self, hand: Hand) -> list[Verdict]:
        if not hand.held or hand.step != "looked":
            return []
        assert hand.seen
        hand.step = "claimed"
        if isinstance(hand.begin, Decision):
            if await self.settle([(hand.seen, hand.begin)]):
                self.let_go(hand)
            return [Verdict(hand.seen, hand.begin)]
        if hand.begin is Begin.REWIND:
            await self.move(hand, (hand.stage, "failed"), ENTRY[hand.stage])
        elif self.keeps_state(hand.stage) or await self.move(hand, ENTRY[hand.stage], (hand.stage, "running")):
            hand.dispatch = replace(hand.seen, probing=hand.dispatch.probing)
            hand.step = "calling"
        return []

    async def move(self, hand: Hand, source: Place | None, target: Place) -> bool:
        moved = await self.store.move([Move(hand.dispatch.job_key, source, target)])  # type: ignore[arg-type]
        stands = self.model.jobs[hand.job].row == source and self.is_free(hand.job)
        assert moved == ({hand.dispatch.job_key} if stands else set())
        if stands:
            self.engine_put(hand.job, lambda: self.model.change(hand.job, target))
        return stands

    def engine_put(self, job: int, put: Callable[[], Any]) -> Any:
        before = self.model.jobs[job].row
        found = put()
        if self.model.jobs[job].row != before:
            self.versions[job] += 1
            self.by_hand[job] = False
        return found

    @rule(hand=hands, answer=answers)
    @step
    async def the_call_brings_back(self, hand: Hand, answer: str) -> None:
        if hand.held and hand.step == "calling":
            hand.answer, hand.step = answer, "answered"

    @rule(hand=hands)
    @step
    async def the_worker_notes(self, hand: Hand) -> None:
        if hand.held and hand.step == "answered":
            await self.note([hand])

    async def note(self, noted: list[Hand]) -> None:
        seen = await self.store.note([(h.dispatch, answer_of(h)) for h in noted])
        for hand in noted:
            hand.seen = seen[hand.dispatch.id]
            self.assert_seen(hand.seen)
            hand.step = "noted"
            if not same_attempt(hand.seen, hand.dispatch):
                self.let_go(hand)

    @rule(target=verdicts, hand=hands)
    @step
    async def the_worker_settles(self, hand: Hand) -> Any:
        if not hand.held or hand.step != "noted":
            return multiple()
        return multiple(*await self.decide_and_settle([hand]))

    @rule(target=verdicts, worker=workers)
    @step
    async def the_worker_settles_all_its_answers(self, worker: int) -> Any:
        """The batch, as the dispatcher does it."""
        answered = [h for h in self.all_hands if h.worker == worker and h.held and h.step == "answered"]
        if not answered:
            return multiple()
        await self.note(answered)
        return multiple(*await self.decide_and_settle([h for h in answered if h.held]))

    async def decide_and_settle(self, noted: list[Hand]) -> list[Verdict]:
        decided = []
        for hand in noted:
            assert hand.seen
            assert hand.answer
            decision = decide(self.pipeline.stage(hand.stage), hand.seen.row, answer_of(hand))
            keeps_state = self.keeps_state(hand.stage)
            assert said_by(decision) == model.after_call(
                hand.stage, self.at(hand.seen), hand.answer, keeps_state=keeps_state
            )
            decided.append((hand, decision))
            await self.mind_circuit(hand, decision)
        for hand, decision in decided:
            if decision.verb is Verb.ADVANCE:
                assert hand.seen
                if await self.move(hand, self.at(hand.seen), (hand.stage, "done")):
                    self.effects[hand.job, hand.stage] += 1
                    self.was_entered(hand.job)
                    self.let_go(hand)
        rest = [(h, d) for h, d in decided if d.verb is not Verb.ADVANCE]
        settled = await self.settle([(h.seen, d) for h, d in rest if h.seen])
        for hand, _ in rest:
            if hand.dispatch.id in settled:
                self.let_go(hand)
        for hand in noted:
            if hand.held:
                hand.step = "answered"
        return [Verdict(h.seen, d) for h, d in rest if h.seen]

    def was_entered(self, job: int) -> None:
        if stage := self.model.routed(job):
            self.entered[job, stage] += 1

    async def mind_circuit(self, hand: Hand, decision: Decision) -> None:
        probing = hand.dispatch.probing
        if decision.down:
            assert hand.answer in DOWN
            await self.store.strike(hand.stage, probed=probing)
            self.model.strike(hand.stage, probed=probing)
        elif probing and answer_of(hand).status is not None:
            await self.store.close_circuit(hand.stage)
            self.model.close(hand.stage)

    @rule(verdict=verdicts)
    @step
    async def a_verdict_is_carried_out_late_or_once_more(self, verdict: Verdict) -> None:
        await self.settle([(verdict.dispatch, verdict.decision)])

    async def settle(self, decided: list[tuple[Dispatch, Decision]]) -> dict[int, State]:
        """One statement (two where jobs are gone)."""
        if not decided:
            return {}
        async with self.unless_held():
            settled = await self.store.settle(decided)
            held = self.transaction.jobs if self.transaction else set()
            # Those whose job is gone come first, in a statement of their own.
            for d, decision in sorted(decided, key=lambda one: one[0].row is not None):
                job = JOBS.index(d.job_key)
                worker = self.number_of(d.worker)
                state = self.engine_put(
                    job,
                    lambda d=d, c=decision, worker=worker: self.model.settle(
                        d.id, d.attempt, worker, self.at(d), said_by(c), held
                    ),
                )
                assert settled.get(d.id) == state, f"{d} was settled as {settled.get(d.id)}, the model says {state}"
                if decision.verb in (Verb.COMPLETE, Verb.CANCEL) and self.is_free(job):
                    self.model.create_missing(job)  # in the trigger's stead
            return settled
        return {}

    def unless_held(self) -> SkipsHeld:
        return SkipsHeld(self.transaction)

    def number_of(self, worker: int | None) -> int | None:
        return None if worker is None else self.ids.index(worker)

    def let_go(self, hand: Hand) -> None:
        hand.held, hand.step = False, "over" if hand.answer or hand.step == "calling" else "let go"

    # -- rescue

    @rule(target=verdicts, worker=workers, knows=st.booleans())
    @step
    async def a_worker_finds_orphans(self, worker: int, knows: bool) -> Any:
        return multiple(*await self.orphans(worker, knows))

    async def orphans(self, worker: int, knows: bool = True) -> list[Verdict]:
        """``knows`` false: a claim is under way, so that it cannot say what is in its hands."""
        in_hands = {h.dispatch.id for h in self.all_hands if h.worker == worker and h.held} if knows else None
        found = await self.store.orphans(self.ids[worker], in_hands, 0, ALL)
        assert [d.id for d in found] == sorted(self.model.orphans(worker, in_hands))
        verdicts = [Verdict(d, decide_lost(self.pipeline.stage(d.stage), d.row)) for d in found]
        for v in verdicts:
            said = model.after_loss(v.dispatch.stage, self.at(v.dispatch), keeps_state=self.keeps_state(v.dispatch.stage))
            assert said_by(v.decision) == said
        return verdicts

    @rule(target=verdicts)
    @step
    async def a_worker_finds_overdue_stages(self) -> Any:
        return multiple(*await self.overdue())

    async def overdue(self) -> list[Verdict]:
        found = await self.store.overdue(0, ALL)
        expected = [j.open.id for j in self.model.jobs if j.open and j.open.overdue]
        assert sorted(d.id for d in found) == sorted(i or 0 for i in expected)
        verdicts = [Verdict(d, decide_overdue(self.pipeline.stage(d.stage), d.row)) for d in found]
        for v in verdicts:
            assert said_by(v.decision) == model.after_deadline(v.dispatch.stage, self.at(v.dispatch))
        return verdicts

    @rule(worker=workers)
    @step
    async def a_worker_rescues(self, worker: int) -> None:
        await self.rescue(worker)

    async def rescue(self, worker: int) -> None:
        await self.absorb(ALL)
        for verdicts in (await self.orphans(worker), await self.overdue()):
            await self.settle([(v.dispatch, v.decision) for v in verdicts])

    @rule(most=st.sampled_from([1, ALL]))
    @step
    async def a_worker_absorbs_changes(self, most: int) -> None:
        await self.absorb(most)

    async def absorb(self, most: int) -> None:
        held = {job for job in self.transaction.jobs if self.model.jobs[job].row} if self.transaction else set()
        async with self.unless_held():
            absorbed = await self.store.absorb(most)
            assert absorbed == self.model.absorb(most, held)

    @rule()
    @step
    async def a_worker_looks_for_missing_dispatches(self) -> None:
        await self.look_for_missing()

    async def look_for_missing(self) -> None:
        page = await self.store.unreconciled(None, ALL)
        missing = [
            (JOBS[job], stage)
            for job in range(len(JOBS))
            if (stage := self.model.routed(job)) and not self.model.jobs[job].open and not self.model.waiting(job)
        ]
        assert (page.last, list(page.missing)) == (None, missing)
        self.missing = JOBS if self.model.inbox else [job for job, _ in missing]

    @precondition(lambda self: self.missing)
    @rule()
    @step
    async def a_worker_makes_missing_dispatches(self) -> None:
        """Of any jobs: it may have looked long ago, when they were elsewhere."""
        made = await self.store.reconcile(self.missing)
        expected = []
        for job in (JOBS.index(key) for key in self.missing):
            if self.is_free(job) and not self.model.jobs[job].open and (stage := self.model.routed(job)):
                self.model.create_missing(job)
                expected.append((JOBS[job], stage))
        assert sorted(made) == sorted(expected)

    # -- what befalls workers, and time

    @rule(worker=workers, fate=st.sampled_from(["dies", "freezes", "comes back"]))
    @step
    async def a_worker(self, worker: int, fate: str) -> None:
        """One that froze goes on as if nothing had happened, with or without its lease."""
        if fate == "comes back":
            assert await self.store.renew(self.ids[worker], 3600, False)
            self.model.alive[worker] = True
        else:
            await self.end_lease(worker, forgets=fate == "dies")

    async def end_lease(self, worker: int, forgets: bool) -> None:
        query = "UPDATE pgbaton.workers SET expires_at = clock_timestamp() - interval '1 s' WHERE id = $1"
        await self.ground.look.execute(query, self.ids[worker])
        self.model.alive[worker] = False
        for hand in self.all_hands:
            if forgets and hand.worker == worker and hand.held:
                self.let_go(hand)

    @rule(job=jobs, until=st.sampled_from(["the retry is due", "the deadline", "the next day", "a probe may be sent"]))
    @step
    async def time_passes(self, job: int, until: str) -> None:
        match until:
            case "the retry is due":
                await self.make_due(job)
            case "the deadline":
                await self.pass_deadline(job)
            case "the next day":
                await self.pass_a_day(job)
            case _:
                await self.pass_circuits()

    async def make_due(self, job: int) -> None:
        duty = self.model.jobs[job].open
        if duty and duty.state == "retryable" and await self.shift(duty, "available_at = clock_timestamp()"):
            duty.due = True

    async def pass_deadline(self, job: int) -> None:
        duty = self.model.jobs[job].open
        waits = duty and duty.state == "running" and duty.worker is None
        if duty and waits and await self.shift(duty, "deadline = clock_timestamp() - interval '1 s'"):
            duty.overdue = True

    async def pass_a_day(self, job: int) -> None:
        duty = self.model.jobs[job].open
        if duty and await self.shift(duty, "created_at = created_at - interval '1 day'"):
            duty.old = True

    async def shift(self, duty: Duty, change: str) -> bool:
        return bool(await self.ground.look.fetchval(f"UPDATE pgbaton.dispatches SET {change} WHERE {FREE}", duty.id))

    async def pass_circuits(self) -> None:
        query = "UPDATE pgbaton.stages SET open_until = clock_timestamp() - interval '1 s' WHERE open_until IS NOT NULL"
        await self.ground.look.execute(query)
        for stage in self.model.stages.values():
            stage.circuit = "past" if stage.circuit == "open" else stage.circuit

    @rule()
    @step
    async def a_worker_asks_when_something_is_due(self) -> None:
        due, changes = await self.store.next_due()
        waits = any(
            duty.state in ("available", "retryable")
            and (not duty.due or self.model.stages[duty.stage].circuit == "open")
            for duty in (job.open for job in self.model.jobs)
            if duty
        )
        assert (due is not None, changes) == (waits, bool(self.model.inbox))

    # -- a whole good day, so that examples get somewhere

    @rule(worker=workers, isolation=isolations)
    @step
    async def a_worker_does_its_duty(self, worker: int, isolation: str) -> None:
        for hand in await self.claim(worker, 1):
            await self.carry_out(hand, isolation)

    async def carry_out(self, hand: Hand, isolation: str = READ_COMMITTED) -> None:
        """From a claim to its end, all well."""
        while hand.held and hand.step in ("claimed", "looked"):
            before = hand.step, self.model.jobs[hand.job].row
            await self.look(hand)
            await self.act(hand)
            if (hand.step, self.model.jobs[hand.job].row) == before:
                return  # somebody holds the row
        if not hand.held:
            return
        if self.keeps_state(hand.stage) and self.is_free(hand.job):
            await self.begin(hand, isolation)
            await self.end(hand, "done", isolation)
        hand.answer, hand.step = "200", "answered"
        await self.note([hand])
        if hand.held:
            await self.decide_and_settle([hand])

    # -- the comparison

    def at(self, dispatch: Dispatch) -> Place | None:
        return dispatch.row.at if dispatch.row else None

    def assert_seen(self, seen: Dispatch) -> None:
        """What a worker reads is what there is."""
        job = JOBS.index(seen.job_key)
        duty = next(d for d in self.model.jobs[job].duties if d.id == seen.id)
        assert self.at(seen) == self.model.jobs[job].row
        assert (seen.stage, seen.state, seen.attempt) == (duty.stage, duty.state, duty.attempt)
        assert self.number_of(seen.worker) == duty.worker

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
                    await self.put_off(record)
        seen = Model(len(JOBS))
        seen.inbox = [model.Change(JOBS.index(key), None, 0) for key in found["inbox"] or []]
        for key, *row in found["jobs"] or []:
            seen.jobs[JOBS.index(key)].row = tuple(row)
        for job, key in zip(seen.jobs, JOBS, strict=True):
            job.settled = [self.duty_of(record) for record in by_job[key]]
        for record in found["stages"]:
            seen.stages[record["step"]] = model.Stage(record["strikes"], record["circuit"])
        assert str(seen) == str(self.model), f"\nfound:\n{seen}\nthe model says:\n{self.model}\n"
        await self.keep_circuits_open()
        self.assert_invariants(seen)

    def duty_of(self, record: dict[str, Any]) -> Duty:
        calls = [model.Call(outcome, finished is not None) for _, outcome, finished in record["calls"] or []]
        assert record["attempt"] == len(calls), "attempts on record"
        assert (record["state"] == "running") == (record["worker"] is not None or record["waiting"])
        return Duty(
            record["stage"],
            record["id"],
            record["state"],
            record["failures"],
            self.number_of(record["worker"]),
            record["due"],
            overdue=bool(record["overdue"]),
            calls=calls,
        )

    async def put_off(self, record: dict[str, Any]) -> None:
        """A new delay is a matter of dice: check its bounds, and let it end when the example says so."""
        if record["later"] < 3600:
            assert -10 < record["later"] <= 300
            later = "UPDATE pgbaton.dispatches SET available_at = clock_timestamp() + interval '1 day' WHERE " + FREE
            assert await self.ground.look.fetchval(later, record["id"])
        record["due"] = False

    async def keep_circuits_open(self) -> None:
        if any(stage.circuit == "open" for stage in self.model.stages.values()):
            await self.ground.look.execute(
                "UPDATE pgbaton.stages SET open_until = clock_timestamp() + interval '1 day' "
                "WHERE open_until BETWEEN clock_timestamp() AND clock_timestamp() + interval '1 hour'"
            )

    def assert_invariants(self, seen: Model) -> None:
        for number, job in enumerate(seen.jobs):
            open_ones = [d for d in job.settled if d.state in ("available", "running", "retryable")]
            assert len(open_ones) <= 1, f"job {number}: two open dispatches"
            if (stage := seen.routed(number)) and not seen.waiting(number):
                assert [d.stage for d in open_ones] == [stage], f"job {number}: nobody is to be called"
        for entry, times in self.effects.items():
            assert times <= self.entered[entry], f"{entry}: {times} effects, entered {self.entered[entry]} times"

    # -- the end: faults stop

    def teardown(self) -> None:
        if self.ids and not self.broken:
            self.runner.run(self.come_to_rest())
        elif self.transaction:
            self.runner.run(self.give_up_transaction())

    async def come_to_rest(self) -> None:
        if self.transaction:
            await self.give_up_transaction()
        for worker in range(3):
            await self.end_lease(worker, forgets=True)
        await self.store.renew(self.ids[0], 3600, False)
        self.model.alive[0] = True
        for _ in range(40):
            await self.rescue(0)
            await self.compare()
            if not self.model.inbox and not any(job.open for job in self.model.jobs):
                break
            for job in range(len(JOBS)):
                await self.make_due(job)
                await self.pass_deadline(job)
            await self.pass_circuits()
            await self.compare()
            for hand in await self.claim(0, 10):
                await self.carry_out(hand)
            await self.compare()
        else:
            raise AssertionError(f"no rest:\n{self.model}")
        broken = await self.ground.look.fetch(self.ground.table.query("invariants"), self.pipeline.name)
        assert [tuple(r) for r in broken] == []
        for number, job in enumerate(self.model.jobs):
            stopped = job.row is None or job.row[1] == "failed" or job.row == ("glue", "done")
            assert stopped or self.by_hand[number], f"job {number} stands at {job.row}, and nobody put it there"


class SkipsHeld:
    """What waits for a row that the user's transaction has inserted and not committed changes nothing."""

    def __init__(self, transaction: Held | None) -> None:
        self._transaction = transaction

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is asyncpg.LockNotAvailableError and self._transaction is not None


def same_attempt(now: Dispatch, then: Dispatch) -> bool:
    return now.state is State.RUNNING and (now.attempt, now.worker) == (then.attempt, then.worker)


def said_by(decision: Decision) -> str:
    return f"{decision.verb} {decision.outcome}"


def answer_of(hand: Hand) -> Answer:
    assert hand.answer
    if hand.answer.isdigit():
        return Answer(Reply.ANSWERED, int(hand.answer))
    return Answer(Reply(hand.answer))


@pytest.mark.timeout(0 if SOAK else 420)
def test_whatever_happens_in_whatever_order_the_database_holds_what_the_rules_say(
    cluster: Cluster, template: str
) -> None:
    with asyncio.Runner() as runner:
        making = cluster.new_database(template)
        dsn = runner.run(making.__aenter__())
        ground = runner.run(Ground.on(dsn))
        try:
            machine = type("Protocol", (Protocol,), {"runner": runner, "ground": ground})
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=EXAMPLES or 60,
                    stateful_step_count=50 if SOAK else 40,
                    deadline=None,
                    report_multiple_bugs=False,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(ground.close())
            runner.run(making.__aexit__(None, None, None))
