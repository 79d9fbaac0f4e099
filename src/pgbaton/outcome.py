"""What becomes of a call and of a job's duties: pure decisions by the answer and the journal. The one place for the
rules.

The row is read after the answer, and counts more than the answer. :func:`resolve` decides a job as a whole: its row,
its call and its duties as one snapshot shows them. docs/state-machine.md has the tables; a test compares them with this
module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, StrEnum, auto

from pgbaton.backoff import full_jitter
from pgbaton.model import CANCELLED, DONE, FAILED, RUNNING, Advance, Outcome, Row, Stage, State

RETRY_AFTER_CAP = 300.0
"""Seconds: the longest that a stage may ask to be left alone."""

DOWN_DELAY = 0.5
"""Seconds until a job whose stage was down may be claimed again, if the stage's circuit lets it."""

NOT_NOW_CAP = 30.0
"""Seconds: the longest backoff after "not now" without a Retry-After."""

NOT_NOW_PATIENCE = 86400.0
"""Seconds since a dispatch was made after which "not now" counts as a failure."""

_NOT_NOW = frozenset({409, 425, 429, 503})
_GATEWAY_LOST_IT = frozenset({502, 504})


class Reply(StrEnum):
    """How a call ended on the wire."""

    ANSWERED = "answered"
    REFUSED = "refused"  # no connection was made, so the stage saw nothing
    TIMEOUT = "timeout"
    LOST = "lost"  # the connection broke: the stage may have worked, or may work still
    GARBLED = "garbled"  # the answer was not HTTP


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call brought back. ``retry_after`` is in seconds; ``error`` is short and holds no payload; ``body`` is
    the beginning of the answer's body, where it is to be kept."""

    reply: Reply
    status: int | None = None
    retry_after: float | None = None
    error: str | None = None
    body: str | None = None

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Verb(StrEnum):
    """An act on a call, and on its row."""

    CALL = "call"  # the row is where the stage expects it
    BEGIN = "begin"  # the engine writes (stage, running), then calls
    REWIND = "rewind"  # put the row back to the entry, then call
    KEEP = "keep"  # nothing: the call stands as it is
    COMPLETE = "complete"  # ended as completed; the row is there already
    CANCEL = "cancel"  # ended as cancelled: the row went elsewhere
    ADVANCE = "advance"  # the engine writes (stage, done); ended as completed
    WAIT = "wait"  # left to the stage, until the deadline: its own commit ends the call
    FAIL = "fail"  # counts; rewind the row, and call again later or give up
    KILL = "kill"  # dead at once, however many attempts are left
    DEFER = "defer"  # not now; rewind the row; burns no attempt within bounds
    RELEASE = "release"  # call again at once, as if never claimed
    PARK = "park"  # wait until the tenant is resumed


@dataclass(frozen=True, slots=True)
class Decision:
    """``after`` is a deferral's delay in seconds, where it is not left to the backoff. ``down``: the stage does not
    answer at all, so that calling it for other jobs is in vain for a while too."""

    verb: Verb
    outcome: Outcome
    error: str | None = None
    after: float | None = None
    down: bool = False


class Place(Enum):
    """Where a row stands, seen from a stage."""

    ENTRY = auto()
    BEGUN = auto()
    FAILED = auto()
    DONE = auto()
    ELSEWHERE = auto()
    GONE = auto()


def place(stage: Stage, row: Row | None) -> Place:
    """Where the row stands, seen from ``stage``."""
    if row is None:
        return Place.GONE
    by_status = {RUNNING: Place.BEGUN, FAILED: Place.FAILED, DONE: Place.DONE}
    if row.at == stage.entry:
        return Place.ENTRY
    if row.step == stage.step and row.status in by_status:
        return by_status[row.status]
    return Place.ELSEWHERE


_SUPERSEDED = Decision(Verb.CANCEL, Outcome.SUPERSEDED)


def decide(stage: Stage, row: Row | None, answer: Answer) -> Decision:
    """The outcome table: the answer first, then the row, read after it."""
    match place(stage, row):
        case Place.DONE:
            return Decision(Verb.COMPLETE, Outcome.COMPLETED)
        case Place.ELSEWHERE | Place.GONE:
            return _SUPERSEDED
        case Place.FAILED:
            return Decision(Verb.FAIL, Outcome.FAILED, answer.error or "the stage marked the job failed")
        case Place.BEGUN if stage.advance is Advance.STAGE:
            return _decide_begun(answer)
        case _:
            return _decide_unmoved(stage, row, answer)


def _decide_begun(answer: Answer) -> Decision:
    """The stage wrote ``running`` and has not written an end."""
    status = answer.status
    if status is None and answer.reply is not Reply.REFUSED:
        return Decision(Verb.WAIT, Outcome.UNKNOWN, answer.error)
    if answer.ok:
        return Decision(Verb.WAIT, Outcome.ACCEPTED)
    # "Not now" from a stage that is at work, or a refusal of the connection: an earlier call is being served.
    # A gateway's 502 or 504 says only that the gateway lost the stage, which may be working still.
    if status is None or status in _GATEWAY_LOST_IT or (status in _NOT_NOW and status != 503):
        return Decision(Verb.WAIT, Outcome.UNKNOWN, answer.error)
    if 400 <= status < 500:
        return Decision(Verb.KILL, Outcome.REJECTED, answer.error)
    return Decision(Verb.FAIL, Outcome.FAILED, answer.error)


def _decide_unmoved(stage: Stage, row: Row | None, answer: Answer) -> Decision:
    """The row is where it was when the stage was called (``running`` only if the engine wrote it)."""
    status = answer.status
    if answer.reply is Reply.REFUSED or status in _NOT_NOW:
        down = answer.reply is Reply.REFUSED or status == 503
        delay = DOWN_DELAY if down else None  # the circuit decides when the stage is called again
        if answer.retry_after is not None:
            delay = min(answer.retry_after, RETRY_AFTER_CAP)
        return Decision(Verb.DEFER, Outcome.DEFERRED, answer.error, delay, down)
    if status == 202:
        return Decision(Verb.WAIT, Outcome.ACCEPTED)
    if answer.ok:
        if stage.advance is Advance.ENGINE:
            return Decision(Verb.ADVANCE, Outcome.COMPLETED)
        return Decision(
            Verb.KILL,
            Outcome.BREACH,
            f"the stage answered {status} but left the row at {row.at if row else None}: it kept no state "
            '(a stage that keeps none needs advance = "engine")',
        )
    if status is not None and 400 <= status < 500:
        return Decision(Verb.KILL, Outcome.REJECTED, answer.error)
    return Decision(Verb.FAIL, Outcome.FAILED, answer.error)


BEGUN_ELSEWHERE = Decision(Verb.WAIT, Outcome.UNKNOWN, "the stage was begun by another caller")


def decide_claimed(stage: Stage, row: Row | None) -> Decision:
    """What a claimed call needs before its stage can be called."""
    match place(stage, row):
        case Place.ENTRY if stage.advance is Advance.ENGINE:
            return Decision(Verb.BEGIN, Outcome.ACCEPTED)
        case Place.ENTRY:
            return Decision(Verb.CALL, Outcome.ACCEPTED)
        case Place.FAILED:
            return Decision(Verb.REWIND, Outcome.ACCEPTED)
        case Place.BEGUN:
            return BEGUN_ELSEWHERE
        case Place.DONE:
            return Decision(Verb.COMPLETE, Outcome.COMPLETED)
        case _:
            return _SUPERSEDED


def decide_lost(stage: Stage, row: Row | None, outcome: Outcome = Outcome.LOST) -> Decision:
    """A call whose worker is lost, or gives it back (``outcome`` says which): by the row alone."""
    match place(stage, row):
        case Place.BEGUN if stage.advance is Advance.STAGE:
            return Decision(Verb.WAIT, Outcome.UNKNOWN, "the worker was lost while the stage worked")
        case Place.ENTRY | Place.BEGUN | Place.FAILED:
            # Failed: it was claimed for a retry and not rewound yet. That failure is counted already.
            return Decision(Verb.RELEASE, outcome)
        case Place.DONE:
            return Decision(Verb.COMPLETE, Outcome.COMPLETED)
        case _:
            return _SUPERSEDED


def decide_overdue(stage: Stage, row: Row | None) -> Decision:
    """A stage that was left to work on did not end in time."""
    match place(stage, row):
        case Place.DONE:
            return Decision(Verb.COMPLETE, Outcome.COMPLETED)
        case Place.ELSEWHERE | Place.GONE:
            return _SUPERSEDED
        case _:
            return Decision(Verb.FAIL, Outcome.TIMEOUT, f"no end within {stage.timeout:g} s")


class Standing(Enum):
    """How a call stands between two looks."""

    HELD = "held"  # a worker has it
    LEFT = "left"  # the stage works on, until the deadline
    WAITING = "waiting"  # to be called (again), when it is due


@dataclass(frozen=True, slots=True)
class Duty:
    """What a trigger left: the job entered (``step``, ``status``), and ``stage`` is to be called; none for a look."""

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
    ``seen``: the newest duty or look that was taken while it stood."""

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


@dataclass(frozen=True, slots=True)
class Job:
    """All that there is of a job, in one snapshot. ``paused``: its tenant is paused. ``duties`` in the order of their
    ids."""

    key: str
    row: Row | None
    call: Call | None
    duties: tuple[Duty, ...] = ()
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Void:
    """A duty that comes to nothing, and what its dispatch ended as."""

    duty: Duty
    state: State


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a job: written as a whole, or not at all.

    ``decision`` is about its call (none: there is none). ``ended``: the dispatch of that call ended so. ``stands``: the
    job is in a call afterwards, that one or (``new``) the one that ``new`` is made. ``delay`` in seconds, for one that
    waits (None: it stays due when it is). ``target``: where the row is put; ``quiet``: no duty comes of that.
    ``stays``: the duty that the next turn claims. ``next``: the duty that is kept in the call. All duties that were
    seen, and are neither, are taken away; ``voids`` says which of them leave a trace."""

    job: Job
    decision: Decision | None
    ended: State | None = None
    stands: Standing | None = None
    counts: bool = False
    delay: float | None = 0.0
    parked: bool = False
    target: tuple[str, str] | None = None
    quiet: bool = True
    stays: Duty | None = None
    new: Duty | None = None
    next: Duty | None = None
    voids: tuple[Void, ...] = ()


def refused(verdict: Verdict, words: str) -> Verdict:
    """In place of a verdict whose row the user's table refuses: the dispatch is dead, with the database's words, and
    the row is left as it is. That concerns this job alone."""
    decision = Decision(Verb.KILL, Outcome.REFUSED, f"the table refuses {verdict.target}: {words}")
    voids = _voids(verdict.job, None)
    if verdict.job.call is None:
        return Verdict(verdict.job, None, voids=tuple(replace(v, state=State.DEAD) for v in voids))
    return Verdict(verdict.job, decision, ended=State.DEAD, voids=voids)


Stages = Callable[[str], Stage]
"""The stage that performs a step."""


def resolve(job: Job, stages: Stages, answer: Answer | None = None, *, given_back: bool = False) -> Verdict:
    """Decide a job. ``answer``: what its call, held by the worker that asks, came to. ``given_back``: that worker ends
    and the call with it."""
    call = job.call
    decision = _of_call(job, call, stages, answer, given_back) if call else None
    newest = _newest(job, stages)
    if call is None or decision is None:
        return _without_call(job, newest, stages)
    if decision.verb in (Verb.COMPLETE, Verb.CANCEL, Verb.ADVANCE):
        return _ended(job, call, decision, newest, stages)
    if newest is not None and call.standing is Standing.WAITING:
        return _ended(job, call, _SUPERSEDED, newest, stages)
    if newest is not None and decision.verb is Verb.KILL:
        decision = replace(decision, verb=Verb.FAIL)  # the row was put back meanwhile: it is called again
    return _standing(job, call, decision, newest, stages)


def _of_call(job: Job, call: Call, stages: Stages, answer: Answer | None, given_back: bool) -> Decision:
    """What becomes of the call, were there no other duty."""
    stage, row = stages(call.stage), job.row
    if _passed(job, call.stage, call.id):
        return Decision(Verb.COMPLETE, Outcome.COMPLETED)
    at = place(stage, row)
    if at in (Place.ELSEWHERE, Place.GONE):
        return _SUPERSEDED
    if call.standing is Standing.WAITING:
        if at is Place.BEGUN:
            # The engine keeps the state of this stage: nothing works there, and nothing else would move the row on.
            return BEGUN_ELSEWHERE if stage.advance is Advance.STAGE else Decision(Verb.RELEASE, Outcome.LOST)
        return Decision(Verb.PARK, Outcome.DEFERRED) if job.paused and not call.parked else _KEEP
    if call.standing is Standing.LEFT:
        if at is Place.FAILED:
            return decide(stage, row, Answer(Reply.ANSWERED))
        return decide_overdue(stage, row) if call.overdue else _KEEP
    if answer is not None:
        decision = decide(stage, row, answer)
        late = decision.verb is Verb.DEFER and call.age > NOT_NOW_PATIENCE
        return Decision(Verb.FAIL, Outcome.FAILED, decision.error, down=decision.down) if late else decision
    if call.alive and not given_back:
        return _KEEP
    if at is Place.FAILED and _failed_meanwhile(job, call):
        return decide(stage, row, Answer(Reply.ANSWERED))
    return decide_lost(stage, row, Outcome.RELEASED if given_back else Outcome.LOST)


_KEEP = Decision(Verb.KEEP, Outcome.UNKNOWN)


def _all_duties(job: Job) -> tuple[Duty, ...]:
    kept = job.call.next if job.call else None
    return job.duties if kept is None else (kept, *job.duties)


def _passed(job: Job, stage: str, since: int) -> bool:
    """Whether the row is at (stage, done), or has been there since: a later duty or look was left from there."""
    here = job.row is not None and job.row.at == (stage, DONE)
    return here or any(d.id > since and d.entered == (stage, DONE) for d in job.duties)


def _failed_meanwhile(job: Job, call: Call) -> bool:
    """Whether the row came to (stage, failed) in this attempt, and not before it: a look was left from there, as none
    is by the engine's own writes."""
    return call.seen is not None or any(d.entered == (call.stage, FAILED) for d in job.duties)


_DUE = (Place.ENTRY, Place.BEGUN, Place.FAILED)


def _newest(job: Job, stages: Stages) -> Duty | None:
    """The duty that is still due: the row is at its stage's entry, or another caller has begun the stage since."""
    since = job.call.id if job.call else 0
    for duty in sorted(_all_duties(job), key=lambda d: d.id, reverse=True):
        if duty.stage and duty.id > since and place(stages(duty.stage), job.row) in _DUE:
            return duty
    return None


def _voids(job: Job, used: Duty | None) -> tuple[Void, ...]:
    others = (d for d in _all_duties(job) if d.stage and (used is None or d.id != used.id))
    return tuple(Void(d, State.COMPLETED if _passed(job, d.stage, d.id) else State.CANCELLED) for d in others)


def _without_call(job: Job, newest: Duty | None, stages: Stages) -> Verdict:
    return _take_up(Verdict(job, None, voids=_voids(job, newest)), newest, stages)


def _ended(job: Job, call: Call, decision: Decision, newest: Duty | None, stages: Stages) -> Verdict:
    """The call's dispatch ends, and ``newest``, where there is one, follows it."""
    stage = stages(call.stage)
    state = State.COMPLETED if decision.verb in (Verb.COMPLETE, Verb.ADVANCE) else State.CANCELLED
    if decision.verb is Verb.ADVANCE:
        # What came for this stage meanwhile is done by that, too.
        passed = tuple(Void(d, State.COMPLETED) for d in _all_duties(job) if d.stage == stage.step)
        voids = passed + tuple(v for v in _voids(job, None) if v.duty.stage != stage.step)
        return Verdict(job, decision, ended=state, target=(stage.step, DONE), quiet=False, voids=voids)
    return _take_up(Verdict(job, decision, ended=state, voids=_voids(job, newest)), newest, stages)


def _take_up(verdict: Verdict, newest: Duty | None, stages: Stages) -> Verdict:
    """``newest`` is the job's next call: left for a turn to claim, or as its row asks."""
    job = verdict.job
    if newest is None:
        return verdict
    stage = stages(newest.stage)
    at = place(stage, job.row)
    stored = job.call is not None and job.call.next == newest
    if at is Place.BEGUN and stage.advance is Advance.STAGE:
        return replace(verdict, stands=Standing.LEFT, new=newest)
    if at is Place.ENTRY and newest.entered == stage.entry and not job.paused and not stored:
        return replace(verdict, stays=newest)
    target = stage.entry if at is Place.BEGUN else None
    return replace(verdict, stands=Standing.WAITING, new=newest, parked=job.paused, target=target)


def _standing(job: Job, call: Call, decision: Decision, newest: Duty | None, stages: Stages) -> Verdict:
    """The call goes on, waits, or is given up.

    A duty that came while it was under way (``newest``: the row was put back) is kept as long as it is. Where it is to
    be called again, that call is the duty's, too: a stage that puts its own row back and fails goes by the retry rules
    as any other, and is not called for ever.
    """
    stage = stages(call.stage)
    voids = _voids(job, newest if decision.verb in (Verb.KEEP, Verb.WAIT) else None)
    begun = place(stage, job.row) is Place.BEGUN
    rewound = stage.entry if begun else None
    match decision.verb:
        case Verb.KEEP:
            return Verdict(job, decision, stands=call.standing, delay=None, next=newest, voids=voids)
        case Verb.WAIT:
            return Verdict(job, decision, stands=Standing.LEFT, next=newest, voids=voids)
        case Verb.PARK:
            return Verdict(job, decision, stands=Standing.WAITING, parked=True, voids=voids)
        case Verb.RELEASE:
            return Verdict(job, decision, stands=Standing.WAITING, target=rewound, voids=voids)
        case Verb.DEFER:
            delay = decision.after
            if delay is None:
                delay = min(full_jitter(call.attempt - call.failures), NOT_NOW_CAP)
            return Verdict(job, decision, stands=Standing.WAITING, delay=delay, target=rewound, voids=voids)
        case Verb.FAIL if call.failures + 1 < stage.attempts:
            delay = full_jitter(call.failures + 1)
            return Verdict(
                job, decision, stands=Standing.WAITING, counts=True, delay=delay, target=rewound, voids=voids
            )
        case _:
            failed = place(stage, job.row) is Place.FAILED
            return Verdict(
                job,
                decision,
                ended=State.DEAD,
                counts=decision.verb is Verb.FAIL,
                target=None if failed else (stage.step, FAILED),
                voids=voids,
            )


# What operators ask for: decided by the same snapshot, and written in the same way.


class Working(Exception):
    """A stage is at work on the job."""


def retried(job: Job, stages: Stages) -> Verdict | None:
    """Another life for a job that its stage failed and that nothing waits for; and a call that waits is due now. None:
    there is nothing to retry."""
    call, row = job.call, job.row
    if call is not None:
        decision = _of_call(job, call, stages, None, False)
        waits = call.standing is Standing.WAITING and not job.paused and not call.parked
        if not waits or decision.verb is not Verb.KEEP or _newest(job, stages) is not None:
            return None
        return Verdict(job, decision, stands=Standing.WAITING, voids=_voids(job, None))
    if row is None or row.step is None or row.status != FAILED or any(d.stage for d in job.duties):
        return None
    try:
        stage = stages(row.step)
    except KeyError:
        return None
    return Verdict(job, None, target=stage.entry, quiet=False)


def cancelled(job: Job, stages: Stages) -> Verdict | None:
    """Stop what is open: the row goes to (stage, cancelled), where no route begins. None: nothing is open."""
    verdict, stage = _stopped(job, stages)
    return None if stage is None else replace(verdict, target=(stage, CANCELLED))


def rerun(job: Job, stage: Stage, stages: Stages, *, force: bool) -> Verdict | None:
    """Put the job to the entry of ``stage``; the trigger leaves its duty there, or, where the row is there already,
    the caller does. None: it waits for the stage already. Raises :class:`Working` without ``force``."""
    verdict, waits_for = _stopped(job, stages)
    if _at_work(job, stages):
        if not force:
            raise Working
    elif waits_for == stage.step and job.row is not None and job.row.at == stage.entry:
        return None
    there = job.row is not None and job.row.at == stage.entry
    return replace(verdict, target=None if there else stage.entry, quiet=False)


def _stopped(job: Job, stages: Stages) -> tuple[Verdict, str | None]:
    """The job with all that is open of it at its end, and the stage that it was open for."""
    call = job.call
    newest = _newest(job, stages)
    voids = _voids(job, None)
    if call is None:
        return Verdict(job, None, voids=voids), newest.stage if newest else None
    decision = _of_call(job, call, stages, None, False)
    if decision.verb is Verb.COMPLETE:
        return Verdict(job, decision, ended=State.COMPLETED, voids=voids), newest.stage if newest else None
    over = decision.verb is Verb.CANCEL
    stage = (newest.stage if newest else None) if over else call.stage
    return Verdict(job, _SUPERSEDED, ended=State.CANCELLED, voids=voids), stage


def _at_work(job: Job, stages: Stages) -> bool:
    """Whether a stage may be working on the job: it has been called, or another caller has begun it."""
    call = job.call
    if call is not None and call.standing is not Standing.WAITING:
        return _of_call(job, call, stages, None, False).verb not in (Verb.COMPLETE, Verb.CANCEL)
    waits_for = call.stage if call else newest.stage if (newest := _newest(job, stages)) else None
    if waits_for is None:
        return False
    stage = stages(waits_for)
    return place(stage, job.row) is Place.BEGUN and stage.advance is Advance.STAGE
