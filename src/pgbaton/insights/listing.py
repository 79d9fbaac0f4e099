"""Dispatches by filter, a page at a time, however many there are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

import asyncpg

from pgbaton import sql
from pgbaton.errors import ConfigError
from pgbaton.insights.bounded import TooWide, at_most
from pgbaton.model import State
from pgbaton.times import LONGEST, Moment

CAP = 10_000
"""Counting stops one above this."""
ENDED_AT_MOST = 20_000
"""Counting over all stages together stops here, with the newest."""


def shown_count(count: int) -> str:
    """A capped count for people: ``10,000+``."""
    return f"{CAP:,}+" if count > CAP else f"{count:,}"


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which dispatches; everything given must hold, and of several stages, states, tenants or jobs one.

    ``since``, ``until``: created from that moment on, and before that one (:data:`Moment`: a time, or seconds ago).
    ``error``: part of the latest attempt's error, in any case. ``error_group``: that error with its numbers taken out,
    as :class:`DeadGroup` has it. ``jobs``: keys; ``job_prefix``: how they begin. ``latest``: only the newest dispatch
    of each job, no history. Raises :class:`ConfigError` on a state that does not exist and a time that is none."""

    pipeline: str | None = None
    stages: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    since: Moment | None = None
    until: Moment | None = None
    error: str | None = None
    error_group: str | None = None
    jobs: tuple[str, ...] = ()
    job_prefix: str | None = None
    latest: bool = False

    def __post_init__(self) -> None:
        unknown = [state for state in self.states if state not in tuple(State)]
        if unknown:
            raise ConfigError(f"there is no state {unknown[0]!r}; there are: {', '.join(State)}")
        for name, moment in (("since", self.since), ("until", self.until)):
            if isinstance(moment, datetime):
                if moment.tzinfo is None:
                    raise ConfigError(f"{name}: {moment} needs a zone")
            elif moment is not None and not 0 <= moment < LONGEST:
                raise ConfigError(f"{name}: {moment!r} is no number of seconds")

    def as_json(self) -> dict[str, Any]:
        """The parts of the filter that were given."""
        asked = {name: v for name, v in asdict(self).items() if v is not None and v is not False and v != ()}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asked.items()}

    @classmethod
    def from_json(cls, asked: Mapping[str, Any]) -> Self:
        """The filter from the output of :meth:`as_json`."""
        made = dict(asked)
        for name in ("stages", "states", "tenants", "jobs"):
            made[name] = tuple(made.get(name, ()))
        for name in ("since", "until"):
            if isinstance(made.get(name), str):
                made[name] = datetime.fromisoformat(made[name])
        return cls(**made)

    @property
    def narrows(self) -> bool:
        """Something but states and the pipeline is asked for: it does not mean every job."""
        return bool(set(self.as_json()) - {"pipeline", "states", "latest"})


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A dispatch with the outcome of its latest attempt; ``age`` in seconds since it was created."""

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
    """Newest first; ``next`` is the value of ``before`` for the page behind this one (``None``: the end).

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
            rows = await conn.fetch(query, *await arguments(conn, filters, before, limit + 1, least))
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
            return int(
                await conn.fetchval(_query("count_jobs", filters), *await arguments(conn, filters, None, CAP + 1))
            )
    except TooWide:
        return None


@dataclass(frozen=True, slots=True)
class Preview:
    """The matches of a filter, by group: (stage, state) and the ten tenants that have most of it, with capped
    counts."""

    count: int
    groups: tuple[tuple[str, str, int], ...]
    tenants: tuple[tuple[str | None, int], ...]


async def preview_jobs(conn: asyncpg.Connection, filters: JobFilter, *, timeout: float = 3.0) -> Preview | None:
    """How many dispatches match, by group, up to 10,001 together; ``None`` as in :func:`count_jobs`."""
    try:
        async with at_most(conn, timeout):
            rows = await conn.fetch(_query("preview_jobs", filters), *await arguments(conn, filters, None, CAP + 1))
    except TooWide:
        return None
    return Preview(
        next(r["count"] for r in rows if r["kind"] == 7),
        tuple((r["stage"], r["state"], r["count"]) for r in rows if r["kind"] == 1),
        tuple((r["tenant"], r["count"]) for r in rows if r["kind"] == 6)[:10],
    )


async def arguments(
    conn: asyncpg.Connection, filters: JobFilter, before: int | None, limit: int, least: int | None = None
) -> tuple[Any, ...]:
    """The filter as ``read/matching.sql`` takes it. ``least``: no id below it. Asks the database where in the history
    a time begins, for the search must not go on behind it."""
    since_at, since_ago = at_or_ago(filters.since)
    until_at, until_ago = at_or_ago(filters.until)
    if filters.since is not None:
        first = await conn.fetchval(sql.read("read/first_since.sql"), since_at, since_ago)
        least = max(first or 0, least or 0)
    return (
        filters.pipeline,
        list(filters.stages) or None,
        list(filters.states) or None,
        [plain(t) for t in filters.tenants] or None,
        until_at,
        None if not filters.error else f"%{_plain_pattern(filters.error)}%",
        filters.error_group,
        [plain(key) for key in filters.jobs] or None,
        None if not filters.job_prefix else f"{_plain_pattern(filters.job_prefix)}%",
        filters.latest,
        before,
        limit,
        least,
        until_ago,
        since_at,
        since_ago,
    )


def plain(text: str) -> str:
    """``text`` without characters that Postgres cannot hold: no job has them, so it finds none."""
    return text.replace("\x00", "\ufffd")


def _by_error_alone(filters: JobFilter) -> bool:
    """An error is asked for, and nothing by which an index finds a few dispatches."""
    few = {State.RETRYABLE, State.DEAD, State.CANCELLED}
    narrow = filters.jobs or filters.job_prefix or (filters.states and few.issuperset(filters.states))
    return bool(filters.error or filters.error_group) and not narrow


_LATEST_ERROR = "(SELECT t.error FROM pgbaton.history AS t WHERE t.id = d.id AND t.attempt = d.attempt AND t.called)"
_ERRORS = {
    "due": "NULL::text",
    "calls": f"CASE WHEN d.due_at IS NULL THEN d.error ELSE {_LATEST_ERROR} END",
    "ended": f"CASE WHEN d.called THEN d.error ELSE {_LATEST_ERROR} END",
}
"""Where the error of a dispatch's latest attempt is."""
_ENDED = {"due": "d.settled_at", "calls": "d.settled_at", "ended": "d.ended_at"}


def _query(name: str, filters: JobFilter, *, bounded: bool = False) -> str:
    """``bounded``: of ended dispatches, only those of which an attempt failed."""
    among = {"due": "due", "calls": "calls", "ended": "failed" if bounded else _ended(filters)}
    matching = sql.read("read/matching.sql").rstrip()
    parts = {
        part: sql.render(
            sql.read(f"read/among_{file}.sql").rstrip(),
            {"matching": sql.render(matching, {"error": _ERRORS[part], "ended": _ENDED[part]})},
        )
        for part, file in among.items()
    }
    return sql.render(sql.read(f"read/{name}.sql"), parts)


def _ended(filters: JobFilter) -> str:
    """The index by which ended dispatches are searched."""
    if filters.states and State.COMPLETED not in filters.states:
        return "troubled"
    return "tenants" if filters.tenants else "ended"


def _plain_pattern(text: str) -> str:
    """``text`` as a part of a LIKE pattern that means nothing but itself."""
    return re.sub(r"([\\%_])", r"\\\1", text.replace("\x00", ""))


def at_or_ago(moment: Moment | None) -> tuple[datetime | None, float | None]:
    """The two parameters of a statement that a moment is given in: a time, or so many seconds ago."""
    return (moment, None) if isinstance(moment, datetime) else (None, moment)
