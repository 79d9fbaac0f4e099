"""The cost of forgetting old attempts, as the history grows: ``python -m benchmarks.pruning``.

The same rows are pruned out of a history, and out of one that is five times as long: by the worker's own statement,
with and without a bound from where the last batch ended, with and without an old snapshot that keeps the dead entries
in the index; and as partitions that are dropped, with what those cost the look-ups by job.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import asyncpg

from benchmarks.ground import Ground
from pgbaton import sql
from pgbaton.install.migrate import migrate

FILL = """
INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, run, outcome, state,
                             created_at, started_at, ended_at)
SELECT i, 1, true, 'bench', md5((i / 5)::text), 'acme', 's' || i % 5, i, 'completed', 'completed', t, t, t
  FROM generate_series($1::bigint, $2::bigint) AS i
 CROSS JOIN LATERAL (SELECT now() - interval '30 days' + i * interval '1 ms' AS t) AS at
"""


async def filled(db: asyncpg.Connection, rows: int) -> None:
    """``rows`` of the history, a millisecond apart, from thirty days ago on."""
    await db.execute("TRUNCATE pgbaton.history")
    for first in range(1, rows, 500_000):
        await db.execute(FILL, first, min(first + 499_999, rows))
    await db.execute("VACUUM ANALYZE pgbaton.history")


async def pruned(db: asyncpg.Connection, batches: int, *, bounded: bool) -> tuple[float, float]:
    """Milliseconds of the first ten and of the last ten of so many batches; all rows but none are old enough."""
    text, since, took = sql.read("worker/prune.sql"), None, []
    for _ in range(batches):
        began = time.perf_counter()
        row = await db.fetchrow(text, 3600.0, since)
        took.append(1000 * (time.perf_counter() - began))
        if bounded:
            since = row["reached"]
    return sum(took[:10]) / 10, sum(took[-10:]) / 10


async def partitions(db: asyncpg.Connection, rows: int) -> dict[str, float]:
    """The same rows in 30 partitions: a look-up of a job's history, and what it takes to drop one; ms."""
    await db.execute(
        "CREATE TABLE parted (LIKE pgbaton.history) PARTITION BY RANGE (ended_at); "
        "CREATE INDEX ON parted (job_key, id); CREATE INDEX ON parted (id, attempt); CREATE INDEX ON parted (ended_at)"
    )
    start = await db.fetchval("SELECT min(ended_at) FROM pgbaton.history")
    step = await db.fetchval("SELECT (max(ended_at) - min(ended_at)) / 30 FROM pgbaton.history")
    for i in range(31):
        await db.execute(
            f"CREATE TABLE parted_{i} PARTITION OF parted FOR VALUES FROM ('{(start + i * step).isoformat()}') "
            f"TO ('{(start + (i + 1) * step).isoformat()}')"
        )
    await db.execute("INSERT INTO parted SELECT * FROM pgbaton.history; ANALYZE parted")
    found = {}
    for table in ("pgbaton.history", "parted"):
        query = f"SELECT count(*) FROM {table} WHERE job_key = md5($1::text) AND id > 0"
        began = time.perf_counter()
        for i in range(500):
            await db.fetchval(query, str(i * 7))
        found[f"look-up in {table}"] = 2 * (time.perf_counter() - began)
    began = time.perf_counter()
    await db.execute("DROP TABLE parted_0")
    found["drop a partition"] = 1000 * (time.perf_counter() - began)
    await db.execute("DROP TABLE parted")
    return found


async def main(rows: int, batches: int) -> None:
    async with Ground.prepared() as ground:
        db = await asyncpg.connect(ground.dsn())
        other = await asyncpg.connect(ground.dsn())
        await migrate(db)
        await db.execute("ALTER TABLE pgbaton.history SET (autovacuum_enabled = false)")
        for size in (rows, 5 * rows):
            for bounded in (False, True):
                for snapshot in (False, True):
                    await filled(db, size)
                    transaction = other.transaction(isolation="repeatable_read")
                    if snapshot:
                        await transaction.start()
                        await other.fetchval("SELECT 1")
                    wal = await db.fetchval("SELECT pg_current_wal_lsn()")
                    first, last = await pruned(db, batches, bounded=bounded)
                    grown = await db.fetchval("SELECT pg_current_wal_lsn() - $1::pg_lsn", wal)
                    if snapshot:
                        await transaction.rollback()
                    print(
                        f"{size:>9,} rows, bounded {bounded!s:5}, old snapshot {snapshot!s:5}: "
                        f"1,000 rows in {first:.1f} ms at first, {last:.1f} ms at the end; "
                        f"{grown / (1000 * batches):.0f} bytes of WAL a row",
                        flush=True,
                    )
        await filled(db, rows)
        print({key: round(value, 3) for key, value in (await partitions(db, rows)).items()})
        await db.close()
        await other.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pruning", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--batches", type=int, default=100)
    asked = parser.parse_args()
    asyncio.run(main(asked.rows, asked.batches))
