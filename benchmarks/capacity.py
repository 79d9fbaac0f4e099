"""The cost of one hop to Postgres: the command behind ``make capacity``, whose figures ``pgbaton capacity`` reckons
with.

Three runs of jobs of five hops, with one worker: *busy*, as fast as it goes; *alone*, one job after the other, so that
no two hops share a turn or a commit; *paced*, at 300 hops a second, which nothing is reckoned from: what is reckoned
for that rate is compared with it. A hop is all that a database has of it: the trigger, the worker's turns, and
the stage's own two updates of the row (running, done). Every figure is of what happened between two looks at Postgres'
own counters.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks import proc
from benchmarks.ground import Ground
from benchmarks.jobs import ADD, HOPS, new_keys
from benchmarks.processes import Child
from benchmarks.run import STEADY, Watch, add
from benchmarks.stage_server import StageServer
from pgbaton import capacity

FIGURES = Path(__file__).parents[1] / "src/pgbaton/hop.json"
"""Where the figures are kept: the only copy."""
WARM, BUSY, ALONE = 400, 3000, 60
"""Jobs before the first look, and of the two runs."""
PACED, TICKS = 6, 150
"""Jobs every tenth of a second, and for how many of these: 300 hops a second for 15 s."""
PATIENCE = 60.0
COUNTERS = """
SELECT (SELECT wal_bytes FROM pg_stat_wal)::float8 AS wal_bytes, (SELECT wal_fpi FROM pg_stat_wal)::float8 AS wal_fpi,
       (SELECT coalesce(sum(fsyncs), 0) FROM pg_stat_io WHERE object = 'wal')::float8 AS flushes,
       (SELECT coalesce(sum(writes), 0) FROM pg_stat_io WHERE object = 'relation')::float8 AS pages,
       (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database())::float8 AS transactions
"""
SIZES = """
SELECT count(*)::float8 AS rows, pg_relation_size('pgbaton.history')::float8 AS heap,
       pg_indexes_size('pgbaton.history')::float8 AS indexes FROM pgbaton.history
"""
CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgbaton%'
"""


@dataclass(frozen=True)
class Look:
    hops: int
    at: float
    postgres: float
    worker: float
    counters: dict[str, float]


async def look(db: asyncpg.Connection, watch: Watch) -> Look:
    await db.execute("SELECT pg_stat_force_next_flush()")
    await asyncio.sleep(1.1)  # other sessions tell their counters once a second
    sight = await watch.look()
    return Look(sight.hops, sight.at, sight.postgres, sight.engine, dict(await db.fetchrow(COUNTERS)))


def per_hop(a: Look, b: Look, rate: float) -> dict[str, float]:
    hops = b.hops - a.hops
    found = {key: (b.counters[key] - a.counters[key]) / hops for key in a.counters}
    return {
        "hops_per_second": round(rate),
        **{key: round(value, 2 if value < 100 else 0) for key, value in found.items()},
        "postgres_cpu_ms": round(1000 * (b.postgres - a.postgres) / hops, 3),
        "worker_cpu_ms": round(1000 * (b.worker - a.worker) / hops, 3),
    }


async def measured(size: float) -> dict[str, Any]:
    busy, alone, ticks = max(100, int(BUSY * size)), max(10, int(ALONE * size)), max(20, int(TICKS * size))
    async with (
        Ground.prepared() as ground,
        ground.database("pgbaton") as dsn,
        StageServer.on(ground, dsn) as stage,
        Child.of(ground.log(), "child", "work", "pgbaton", dsn, stage.url) as engine,
    ):
        await engine.line()
        watch = Watch(ground, stage, engine)
        db = await asyncpg.connect(dsn)
        done = WARM * HOPS
        await add(ground, "pgbaton", dsn, WARM)
        await watch.until(done, time.monotonic() + PATIENCE)
        await db.execute("CHECKPOINT")
        a = await look(db, watch)
        await add(ground, "pgbaton", dsn, busy)
        first, last = (done + round(busy * HOPS * share) for share in STEADY)
        began, ended = [await watch.until(hops, time.monotonic() + PATIENCE) for hops in (first, last)]
        done += busy * HOPS
        await watch.until(done, time.monotonic() + PATIENCE)
        await asyncio.sleep(1)  # the last ends are written
        await db.execute("CHECKPOINT")
        b = await look(db, watch)
        found = {"busy": per_hop(a, b, (ended.hops - began.hops) / (ended.at - began.at))}
        connections = await db.fetchval(CONNECTIONS)
        for job in range(2 * alone):  # the first half touches the pages that the checkpoint has written
            if job == alone:
                b = await look(db, watch)
            done += HOPS
            await db.execute(ADD.format("$1"), new_keys(1))
            await watch.until(done, time.monotonic() + PATIENCE)
        c = await look(db, watch)
        found["alone"] = per_hop(b, c, (c.hops - b.hops) / (c.at - b.at))
        for tick in range(ticks):
            done += PACED * HOPS
            await db.execute(ADD.format("$1"), new_keys(PACED))
            await asyncio.sleep(max(0.0, c.at + (tick + 1) / 10 - time.monotonic()))
        await watch.until(done, time.monotonic() + PATIENCE)
        d = await look(db, watch)
        found["paced"] = per_hop(c, d, (d.hops - c.hops) / (ticks / 10))
        await db.execute("VACUUM ANALYZE pgbaton.history")
        sizes = await db.fetchrow(SIZES)
        version = await db.fetchval("SELECT current_setting('server_version')")
        memory = proc.peak_rss(engine.pid)
        await db.close()
    return {
        "measured_on": {"cores": os.cpu_count(), "machine": platform.machine(), "postgres": version.split()[0]},
        **found,
        "history_bytes": {
            "heap": round(sizes["heap"] / sizes["rows"]),
            "indexes": round(sizes["indexes"] / sizes["rows"]),
        },
        "worker": {"connections": connections, "memory_mb": round(memory)},
    }


def beside(found: dict[str, Any]) -> str:
    """What was measured at the paced rate, and what ``pgbaton capacity`` says of that rate, as Markdown."""
    paced = found["paced"]
    rate = paced["hops_per_second"]
    paper = capacity.need(rate, 86400.0)
    rows = [
        ("CPU of Postgres, cores", paper.postgres_cores, rate * paced["postgres_cpu_ms"] / 1000),
        ("CPU of workers, cores", paper.worker_cores, rate * paced["worker_cpu_ms"] / 1000),
        ("WAL between two checkpoints, MB/s", paper.wal / capacity.FULL_PAGES, rate * paced["wal_bytes"] / 1e6),
        ("transactions a second", paper.transactions, rate * paced["transactions"]),
        ("flushes of WAL a second", paper.flushes, rate * paced["flushes"]),
        ("connections of a worker", paper.connections / paper.workers, found["worker"]["connections"]),
    ]
    lines = [f"| at {rate} hops a second | on paper | measured |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {what} | {said:.3g} | {was:.3g} |" for what, said, was in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=float, default=1.0, help="a share of the jobs, to try it out")
    parser.add_argument("--keep", action="store_true", help=f"write {FIGURES.name}, which pgbaton capacity reads")
    asked = parser.parse_args()
    found = asyncio.run(measured(asked.size))
    text = json.dumps(found, indent=2) + "\n"
    print(text)
    if asked.keep:
        FIGURES.write_text(text, encoding="utf-8")
    print(beside(found))


if __name__ == "__main__":
    main()
