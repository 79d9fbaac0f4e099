"""The rules of the protocol once more, as small as they can be: what the database must hold after every step.

Written from the trigger table and the outcome table, not from the code: dispatches are *duties* here, and nothing is
shared with the engine but the words of its columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Place = tuple[str | None, str | None]

ROUTES = {"made": "cut", "cut": "glue"}
ENTRY: dict[str, Place] = {stage: (after, "done") for after, stage in ROUTES.items()}
ATTEMPTS = {"cut": 2, "glue": 3}
LIMIT = {"glue": 1}
OPEN = ("available", "running", "retryable")

# The outcome table: what is done, and what the attempt is called.
UNMOVED = {
    "200": "kill breach",
    "202": "wait accepted",
    "409": "defer deferred",
    "422": "kill rejected",
    "500": "fail failed",
    "502": "fail failed",
    "503": "defer deferred",
    "timeout": "fail failed",
    "refused": "defer deferred",
    "lost": "fail failed",
    "garbled": "fail failed",
}
BEGUN = {
    "200": "wait accepted",
    "202": "wait accepted",
    "409": "wait unknown",
    "422": "kill rejected",
    "500": "fail failed",
    "502": "wait unknown",
    "503": "fail failed",
    "timeout": "wait unknown",
    "refused": "wait unknown",
    "lost": "wait unknown",
    "garbled": "wait unknown",
}
ANSWERS = tuple(UNMOVED)
DOWN = ("503", "refused")


def ended(stage: str, row: Place | None) -> str | None:
    """The decision where the row alone says how it ended; None while it is unmoved or begun."""
    if row == (stage, "done"):
        return "complete completed"
    if row == (stage, "failed"):
        return "fail failed"
    if row in (ENTRY[stage], (stage, "running")):
        return None
    return "cancel superseded"


def after_call(stage: str, row: Place | None, answer: str, *, keeps_state: bool) -> str:
    """``keeps_state``: the stage writes its row itself; otherwise the engine does, and running is unmoved."""
    if (by_row := ended(stage, row)) is not None:
        return by_row
    if row == (stage, "running") and keeps_state:
        return BEGUN[answer]
    return "advance completed" if answer == "200" and not keeps_state else UNMOVED[answer]


def before_call(stage: str, row: Place | None) -> str:
    if row == ENTRY[stage]:
        return "call"
    if row == (stage, "failed"):
        return "rewind"
    return ended(stage, row) or "wait unknown"


def after_loss(stage: str, row: Place | None, *, keeps_state: bool) -> str:
    if row == (stage, "running") and keeps_state:
        return "wait unknown"
    if row == (stage, "failed"):
        return "release lost"  # claimed for a retry, and not rewound yet
    return ended(stage, row) or "release lost"


def after_deadline(stage: str, row: Place | None) -> str:
    by_row = ended(stage, row)
    return "fail timeout" if by_row in (None, "fail failed") else str(by_row)


@dataclass
class Call:
    """One attempt. Nothing changes it once it has finished."""

    outcome: str | None = None
    finished: bool = False

    def __str__(self) -> str:
        return f"{self.outcome or ''}{'.' if self.finished else '…'}"


@dataclass
class Duty:
    """A dispatch. ``id`` and ``order`` (among those that are due) are the database's to choose."""

    stage: str
    made: int = 0
    ended: int | None = None
    id: int | None = None
    state: str = "available"
    failures: int = 0
    worker: int | None = None
    due: bool = True
    order: object = None
    overdue: bool = False
    old: bool = False
    calls: list[Call] = field(default_factory=list)

    @property
    def attempt(self) -> int:
        return len(self.calls)

    @property
    def waits(self) -> bool:
        """The stage works on by itself, and nobody holds the duty."""
        return self.state == "running" and self.worker is None

    def finish(self, outcome: str) -> None:
        if self.calls and not self.calls[-1].finished:
            self.calls[-1] = Call(outcome, finished=True)

    def fail(self) -> None:
        self.failures += 1
        self.become("retryable" if self.failures < ATTEMPTS[self.stage] else "dead")
        self.due = False

    def become(self, state: str) -> None:
        self.state, self.worker, self.overdue = state, None, False

    def __str__(self) -> str:
        when = ""
        if self.state in ("available", "retryable"):
            when = " due" if self.due else " later"
        elif self.state == "running":
            when = f" by w{self.worker}" if self.worker is not None else " overdue" if self.overdue else " waiting"
        calls = ",".join(map(str, self.calls))
        return f"{self.stage} {self.state}{when} failures={self.failures} calls=[{calls}]"


@dataclass
class Job:
    row: Place | None = None
    open: Duty | None = None
    settled: list[Duty] = field(default_factory=list)

    @property
    def duties(self) -> list[Duty]:
        return [*self.settled, *([self.open] if self.open else [])]

    def settle_open(self, now: int) -> None:
        """Keep as history what is settled now."""
        if self.open and self.open.state not in OPEN:
            self.open.ended = now
            self.settled.append(self.open)
            self.open = None


@dataclass(frozen=True)
class Change:
    """A change that was only written down: when, to what, and the call that was under way then."""

    job: int
    row: Place | None = None
    made: int = 0
    duty: Duty | None = None
    attempt: int = 0


@dataclass
class Stage:
    strikes: int = 0
    circuit: str = "closed"
    """``closed``, ``open``, or ``past``: open until a moment that has passed."""


class Model:
    """What must be in the database."""

    def __init__(self, jobs: int) -> None:
        self.jobs = [Job() for _ in range(jobs)]
        self.inbox: list[Change] = []
        self.alive: dict[int, bool] = {}
        self.stages = {stage: Stage() for stage in ENTRY}
        self.now = 0

    @property
    def open_duties(self) -> list[Duty]:
        return [job.open for job in self.jobs if job.open]

    # -- the user's rows

    def change(self, number: int, row: Place | None, written_down: Change | None = None) -> None:
        """The row was put there (None: deleted), by anybody; ``written_down``: that is all the trigger could do."""
        if row == self.jobs[number].row:
            return
        self.jobs[number].row = row
        if written_down:
            self.inbox.append(written_down)
        else:
            self.apply(number)

    def write_down(self, number: int, row: Place | None) -> Change:
        duty = self.jobs[number].open
        self.now += 1
        return Change(number, row, self.now, duty, duty.attempt if duty else 0)

    def apply(self, number: int) -> None:
        """The trigger table."""
        job, duty = self.jobs[number], self.jobs[number].open
        if duty:
            if job.row == (duty.stage, "done"):
                duty.finish("completed")
                duty.become("completed")
            elif job.row == (duty.stage, "failed"):
                duty.finish("failed")
                duty.fail()
            elif job.row not in (ENTRY[duty.stage], (duty.stage, "running")):
                duty.finish("superseded")
                duty.become("cancelled")
            job.settle_open(self.now)
        self.create_missing(number)

    def create_missing(self, number: int) -> None:
        if stage := self.routed(number):
            self.create(number, stage)

    def create(self, number: int, stage: str) -> None:
        if self.jobs[number].open is None:
            self.now += 1
            self.jobs[number].open = Duty(stage, self.now)

    def routed(self, number: int) -> str | None:
        """The stage that the row asks for."""
        row = self.jobs[number].row
        return next((stage for stage, entry in ENTRY.items() if entry == row), None)

    def absorb(self, most: int, held: set[int]) -> int:
        """``held``: jobs whose rows somebody holds."""
        taken = [change for change in self.inbox[:most] if change.job not in held]
        self.inbox = [change for i, change in enumerate(self.inbox) if i >= most or change.job in held]
        for job in dict.fromkeys(change.job for change in taken):
            self.apply_late(job, [change for change in taken if change.job == job])
        return len(taken)

    def apply_late(self, number: int, changes: list[Change]) -> None:
        """The trigger table by the row as it is now, but a failure counts only for the call that it was made in, and
        a row that went through an entry state has its duty even if it is beyond that."""
        job = self.jobs[number]
        step, status = job.row or (None, None)
        duty = job.open if job.open and job.open.stage == step else None
        in_it = duty and any(change.duty is duty and change.attempt == duty.attempt for change in changes)
        if status != "failed" or not duty or (duty.state == "running" and in_it):
            self.apply(number)
        if job.row and step in ENTRY and status in ("running", "failed"):
            for change in changes:
                done = [c.made for c in changes if c.row == (step, "done") and c.made < change.made]
                had = any(
                    (d.ended is None or d.ended >= change.made) and not any(d.made <= at for at in done)
                    for d in job.duties
                    if d.stage == step
                )
                if change.row == ENTRY[step] and not had:
                    self.create(number, step)

    def waiting(self, job: int) -> int:
        """Its changes in the inbox."""
        return sum(change.job == job for change in self.inbox)

    def retry(self, held: set[int], locked: set[int]) -> list[int]:
        """By a person: a dead job starts over, with all attempts; one that waits for its retry is due now."""
        retried = []
        for number, job in enumerate(self.jobs):
            newest = job.duties[-1] if job.duties else None
            if newest and newest.state == "retryable" and newest.id not in locked:
                newest.due = True
                retried.append(number)
            elif newest and newest.state == "dead" and job.row == (newest.stage, "failed") and number not in held:
                self.change(number, ENTRY[newest.stage])
                retried.append(number)
        return retried

    # -- the workers

    def find(self, duty_id: int) -> tuple[int, Duty] | None:
        """The job and the duty, if that is open."""
        return next(((n, j.open) for n, j in enumerate(self.jobs) if j.open and j.open.id == duty_id), None)

    def claim(self, worker: int, most: int, locked: set[int]) -> list[tuple[int, Duty, bool]]:
        """What the worker gets: job, duty, and whether it is a probe."""
        got: list[tuple[int, Duty, bool]] = []
        for name in ("glue", "cut"):
            stage, room = self.stages[name], most - len(got)
            if room <= 0 or stage.circuit == "open":
                continue
            probing = stage.strikes > 0
            duties = [(n, j.open) for n, j in enumerate(self.jobs) if j.open and j.open.stage == name]
            running = sum(duty.state == "running" for _, duty in duties)
            room = 1 if probing else room
            room = min(room, LIMIT[name] - running) if name in LIMIT else room
            due = [(n, d) for n, d in duties if d.state != "running" and d.due and d.id not in locked]
            due.sort(key=lambda found: (found[1].order, found[1].id))
            taken = due[: max(0, room)]
            for number, duty in taken:
                duty.state, duty.worker = "running", worker
                duty.calls.append(Call())
                got.append((number, duty, probing))
            if probing and taken:
                stage.circuit = "open"
        return got

    def runs(self, duty_id: int, attempt: int, worker: int) -> bool:
        found = self.find(duty_id)
        return found is not None and (found[1].state, found[1].attempt, found[1].worker) == ("running", attempt, worker)

    def settle(
        self, duty_id: int, attempt: int, worker: int | None, seen: Place | None, said: str, held: set[int]
    ) -> str | None:
        """Compare and set: the duty's new state, or None where it is not as it was seen."""
        found = self.find(duty_id)
        if found is None:
            return None
        number, duty = found
        job = self.jobs[number]
        verb, outcome = said.split()
        if seen is None:
            if job.row is not None or number in held:
                return None
            duty.finish("superseded")
            duty.become("cancelled")
            job.settle_open(self.now)
            return "cancelled"
        if number in held or (duty.state, duty.attempt, duty.worker, job.row) != ("running", attempt, worker, seen):
            return None
        if verb == "defer" and duty.old:
            verb = "fail"
        if verb == "wait":
            duty.become("running")
            if not duty.calls[-1].finished:
                duty.calls[-1].outcome = outcome
            return "running"
        duty.finish(outcome)
        if verb == "fail":
            duty.fail()
        else:
            states = {"complete": "completed", "cancel": "cancelled", "kill": "dead", "defer": "retryable"}
            duty.become(states.get(verb, "available"))
            duty.due = verb != "defer"
        state = duty.state
        job.settle_open(self.now)
        if state == "dead":
            self.change(number, (duty.stage, "failed"))
        elif verb in ("fail", "defer", "release") and seen == (duty.stage, "running"):
            self.change(number, ENTRY[duty.stage])
        return state

    def orphans(self, worker: int, held: set[tuple[int, int]] | None) -> list[int]:
        """The ids of duties that lost their worker, or are this worker's without its knowing."""
        return [
            duty.id or 0
            for duty in self.open_duties
            if duty.worker is not None
            and (duty.id, duty.attempt) not in (held or ())
            and (held is not None if duty.worker == worker else not self.alive.get(duty.worker))
        ]

    def strike(self, stage: str, *, probed: bool) -> None:
        if self.stages[stage].circuit != "open" or probed:
            self.stages[stage].strikes = min(self.stages[stage].strikes + 1, 20)
            self.stages[stage].circuit = "open"

    def close(self, stage: str) -> None:
        if self.stages[stage].strikes:
            self.stages[stage] = Stage()

    def __str__(self) -> str:
        lines = [
            f"job {number} at {job.row}, {self.waiting(number)} in the inbox: {'; '.join(map(str, job.duties))}"
            for number, job in enumerate(self.jobs)
        ]
        lines += [f"stage {name} strikes={stage.strikes} {stage.circuit}" for name, stage in self.stages.items()]
        return "\n".join(lines)
