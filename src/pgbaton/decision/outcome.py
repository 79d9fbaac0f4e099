"""Decisions about a call: pure, by its answer and the row, which is read after it and counts more.

Decisions about the job as a whole are in ``verdict``. docs/state-machine.md has the tables; a test compares them with
this module.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto

from pgbaton.model import FAILED, RUNNING, Advance, Kind, Outcome, Row, Stage

RETRY_AFTER_CAP = 300.0
"""Seconds: the longest that a stage may ask to be left alone; as long as the longest backoff."""

DOWN_DELAY = 0.5
"""Seconds until a job whose stage was down may be claimed again, if the stage's circuit lets it."""

NOT_NOW_CAP = 30.0
"""Seconds: the longest backoff after "not now" without a Retry-After. Such a stage is up, so it is asked sooner than
one that fails."""

NOT_NOW_PATIENCE = 86400.0
"""Seconds (a day) since a dispatch was made, after which "not now" counts as a failure: it does not put a job off for
ever."""

_NOT_NOW = frozenset({409, 425, 429, 503})
"""Statuses by which a stage says that it may be called later."""
_GATEWAY_LOST_IT = frozenset({502, 504})
"""Statuses by which a gateway says that it lost the stage, which may work still."""
_NOT_THERE = frozenset({301, 302, 303, 307, 308, 401, 407, 502, 503})
"""A gateway without a stage behind it, or a login before it: no job gets through, so none is to blame."""


class Reply(StrEnum):
    """How a call ended on the wire."""

    ANSWERED = "answered"
    REFUSED = "refused"  # no connection was made, so the stage saw nothing
    TIMEOUT = "timeout"
    LOST = "lost"  # the connection broke: the stage may have worked, or may work still
    GARBLED = "garbled"  # the answer was not HTTP
    NONE = "none"  # there was no call: a passage


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a call. ``retry_after`` is in seconds; ``error`` is short and holds no payload; ``body`` is
    the beginning of the answer's body, where it is to be kept. ``jobs``: how many the call carried."""

    reply: Reply
    status: int | None = None
    retry_after: float | None = None
    error: str | None = None
    body: str | None = None
    jobs: int = 1

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def down(self) -> bool:
        """Whether it says that the stage does not answer at all, for other jobs either."""
        return self.reply is Reply.REFUSED or self.status in _NOT_THERE

    @property
    def refuses_more(self) -> bool:
        """Whether it says that the stage bears no more calls than it has: a matter of all its calls, not of this one's
        job."""
        return self.status == 429


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
    answer at all, so that calling it for other jobs is in vain for a while too. ``target``: the state that a passage
    brings the row to."""

    verb: Verb
    outcome: Outcome
    error: str | None = None
    after: float | None = None
    down: bool = False
    target: tuple[str, str] | None = None


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
    by_status = {RUNNING: Place.BEGUN, FAILED: Place.FAILED} | dict.fromkeys(stage.ends, Place.DONE)
    if row.at == stage.entry:
        return Place.ENTRY
    if row.step == stage.step and row.status in by_status and stage.kind is Kind.CALL:
        return by_status[row.status]
    return Place.ELSEWHERE


SUPERSEDED = Decision(Verb.CANCEL, Outcome.SUPERSEDED)


def decide(stage: Stage, row: Row | None, answer: Answer) -> Decision:
    """The outcome table: the answer first, then the row, read after it."""
    match place(stage, row):
        case Place.DONE:
            return Decision(Verb.COMPLETE, Outcome.COMPLETED)
        case Place.ELSEWHERE | Place.GONE:
            return SUPERSEDED
        case Place.FAILED:
            return Decision(Verb.FAIL, Outcome.FAILED, answer.error or "the stage marked the job failed")
        case Place.BEGUN if stage.advance is Advance.STAGE:
            return _fewer_next(_decide_begun(answer), answer)
        case _:
            return _fewer_next(_decide_unmoved(stage, row, answer), answer)


def _fewer_next(decision: Decision, answer: Answer) -> Decision:
    """A failure of a call with several jobs burns no attempt, and the job is called next among half as many
    (:mod:`pgbaton.worker.batches`), in the end alone: any of the others may have caused it."""
    if answer.jobs == 1 or decision.verb not in (Verb.FAIL, Verb.KILL):
        return decision
    error = f"one of {answer.jobs} in a call, to be called among fewer: {decision.error}"
    return replace(decision, verb=Verb.DEFER, outcome=Outcome.FAILED, error=error, after=0.0)


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
    if answer.down or status in _NOT_NOW:
        delay = DOWN_DELAY if answer.down else None  # the circuit decides when the stage is called again
        if answer.retry_after is not None:
            delay = min(answer.retry_after, RETRY_AFTER_CAP)
        return Decision(Verb.DEFER, Outcome.DEFERRED, answer.error, delay, answer.down)
    if status == 202:
        return Decision(Verb.WAIT, Outcome.ACCEPTED)
    if answer.ok:
        if stage.advance is Advance.ENGINE:
            return Decision(Verb.ADVANCE, Outcome.COMPLETED)
        return Decision(
            Verb.KILL,
            Outcome.BREACH,
            f"the stage answered {status} but left the row at {row.shown if row else None}: it kept no state "
            '(a stage that keeps none needs advance = "engine")',
        )
    if status is not None and 400 <= status < 500:
        return Decision(Verb.KILL, Outcome.REJECTED, answer.error)
    return Decision(Verb.FAIL, Outcome.FAILED, answer.error)


BEGUN_ELSEWHERE = Decision(Verb.WAIT, Outcome.UNKNOWN, "the stage was begun by another caller")


def decide_claimed(stage: Stage, row: Row | None) -> Decision:
    """The act that a claimed call needs before its stage can be called."""
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
            return SUPERSEDED


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
            return SUPERSEDED


def decide_overdue(stage: Stage, row: Row | None) -> Decision:
    """A stage that was left to work on did not end in time."""
    match place(stage, row):
        case Place.DONE:
            return Decision(Verb.COMPLETE, Outcome.COMPLETED)
        case Place.ELSEWHERE | Place.GONE:
            return SUPERSEDED
        case _:
            return Decision(Verb.FAIL, Outcome.TIMEOUT, f"no end within {stage.timeout:g} s")
