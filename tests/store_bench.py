"""A store with one worker on an attached table: for tests of single statements and of how they meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Collection
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from line import attached, two_stages
from pgbaton import Pipeline
from pgbaton.decision.outcome import Answer, Reply
from pgbaton.decision.verdict import Job, Verdict, resolve
from pgbaton.model import Dispatch, Stage
from pgbaton.table import JobTable, read_table
from pgbaton.worker.store import Store, Turn

LEVELS = ["read_committed", "repeatable_read", "serializable"]

WAYS = [
    "UPDATE jobs SET current_step = 'cut', status = 'running' WHERE job_id = $1",
    "UPDATE jobs SET current_step = 'cut', status = 'done' WHERE job_id = $1",
    "UPDATE jobs SET current_step = 'cut', status = 'failed' WHERE job_id = $1",
    "UPDATE jobs SET current_step = 'made', status = 'done' WHERE job_id = $1",
    "UPDATE jobs SET current_step = 'aside' WHERE job_id = $1",
    "UPDATE jobs SET job_id = gen_random_uuid() WHERE job_id = $1",
    "DELETE FROM jobs WHERE job_id = $1",
    "TRUNCATE jobs",
]
"""Statements that a user may run on the row of a job, whose key is $1."""

T = TypeVar("T")


async def quickly(work: Awaitable[T]) -> T:
    """For work that must not wait for a lock: well below any lock timeout."""
    async with asyncio.timeout(5):
        return await work


def said(status: int, error: str | None = None) -> Answer:
    """The answer of a stage."""
    return Answer(Reply.ANSWERED, status, error=error)


class Bench:
    """The database, a store on it, and the id of a worker that has a lease."""

    def __init__(self, db: asyncpg.Pool, table: JobTable, store: Store, worker: int, pipeline: Pipeline) -> None:
        self.db, self.table, self.store, self.worker = db, table, store, worker
        self.stages: dict[str, Stage] = {stage.step: stage for stage in pipeline.stages}

    # -- the user's table ---------------------------------------------------------------------------

    async def add(self, step: str = "made", status: str = "done", tenant: str = "acme") -> str:
        insert = "INSERT INTO jobs (current_step, status, tenant_id) VALUES ($1, $2, $3) RETURNING job_id::text"
        return str(await self.db.fetchval(insert, step, status, tenant))

    async def put(self, job: str, step: str | None, status: str | None) -> None:
        update = "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id = $1::text::uuid"
        await self.db.execute(update, job, step, status)

    async def row(self, job: str) -> tuple[str, str] | None:
        found = await self.db.fetchrow("SELECT current_step, status FROM jobs WHERE job_id = $1::text::uuid", job)
        return None if found is None else tuple(found)

    # -- jobs in a call -----------------------------------------------------------------------------

    async def claimed(self, step: str = "made") -> Dispatch:
        """A fresh job's dispatch, claimed."""
        job = await self.add(step)
        claimed = {d.job_key: d for d in (await self.store.turn(self.worker, 99)).claimed}
        return claimed[job]

    async def begun(self) -> Dispatch:
        """As :meth:`claimed`, and the stage has written running."""
        dispatch = await self.claimed()
        await self.put(dispatch.job_key, "cut", "running")
        return dispatch

    async def job_in(self, standing: str) -> str:
        """A job at (made, done) in a call to cut that stands so; '': in none, and without a duty; ``dead``: its dispatch."""
        job = (await self.claimed()).job_key
        if standing == "":
            await self.db.execute("DELETE FROM pgbaton.calls WHERE job_key = $1", job)
        elif standing == "left":
            await self.settle_with(self.store, job, 202)
        elif standing in ("waiting", "parked"):
            await self.settle_with(self.store, job, 500)
            due = "pgbaton.parked()" if standing == "parked" else "clock_timestamp()"
            await self.db.execute(f"UPDATE pgbaton.calls SET due_at = {due} WHERE job_key = $1", job)
        elif standing == "dead":
            await self.settle_with(self.store, job, 400)
        return job

    async def add_duty(self, job: str, stage: str = "cut", step: str = "made", status: str = "done") -> int:
        """A duty as the trigger would have left it."""
        return int(
            await self.db.fetchval(
                "INSERT INTO pgbaton.due (pipeline, stage, job_key, tenant, step, status) "
                "VALUES ('craft', $2, $1, 'acme', $3, $4) RETURNING id",
                *(job, stage, step, status),
            )
        )

    # -- look, decide, settle -----------------------------------------------------------------------

    async def look(self, job: str) -> Job:
        (found,) = await self.store.look([job])
        return found

    async def verdict(self, job: str, answer: Answer | None = None, *, given_back: bool = False) -> Verdict:
        """The verdict about a job as it is now."""
        return resolve(await self.look(job), self.stages.__getitem__, answer, given_back=given_back)

    async def settle(self, verdict: Verdict, answer: Answer | None = None) -> bool:
        """Write it; whether it was written."""
        written = await self.store.settle([(verdict, answer)], self.stages)
        return verdict.job.key in written and written[verdict.job.key].written

    async def settle_with(self, store: Store, job: str, status: int) -> None:
        """Settle a call, held by the worker, with this answer, through ``store``."""
        (found,) = await store.look([job])
        verdict = resolve(found, self.stages.__getitem__, said(status))
        assert await store.settle([(verdict, said(status))], self.stages), "the verdict was not written"

    async def resolve(self, what: Turn | Collection[str]) -> None:
        """Look at the jobs that a turn has named, and settle them."""
        keys = what.others if isinstance(what, Turn) else what
        jobs = await self.store.look(keys)
        verdicts = [(resolve(job, self.stages.__getitem__), None) for job in jobs]
        await self.store.settle(verdicts, self.stages)

    # -- the journal --------------------------------------------------------------------------------

    async def states(self, job: str) -> list[tuple[str, str]]:
        query = "SELECT stage, state FROM pgbaton.dispatches WHERE job_key = $1 ORDER BY id"
        return [tuple(r) for r in await self.db.fetch(query, job)]

    async def call(self, job: str) -> dict[str, Any] | None:
        """The call that the job is in."""
        found = await self.db.fetchrow("SELECT * FROM pgbaton.calls WHERE job_key = $1", job)
        return None if found is None else dict(found)

    async def history(self, job: str) -> list[dict[str, Any]]:
        """The ended dispatches of the job, in the order of their ends."""
        rows = await self.db.fetch("SELECT * FROM pgbaton.history WHERE job_key = $1 ORDER BY ended_at, id", job)
        return [dict(row) for row in rows]

    async def duties(self, job: str) -> list[int]:
        return [r["id"] for r in await self.db.fetch("SELECT id FROM pgbaton.due WHERE job_key = $1 ORDER BY id", job)]

    async def engine_rows(self) -> dict[str, list[asyncpg.Record]]:
        """All rows of the engine's tables, with the transactions that wrote them."""
        tables = ("due", "calls", "history", "workers", "stages", "pipelines", "paused_tenants")
        return {t: list(await self.db.fetch(f"SELECT ctid, xmin, * FROM pgbaton.{t} ORDER BY ctid")) for t in tables}

    async def seconds_until(self, column: str, job: str) -> float:
        query = f"SELECT extract(epoch FROM {column} - clock_timestamp())::float8 FROM pgbaton.calls WHERE job_key = $1"
        return float(await self.db.fetchval(query, job))

    # -- workers ------------------------------------------------------------------------------------

    async def another_worker(self, capacity: int = 8) -> int:
        worker, _ = await self.store.take_lease(None, "other", capacity, 60, [])
        return worker

    async def let_lapse(self, worker: int | None = None) -> None:
        await self.db.execute(
            "UPDATE pgbaton.workers SET expires_at = clock_timestamp() - interval '1 s', "
            "       renewed_at = clock_timestamp() - interval '1 s' WHERE $1::bigint IS NULL OR id = $1",
            worker,
        )

    @asynccontextmanager
    async def holding(self, query: str, *args: object) -> AsyncIterator[None]:
        """Another transaction holds what ``query`` locks."""
        async with self.db.acquire() as conn, conn.transaction():
            assert await conn.fetch(query, *args)
            yield


@asynccontextmanager
async def bench(
    dsn: str, pipeline: Pipeline | None = None, steps: tuple[str, ...] = ("cut", "glue")
) -> AsyncIterator[Bench]:
    """A bench on the line made → cut → glue; the worker knows how to call ``steps``."""
    pipeline = pipeline or two_stages()
    async with attached(dsn, pipeline) as db:
        async with db.acquire() as conn:
            table = await read_table(conn, pipeline)
        store = Store(db, table, steps)
        worker, _ = await store.take_lease(None, "me", 8, 60, [])
        yield Bench(db, table, store, worker, pipeline)
