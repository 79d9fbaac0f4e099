"""Rows of the journal as tests need them: a job that died, one that waits, much of everything; no worker makes them."""

from __future__ import annotations

import asyncpg


async def kill(
    db: asyncpg.Connection | asyncpg.Pool,
    job: str,
    stage: str,
    *,
    error: str | None = "HTTP 500 boom",
    attempts: int = 5,
) -> None:
    """The job died at ``stage``: all that was open of it is over, and its row is failed there."""
    await db.execute(
        "WITH gone AS (DELETE FROM pgbaton.due WHERE job_key = $1 RETURNING *), "
        "     call AS (DELETE FROM pgbaton.calls WHERE job_key = $1 RETURNING *) "
        "INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, run, failures, worker, "
        "                             outcome, state, http_status, error, created_at, started_at) "
        "SELECT max(id), $3, true, pipeline, job_key, max(tenant), $2, max(id), $3, 1, 'failed', 'dead', 500, "
        "$4, now(), now() "
        "  FROM (SELECT id, pipeline, job_key, tenant FROM gone WHERE stage <> '' "
        "         UNION ALL SELECT id, pipeline, job_key, tenant FROM call) AS open GROUP BY pipeline, job_key",
        job,
        stage,
        attempts,
        error,
    )
    await db.execute("UPDATE jobs SET current_step = $2, status = 'failed' WHERE job_id = $1::text::uuid", job, stage)
    await db.execute("DELETE FROM pgbaton.due WHERE job_key = $1", job)


async def put_off(
    db: asyncpg.Connection | asyncpg.Pool, job: str, *, seconds: float = 3600, error: str = "HTTP 500"
) -> None:
    """The job's duty was called once, failed, and waits to be called again."""
    await db.execute(
        "WITH duty AS (DELETE FROM pgbaton.due WHERE job_key = $1 AND stage <> '' RETURNING *), "
        "     attempt AS (INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, "
        "run, failures, "
        "                                               worker, outcome, http_status, error, created_at, started_at) "
        "                 SELECT id, 1, true, pipeline, job_key, tenant, stage, id, 1, 1, 'failed', 500, $3, "
        "created_at, now() "
        "                   FROM duty) "
        "INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, tenant, run, attempt, failures, "
        "worker, created_at, "
        "                           due_at, waits_for, outcome) "
        "SELECT pipeline, job_key, id, stage, step, tenant, id, 1, 1, 1, created_at, "
        "       clock_timestamp() + make_interval(secs => $2), stage, 'failed' FROM duty",
        job,
        seconds,
        error,
    )
