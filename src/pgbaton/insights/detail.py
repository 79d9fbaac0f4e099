"""One job: what was done for it, its row now, and why it is where it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import asyncpg

from pgbaton.insights.reasons import Explanation
from pgbaton.table import JobTable


@dataclass(frozen=True, slots=True)
class AttemptSeen:
    """One call. ``seconds``: how long it took, or has taken so far (``finished_at`` is ``None``)."""

    attempt: int
    worker: str
    started_at: datetime
    finished_at: datetime | None
    seconds: float
    outcome: str | None
    http_status: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Segment:
    """A bar of the timeline. ``backoff`` and ``parked`` (the tenant is paused) are no one's turn; ``running`` is
    attempt ``attempt``. ``end`` is now where it is still so (``open``)."""

    kind: Literal["waiting", "running", "backoff", "parked"]
    start: datetime
    end: datetime
    open: bool
    attempt: int | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class DispatchSeen:
    """One time that the job entered a routed state. ``failures`` count against the stage's limit, ``attempt`` is the
    number of calls; ``timeline`` in the order of time."""

    id: int
    stage: str
    state: str
    attempt: int
    failures: int
    created_at: datetime
    available_at: datetime
    deadline: datetime | None
    settled_at: datetime | None
    parked: bool
    traceparent: str | None
    attempts: tuple[AttemptSeen, ...]
    timeline: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class RowSeen:
    """The user's row now; its other columns are nobody's business here."""

    step: str | None
    status: str | None
    tenant: str | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobDetail:
    """``dispatches``: the newest 200, in the order of time; ``truncated``: there are older ones. ``row`` is ``None``
    where the job is gone."""

    pipeline: str
    key: str
    at: datetime
    row: RowSeen | None
    explanation: Explanation
    dispatches: tuple[DispatchSeen, ...]
    truncated: bool

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


async def job(conn: asyncpg.Connection, table: JobTable, key: str) -> JobDetail | None:
    """Everything about one job; ``None`` where there is neither a row nor a dispatch of that key."""
    raise NotImplementedError


async def explain(conn: asyncpg.Connection, table: JobTable, key: str) -> Explanation | None:
    """Why the job is where it is; ``None`` as in :func:`job`."""
    raise NotImplementedError
