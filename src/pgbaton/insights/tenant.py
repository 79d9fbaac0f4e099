"""A tenant's place in the queue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import asyncpg

from pgbaton import sql
from pgbaton.insights.bounded import TooWide, at_most
from pgbaton.insights.listing import CAP

COUNTED = 20_000
"""Counting the jobs before a tenant's last one stops there."""
TIMEOUT = 1.5
"""Seconds that looking may take; a person waits for it."""


@dataclass(frozen=True, slots=True)
class TenantAtStage:
    """Of the ``next`` jobs in line (at most 10,000), ``theirs`` are the tenant's. ``running``: calls under way;
    ``again``: those that wait to be called again, or whose tenant is paused. ``before``: jobs before the last one that
    the tenant has in line (``None``: none was seen). ``last_in``: seconds until that one is called, if all goes on at
    ``per_minute``; ``None`` where nothing is being called. ``unseen``: the line is longer than 30,000, and in its
    middle, which was not looked at, the tenant may have more."""

    stage: str
    next: int
    theirs: int
    running: int
    again: int
    before: int | None
    last_in: float | None
    unseen: bool = False

    @property
    def share(self) -> float:
        return self.theirs / self.next if self.next else 0.0


async def tenant_standing(
    conn: asyncpg.Connection, pipeline: str, tenant: str, per_minute: Mapping[str, float]
) -> tuple[TenantAtStage, ...] | None:
    """By stage; ``per_minute`` is how many each completes (:class:`StageOverview` has it). ``None`` where looking takes
    too long."""
    try:
        async with at_most(conn, TIMEOUT):
            rows = await conn.fetch(sql.read("read/tenant_standing.sql"), pipeline, tenant, CAP, COUNTED)
    except TooWide:
        return None
    return tuple(_standing(rows, per_minute))


def _standing(rows: Iterable[asyncpg.Record], per_minute: Mapping[str, float]) -> Iterable[TenantAtStage]:
    for row in rows:
        pace = per_minute.get(row["stage"], 0.0)
        known = row["before"] is not None and not row["unseen"]
        last_in = (row["before"] + 1) / pace * 60 if known and pace > 0 else None
        seen = {name: row[name] for name in ("stage", "next", "theirs", "running", "again", "before", "unseen")}
        yield TenantAtStage(**seen, last_in=last_in)
