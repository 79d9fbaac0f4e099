"""Dead dispatches whose jobs are still where they died, grouped by stage and error."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from pgbaton.insights.bounded import TIMEOUT, TooWide, at_most
from pgbaton.insights.listing import CAP
from pgbaton.table import JobTable


@dataclass(frozen=True, slots=True)
class DeadGroup:
    """Jobs that died at one stage of much the same error: ``error`` has its numbers and ids taken out (``…``), and
    is what :attr:`JobFilter.error_group` takes. ``example`` is one error as it was; ``jobs`` a few of them."""

    stage: str
    error: str
    count: int
    newest: datetime
    newest_age: float
    example: str | None
    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeadGroups:
    """The groups, the largest first; ``capped``: a stage has so many dead that only its newest 10,000 were looked at.
    ``too_wide``: not even that could be done in time, and there are no groups."""

    groups: tuple[DeadGroup, ...]
    capped: bool
    too_wide: bool = False


async def dead_groups(conn: asyncpg.Connection, table: JobTable) -> DeadGroups:
    """Dead dispatches whose job is still marked as failed there, or stands where the table refused to change it."""
    try:
        async with at_most(conn, TIMEOUT):
            rows = await conn.fetch(table.query("read/dead_groups"), table.pipeline, CAP + 1)
    except TooWide:
        return DeadGroups((), capped=True, too_wide=True)
    names = ("stage", "error", "count", "newest", "newest_age", "example")
    groups = (DeadGroup(**{name: row[name] for name in names}, jobs=tuple(row["jobs"])) for row in rows)
    return DeadGroups(tuple(groups), any(row["looked_at"] > CAP for row in rows))
