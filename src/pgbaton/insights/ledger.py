"""Who did what."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from pgbaton import sql


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action. ``jobs``: how many it changed; ``job_key`` where it was about one. ``detail``: what else was asked
    (a filter, ``force``), as plain data."""

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


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Newest first; ``next`` is what to give as ``before`` for the page behind this one (``None``: the end)."""

    entries: tuple[AuditEntry, ...]
    next: int | None


async def audit(
    conn: asyncpg.Connection, pipeline: str | None = None, before: int | None = None, limit: int = 50
) -> AuditPage:
    """What operators did, newest first."""
    rows = await conn.fetch(sql.read("read/audit.sql"), pipeline, before, limit + 1)
    entries = tuple(AuditEntry(**(dict(row) | {"detail": json.loads(row["detail"])})) for row in rows[:limit])
    return AuditPage(entries, entries[-1].id if len(rows) > limit else None)
