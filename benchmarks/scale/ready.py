"""Jobs made by the database itself, many at once, as one pipeline's table has them."""

from __future__ import annotations

import asyncpg

from benchmarks.writer import KEY

BATCH = 100_000


async def fill(db: asyncpg.Connection, jobs: int, step: str = "s0", status: str = "done") -> None:
    """``jobs`` rows in that state; committed in batches, as no user adds a million at once."""
    for start in range(1, jobs + 1, BATCH):
        await db.execute(
            f"INSERT INTO jobs SELECT {KEY.format('n')}, 'acme', $1, $2 FROM generate_series($3::int, $4::int) n",
            *(step, status, start, min(start + BATCH - 1, jobs)),
        )
    await db.execute("ANALYZE")  # as autovacuum would within a minute
