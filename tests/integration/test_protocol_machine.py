"""The whole protocol, one statement at a time in any order, against a small model of its rules.

Two jobs, two stages, two workers, and a user with a transaction of his own. Every step may be withheld, repeated or
done late; after every step the database must hold what the model says. PGBATON_EXAMPLES=2000 makes a soak of it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from functools import wraps
from typing import Any

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from pgbaton.model import Advance
from postgres import Cluster
from protocol_bench import ALL, JOBS, READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE, WORKERS, Bench, Ground, Hand
from protocol_model import ANSWERS, Duty, Model, Place

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

workers = st.sampled_from(range(WORKERS))
jobs = st.sampled_from(range(len(JOBS)))
rows = st.sampled_from(ROWS)
isolations = st.sampled_from([READ_COMMITTED, SERIALIZABLE, REPEATABLE_READ])
picks = st.integers(0, 3)
"""Which of those there are, counted from the newest."""


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
    """What users, stages, workers and time do; a rule is a statement or two."""

    runner: asyncio.Runner
    ground: Ground

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(self.ground)
        self.failed = False

    @property
    def model(self) -> Model:
        return self.bench.model

    def do(self, step: Coroutine[Any, Any, Any]) -> Any:
        """One step, and the comparison."""
        try:
            return self.runner.run(self.bench.then(step))
        except BaseException:
            self.failed = True
            raise

    @initialize(cut=st.sampled_from(Advance), glue=st.sampled_from(Advance), isolation=isolations)
    def a_job_is_made(self, cut: Advance, glue: Advance, isolation: str) -> None:
        self.bench = Bench(self.ground, cut, glue)
        self.do(self.bench.start())
        self.do(self.bench.put(0, ENTRY, isolation))

    def teardown(self) -> None:
        if not self.failed:
            self.runner.run(self.bench.come_to_rest())
        elif self.bench.transaction:
            self.runner.run(self.bench.roll_back())

    # -- users

    @rule(job=jobs, row=rows, isolation=isolations)
    def somebody_puts_the_row(self, job: int, row: Place | None, isolation: str) -> None:
        self.do(self.bench.put(job, row, isolation))

    @rule()
    @when(lambda self: any(j.duties and j.duties[-1].state in ("retryable", "dead") for j in self.model.jobs))
    def somebody_retries(self) -> None:
        self.do(self.bench.retry())

    @rule(isolation=isolations)
    @when(lambda self: self.bench.transaction is None)
    def a_transaction_takes_its_snapshot(self, isolation: str) -> None:
        self.do(self.bench.open_transaction(isolation))

    @rule(job=jobs, row=rows, then=st.sampled_from(["commits", "goes on", "rolls back"]))
    @when(lambda self: self.bench.transaction)
    def the_transaction_puts_the_row(self, job: int, row: Place | None, then: str) -> None:
        self.do(self.bench.put_in_transaction(job, row))
        if then != "goes on":
            self.end_transaction(commit=then == "commits")

    @rule(commit=st.sampled_from([True, True, False]))
    @when(lambda self: self.bench.transaction and self.bench.transaction.done)
    def the_transaction_ends(self, commit: bool) -> None:
        self.end_transaction(commit)

    def end_transaction(self, commit: bool) -> None:
        if self.bench.transaction:  # not aborted
            self.do(self.bench.commit() if commit else self.bench.roll_back())

    # -- calls

    @rule(worker=workers, most=st.sampled_from([ALL, 1]), heard=st.sampled_from([True, True, True, False]))
    @when(lambda self: self.due)
    def a_worker_claims(self, worker: int, most: int, heard: bool) -> None:
        self.do(self.bench.claim(worker, most, heard=heard))

    @rule(worker=workers, isolation=isolations)
    @when(lambda self: self.due)
    def a_worker_claims_and_all_goes_well(self, worker: int, isolation: str) -> None:
        for hand in self.do(self.bench.claim(worker, 1)):
            self.do(self.bench.do_duty(hand, isolation))

    @property
    def due(self) -> list[Duty]:
        return [d for d in self.model.open_duties if d.state != "running" and d.due]

    @rule(pick=picks, status=st.sampled_from(["done", "done", "failed"]), isolation=isolations)
    @when(lambda self: self.at_stages)
    def a_stage_begins_or_ends(self, pick: int, status: str, isolation: str) -> None:
        hand = chosen(self.at_stages, pick)
        self.do(self.bench.end(hand, status, isolation) if hand.begun else self.bench.begin(hand, isolation))

    @property
    def at_stages(self) -> list[Hand]:
        hands = self.bench.hands
        return [h for h in hands if h.at_the_stage and self.bench.keeps_state(h.stage) and self.bench.is_free(h.job)]

    @rule(pick=picks, answer=st.sampled_from(ANSWERS), all_at_once=st.booleans())
    @when(lambda self: self.in_hands)
    def a_worker_goes_on(self, pick: int, answer: str, all_at_once: bool) -> None:
        """A call brings back ``answer``, or the worker does its next statement for what it has in its hands."""
        hand = chosen(self.in_hands, pick)
        if hand.step == "calling":
            hand.answer, hand.step = answer, "answered"
        elif hand.step == "answered" and all_at_once:
            self.do(self.bench.settle_all(hand.worker))
        else:
            self.do(self.bench.go_on(hand))

    @property
    def in_hands(self) -> list[Hand]:
        return [h for h in self.bench.hands if h.held]

    @rule(pick=picks)
    @when(lambda self: self.bench.verdicts)
    def a_verdict_is_carried_out_late_or_once_more(self, pick: int) -> None:
        self.do(self.bench.carry_out([chosen(self.bench.verdicts, pick)]))

    # -- rescue

    @rule(how=st.sampled_from(["absorbs all", "absorbs one", "reconciles"]))
    @when(lambda self: self.model.inbox)
    def of_changes_a_worker(self, how: str) -> None:
        if how == "reconciles":
            self.do(self.bench.look_for_missing())
            self.do(self.bench.make_missing())
        else:
            self.do(self.bench.absorb(1 if how == "absorbs one" else ALL))

    @rule(
        worker=workers, what=st.sampled_from(["rescues", "finds orphans", "finds orphans, claiming", "finds overdue"])
    )
    @when(lambda self: any(d.state == "running" for d in self.model.open_duties))
    def a_worker(self, worker: int, what: str) -> None:
        if what == "rescues":
            self.do(self.bench.rescue(worker))
        elif what == "finds overdue":
            self.do(self.bench.find_overdue())
        else:
            self.do(self.bench.find_orphans(worker, knows=what == "finds orphans"))

    # -- what befalls workers, and time

    @rule(worker=workers, fate=st.sampled_from(["dies", "freezes", "comes back"]))
    @when(lambda self: any(d.worker is not None for d in self.model.open_duties))
    def it_befalls(self, worker: int, fate: str) -> None:
        if fate == "comes back":
            self.do(self.bench.renew(worker))
        else:
            self.do(self.bench.lose_lease(worker, forgets=fate == "dies"))

    @rule()
    @when(lambda self: not all(self.model.alive.values()))
    def a_worker_comes_back(self) -> None:
        self.do(self.bench.renew(min(w for w, alive in self.model.alive.items() if not alive)))

    @rule(pick=picks)
    @when(lambda self: self.waiting)
    def time_passes(self, pick: int) -> None:
        """Until a retry is due, or a stage overdue."""
        duty = chosen(self.waiting, pick)
        self.do(self.bench.make_due(duty) if duty.state == "retryable" else self.bench.pass_deadline(duty))

    @property
    def waiting(self) -> list[Duty]:
        duties = self.model.open_duties
        return [d for d in duties if (d.state == "retryable" and not d.due) or (d.waits and not d.overdue)]

    @rule(pick=picks)
    @when(lambda self: any(not d.old and d.attempt for d in self.model.open_duties))
    def a_day_passes(self, pick: int) -> None:
        self.do(self.bench.pass_a_day(chosen(self.model.open_duties, pick)))

    @rule()
    @when(lambda self: any(s.circuit == "open" for s in self.model.stages.values()))
    def circuits_let_a_probe_through(self) -> None:
        self.do(self.bench.pass_circuits())


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


@pytest.mark.timeout(0 if EXAMPLES else 600)  # a failure takes minutes to be made small
def test_whatever_happens_in_whatever_order_the_database_holds_what_the_rules_say(protocol: type[Protocol]) -> None:
    run_state_machine_as_test(
        protocol,
        settings=settings(
            max_examples=EXAMPLES or 100,
            stateful_step_count=60,  # about every other one does something
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
