"""A job as one snapshot shows it (its row, its call, its duties), and a verdict about it. Frozen; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from pgbaton.decision.outcome import Decision
from pgbaton.decision.passage import Children
from pgbaton.model import Row, State


class Standing(Enum):
    """How a call stands between two looks."""

    HELD = "held"  # a worker has it
    LEFT = "left"  # the stage works on, until the deadline
    WAITING = "waiting"  # to be called (again), when it is due


@dataclass(frozen=True, slots=True)
class Duty:
    """A duty or look that a trigger left: the job entered (``step``, ``status``), and ``stage`` is to be called; none
    for a look."""

    id: int
    stage: str
    step: str | None
    status: str | None
    at: datetime

    @property
    def entered(self) -> tuple[str | None, str | None]:
        return self.step, self.status


@dataclass(frozen=True, slots=True)
class Call:
    """The call that a job is in, as it was read. ``alive``: the worker that holds it has its lease. ``overdue``: past
    its deadline. ``age``: seconds since the dispatch was made. ``next``: a duty that came while it was under way.
    ``seen``: the newest duty or look that was taken while it stood. ``rounds``: how often the job has come by this
    route. ``missing``: children that must end before counting them again can bring anything (None: not counted yet)."""

    id: int
    stage: str
    entry: str
    attempt: int
    failures: int
    standing: Standing
    worker: int | None = None
    alive: bool = False
    overdue: bool = False
    parked: bool = False
    age: float = 0.0
    next: Duty | None = None
    seen: int | None = None
    rounds: int = 0
    missing: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as a whole, in one snapshot. ``paused``: its tenant is paused. ``duties`` in the order of their
    ids. ``children``: where it gathers them and they were counted, after that snapshot. ``refused``: the stage whose
    dispatch was its last and died because the table refused the row; no dispatch of the job is open."""

    key: str
    row: Row | None
    call: Call | None
    duties: tuple[Duty, ...] = ()
    paused: bool = False
    children: Children | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Void:
    """A duty that comes to nothing, and the state in which its dispatch ended."""

    duty: Duty
    state: State


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision about a job: written as a whole, or not at all.

    ``decision`` is about its call (none: there is none). ``ended``: the dispatch of that call ended so. ``stands``: the
    job is in a call afterwards, that one or (``new``) the one that ``new`` is made. ``delay`` in seconds, for one that
    waits (None: it stays due when it is). ``target``: where the row is put; ``quiet``: no duty comes of that.
    ``round``: the route that this is a round of. ``missing``, ``tick``: of a gather: see :class:`Call`, and seconds
    until it is looked at again. ``stays``: the duty that the next turn claims. ``next``: the duty that is kept in the
    call. All duties that were seen, and are neither, are taken away; ``voids`` says which of them leave a trace."""

    job: Job
    decision: Decision | None
    ended: State | None = None
    stands: Standing | None = None
    counts: bool = False
    delay: float | None = 0.0
    parked: bool = False
    target: tuple[str, str] | None = None
    quiet: bool = True
    round: str | None = None
    missing: int | None = None
    tick: float | None = None
    stays: Duty | None = None
    new: Duty | None = None
    next: Duty | None = None
    voids: tuple[Void, ...] = ()
