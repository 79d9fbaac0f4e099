"""The cost of the operators' page when there is much and many look: ``make bench-page``.

A database is filled with dispatches that wait and with a history; the page is served by a process of its own; viewers
open one of its screens after another, a second apart. Told are the times of the answers and the processor time that
Postgres spent on a screen. The whole size (a million dispatches, ten million of history) needs 12 GB of disk;
``ARGS="--size 0.1"`` is a tenth of it. ``--keep FOLDER`` keeps the database for the next time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import socket
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from statistics import quantiles

import asyncpg
import httpx

from benchmarks.proc import cpu_of_tree
from pgbaton import Pipeline, Stage
from pgbaton.embedded import EmbeddedPostgres
from pgbaton.install.attach import attach
from pgbaton.install.migrate import migrate
from pgbaton.table import table_of
from pgbaton.worker.store import Store

DISPATCHES, HISTORY = 1_000_000, 10_000_000
PART = 500_000
"""Rows of one statement that fills."""
TOKEN = "token-of-the-benchmark"  # noqa: S105
TARGET = 0.3
"""Seconds at p95 that a screen may take: beyond that a person waits."""
STEPS = ("vlm_analyze", "yolo_detect", "planner", "overlay", "vlm_judge")
PIPELINE = Pipeline(
    name="ads", table="jobs", key="job_id", tenant="tenant_id", step="current_step", status="status",
    base_url="http://127.0.0.1:9",
    stages=tuple(
        Stage(step=step, after=after, path=f"/{step}", concurrency=8)
        for after, step in zip(("img_gen", *STEPS), STEPS, strict=False)
    ),
)  # fmt: skip

# 500 tenants, one of which has a fifth; a week of history, one in a thousand dead.
OF_HISTORY = """
INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, run, outcome, state, http_status,
                             error, created_at, started_at, ended_at)
SELECT n, 1, true, 'ads', md5('job ' || n)::uuid, CASE n % 5 WHEN 0 THEN 't0' ELSE 't' || n % 500 END,
       ($3::text[])[1 + n % 5], n, CASE n % 1000 WHEN 0 THEN 'failed' ELSE 'completed' END,
       CASE n % 1000 WHEN 0 THEN 'dead' ELSE 'completed' END, CASE n % 1000 WHEN 0 THEN 500 ELSE 200 END,
       CASE n % 1000 WHEN 0 THEN 'HTTP 500: it broke ' || n END, at - interval '6 s', at - interval '4 s', at
  FROM generate_series($1::bigint, $2::bigint) AS n
 CROSS JOIN LATERAL (SELECT now() - interval '7 days' * (1 - n / $4::float8) AS at) AS t
"""
OF_DUTIES = """
INSERT INTO pgbaton.due (id, pipeline, stage, job_key, tenant, step, status) OVERRIDING SYSTEM VALUE
SELECT n, 'ads', ($3::text[])[1 + n % 5], md5('job ' || n)::uuid, CASE n % 5 WHEN 0 THEN 't0' ELSE 't' || n % 500 END,
       ($4::text[])[1 + n % 5], 'done'
  FROM generate_series($1::bigint, $2::bigint) AS n
"""
SCREENS = (
    "/", "/jobs", "/jobs?state=dead", "/jobs?from=1h&tenant=t7&tenant=t8", "/jobs?error=HTTP+500&from=1d", "/dead",
    "/trends?span=day", "/trends?span=month", "/tenant?name=t7", "/stages", "/workers", "/audit", "/job?key={job}",
)  # fmt: skip


SETTINGS = {"shared_buffers": "1GB", "maintenance_work_mem": "512MB", "max_wal_size": "8GB"}
"""As of a server for a database of 12 GB."""


async def fill(db: asyncpg.Connection, dispatches: int, history: int) -> None:
    await db.execute(
        "CREATE TABLE jobs (job_id uuid PRIMARY KEY, tenant_id text, current_step text NOT NULL, "
        "status text NOT NULL, updated_at timestamptz DEFAULT now())"
    )
    await migrate(db)
    await attach(db, PIPELINE)
    await db.execute("INSERT INTO pgbaton.workers (pipeline, name, capacity, expires_at) "
                     "VALUES ('ads', 'w', 64, now() + interval '1 day')")  # fmt: skip
    # Without its indexes the history is filled in a third of the time: each is then built from sorted rows.
    of_it = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'pgbaton' AND tablename = 'history'"
    indexes = await db.fetch(of_it)
    for index in indexes:
        await db.execute(f"DROP INDEX pgbaton.{index['indexname']}")
    for first in range(1, history + 1, PART):
        await db.execute(OF_HISTORY, first, min(first + PART - 1, history), STEPS, history, timeout=None)
        print(f"\r{min(first + PART - 1, history):,} of {history:,} of history", end="", file=sys.stderr)
    print(file=sys.stderr)
    for index in indexes:
        await db.execute(index["indexdef"], timeout=None)
    for first in range(history + 1, history + dispatches + 1, PART):
        last = min(first + PART - 1, history + dispatches)
        await db.execute(OF_DUTIES, first, last, STEPS, ("img_gen", *STEPS), timeout=None)
    await db.execute("INSERT INTO jobs SELECT job_key::uuid, tenant, stage, 'failed' FROM pgbaton.history "
                     "WHERE state = 'dead'")  # fmt: skip
    await db.execute("VACUUM ANALYZE", timeout=None)


async def serve(dsn: str) -> tuple[asyncio.subprocess.Process, str]:
    """``pgbaton web`` as a process of its own; its address."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "pgbaton", "web", "--port", str(port),
        env=os.environ | {"DATABASE_URL": dsn, "PGBATON_WEB_TOKEN": TOKEN},
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient() as client, asyncio.timeout(20):
        while True:
            try:
                await client.get(f"{address}/healthz")
                return process, address
            except httpx.TransportError:
                await asyncio.sleep(0.1)


async def look(address: str, until: float, jobs: list[str], times: dict[str, list[float]]) -> None:
    """One viewer: another screen every second."""
    async with httpx.AsyncClient(base_url=f"{address}/pgbaton", timeout=30, follow_redirects=False) as client:
        await client.post("/login", data={"token": TOKEN}, headers={"Origin": address})
        await asyncio.sleep(random.random())
        while time.monotonic() < until:
            screen = random.choice(SCREENS)
            began = time.monotonic()
            answer = await client.get(screen.replace("{job}", random.choice(jobs)))
            if answer.status_code != 200:
                print(f"{screen}: HTTP {answer.status_code}", file=sys.stderr)
            times[screen].append(time.monotonic() - began)
            await asyncio.sleep(max(0.0, began + 1 - time.monotonic()))


async def roll_up(db: asyncpg.Connection) -> None:
    """As a worker does it."""
    store = Store(db, await table_of(db, "ads"), ())
    began, hours = time.monotonic(), 0
    await store.begin_roll_up()
    while await store.roll_up():
        hours += 1
    print(f"rolled up {hours} hours, {(time.monotonic() - began) / max(hours, 1):.2f} s each")


async def filled(server: EmbeddedPostgres, dispatches: int, history: int) -> list[str]:
    """A few jobs of the history; the database is filled if it is empty."""
    db = await asyncpg.connect(server.dsn())
    try:
        if await db.fetchval("SELECT to_regclass('jobs') IS NULL"):
            await fill(db, dispatches, history)
        await roll_up(db)
        newest = "SELECT job_key FROM pgbaton.history ORDER BY id DESC LIMIT 50"
        return [r["job_key"] for r in await db.fetch(newest)]
    finally:
        await db.close()


async def measure(server: EmbeddedPostgres, dispatches: int, history: int, viewers: int, seconds: float) -> bool:
    dsn = server.dsn()
    jobs = await filled(server, dispatches, history)
    process, address = await serve(dsn)
    times: dict[str, list[float]] = defaultdict(list)
    try:
        await look(address, time.monotonic() + 3, jobs, defaultdict(list))  # the first opens connections
        before, began = cpu_of_tree(server.pid), time.monotonic()
        await asyncio.gather(*(look(address, began + seconds, jobs, times) for _ in range(viewers)))
        spent, lasted = cpu_of_tree(server.pid) - before, time.monotonic() - began
    finally:
        process.terminate()
        await process.wait()
    everything = [one for some in times.values() for one in some]
    print(f"{dispatches:,} dispatches wait, {history:,} ended, {viewers} viewers, {lasted:.0f} s")
    for screen, some in sorted(times.items(), key=lambda pair: -p95(pair[1])):
        print(f"{screen:<36} {len(some):>5} times   p50 {1000 * p50(some):>5.0f} ms   p95 {1000 * p95(some):>5.0f} ms")
    print(f"{'all':<36} {len(everything):>5} times   p50 {1000 * p50(everything):>5.0f} ms   "
          f"p95 {1000 * p95(everything):>5.0f} ms")  # fmt: skip
    print(f"Postgres: {1000 * spent / len(everything):.0f} ms of processor time for a screen, "
          f"{100 * spent / lasted:.0f} % of a core")  # fmt: skip
    return p95(everything) <= TARGET


def p50(some: list[float]) -> float:
    return sorted(some)[len(some) // 2]


def p95(some: list[float]) -> float:
    return quantiles(some, n=20)[-1] if len(some) > 1 else some[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=float, default=1.0, help="share of the whole size")
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--keep", metavar="FOLDER", help="fill the database there, or measure what is there already")
    given = parser.parse_args()
    if given.keep:
        Path(given.keep).mkdir(exist_ok=True)
    with nullcontext(given.keep) if given.keep else tempfile.TemporaryDirectory(prefix="pgbaton-bench-") as folder:
        Path(folder).chmod(0o711)  # as root, the server runs as another user
        with EmbeddedPostgres(Path(folder, "postgres"), durable=False, settings=SETTINGS) as server:
            met = asyncio.run(
                measure(server, int(DISPATCHES * given.size), int(HISTORY * given.size), given.viewers, given.seconds)
            )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
