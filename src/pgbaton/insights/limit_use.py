"""Every limit of a pipeline, and what fills it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from pgbaton import sql


@dataclass(frozen=True, slots=True)
class LimitSeen:
    """The limits of a stage, or (``stage`` None) a pool. ``size``: calls at once, or places, that it allows now (None:
    any number); ``used``: those that count against it. ``ceiling``: what answers 429 have taught; ``held_for``: seconds
    for which the stage asked to be left alone. Rates in calls a second. ``operated``: an operator has set it."""

    limit: str
    stage: str | None
    pool: str | None
    concurrency: int | None
    per_tenant: int | None
    rate: float | None
    rate_per_tenant: float | None
    cost: int | None
    of_pool: str | None
    ceiling: int | None
    size: int | None
    used: int
    held_for: float | None
    held_until: datetime | None
    operated: bool


async def limits(conn: asyncpg.Connection, pipeline: str) -> list[LimitSeen]:
    """All of them, in the order of the stages, the pools behind."""
    rows = await conn.fetch(sql.read("read/limits.sql"), pipeline)
    return [LimitSeen(**{key: row[key] for key in LimitSeen.__dataclass_fields__}) for row in rows]
