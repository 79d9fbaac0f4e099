"""The cost to other jobs of one row that the table refuses: 780 jobs with it and without, in turn, on one server.

    python -m benchmarks.poisoned [ROUNDS]

Prints the seconds until all others are done, and the ratio of the medians. The poisoned row's stage
rejects it (422), and the table has a CHECK that refuses ``failed`` there.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import asyncpg

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from line import line  # type: ignore[import-not-found]
from pgbaton.embedded import EmbeddedPostgres
from stage_server import Call, Say, StageServer, work  # type: ignore[import-not-found]

JOBS = 780
TABLE = """
CREATE TABLE jobs (
    job_id       uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id    text NOT NULL DEFAULT 'acme',
    current_step text,
    status       text,
    note         text,
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CHECK (status <> 'failed' OR note IS NULL)
)
"""
ADD = """
INSERT INTO jobs (current_step, status, note)
SELECT 'made', 'done', CASE WHEN n = 23 AND $2 THEN 'poison' END FROM generate_series(1, $1) AS n
"""
LEFT = "SELECT count(*) FROM jobs WHERE note IS NULL AND (current_step, status) <> ('glue', 'done')"


async def behave(server: StageServer, call: Call) -> Say:
    note = await server.pool.fetchval("SELECT note FROM jobs WHERE job_id = $1::text::uuid", call.job_id)
    return Say(422) if note == "poison" else await work(server, call)


async def once(dsn: str, poisoned: bool) -> float:
    admin = await asyncpg.connect(dsn)
    name = f"poisoned_{time.monotonic_ns()}"
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    url = dsn.rsplit("/", 1)[0] + f"/{name}"
    conn = await asyncpg.connect(url)
    await conn.execute(TABLE)
    await conn.close()
    async with line(url, behave) as craft, craft.worker():
        began = time.monotonic()
        await craft.db.execute(ADD, JOBS, poisoned)
        while await craft.db.fetchval(LEFT):
            await asyncio.sleep(0.02)
        took = time.monotonic() - began
        dead = await craft.db.fetchval("SELECT count(*) FROM pgbaton.dispatches WHERE state = 'dead'")
        if dead > poisoned:
            raise SystemExit(f"the poisoned row was tried {dead} times")
        return took


async def main(rounds: int) -> None:
    times: dict[bool, list[float]] = {False: [], True: []}
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedPostgres(Path(folder) / "cluster", durable=False) as server,
    ):
        for n in range(2 * rounds + 1):
            took = await once(server.dsn(), poisoned=bool(n % 2))
            print("poisoned" if n % 2 else "without", f"{took:.2f} s", flush=True)
            if n:  # the first one warms up
                times[bool(n % 2)].append(took)
    without, with_it = median(times[False]), median(times[True])
    print(f"{JOBS} jobs, two stages: {without:.2f} s without, {with_it:.2f} s with one poisoned row")
    print(f"ratio {with_it / without:.2f}; all: {times}")


if __name__ == "__main__":
    logging.disable()
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
