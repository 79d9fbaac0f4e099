"""A writer of the user's table, and what its statements left in the journal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

INSERT = "INSERT INTO jobs (current_step, status) VALUES ($1, $2) RETURNING job_id"
MOVE = "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id = $1"
CLOSE_THE_GATE = "SELECT pg_advisory_lock(72394502, hashtext('craft'))"


async def left(db: asyncpg.Pool) -> list[tuple[str, str | None, str | None]]:
    """The duties and looks (stage '') that were left since the last question: stage, step and status; taken away."""
    rows = await db.fetch(
        "WITH d AS (DELETE FROM pgbaton.due RETURNING *) SELECT stage, step, status FROM d ORDER BY id"
    )
    return [tuple(row) for row in rows]


async def states(db: asyncpg.Pool) -> list[tuple[str, str]]:
    return [tuple(r) for r in await db.fetch("SELECT stage, state FROM pgbaton.dispatches ORDER BY id")]


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(dsn)
    try:
        yield conn
    finally:
        await conn.close()
