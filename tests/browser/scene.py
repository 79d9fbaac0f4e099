"""A database in which everything that the page can show is the case, for its tests and for its pictures."""

from __future__ import annotations

import asyncio
import json

import asyncpg

from line import JOBS
from pgbaton import Pipeline, Stage
from pgbaton.install.attach import attach
from pgbaton.install.migrate import migrate

STEPS = ("vlm_analyze", "yolo_detect", "planner", "overlay", "vlm_judge")
HOSTILE = "<script>alert('tenant')</script>\"'&{{7*7}}"

PIPELINE = Pipeline(
    name="ad_creative",
    table="public.jobs",
    key="job_id",
    tenant="tenant_id",
    step="current_step",
    status="status",
    channel="job_state_changed",
    base_url="http://127.0.0.1:9",
    stages=tuple(
        Stage(step=step, after=after, path=f"/{step}", timeout=600, attempts=5, concurrency=8)
        for after, step in zip(("img_gen", *STEPS), STEPS, strict=False)
    ),
)

# Deterministic noise: r(i, n) is 0 .. 1.
SETUP = """
CREATE FUNCTION r(i bigint, n integer) RETURNS float8 LANGUAGE sql IMMUTABLE
AS $$ SELECT (hashtextextended(i::text, n) & 1048575) / 1048576.0 $$;
CREATE FUNCTION job(i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('job ' || i)::uuid $$;
CREATE TEMP TABLE staged (id bigint GENERATED ALWAYS AS IDENTITY, pipeline text, job_key text, tenant text, stage text,
    state text, attempt integer, failures integer DEFAULT 0, worker bigint, available_at timestamptz,
        created_at timestamptz,
    settled_at timestamptz);
CREATE TEMP TABLE staged_attempts (dispatch_id bigint, attempt integer, started_at timestamptz, finished_at timestamptz,
    outcome text, http_status integer, error text);
"""

# $1 first number, $2 how many, $3 step of the row, $4 its status: rows, without the trigger.
ROWS = """
INSERT INTO jobs (job_id, tenant_id, current_step, status, updated_at)
SELECT job(i), (ARRAY['acme','hanbit','moonbakery','northwind'])[1 + floor(4 * r(i, 1))::int], $3, $4,
       now() - make_interval(secs => 60 * r(i, 2))
  FROM generate_series($1::bigint, $1::bigint + $2 - 1) AS i
"""

# $1 first number, $2 how many, $3 stages passed, $4 seconds over which they ended, $5 spans ago: history, by stage.
HISTORY = """
WITH passed AS (
    SELECT i, k, now() - make_interval(secs => $4 * ($5 + r(i, 3)) + (cardinality($3::text[]) + 1 - k) * 9) AS began
      FROM generate_series($1::bigint, $1::bigint + $2 - 1) AS i, generate_series(1, cardinality($3::text[])) AS k
), made AS (
    INSERT INTO staged (pipeline, job_key, tenant, stage, state, attempt, available_at, created_at, settled_at)
    SELECT 'ad_creative', job(i)::text,
           (SELECT tenant_id FROM jobs WHERE job_id = job(i)), ($3::text[])[k], 'completed', 1, began, began,
           began + make_interval(secs => 0.2 + 1.5 * r(i * 7 + k, 4)
                                         + (CASE k WHEN 1 THEN 5 WHEN 5 THEN 6 ELSE 1 END) * (0.4 + r(i * 7 + k, 5)))
      FROM passed ORDER BY began
    RETURNING id, available_at, settled_at
)
INSERT INTO staged_attempts (dispatch_id, attempt, started_at, finished_at, outcome, http_status)
SELECT id, 1, available_at + (settled_at - available_at) * 0.2, settled_at, 'completed', 200 FROM made
"""

# $1 first number, $2 how many, $3 stage, $4 state, $5 attempts made, $6 errors to choose from, $7 age in seconds.
OPEN = """
WITH made AS (
    INSERT INTO staged (pipeline, job_key, tenant, stage, state, attempt, failures, worker, available_at, created_at,
                        settled_at)
    SELECT 'ad_creative', job(i)::text, (SELECT tenant_id FROM jobs WHERE job_id = job(i)), $3, $4, $5,
           CASE WHEN $4 IN ('dead', 'retryable') THEN $5 ELSE 0 END,
           CASE WHEN $4 = 'running' THEN (SELECT min(id) FROM pgbaton.workers) END,
           CASE $4 WHEN 'retryable' THEN now() + make_interval(secs => 3600 + 100 * r(i, 6))
                   ELSE now() - make_interval(secs => $7 * r(i, 3)) END,
           now() - make_interval(secs => $7 * (1 + r(i, 3))),
           CASE WHEN $4 IN ('dead', 'cancelled') THEN now() - make_interval(secs => $7 * r(i, 3) * 0.5) END
      FROM generate_series($1::bigint, $1::bigint + $2 - 1) AS i
    RETURNING id, job_key, created_at
)
INSERT INTO staged_attempts (dispatch_id, attempt, started_at, finished_at, outcome, http_status, error)
SELECT m.id, a, m.created_at + make_interval(secs => $7 * 0.18 * (a - 1) + 0.4),
       CASE WHEN $4 <> 'running' OR a < $5
            THEN m.created_at + make_interval(secs => $7 * (0.18 * (a - 1) + 0.05) + 1) END,
       CASE WHEN $4 <> 'running' OR a < $5 THEN (CASE $4 WHEN 'cancelled' THEN 'superseded' ELSE 'failed' END) END,
       CASE WHEN $4 IN ('dead', 'retryable') THEN 500 END,
       CASE WHEN $4 IN ('dead', 'retryable') THEN ($6::text[])[1 + m.id % cardinality($6::text[])] END
  FROM made AS m, generate_series(1, $5::integer) AS a
"""

# Ids are given in the order of time, and readers rely on it.
JOURNAL = """
CREATE TEMP TABLE numbered AS
    SELECT s.*, 1000000 + row_number() OVER (ORDER BY s.created_at, s.id) AS number, g.after
      FROM staged AS s
      JOIN pgbaton.stages AS g ON g.pipeline = s.pipeline AND g.step = s.stage;
INSERT INTO pgbaton.due (id, pipeline, stage, job_key, tenant, step, status, created_at) OVERRIDING SYSTEM VALUE
SELECT number, pipeline, stage, job_key, tenant, after, 'done', available_at FROM numbered WHERE state = 'available';
INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, tenant, run, attempt, failures, worker,
    created_at, started_at,
                           due_at, waits_for, slot, outcome)
SELECT n.pipeline, n.job_key, n.number, n.stage, n.after, n.tenant, n.number, n.attempt, n.failures,
       coalesce(n.worker, (SELECT min(id) FROM pgbaton.workers)), n.created_at, a.started_at,
       CASE n.state WHEN 'retryable' THEN n.available_at END, CASE n.state WHEN 'retryable' THEN n.stage END,
       CASE n.state WHEN 'running' THEN n.stage END, CASE n.state WHEN 'retryable' THEN a.outcome END
  FROM numbered AS n
  JOIN staged_attempts AS a ON a.dispatch_id = n.id AND a.attempt = n.attempt
 WHERE n.state IN ('running', 'retryable');
INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, run, failures, worker,
    outcome, state,
                             http_status, error, created_at, started_at, ended_at)
SELECT n.number, a.attempt, true, n.pipeline, n.job_key, n.tenant, n.stage, n.number, least(n.failures, a.attempt),
       (SELECT min(id) FROM pgbaton.workers), a.outcome,
       CASE WHEN a.attempt = n.attempt AND n.state IN ('completed', 'dead', 'cancelled') THEN n.state END,
       a.http_status, a.error, n.created_at, a.started_at, coalesce(CASE WHEN a.attempt = n.attempt THEN
           n.settled_at END, a.finished_at)
  FROM numbered AS n
  JOIN staged_attempts AS a ON a.dispatch_id = n.id
 WHERE a.finished_at IS NOT NULL;
SELECT setval(pg_get_serial_sequence('pgbaton.due', 'id'), (SELECT max(number) FROM numbered));
"""

ERRORS = {
    "overlay": [
        '{"title":"Stage failed","detail":"the copy does not fit: 41 characters need 912 px, the box has 640 px"}',
        "ReadTimeout: no answer within 300 s",
    ],
    "vlm_analyze": ["HTTP 500: CUDA out of memory. Tried to allocate 2.14 GiB (GPU 0; 23.68 GiB total)"],
    "yolo_detect": ["HTTP 502: upstream prematurely closed connection while reading response header"],
}


async def build(dsn: str, *, prepared: bool = False, scale: float = 1.0) -> None:
    """Fill a database. ``prepared``: it has the jobs table and the engine's schema."""
    db = await asyncpg.connect(dsn)
    try:
        if not prepared:
            await db.execute(JOBS)
            await migrate(db)
        await attach(db, PIPELINE)
        await db.execute(SETUP)
        await db.execute("SET session_replication_role = replica")
        await db.execute(
            "INSERT INTO pgbaton.workers (pipeline, name, capacity, started_at, expires_at) VALUES "
            "('ad_creative', 'app-yh-1', 64, now() - interval '9 h', now() + interval '1 day'),"
            "('ad_creative', 'app-yh-2', 64, now() - interval '2 h', now() + interval '1 day')"
        )
        await db.execute(
            "INSERT INTO pgbaton.workers (pipeline, name, capacity, started_at, renewed_at, expires_at) VALUES "
            "('ad_creative', 'app-yh-3', 64, now() - interval '2 h', now() - interval '60 s', now() - interval '59.99 s')"
        )
        at = 1

        async def add(count: int, step: str, status: str) -> tuple[int, int]:
            nonlocal at
            first, at = at, at + max(1, int(count * scale))
            await db.execute(ROWS, first, at - first, step, status)
            return first, at - first

        async def history(some: tuple[int, int], steps: int, span: float, ago: int) -> None:
            await db.execute(HISTORY, *some, list(STEPS[:steps]), span, ago)

        async def opened(some: tuple[int, int], step: str, state: str, attempts: int, age: float) -> None:
            await db.execute(OPEN, *some, step, state, attempts, ERRORS.get(step, ["HTTP 500: it broke"]), age)

        await history(await add(420, "vlm_judge", "done"), 5, 3500, 0)
        for step, done, state, status, count, attempts, age in (
            ("vlm_analyze", 0, "available", ("img_gen", "done"), 34, 0, 95),
            ("vlm_analyze", 0, "running", ("vlm_analyze", "running"), 8, 1, 12),
            ("yolo_detect", 1, "available", ("vlm_analyze", "done"), 4, 0, 4),
            ("yolo_detect", 1, "running", ("yolo_detect", "running"), 3, 1, 3),
            ("planner", 2, "running", ("planner", "running"), 2, 1, 2),
            ("overlay", 3, "dead", ("overlay", "failed"), 12, 5, 1500),
            ("overlay", 3, "running", ("overlay", "running"), 4, 1, 5),
            ("vlm_analyze", 0, "dead", ("vlm_analyze", "failed"), 3, 5, 2400),
            ("yolo_detect", 1, "retryable", ("vlm_analyze", "done"), 6, 2, 200),
            ("vlm_judge", 4, "available", ("overlay", "done"), 5, 0, 300),
            ("planner", 2, "cancelled", ("planner", "cancelled"), 2, 1, 900),
        ):
            some = await add(count, *status)
            if done:
                await history(some, done, age, 1)
            await opened(some, step, state, attempts, age)
        await db.execute("UPDATE pgbaton.stages SET paused_at = now() - interval '5 min' WHERE step = 'vlm_judge'")
        await db.execute(
            "UPDATE pgbaton.stages SET strikes = 4, open_until = now() + interval '1 day' WHERE step = 'yolo_detect'"
        )
        await db.execute(
            "UPDATE staged SET settled_at = settled_at - interval '3 h' WHERE settled_at < now() - interval '55 min'"
        )
        await db.execute(
            "UPDATE staged SET worker = (SELECT max(id) FROM pgbaton.workers) "
            "WHERE id = (SELECT min(id) FROM staged WHERE state = 'running' AND stage = 'planner')"
        )
        await db.execute(JOURNAL)
        await db.execute(
            "INSERT INTO pgbaton.census (pipeline, whole_began_at, whole_ended_at, whole_seen, whole) "
            "VALUES ('ad_creative', now(), now() + interval '1 day', 500, '[]')"
        )
        await db.execute("SET session_replication_role = origin")
        await db.execute("ANALYZE")
    finally:
        await db.close()


async def add_hostile(db: asyncpg.Connection) -> str:
    """A dead job whose every text means harm; returns its key."""
    text = json.dumps({"detail": "<img src=x onerror=alert(1)>" + HOSTILE + "\u202egnp.exe\x07"})
    key = str(
        await db.fetchval(
            "INSERT INTO jobs (tenant_id, current_step, status) VALUES ($1, 'overlay', 'failed') RETURNING job_id",
            HOSTILE,
        )
    )
    await db.execute(
        "WITH worker AS (INSERT INTO pgbaton.workers (pipeline, name, capacity, expires_at, ended_at) "
        "                VALUES ('ad_creative', $2, 1, now(), now()) RETURNING id), "
        "     number AS (SELECT nextval(pg_get_serial_sequence('pgbaton.due', 'id')) AS id) "
        "INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, run, failures, "
        "worker, outcome, "
        "                             state, http_status, error, created_at, started_at) "
        "SELECT number.id, 1, true, 'ad_creative', $1, $2, 'overlay', number.id, 1, worker.id, 'rejected', "
        "'dead', 400, $3, now(), now() "
        "  FROM worker, number",
        key, HOSTILE, text,
    )  # fmt: skip
    return key


if __name__ == "__main__":
    import sys

    asyncio.run(build(sys.argv[1]))
