"""Dispatches by filter, a page at a time, however many there are."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import asyncpg

from pgbaton import sql
from pgbaton.errors import ConfigError
from pgbaton.insights.bounded import TooWide, at_most
from pgbaton.model import State

CAP = 10_000
"""Counting stops one above this."""
ENDED_AT_MOST = 20_000
"""Counting over all stages together stops here, with the newest."""


def shown_count(count: int) -> str:
    """A capped count for people: ``10,000+``."""
    return f"{CAP:,}+" if count > CAP else f"{count:,}"


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which dispatches; everything given must hold.

    ``older_than``: created more than so many seconds ago. ``error``: part of the latest attempt's error, in any case.
    ``error_group``: that error with its numbers taken out, as :class:`DeadGroup` has it. ``job``: a key;
    ``job_prefix``: how it begins. ``latest``: only the newest dispatch of each job, no history. Raises
    :class:`ConfigError` on a state that does not exist and an age that is none."""

    pipeline: str | None = None
    stage: str | None = None
    states: tuple[str, ...] = ()
    tenant: str | None = None
    older_than: float | None = None
    error: str | None = None
    error_group: str | None = None
    job: str | None = None
    job_prefix: str | None = None
    latest: bool = False

    def __post_init__(self) -> None:
        unknown = [state for state in self.states if state not in tuple(State)]
        if unknown:
            raise ConfigError(f"there is no state {unknown[0]!r}; there are: {', '.join(State)}")
        if self.older_than is not None and not 0 <= self.older_than < float("inf"):
            raise ConfigError(f"older_than: {self.older_than!r} is no number of seconds")

    def as_json(self) -> dict[str, Any]:
        """What was asked for, without what was not."""
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A dispatch with what came of its latest attempt; ``age`` in seconds since it was created."""

    id: int
    pipeline: str
    job_key: str
    tenant: str | None
    stage: str
    state: str
    attempt: int
    failures: int
    created_at: datetime
    available_at: datetime
    settled_at: datetime | None
    age: float
    parked: bool
    outcome: str | None
    http_status: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class JobPage:
    """Newest first; ``next`` is what to give as ``before`` for the page behind this one (``None``: the end).

    ``searched_back``: not everything was searched, but the calls that failed in so many seconds; ``next`` goes on from
    there.
    ``too_wide``: the filter finds so little among so much that looking was given up; narrow it (by state, tenant,
    stage or key).
    """

    jobs: tuple[ListedJob, ...]
    next: int | None
    searched_back: float | None = None
    too_wide: bool = False


async def list_jobs(
    conn: asyncpg.Connection,
    filters: JobFilter,
    before: int | None = None,
    limit: int = 50,
    *,
    timeout: float = 1.5,
    look_back: int | None = None,
) -> JobPage:
    """The newest ``limit`` dispatches that match, with ids below ``before``; at most ``timeout`` seconds of looking.

    ``look_back``: where only an error narrows the filter, search no more than so many failed calls at a time.
    """
    bounded = look_back is not None and _by_error_alone(filters)
    end = None
    try:
        async with at_most(conn, timeout):
            if bounded:
                end = await conn.fetchrow(sql.read("read/failed_until.sql"), before, look_back)
            least = end["id"] if end else 0 if bounded else None
            query = _query("list_jobs", filters, bounded=bounded)
            rows = await conn.fetch(query, *arguments(filters), before, limit + 1, least)
    except TooWide:
        return JobPage((), None, too_wide=True)
    found = tuple(ListedJob(**dict(row)) for row in rows[:limit])
    if end is not None and len(rows) <= limit:
        return JobPage(found, end["id"], searched_back=end["age"])
    return JobPage(found, found[-1].id if len(rows) > limit else None)


async def count_jobs(conn: asyncpg.Connection, filters: JobFilter, *, timeout: float = 3.0) -> int | None:
    """How many dispatches match, up to 10,001; ``None`` where that takes longer than ``timeout`` seconds."""
    try:
        async with at_most(conn, timeout):
            return int(await conn.fetchval(_query("count_jobs", filters), *arguments(filters), None, CAP + 1, None))
    except TooWide:
        return None


def arguments(filters: JobFilter) -> tuple[Any, ...]:
    """The filter as ``read/matching.sql`` takes it."""
    return (
        filters.pipeline,
        filters.stage,
        list(filters.states) or None,
        filters.tenant,
        filters.older_than,
        None if not filters.error else f"%{_plain_pattern(filters.error)}%",
        filters.error_group,
        filters.job,
        None if not filters.job_prefix else f"{_plain_pattern(filters.job_prefix)}%",
        filters.latest,
    )


def _by_error_alone(filters: JobFilter) -> bool:
    """An error is asked for, and nothing by which an index finds a few dispatches."""
    few = {State.RETRYABLE, State.DEAD, State.CANCELLED}
    narrow = filters.job or filters.job_prefix or (filters.states and few.issuperset(filters.states))
    return bool(filters.error or filters.error_group) and not narrow


_LATEST_ERROR = "(SELECT t.error FROM pgbaton.history AS t WHERE t.id = d.id AND t.attempt = d.attempt AND t.called)"
_ERRORS = {
    "due": "NULL::text",
    "calls": f"CASE WHEN d.due_at IS NULL THEN d.error ELSE {_LATEST_ERROR} END",
    "ended": f"CASE WHEN d.called THEN d.error ELSE {_LATEST_ERROR} END",
}
"""Where the error of a dispatch's latest attempt is."""


def _query(name: str, filters: JobFilter, *, bounded: bool = False) -> str:
    """``bounded``: among what has ended, only dispatches of which an attempt failed."""
    among = {"due": "due", "calls": "calls", "ended": "failed" if bounded else _ended(filters)}
    matching = sql.read("read/matching.sql").rstrip()
    parts = {
        part: sql.render(
            sql.read(f"read/among_{file}.sql").rstrip(), {"matching": sql.render(matching, {"error": _ERRORS[part]})}
        )
        for part, file in among.items()
    }
    return sql.render(sql.read(f"read/{name}.sql"), parts)


def _ended(filters: JobFilter) -> str:
    """By which index to look among what has ended."""
    return "troubled" if filters.states and State.COMPLETED not in filters.states else "ended"


def _plain_pattern(text: str) -> str:
    """``text`` as a part of a LIKE pattern that means nothing but itself."""
    return re.sub(r"([\\%_])", r"\\\1", text.replace("\x00", ""))
