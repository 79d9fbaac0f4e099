"""Limits that operators change while everything runs: one row, and an audit row, each; the next claim goes by it.

A value that is set here stands in the place of the file's, through any number of attaches, until it is reset.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import asyncpg

from pgbaton import sql
from pgbaton.errors import ConfigError
from pgbaton.table import JobTable

Limits = Mapping[str, float | int | None]
"""``concurrency``, ``per_tenant``, ``rate`` and ``rate_per_tenant`` (calls a second); None: no limit."""


async def limit_stage(
    conn: asyncpg.Connection, table: JobTable, step: str, limits: Limits, *, reset: bool, who: str, reason: str = ""
) -> dict[str, float | int]:
    """Set limits of a stage; ``reset``: forget first the limits that operators have set, and the ceiling of answers
    429. Returns the limits that it has now. Raises :class:`ConfigError` where there is no such stage, or it knows no
    tenants."""
    row = await conn.fetchrow(
        "SELECT takes_turns FROM pgbaton.stages WHERE pipeline = $1 AND step = $2 AND routed", table.pipeline, step
    )
    if row is None:
        raise ConfigError(f"the pipeline {table.pipeline!r} has no stage {step!r}")
    for key in ("per_tenant", "rate_per_tenant"):
        if limits.get(key) is not None and not row["takes_turns"]:
            raise ConfigError(
                f"{step}: {key}: the duties of this stage are not kept by tenant: give it a limit in the file, with "
                "the pipeline's tenant, and attach it; from then on it can be changed here"
            )
    said = json.dumps(dict(limits))
    given = (table.pipeline, step, said, reset, who, reason or None)
    changed = await conn.fetchrow(sql.read("operate/limit_stage.sql"), *given)
    # After that is committed: a claim that has not seen it is over by now, or will be counted by its stage's next end.
    await conn.execute(sql.read("operate/count_calls.sql"), table.pipeline, step)
    now: dict[str, float | int | None] = json.loads(changed["limits"])
    order = ("concurrency", "per_tenant", "rate", "rate_per_tenant")
    return {key: value for key in order if (value := now.get(key)) is not None}


async def limit_pool(
    conn: asyncpg.Connection, table: JobTable, pool: str, size: int | None, *, who: str, reason: str = ""
) -> int:
    """Set the size of a pool (None: as the file says); returns it. Raises :class:`ConfigError` where the pipeline has
    no such pool, or a stage costs more than that."""
    dear = await conn.fetchrow(
        "SELECT step, cost FROM pgbaton.stages WHERE pool = $1 AND routed ORDER BY cost DESC, step LIMIT 1", pool
    )
    if size is not None and dear is not None and dear["cost"] > size:
        raise ConfigError(f"the pool {pool!r}: {dear['step']} could never be called: it costs {dear['cost']}")
    row = await conn.fetchrow(sql.read("operate/limit_pool.sql"), table.pipeline, pool, size, who, reason or None)
    if row is None:
        raise ConfigError(f"no stage of the pipeline {table.pipeline!r} uses a pool {pool!r}")
    return int(row["size"])


async def limit_tenant(
    conn: asyncpg.Connection,
    table: JobTable,
    tenant: str,
    *,
    weight: int | None,
    per_tenant: int | None,
    rate_per_tenant: float | None,
    reset: bool,
    who: str,
    reason: str = "",
) -> dict[str, float | int]:
    """Set the limits of one tenant, at each stage that takes turns; None: as it was (``reset``: as all others have it).
    Returns its own limits now. Raises :class:`ConfigError` where the pipeline has no tenants."""
    if table.tenant is None:
        raise ConfigError(f"the pipeline {table.pipeline!r} has no tenants")
    row = await conn.fetchrow(
        sql.read("operate/limit_tenant.sql"),
        *(table.pipeline, tenant, weight, per_tenant, rate_per_tenant, reset, who, reason or None),
    )
    keys = ("weight", "per_tenant", "rate_per_tenant")
    return {key: row[key] for key in keys if row[key] is not None}
