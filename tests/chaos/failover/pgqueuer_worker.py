"""PgQueuer as the engine of a drill, written as a careful team would: ``python -m chaos.failover.pgqueuer_worker '{…}'``.

One job of its queue is one hop: the handler calls the stage, then enqueues the next hop, once, by its dedupe key. A call
that failed is made again by PgQueuer's executor for retries, and a job that has used up its attempts is held for a person.
Jobs of a worker that is gone are taken again when their heartbeat is ``HEARTBEAT`` old; a worker whose connections broke
is started again by PgQueuer's supervisor. Addresses, stages and load are those of pgbaton's drills.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import asyncpg
import pgqueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pyreqwest.client import ClientBuilder

from chaos.journal import Journal
from chaos.plan import LINE
from pgbaton import hosts

HEARTBEAT = timedelta(seconds=3)
"""As long as a lease of pgbaton's workers in the same drills."""
ATTEMPTS = 20
TIMEOUT = 4.0
"""Seconds of one call. Both as in the drills' plan for pgbaton."""
BROKEN_AFTER = 5.0
"""Seconds until a statement that is not answered, and a connection that does not come about, is given up."""
RESTARTED_AFTER = timedelta(seconds=1)
NEXT = {after: step for step, after in LINE.items()}


async def install(dsn: str) -> None:
    """The queue's tables, in place of pgbaton's."""
    db = await hosts.connect(dsn)  # the primary: a standby has no database that was made just now
    try:
        await db.execute("DROP SCHEMA pgbaton CASCADE")  # its triggers on the table, too
        await Queries(pgqueuer.AsyncpgDriver(db)).install()
    finally:
        await db.close()


async def enqueue(db: asyncpg.Connection, jobs: Sequence[str]) -> None:
    """The first hop of these jobs, in the transaction that is open."""
    await _enqueue(Queries(pgqueuer.AsyncpgDriver(db)), NEXT["made"], jobs)


async def _enqueue(queries: Queries, step: str, jobs: Sequence[str]) -> None:
    payloads: list[bytes | None] = [json.dumps([step, job]).encode() for job in jobs]
    keys: list[str | None] = [f"{step} {job}" for job in jobs]
    await queries.enqueue(["hop"] * len(jobs), payloads, [0] * len(jobs), dedupe_key=keys, on_conflict="skip")


@asynccontextmanager
async def engine(dsn: str, url: str, journal: Journal) -> AsyncIterator[pgqueuer.PgQueuer]:
    """One life of a worker."""
    retried = partial(
        pgqueuer.DatabaseRetryEntrypointExecutor,
        max_attempts=ATTEMPTS,
        initial_delay=timedelta(seconds=0.5),
        max_delay=timedelta(seconds=5),
    )
    client = ClientBuilder().no_proxy().timeout(timedelta(seconds=TIMEOUT)).error_for_status(True).build()
    async with asyncpg.create_pool(
        dsn, min_size=2, max_size=8, timeout=BROKEN_AFTER, command_timeout=BROKEN_AFTER
    ) as pool:
        queue = pgqueuer.PgQueuer.from_asyncpg_pool(pool)

        @queue.entrypoint("hop", executor_factory=retried, on_failure="hold")
        async def hop(job: Job) -> None:
            step, key = json.loads(job.payload or b"")
            request = client.post(f"{url}/{step}").header("x-pgbaton-attempt", str(job.attempts + 1))
            request = request.header("idempotency-key", str(job.id))
            response = await request.body_bytes(json.dumps({"job_id": key}).encode()).build().send()
            await response.bytes()
            if step in NEXT:
                await _enqueue(Queries(queue.connection), NEXT[step], [key])

        journal.write("ready")
        yield queue


async def work(dsn: str, url: str, folder: str, who: str, capacity: int, poll: float) -> None:
    """Be a worker until SIGTERM."""
    await pgqueuer.run(
        partial(engine, dsn, url, Journal(Path(folder), who)),
        dequeue_timeout=timedelta(seconds=poll),
        batch_size=capacity // 2,
        max_concurrent_tasks=capacity,
        heartbeat_timeout=HEARTBEAT,
        shutdown_on_listener_failure=True,
        restart_on_failure=True,
        restart_delay=RESTARTED_AFTER,
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(work(**json.loads(sys.argv[1])))
