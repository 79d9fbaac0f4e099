"""The words of the engine: meanings of a status, states of a dispatch, outcomes of an attempt. No I/O."""

from __future__ import annotations

from enum import StrEnum

DONE, RUNNING, FAILED, CANCELLED, QUARANTINED = "done", "running", "failed", "cancelled", "quarantined"
"""The meanings of a row's status to the engine, under any word that the table has for them."""
DUE = "due"
"""The status in which a stage is called whose route waits or is counted: the engine brings the row there."""
WAKE_CHANNEL = "pgbaton_wake"


class State(StrEnum):
    """States of a dispatch; those in :data:`OPEN` are not settled yet."""

    AVAILABLE = "available"
    RUNNING = "running"
    RETRYABLE = "retryable"
    COMPLETED = "completed"
    DEAD = "dead"
    CANCELLED = "cancelled"


OPEN = (State.AVAILABLE, State.RUNNING, State.RETRYABLE)


class Outcome(StrEnum):
    """How an attempt ended. ``accepted`` and ``unknown`` are not the end of it: the stage may work on."""

    COMPLETED = "completed"
    FAILED = "failed"
    ACCEPTED = "accepted"
    UNKNOWN = "unknown"
    DEFERRED = "deferred"
    REJECTED = "rejected"
    BREACH = "breach"
    TIMEOUT = "timeout"
    LOST = "lost"
    RELEASED = "released"
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    MOVED = "moved"
    SKIPPED = "skipped"
    WAITING = "waiting"
    DECIDED = "decided"
    EXPIRED = "expired"
    GATHERED = "gathered"
    EXHAUSTED = "exhausted"


PASSED = frozenset(
    {
        Outcome.MOVED,
        Outcome.SKIPPED,
        Outcome.WAITING,
        Outcome.DECIDED,
        Outcome.EXPIRED,
        Outcome.GATHERED,
        Outcome.EXHAUSTED,
    }
)
"""The outcomes of passages: no stage was called."""


class Advance(StrEnum):
    """The writer of ``running`` and ``done``: the stage itself, or the engine on its behalf."""

    STAGE = "stage"
    ENGINE = "engine"


class Kind(StrEnum):
    """The kinds of stages and passages that a routed state leads to."""

    CALL = "call"
    MOVE = "move"
    WAIT = "wait"
    GATHER = "gather"
