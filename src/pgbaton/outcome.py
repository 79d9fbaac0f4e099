"""What came of a call: pure decisions from the answer and the row to a frozen decision.

The row speaks louder than the answer. :func:`decide` is asked only about dispatches that the trigger has not
settled already; it still answers for every row, so that a disabled trigger cannot strand a dispatch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from pgbaton.model import DONE, FAILED, RUNNING, Advance, Outcome, Row, Stage

RETRY_AFTER_CAP = 300.0
"""Seconds: the longest that a stage may ask to be left alone."""

DOWN_DELAY = 0.5
"""Seconds until a job whose stage was down may be claimed again, if the stage's circuit lets it."""

_NOT_NOW = frozenset({409, 425, 429, 503})
_GATEWAY_LOST_IT = frozenset({502, 504})


class Reply(StrEnum):
    """How a call ended on the wire."""

    ANSWERED = "answered"
    REFUSED = "refused"  # no connection was made, so the stage saw nothing
    TIMEOUT = "timeout"
    LOST = "lost"  # the connection broke: the stage may have worked, or may work still
    GARBLED = "garbled"  # what came back was not HTTP


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
    """What is to be done with the dispatch, and with the row where it stands in the way."""

    COMPLETE = "complete"  # settle as completed; the row is there already
    CANCEL = "cancel"  # settle as cancelled: the row went elsewhere
    ADVANCE = "advance"  # the engine writes (stage, done); the trigger settles
    WAIT = "wait"  # the stage works on; its own commit settles, until the deadline
    FAIL = "fail"  # counts; rewind the row, and retry or give up
    KILL = "kill"  # dead at once, however many attempts are left
    DEFER = "defer"  # not now; rewind the row; burns no attempt within bounds
    RELEASE = "release"  # available again at once, as if never claimed


@dataclass(frozen=True, slots=True)
class Decision:
    """``after`` is a deferral's delay in seconds, where it is not left to the backoff. ``down``: nobody is at home
    at the stage, so that calling it for other jobs is in vain for a while too."""

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
    # "Not now" from a stage that is at work, or a refusal at its door: somebody's earlier call is being served.
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


class Begin(Enum):
    """What to do with a dispatch that was just claimed."""

    CALL = auto()
    REWIND = auto()  # put the row back to the stage's entry state, then call


def decide_claimed(stage: Stage, row: Row | None) -> Begin | Decision:
    """Whether a claimed dispatch may be called, by the row as it is now."""
    match place(stage, row):
        case Place.ENTRY:
            return Begin.CALL
        case Place.FAILED:
            return Begin.REWIND
        case Place.BEGUN:
            return Decision(Verb.WAIT, Outcome.UNKNOWN, "the stage was begun by somebody else")
        case Place.DONE:
            return Decision(Verb.COMPLETE, Outcome.COMPLETED)
        case _:
            return _SUPERSEDED


def decide_lost(stage: Stage, row: Row | None, outcome: Outcome = Outcome.LOST) -> Decision:
    """A dispatch whose worker is gone, or gives it back (``outcome`` says which): decide by the row alone."""
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
