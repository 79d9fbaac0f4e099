"""A line of two stages on a jobs table, a worker beside it, and the questions that tests ask of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg

from patience import Watch
from pgbaton import Engine, Pipeline, Settings, Stage
from pgbaton.install.attach import attach
from pgbaton.install.migrate import migrate
from pgbaton.table import read_table
from pgbaton.worker.store import Store
from stage_server import Behaviour, StageServer, work

JOBS = """
CREATE TABLE jobs (
    job_id       uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id    varchar(255) NOT NULL DEFAULT 'acme',
    current_step varchar(255),
    status       varchar(50),
    note         text,
    updated_at   timestamptz NOT NULL DEFAULT now()
)
"""

RETYPED = {
    "a longer text": "ALTER TABLE jobs ALTER status TYPE text, ALTER current_step TYPE text",
    "an enum": "CREATE TYPE word AS ENUM ('new', 'running', 'done', 'failed'); "
    "ALTER TABLE jobs ALTER status TYPE word USING status::word",
    "the key": "ALTER TABLE jobs ALTER job_id TYPE text, ALTER job_id SET DEFAULT gen_random_uuid()::text",
}
"""Changes of columns' types under a running system."""


def two_stages(base_url: str = "http://127.0.0.1:9", **changes: Any) -> Pipeline:
    """made → cut → glue; ``cut_`` and ``glue_`` arguments go to the stages, others to the pipeline."""
    cut = {k.removeprefix("cut_"): changes.pop(k) for k in list(changes) if k.startswith("cut_")}
    glue = {k.removeprefix("glue_"): changes.pop(k) for k in list(changes) if k.startswith("glue_")}
    return Pipeline(
        **{
            "name": "craft",
            "table": "public.jobs",
            "key": "job_id",
            "tenant": "tenant_id",
            "step": "current_step",
            "status": "status",
            "channel": "job_state_changed",
            "base_url": base_url,
            "stages": [
                Stage(**{"step": "cut", "after": "made", "path": "/cut", **cut}),
                Stage(**{"step": "glue", "after": "cut", "path": "/glue", **glue}),
            ],
            **changes,
        }
    )


class Line:
    """The table, its stages and its pipeline; ask it what came of a job."""

    def __init__(self, dsn: str, server: StageServer, pipeline: Pipeline, db: asyncpg.Pool) -> None:
        self.dsn, self.server, self.pipeline, self.db = dsn, server, pipeline, db

    @asynccontextmanager
    async def worker(self, **settings: Any) -> AsyncIterator[Engine]:
        async with Engine(self.pipeline, self.settings(**settings)) as engine:
            yield engine

    def settings(self, **changes: Any) -> Settings:
        return Settings(
            **{"database_url": self.dsn, "poll": 0.5, "reconnect_delay": 0.1, "drain_timeout": 5, **changes}
        )

    async def add(self, step: str = "made", status: str = "done") -> str:
        return str(
            await self.db.fetchval(
                "INSERT INTO jobs (current_step, status) VALUES ($1, $2) RETURNING job_id", step, status
            )
        )

    async def add_many(self, count: int) -> None:
        await self.db.execute(
            "INSERT INTO jobs (current_step, status) SELECT 'made', 'done' FROM generate_series(1, $1)", count
        )

    async def put(self, job: str, step: str | None, status: str | None) -> None:
        await self.db.execute(
            "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id = $1::text::uuid", job, step, status
        )

    async def row(self, job: str) -> tuple[str, str]:
        row = await self.db.fetchrow("SELECT current_step, status FROM jobs WHERE job_id = $1::text::uuid", job)
        return (row["current_step"], row["status"])

    async def store(self, session: asyncpg.Connection | None = None) -> Store:
        """The reads and writes of a worker on this line, through a session of the test's."""
        async with self.db.acquire() as conn:
            table = await read_table(conn, self.pipeline)
        return Store(session or self.db, table, [stage.step for stage in self.pipeline.stages])

    async def dispatches(self, job: str | None = None) -> list[asyncpg.Record]:
        return list(
            await self.db.fetch(
                "SELECT * FROM pgbaton.dispatches WHERE $1::text IS NULL OR job_key = $1 ORDER BY id", job
            )
        )

    async def states(self, job: str | None = None) -> list[tuple[str, str]]:
        return [(d["stage"], d["state"]) for d in await self.dispatches(job)]

    async def attempts(self) -> list[asyncpg.Record]:
        return list(await self.db.fetch("SELECT * FROM pgbaton.attempts ORDER BY dispatch_id, attempt"))

    async def make_due(self) -> None:
        """Let every backoff have passed."""
        await make_due(self.db)

    async def until_row(self, job: str, step: str, status: str, seconds: float = 15) -> None:
        await until(lambda: self._at(job, (step, status)), f"{job} at ({step}, {status})", seconds)

    async def until_settled(self, seconds: float = 15) -> None:
        """Until no dispatch is open, and no look waits for a worker."""

        async def settled() -> bool:
            query = (
                "SELECT NOT EXISTS (SELECT FROM pgbaton.dispatches WHERE settled_at IS NULL) "
                "   AND NOT EXISTS (SELECT FROM pgbaton.due) AND NOT EXISTS (SELECT FROM pgbaton.calls)"
            )
            return bool(await self.db.fetchval(query))

        await until(settled, "every dispatch settled", seconds)

    async def until_state(self, job: str, stage: str, state: str, seconds: float = 15) -> None:
        async def reached() -> bool:
            return (stage, state) in await self.states(job)

        await until(reached, f"{job}: {stage} {state}", seconds)

    async def _at(self, job: str, at: tuple[str, str]) -> bool:
        return await self.row(job) == at


async def make_due(db: asyncpg.Pool) -> None:
    """Let the backoff of every call that waits have passed; a parked one stays parked."""
    await db.execute(
        "UPDATE pgbaton.calls SET due_at = clock_timestamp() WHERE due_at IS NOT NULL AND due_at < pgbaton.parked()"
    )


async def until(true: Callable[[], Awaitable[bool]], what: str, seconds: float = 15) -> None:
    """Wait for something that only the database can tell; fails loudly when it does not come."""
    watch = Watch()
    while not await true():
        assert watch.seconds < seconds, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def line(dsn: str, behave: Behaviour = work, *, prepare: bool = True, **changes: Any) -> AsyncIterator[Line]:
    """The line on a database that has the jobs table; ``prepare`` false: the test migrates and attaches."""
    async with StageServer(dsn, {"/cut": "cut", "/glue": "glue"}, behave) as server:
        pipeline = two_stages(server.base_url, **changes)
        async with asyncpg.create_pool(dsn, min_size=1, max_size=8) as db:
            if prepare:
                async with db.acquire() as conn:
                    await migrate(conn)
                    await attach(conn, pipeline)
            yield Line(dsn, server, pipeline, db)


@asynccontextmanager
async def attached(dsn: str, pipeline: Pipeline | None = None, table: str | None = None) -> AsyncIterator[asyncpg.Pool]:
    """Sessions on a migrated database with ``pipeline`` attached, no worker, no stage; ``table``: its own, as DDL."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=8) as db:
        async with db.acquire() as conn:
            if table is not None:
                await conn.execute(table)
            await attach(conn, pipeline or two_stages())
        yield db


class Ear:
    """A session that listens; ``heard`` is what was published up to now, told apart from silence without waiting."""

    def __init__(self, conn: asyncpg.Connection) -> None:
        self._conn = conn
        self._heard: list[tuple[str, str]] = []
        self._fences: asyncio.Queue[str] = asyncio.Queue()

    async def heard(self) -> list[tuple[str, str]]:
        """(channel, payload) of everything committed before this call and not told yet."""
        # Notifications arrive in the order of commits: behind this one nothing older can come.
        await self._conn.execute("NOTIFY fence")
        await asyncio.wait_for(self._fences.get(), 10)
        heard, self._heard = self._heard, []
        return heard

    async def events(self) -> list[dict[str, Any]]:
        """The payloads, read as JSON."""
        return [json.loads(payload) for _, payload in await self.heard()]

    def _hear(self, _conn: object, _pid: int, channel: str, payload: str) -> None:
        if channel == "fence":
            self._fences.put_nowait(payload)
        else:
            self._heard.append((channel, payload))

    @classmethod
    @asynccontextmanager
    async def on(cls, dsn: str, *channels: str) -> AsyncIterator[Self]:
        conn = await asyncpg.connect(dsn)
        try:
            ear = cls(conn)
            for channel in ("fence", *channels):
                await conn.add_listener(channel, ear._hear)
            yield ear
        finally:
            await conn.close()
