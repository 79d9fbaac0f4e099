"""How many workers there should be. The rule is ``sql/wanted.sql``, where KEDA asks it too; this reads it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import asyncpg

from pgbaton import sql
from pgbaton.errors import ConfigError

WITHIN = 60.0
"""Seconds within which all waiting jobs are to have begun, unless the asker says otherwise: two looks of KEDA (30 s
each), the second of which finds the worker started."""


@dataclass(frozen=True, slots=True)
class StageWanted:
    """A stage: how many jobs wait for it (above 10,000 an estimate), how many of its calls workers hold, how many
    seconds a call takes, and how many calls should be under way. ``kept_by``: the limit that keeps that number down
    (paused, down, concurrency, rate, tenants, pool). Stage '': the work of any worker, where none is alive."""

    stage: str
    waiting: int
    under_way: int
    takes: float
    calls: int
    kept_by: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Workers wanted, of ``capacity`` calls at once, and the stages that ask for them."""

    workers: int
    capacity: int
    within: float
    stages: tuple[StageWanted, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


async def wanted(
    conn: asyncpg.Connection,
    pipeline: str,
    stages: Collection[str] | None,
    capacity: int,
    within: float = WITHIN,
) -> Wanted:
    """Workers wanted for ``stages`` (None: all). Raises :class:`ConfigError` on a pipeline, stage or number that cannot
    be."""
    try:
        rows = await conn.fetch(
            sql.read("read/wanted.sql"), pipeline, None if stages is None else list(stages), capacity, within
        )
    except asyncpg.InvalidParameterValueError as error:
        raise ConfigError(str(error)) from None
    found = tuple(StageWanted(**dict(row)) for row in rows)
    return Wanted(ceil(sum(s.calls for s in found) / capacity), capacity, within, found)
