"""The audit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from pgbaton import sql
from pgbaton.insights.listing import at_or_ago
from pgbaton.times import Moment


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action. ``jobs``: how many it changed; ``job_key`` where it was about one. ``detail``: the rest of the
    request (a filter, ``force``), as plain data.

    Of an act on many jobs (``state`` is not ``None``): ``total`` jobs were agreed to (``None``: all there are),
    ``seen`` looked at; ``silent`` is the time in seconds since it was last moved on. ``undoes``: the act that this one
    takes back, ``undone_by``: the one that takes this one back."""

    id: int
    at: datetime
    who: str
    action: str
    pipeline: str
    stage: str | None
    tenant: str | None
    job_key: str | None
    jobs: int
    detail: dict[str, Any]
    reason: str | None = None
    state: str | None = None
    total: int | None = None
    seen: int = 0
    ended_at: datetime | None = None
    undoes: int | None = None
    error: str | None = None
    silent: float | None = None
    undone_by: int | None = None

    @property
    def standing(self) -> str | None:
        """``state``, or ``broken`` for an act that is said to run, and that no runner has moved on for a while."""
        return "broken" if self.state == "running" and (self.silent or 0) > SILENT else self.state


SILENT = 60.0
"""Seconds after which an act that no runner has moved on is taken for broken off: a batch takes 20 s to find at
most."""


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Newest first; ``next`` is the value of ``before`` for the page behind this one (``None``: the end)."""

    entries: tuple[AuditEntry, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """The actions of these people, of these kinds, in this time (from ``since`` on, before ``until``)."""

    who: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    since: Moment | None = None
    until: Moment | None = None


async def audit(
    conn: asyncpg.Connection,
    pipeline: str | None = None,
    before: int | None = None,
    limit: int = 50,
    filters: AuditFilter = AuditFilter(),
) -> AuditPage:
    """The acts of operators, newest first."""
    entries = await _entries(conn, pipeline, before, limit + 1, filters, None)
    return AuditPage(entries[:limit], entries[limit - 1].id if len(entries) > limit else None)


async def act(conn: asyncpg.Connection, pipeline: str, id: int) -> AuditEntry | None:
    """One action by its id."""
    return next(iter(await _entries(conn, pipeline, None, 1, AuditFilter(), id)), None)


async def act_jobs(
    conn: asyncpg.Connection, id: int, after: str | None = None, limit: int = 50
) -> tuple[tuple[str, str | None], ...]:
    """The jobs that an act on many has changed so far, with their stages, by key."""
    return tuple(
        (row["job_key"], row["stage"]) for row in await conn.fetch(sql.read("operate/act_jobs.sql"), id, after, limit)
    )


async def _entries(
    conn: asyncpg.Connection, pipeline: str | None, before: int | None, most: int, f: AuditFilter, id: int | None
) -> tuple[AuditEntry, ...]:
    when = (*at_or_ago(f.since), *at_or_ago(f.until))
    rows = await conn.fetch(
        sql.read("read/audit.sql"), pipeline, before, most, list(f.who) or None, list(f.actions) or None, *when, id
    )
    return tuple(AuditEntry(**(dict(row) | {"detail": json.loads(row["detail"])})) for row in rows)
