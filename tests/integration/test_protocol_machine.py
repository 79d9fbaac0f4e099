"""The whole protocol, one statement at a time in any order, against a small model of its rules.

Two jobs, two stages, two workers, and a user with a transaction. Every step may be withheld, repeated or done late;
after every step the database must hold what the rules say. PGBATON_EXAMPLES=2000 makes a soak of it;
PGBATON_SHRINK=1 makes a failure small, which takes minutes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from functools import wraps
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from pgbaton.model import Advance
from postgres import Cluster
from support.protocol_rules import ANSWERS, Model, Place
from support.protocol_trial import (
    ALL,
    JOBS,
    READ_COMMITTED,
    REPEATABLE_READ,
    SERIALIZABLE,
    TENANTS,
    WORKERS,
    Ground,
    Hand,
    Trial,
)

EXAMPLES = int(os.environ.get("PGBATON_EXAMPLES", "0"))
ENTRY: Place = ("made", "done")
ROWS: list[Place | None] = [
    ENTRY,
    ("cut", "done"),
    None,
    ENTRY,
    ("cut", "running"),
    ("cut", "failed"),
    ("cut", "done"),
    ("glue", "running"),
    ("glue", "failed"),
    ("glue", "done"),
    ("elsewhere", "done"),
    (None, None),
]

SHRINK = os.environ.get("PGBATON_SHRINK") == "1"
"""A failure takes minutes to be made small: by request only."""

workers = st.sampled_from(range(WORKERS))
jobs = st.sampled_from(range(len(JOBS)))
rows = st.sampled_from(ROWS)
isolations = st.sampled_from([READ_COMMITTED, SERIALIZABLE, REPEATABLE_READ])
picks = st.integers(0, 3)
"""Which of those there are, counted from the newest."""
mostly = st.sampled_from([True, True, True, False])


def when(holds: Callable[[Protocol], object]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A rule that does nothing where this does not hold. A precondition would let what hypothesis draws depend on the
    database, and of two serializable transactions it aborts one or none as it likes."""

    def decorate(do: Callable[..., None]) -> Callable[..., None]:
        @wraps(do)
        def guarded(self: Protocol, **drawn: Any) -> None:
            if holds(self):
                do(self, **drawn)

        return guarded

    return decorate


class Protocol(RuleBasedStateMachine):
    """The acts of users, stages, workers and time; a rule is a statement or two."""

    runner: asyncio.Runner
    ground: Ground

    def __init__(self) -> None:
        super().__init__()
        self.trial = Trial(self.ground)
        self.failed = False

    @property
    def model(self) -> Model:
        return self.trial.model

    def do(self, step: Coroutine[Any, Any, Any]) -> Any:
        """One step, and the comparison."""
        try:
            return self.runner.run(self.trial.then(step))
        except BaseException:
            self.failed = True
            raise

    @initialize(cut=st.sampled_from(Advance), glue=st.sampled_from(Advance), isolation=isolations)
    def a_job_is_made(self, cut: Advance, glue: Advance, isolation: str) -> None:
        self.trial = Trial(self.ground, cut, glue)
        self.do(self.trial.start())
        self.do(self.trial.put(0, ENTRY, isolation))

    def teardown(self) -> None:
        if not self.failed:
            self.runner.run(self.trial.come_to_rest())
        elif self.trial.transaction:
            self.runner.run(self.trial.roll_back())

    # -- users

    @rule(job=jobs, row=rows, isolation=isolations)
    def a_user_puts_the_row(self, job: int, row: Place | None, isolation: str) -> None:
        self.do(self.trial.put(job, row, isolation))

    @rule(job=jobs, isolation=isolations)
    @when(lambda self: any(j.call for j in self.model.jobs))
    def a_user_rewinds_a_job_that_is_called(self, job: int, isolation: str) -> None:
        job = job if self.model.jobs[job].call else 1 - job
        call = self.model.jobs[job].call
        assert call
        self.do(self.trial.put(job, ENTRY if call.stage == "cut" else ("cut", "done"), isolation))

    @rule(isolation=isolations)
    @when(lambda self: self.trial.transaction is None)
    def a_transaction_takes_its_snapshot(self, isolation: str) -> None:
        self.do(self.trial.open_transaction(isolation))

    @rule(job=jobs, row=rows, then=st.sampled_from(["commits", "goes on", "rolls back"]))
    @when(lambda self: self.trial.transaction)
    def the_transaction_puts_the_row(self, job: int, row: Place | None, then: str) -> None:
        self.do(self.trial.put_in_transaction(job, row))
        if then != "goes on":
            self.end_transaction(commit=then == "commits")

    @rule(commit=st.sampled_from([True, True, False]))
    @when(lambda self: self.trial.transaction and self.trial.transaction.done)
    def the_transaction_ends(self, commit: bool) -> None:
        self.end_transaction(commit)

    def end_transaction(self, commit: bool) -> None:
        if self.trial.transaction:  # not aborted
            self.do(self.trial.commit() if commit else self.trial.roll_back())

    @rule(job=jobs, tenant=st.sampled_from(TENANTS), then=st.sampled_from(["pause", "resume", "move", "unpark"]))
    def of_a_tenant(self, job: int, tenant: str, then: str) -> None:
        """An operator pauses or resumes it, a worker makes due what was parked, a user gives it a job."""
        trial = self.trial
        if then == "move":
            self.do(trial.move_to_tenant(job, tenant))
        elif then == "pause":
            self.do(trial.pause(tenant))
        elif self.model.paused:
            self.do(trial.resume(tenant) if then == "resume" else trial.unpark())

    # -- calls

    @rule(worker=workers, most=st.sampled_from([ALL, 1, 0]), heard=mostly, calling=mostly)
    @when(lambda self: any(j.notes for j in self.model.jobs))
    def a_worker_takes_a_turn(self, worker: int, most: int, heard: bool, calling: bool) -> None:
        self.do(self.trial.turn(worker, most, heard=heard, calling=calling))

    @rule(worker=workers, most=st.sampled_from([ALL, 1]), heard=mostly)
    @when(lambda self: any(j.call and j.call.due for j in self.model.jobs))
    def a_worker_claims_what_waits(self, worker: int, most: int, heard: bool) -> None:
        self.do(self.trial.claim_waiting(worker, most, heard=heard))

    @rule(worker=workers, isolation=isolations)
    def a_worker_claims_and_all_goes_well(self, worker: int, isolation: str) -> None:
        for hand in self.do(self.trial.turn(worker, 1)):
            self.do(self.trial.do_call(hand, isolation))

    @rule(pick=picks, status=st.sampled_from(["done", "done", "failed"]), isolation=isolations)
    @when(lambda self: self.at_stages)
    def a_stage_begins_or_ends(self, pick: int, status: str, isolation: str) -> None:
        hand = chosen(self.at_stages, pick)
        self.do(self.trial.end(hand, status, isolation) if hand.begun else self.trial.begin(hand, isolation))

    @property
    def at_stages(self) -> list[Hand]:
        hands = self.trial.hands
        return [h for h in hands if h.at_the_stage and self.trial.keeps_state(h.stage) and self.trial.is_free(h.job)]

    @rule(pick=picks, answer=st.sampled_from(ANSWERS), then=st.sampled_from(["settles", "settles", "waits", "all"]))
    @when(lambda self: self.in_hands)
    def a_worker_goes_on(self, pick: int, answer: str, then: str) -> None:
        """A call brings back ``answer``, or the worker does its next statement for what it has in its hands; what it
        decides then, it writes at once (``waits``: later)."""
        hand = chosen(self.in_hands, pick)
        if hand.step == "calling":
            hand.answer, hand.step = answer, "answered"
            return
        if hand.step == "answered" and then == "all":
            decided = self.do(self.trial.look_at_answers(hand.worker))
        else:
            decided = self.do(self.trial.go_on(hand))
        if then != "waits":
            self.do(self.trial.settle(decided))

    @property
    def in_hands(self) -> list[Hand]:
        return [h for h in self.trial.hands if h.held]

    @rule(pick=picks)
    @when(lambda self: self.trial.decided)
    def a_decision_is_written_late_or_once_more(self, pick: int) -> None:
        self.do(self.trial.settle([chosen(self.trial.decided, pick)]))

    @rule(pick=picks)
    @when(lambda self: self.trial.moves)
    def a_row_is_prepared_late_or_once_more(self, pick: int) -> None:
        self.do(self.trial.prepare(*chosen(self.trial.moves, pick)))

    @rule(job=jobs, at_once=mostly)
    @when(lambda self: any(j.notes or j.call for j in self.model.jobs))
    def a_worker_looks(self, job: int, at_once: bool) -> None:
        decided = self.do(self.trial.look([job]))
        if at_once:
            self.do(self.trial.settle(decided))

    # -- rescue

    @rule(at_once=mostly)
    @when(lambda self: self.model.lost())
    def a_worker_rescues(self, at_once: bool) -> None:
        decided = self.do(self.trial.rescue())
        if at_once:
            self.do(self.trial.settle(decided))

    # -- what befalls workers, and time

    @rule(worker=workers, fate=st.sampled_from(["dies", "freezes", "leaves", "comes back", "is in doubt"]))
    def it_befalls(self, worker: int, fate: str) -> None:
        trial = self.trial
        if fate == "leaves":
            self.do(trial.give_up_lease(worker))
        elif fate in ("comes back", "is in doubt"):
            self.do(trial.renew(worker))
            if fate == "is in doubt" or not self.model.alive[trial.leases[worker]]:
                self.do(trial.take_lease(worker))
        else:
            self.do(trial.lose_lease(worker, forgets=fate == "dies"))

    @rule()
    @when(lambda self: not all(self.model.alive[lease] for lease in self.trial.leases))
    def a_worker_comes_back(self) -> None:
        leases = self.trial.leases
        self.do(self.trial.take_lease(next(w for w in range(WORKERS) if not self.model.alive[leases[w]])))

    @rule(job=jobs, how=st.sampled_from(["due", "due", "a day"]))
    @when(lambda self: any(j.call for j in self.model.jobs))
    def time_passes(self, job: int, how: str) -> None:
        """Until a retry is due, or a stage overdue."""
        job = job if self.model.jobs[job].call else 1 - job
        if how == "a day":
            self.do(self.trial.pass_a_day(job))
        else:
            self.do(self.trial.make_due(job))
            self.do(self.trial.pass_deadline(job))

    @rule()
    @when(lambda self: any(c.at == "open" for c in self.model.circuits.values()))
    def circuits_let_a_probe_through(self) -> None:
        self.do(self.trial.pass_circuits())


def chosen(those: list[Any], pick: int) -> Any:
    """One of those there are, from the newest; and say which."""
    one = those[-1 - pick % len(those)]
    note(f"    # {one}")
    return one


@pytest.fixture
def protocol(cluster: Cluster, template: str) -> Iterator[type[Protocol]]:
    """The machine on a database of its own."""
    with asyncio.Runner() as runner:
        making = cluster.new_database(template)
        having = Ground.on(runner.run(making.__aenter__()))
        yield type("Protocol", (Protocol,), {"runner": runner, "ground": runner.run(having.__aenter__())})
        runner.run(having.__aexit__(None, None, None))
        runner.run(making.__aexit__(None, None, None))


@pytest.mark.timeout(0 if EXAMPLES or SHRINK else 600)
def test_after_any_acts_in_any_order_the_database_agrees_with_the_rules(protocol: type[Protocol]) -> None:
    run_state_machine_as_test(
        protocol,
        settings=settings(
            max_examples=EXAMPLES or 100,
            stateful_step_count=60,  # about every other one does something
            deadline=None,
            report_multiple_bugs=False,
            phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if SHRINK else [])],
            suppress_health_check=list(HealthCheck),
        ),
    )
