"""The command as a process of its own, and a line that it has something to say about."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from journal_rows import kill, put_off
from line import Line, line

PGBATON = Path(sys.executable).with_name("pgbaton")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


async def start(*words: str, dsn: str | None = None, **environment: str) -> asyncio.subprocess.Process:
    given = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV")}
    given |= {"COLUMNS": "200", "PYTHONUTF8": "1", **({"DATABASE_URL": dsn} if dsn else {}), **environment}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(PGBATON, *words, stdout=pipe, stderr=pipe, env=given)


async def pgbaton(*words: str, dsn: str | None = None, **environment: str) -> Done:
    process = await start(*words, dsn=dsn, **environment)
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert process.returncode is not None
    done = Done(process.returncode, out.decode(), err.decode())
    assert "Traceback" not in done.err, done.err
    return done


ENDED = """
WITH duty AS (DELETE FROM pgbaton.due WHERE job_key = $1 RETURNING *)
INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, run, worker, outcome,
    state, created_at, started_at)
SELECT id, 1, true, pipeline, job_key, tenant, stage, id, 1, $2, $2, created_at, now() FROM duty
"""
LEFT = """
WITH duty AS (DELETE FROM pgbaton.due WHERE job_key = $1 RETURNING *)
INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, tenant, run, attempt, worker, created_at,
    started_at, deadline, outcome)
SELECT pipeline, job_key, id, stage, step, tenant, id, 1, 1, created_at, now(), now() + interval '1 hour',
    'accepted' FROM duty
"""


@asynccontextmanager
async def a_busy_day(dsn: str) -> AsyncIterator[tuple[Line, dict[str, str]]]:
    """A line with a dispatch in every state, and which job is in which."""
    async with line(dsn) as craft:
        jobs = {state: await craft.add() for state in ("completed", "dead", "retryable", "cancelled", "running")}
        await kill(craft.db, jobs["dead"], "cut", error="HTTP 500 dead", attempts=1)
        await put_off(craft.db, jobs["retryable"], error="HTTP 500 retryable")
        for state in ("completed", "cancelled"):
            await craft.db.execute(ENDED, jobs[state], state)
        await craft.db.execute(LEFT, jobs["running"])
        jobs["available"] = await craft.add("cut")
        yield craft, jobs
