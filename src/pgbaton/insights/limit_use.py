"""Every limit of a pipeline, and the calls that fill it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from pgbaton import sql

TENANTS = 3
"""Tenants that are named of a limit, at most."""
LOOKED_AT = 1000
"""Waiting jobs of a stage that are counted by tenant, at most: the oldest."""

Share = tuple[str | None, int]


@dataclass(frozen=True, slots=True)
class LimitSeen:
    """The limits of a stage, of a provider's account at a stage (``account``), or (``stage`` None) a pool. ``size``:
    calls at once, or places, that it allows now (None: any number); ``used``: those that count against it.
    ``ceiling``: calls at once that answers 429 leave; ``held_for``: seconds for which the stage asked to be left alone.
    Rates in calls a second; ``rate_in``: seconds until the rate lets another call begin. ``operated``: an
    operator has set it."""

    limit: str
    stage: str | None
    pool: str | None
    account: str | None
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
    rate_in: float | None = None


async def limits(conn: asyncpg.Connection, pipeline: str) -> list[LimitSeen]:
    """All of them, in the order of the stages, the pools behind."""
    rows = await conn.fetch(sql.read("read/limits.sql"), pipeline)
    return [LimitSeen(**{key: row[key] for key in LimitSeen.__dataclass_fields__}) for row in rows]


@dataclass(frozen=True, slots=True)
class LimitUse:
    """A limit with the tenants that fill it by most calls, and those that wait for it with most jobs (of the oldest
    ``LOOKED_AT`` of a stage). Tenant None: jobs without one."""

    seen: LimitSeen
    filled_by: tuple[Share, ...]
    waited_by: tuple[Share, ...]


async def limits_in_use(conn: asyncpg.Connection, pipeline: str) -> list[LimitUse]:
    """As :func:`limits`, with the tenants."""
    seen = await limits(conn, pipeline)
    if not seen:
        return []
    rows = await conn.fetch(sql.read("read/limits_by_tenant.sql"), pipeline, TENANTS, LOOKED_AT)
    filled = {r["stage"]: _shares(r["filled_by"]) for r in rows}
    waited = {r["stage"]: _shares(r["waited_by"]) for r in rows}
    found = []
    for limit in seen:
        stages = [s.limit for s in seen if s.of_pool is not None and s.of_pool == limit.pool] or [limit.limit]
        of = (_together(shares.get(stage, ()) for stage in stages) for shares in (filled, waited))
        found.append(LimitUse(limit, *of))
    return found


def _shares(text: str | None) -> tuple[Share, ...]:
    return tuple((tenant, count) for tenant, count in json.loads(text or "[]"))


def _together(parts: Iterable[Sequence[Share]]) -> tuple[Share, ...]:
    """Those of several stages that share a pool, as one."""
    counted: Counter[str | None] = Counter()
    for part in parts:
        counted.update(dict(part))
    return tuple(counted.most_common(TENANTS))
