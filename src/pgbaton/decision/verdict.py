"""Decisions about a job as a whole: pure, by its row, its call and its duties, as one snapshot shows them.

Workers ask :func:`resolve`; operators ask for :func:`retried`, :func:`cancelled`, :func:`rerun` and the like.
The meaning of an answer and a row for a call is in ``outcome``. docs/state-machine.md has the tables; a test compares
them with this module."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from pgbaton.backoff import full_jitter
from pgbaton.decision import passage
from pgbaton.decision.job import Call, Duty, Job, Standing, Verdict, Void
from pgbaton.decision.outcome import (
    BEGUN_ELSEWHERE,
    NOT_NOW_CAP,
    NOT_NOW_PATIENCE,
    SUPERSEDED,
    Answer,
    Decision,
    Place,
    Reply,
    Verb,
    decide,
    decide_lost,
    decide_overdue,
    place,
)
from pgbaton.model import CANCELLED, DONE, FAILED, QUARANTINED, RUNNING, Advance, Kind, Outcome, Passage, Stage, State

__all__ = [
    "Call",
    "Duty",
    "Job",
    "Stages",
    "Standing",
    "Verdict",
    "Void",
    "Working",
    "brought_back",
    "cancelled",
    "decided",
    "moved",
    "quarantined",
    "recalled",
    "refused",
    "rerun",
    "resolve",
    "retried",
    "wants_count",
]


def refused(verdict: Verdict, words: str, state: tuple[str, str] | None = None) -> Verdict:
    """In place of a verdict whose row the user's table refuses: the dispatch is dead, with the database's ``words``,
    and the row is left as it is. That concerns this job alone. ``state``: the one that is refused, in the table's
    words."""
    decision = Decision(Verb.KILL, Outcome.REFUSED, f"the table refuses {state or verdict.target}: {words}")
    voids = _voids(verdict.job, None)
    if verdict.job.call is None:
        return Verdict(verdict.job, None, voids=tuple(replace(v, state=State.DEAD) for v in voids))
    return Verdict(verdict.job, decision, ended=State.DEAD, voids=voids)


Stages = Callable[[str], Stage]
"""The stage that performs a step."""


def resolve(job: Job, stages: Stages, answer: Answer | None = None, *, given_back: bool = False) -> Verdict:
    """Decide a job. ``answer``: of its call, which the worker that asks holds. ``given_back``: that worker ends, and
    the call with it."""
    call = job.call
    decision = _of_call(job, call, stages, answer, given_back) if call else None
    newest = _newest(job, stages)
    if call is None or decision is None:
        return _without_call(job, newest, stages)
    if decision.verb in (Verb.COMPLETE, Verb.CANCEL, Verb.ADVANCE):
        return _ended(job, call, decision, newest, stages)
    if newest is not None and (call.standing is Standing.WAITING or isinstance(stages(call.stage), Passage)):
        return _ended(job, call, SUPERSEDED, newest, stages)
    if newest is not None and decision.outcome is Outcome.BREACH:
        # A row that was put back meanwhile is no breach, though it has not moved: the stage is called again. A
        # rejection stands: a stage that puts its own row back and rejects the job would reject it again.
        decision = replace(decision, verb=Verb.FAIL)
    return _standing(job, call, decision, newest, stages)


def _of_call(job: Job, call: Call, stages: Stages, answer: Answer | None, given_back: bool) -> Decision:
    """The decision about the call, were there no other duty."""
    stage, row = stages(call.stage), job.row
    if _passed(job, call.stage, call.id, stage.ends):
        return Decision(Verb.COMPLETE, Outcome.DECIDED if stage.kind is Kind.WAIT else Outcome.COMPLETED)
    at = place(stage, row)
    if isinstance(stage, Passage):
        return _of_passage(job, call, stage, at, answer, given_back)
    if at in (Place.ELSEWHERE, Place.GONE):
        return SUPERSEDED
    if call.standing is Standing.WAITING:
        if at is Place.BEGUN:
            # The engine keeps the state of this stage: it does not work on by itself, and only the engine moves the row
            # on.
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


def _of_passage(job: Job, call: Call, node: Passage, at: Place, answer: Answer | None, given_back: bool) -> Decision:
    """The decision about a row that no stage is called for: as the passage says, while the row is at its state."""
    if at is not Place.ENTRY:
        decided = node.kind is Kind.WAIT and at is Place.ELSEWHERE
        return Decision(Verb.COMPLETE, Outcome.DECIDED) if decided else SUPERSEDED
    if call.standing is Standing.WAITING:
        return Decision(Verb.PARK, Outcome.DEFERRED) if job.paused and not call.parked else _KEEP
    if call.standing is Standing.HELD and answer is None:
        return (
            _KEEP
            if call.alive and not given_back
            else Decision(Verb.RELEASE, Outcome.RELEASED if given_back else Outcome.LOST)
        )
    if node.kind is Kind.MOVE:
        return passage.moved_on(node, call.age, call.rounds)
    if node.kind is Kind.GATHER:
        return _KEEP if job.children is None else passage.gathered(node, job.children, call.age)
    return _KEEP if call.standing is Standing.LEFT and not call.overdue else passage.waited(node, overdue=call.overdue)


def wants_count(job: Job, node: Stage, *, claimed: bool) -> bool:
    """Whether the children of a job that gathers them are to be counted before it is decided: enough of them have ended
    since the last count, one of them ended elsewhere than it should, or it was a while ago. ``claimed``: it is in the
    hands of the worker that asks."""
    call = job.call
    if call is None or node.kind is not Kind.GATHER or not isinstance(node, Passage):
        return False
    if call.standing is not Standing.LEFT:
        return claimed
    if call.overdue or call.missing is None:
        return True
    ended = [d for d in job.duties if not d.stage and d.step is None]
    astray = node.failed == "fail" or node.need != "all"
    return len(ended) >= call.missing or (astray and any(d.status != (node.done or ("", ""))[1] for d in ended))


def _all_duties(job: Job) -> tuple[Duty, ...]:
    kept = job.call.next if job.call else None
    return job.duties if kept is None else (kept, *job.duties)


def _passed(job: Job, stage: str, since: int, words: Iterable[str] = (DONE,)) -> bool:
    """Whether the row is at (stage, done), or has been there since: a later duty or look was left from there.
    ``words``: all that end the stage well."""
    ends = {(stage, word) for word in words}
    here = job.row is not None and job.row.at in ends
    return here or any(d.id > since and d.entered in ends for d in job.duties)


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
    if decision.verb is Verb.ADVANCE and decision.target is not None:
        counted = stage.step if decision.outcome is Outcome.MOVED and stage.rounds is not None else None
        voids = tuple(
            Void(d, State.COMPLETED if d.stage == stage.step else State.CANCELLED) for d in _all_duties(job) if d.stage
        )
        return Verdict(
            job,
            decision,
            ended=state,
            target=decision.target,
            quiet=False,
            round=counted,
            voids=voids,
            missing=0 if stage.kind is Kind.GATHER else None,
        )
    if decision.verb is Verb.ADVANCE:
        # A duty that came for this stage meanwhile is done by that, too.
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
    if newest is not None and newest.stage != stage.step:
        newest = None  # it follows a failure of this stage, and is left anew once no attempt is left
    voids = _voids(job, newest if decision.verb in (Verb.KEEP, Verb.WAIT) else None)
    if isinstance(stage, Passage) and stage.kind is Kind.GATHER and decision.verb in (Verb.KEEP, Verb.WAIT):
        return _gathering(job, call, decision, stage)
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
                delay = full_jitter(call.attempt - call.failures, NOT_NOW_CAP)
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


def _gathering(job: Job, call: Call, decision: Decision, node: Passage) -> Verdict:
    """It gathers on: the looks that its children left are taken, and counted down from ``missing``."""
    if job.children is not None and decision.verb is Verb.WAIT:
        left = passage.missing(node, job.children)
        tick = passage.tick(node, call.age)
        return Verdict(job, decision, stands=Standing.LEFT, delay=None, missing=left, tick=tick)
    left = max(0, (call.missing or 0) - len(job.duties))
    return Verdict(job, decision, stands=call.standing, delay=None, missing=left)


# The wishes of operators: decided by the same snapshot, and written in the same way.


class Working(Exception):
    """A stage is at work on the job."""


def retried(job: Job, stages: Stages) -> Verdict | None:
    """Another life for a job that its stage failed, or whose row the table refused, and of which no dispatch is open;
    and a call that waits is due now. Where the row is at the stage's entry already, the caller leaves the duty. None:
    there is nothing to retry."""
    call, row = job.call, job.row
    if call is not None:
        decision = _of_call(job, call, stages, None, False)
        waits = call.standing is Standing.WAITING and not job.paused and not call.parked
        if not waits or decision.verb is not Verb.KEEP or _newest(job, stages) is not None:
            return None
        return Verdict(job, decision, stands=Standing.WAITING, voids=_voids(job, None))
    stage = _given_up_by(job, stages)
    if stage is None or row is None or any(d.stage for d in job.duties):
        return None
    return Verdict(job, None, target=None if row.at == stage.entry else stage.entry, quiet=False)


def _given_up_by(job: Job, stages: Stages) -> Stage | None:
    """The stage whose dispatch died, where the row still stands so: it is failed there, or the table refused to change
    it."""
    row = job.row
    if row is None or row.step is None:
        return None
    step = row.step if row.status == FAILED else job.refused
    try:
        stage = stages(step or "")
    except KeyError:
        return None
    stands = row.status == FAILED or row.at in (stage.entry, (stage.step, RUNNING))
    return stage if stands else None


def cancelled(job: Job, stages: Stages) -> Verdict | None:
    """Stop the open dispatch: the row goes to (stage, cancelled), where no route begins. None: none is open."""
    verdict, stage = _stopped(job, stages)
    if stage is None:
        return None
    step = stages(stage).entry[0] if isinstance(stages(stage), Passage) else stage
    return replace(verdict, target=(step, CANCELLED))


def decided(job: Job, node: Passage, target: tuple[str, str]) -> Verdict:
    """A person's decision about a job that waits at ``node``: to ``target``."""
    ends = {True: State.COMPLETED, False: State.CANCELLED}
    voids = tuple(Void(d, ends[d.stage == node.step]) for d in _all_duties(job) if d.stage)
    if job.call is None:
        return Verdict(job, None, target=target, quiet=False, voids=voids)
    decision = Decision(Verb.ADVANCE, Outcome.DECIDED, target=target)
    return Verdict(job, decision, ended=State.COMPLETED, target=target, quiet=False, voids=voids)


def quarantined(job: Job, stages: Stages) -> Verdict | None:
    """Set the job aside: its row goes to (stage, quarantined), where no route begins and no retry finds it. None: it is
    neither open nor dead."""
    verdict, stage = _stopped(job, stages)
    if stage is not None:
        return replace(verdict, target=(stage, QUARANTINED))
    given_up_by = None if job.call is not None else _given_up_by(job, stages)
    return None if given_up_by is None else replace(verdict, target=(given_up_by.step, QUARANTINED))


def recalled(job: Job, stages: Stages) -> Verdict | None:
    """Call again now a call that was left to a stage and does not end; no attempt is used up. None: no call is left.
    A stage that works on after all runs beside its successor, and the first to commit ``done`` wins."""
    call = job.call
    if call is None or call.standing is not Standing.LEFT:
        return None
    if _of_call(job, call, stages, None, False).verb is not Verb.KEEP:
        return None
    again = Decision(Verb.RELEASE, Outcome.RELEASED, "an operator had it called again")
    return _standing(job, call, again, _newest(job, stages), stages)


def moved(job: Job, source: tuple[str, str], target: tuple[str, str]) -> Verdict | None:
    """Put a row of which the journal holds nothing from one state to another. None: it is not there, or a job again."""
    if job.call is not None or job.duties or job.row is None or job.row.at != source:
        return None
    return Verdict(job, None, target=target, quiet=False)


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


def brought_back(job: Job, stage: str | None, stages: Stages) -> Verdict | None:
    """Put a job that was cancelled at ``stage`` back to its entry. None: it has gone on since, or the stage is gone."""
    try:
        known = stages(stage) if stage is not None else None
    except KeyError:
        known = None
    if known is None or job.row is None or job.row.at != (stage, CANCELLED) or job.call or _newest(job, stages):
        return None
    return rerun(job, known, stages, force=False)


def _stopped(job: Job, stages: Stages) -> tuple[Verdict, str | None]:
    """The job with its open dispatches ended, and the stage that they were open for."""
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
    return Verdict(job, SUPERSEDED, ended=State.CANCELLED, voids=voids), stage


def _at_work(job: Job, stages: Stages) -> bool:
    """Whether a stage may be working on the job: it has been called, or another caller has begun it."""
    call = job.call
    if call is not None and isinstance(stages(call.stage), Passage):
        return False
    if call is not None and call.standing is not Standing.WAITING:
        return _of_call(job, call, stages, None, False).verb not in (Verb.COMPLETE, Verb.CANCEL)
    waits_for = call.stage if call else newest.stage if (newest := _newest(job, stages)) else None
    if waits_for is None:
        return False
    stage = stages(waits_for)
    return place(stage, job.row) is Place.BEGUN and stage.advance is Advance.STAGE
