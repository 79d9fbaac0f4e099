"""The command, in this process and as one of its own, and a line that it has something to say about."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from journal_rows import kill, put_off
from line import Line, line
from pgbaton import Pipeline
from pgbaton.cli import main, tables
from pgbaton.cli.speech import language

PGBATON = Path(sys.executable).with_name("pgbaton")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


async def start(*words: str, dsn: str | None = None, **environment: str) -> asyncio.subprocess.Process:
    """The command as a process of its own: a worker, a page, or one that is watched, cut off or told to end."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        PGBATON, *words, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=_environment(dsn, environment)
    )


async def process(*words: str, dsn: str | None = None, **environment: str) -> Done:
    """The command as a process of its own, until it has ended."""
    running = await start(*words, dsn=dsn, **environment)
    async with asyncio.timeout(30):
        out, err = await running.communicate()
    assert running.returncode is not None
    done = Done(running.returncode, out.decode(), err.decode())
    assert "Traceback" not in done.err, done.err
    return done


async def pgbaton(*words: str, dsn: str | None = None, **environment: str) -> Done:
    """The command from its arguments to its exit code, in this process: half a second of imports is saved each time. A
    worker or a page is a process of its own, for it takes signals and the log."""
    if words[:1] in (("run",), ("web",)) or "_PGBATON_COMPLETE" in environment:
        return await process(*words, dsn=dsn, **environment)
    return await asyncio.to_thread(_called, words, _environment(dsn, environment))


def _environment(dsn: str | None, more: dict[str, str]) -> dict[str, str]:
    given = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV")}
    return given | {"COLUMNS": "200", "PYTHONUTF8": "1", **({"DATABASE_URL": dsn} if dsn else {}), **more}


_ONE_AT_A_TIME = threading.Lock()  # they share sys.stdout and the environment


def _called(words: tuple[str, ...], environment: dict[str, str]) -> Done:
    with _ONE_AT_A_TIME, pytest.MonkeyPatch.context() as patch:
        stdin, stdout, stderr = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(3))
        for name, stream in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr)):
            patch.setattr(sys, name, stream)
        patch.setattr(sys, "argv", ["pgbaton", *words])
        patch.setattr(tables, "_part", type(tables._part)())
        for name in set(os.environ) - set(environment):
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            time.tzset()
            language.cache_clear()
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        finally:
            patch.undo()
            time.tzset()
            language.cache_clear()
    return Done(code, *(stream.buffer.getvalue().decode() for stream in (stdout, stderr)))  # type: ignore[attr-defined]


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


def toml(folder: Path, pipeline: Pipeline, more: str = "") -> str:
    """A file with the pipeline; its path."""
    head = ("name", "table", "key", "tenant", "step", "status", "channel", "base_url")
    lines = ["[pipeline]", *(f'{k} = "{v}"' for k in head if (v := getattr(pipeline, k)) is not None)]
    for stage in pipeline.stages:
        lines += ["[[pipeline.stage]]", f'step = "{stage.step}"', f'after = "{stage.after}"', f'path = "{stage.path}"']
        lines += [f"attempts = {stage.attempts}", f"timeout = {stage.timeout}"]
    path = folder / "pgbaton.toml"
    path.write_text("\n".join([*lines, more]))
    return str(path)


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
