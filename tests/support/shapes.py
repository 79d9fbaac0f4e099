"""A table of some shape with stages behind it: what a person does to such rows, in that table's own SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from line import two_stages, until
from pgbaton import Engine, Pipeline, Settings
from pgbaton.install.attach import attach
from pgbaton.key import key_of
from pgbaton.table import JobTable, read_table
from stage_server import Call, Say, StageServer

PLAIN = {"running": "running", "done": "done", "failed": "failed", "cancelled": "cancelled"}


@dataclass(frozen=True)
class Shape:
    """``ddl`` makes the table. ``of``: what its pipeline has other than ``two_stages``. ``words``: what its users write
    for a status. ``set_status``: how, where it is no column of that name. ``key``: SQL of the key as a call has it."""

    ddl: str
    of: dict[str, Any] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=lambda: PLAIN)
    table: str = "jobs"
    step: str = "current_step"
    status: str = "status"
    key: str = "job_id::text"
    add: str = "INSERT INTO {table} ({step}, {status}) VALUES ('made', {done}) RETURNING {key}"

    def sql(self, template: str) -> str:
        names = {"table": self.table, "step": self.step, "status": self.status, "key": self.key}
        return template.format(**names, done=self.value("done"))

    def value(self, status: str) -> str:
        return f"'{self.words[status]}'"


class Herd:
    """Jobs of one shape, and the server of their stages."""

    def __init__(self, shape: Shape, pipeline: Pipeline, server: StageServer, db: asyncpg.Pool) -> None:
        self.shape, self.pipeline, self.server, self.db = shape, pipeline, server, db

    async def add(self, **settings: str) -> str:
        """A job at the entry; ``settings``: of the session that inserts it."""
        async with self.db.acquire() as conn, conn.transaction():
            for name, value in settings.items():
                await conn.execute(f"SET LOCAL {name} = {value}")
            return str(await conn.fetchval(self.shape.sql(self.shape.add)))

    async def put(self, job: str, step: str, status: str, *, unseen: bool = False) -> None:
        """Write a state; ``unseen``: no trigger is told."""
        template = "UPDATE {table} SET {step} = '" + step + "', {status} = " + self.shape.value(status)
        async with self.db.acquire() as conn, conn.transaction():
            if unseen:
                await conn.execute("SET LOCAL session_replication_role = replica")
            assert await conn.execute(self.shape.sql(template + " WHERE {key} = $1"), job) == "UPDATE 1"

    async def row(self, job: str) -> tuple[str, str]:
        row = await self.db.fetchrow(
            self.shape.sql("SELECT {step}::text AS step, {status}::text AS status FROM {table} WHERE {key} = $1"), job
        )
        return row["step"], row["status"]

    async def until_row(self, job: str, step: str, status: str) -> None:
        wanted = (step, self.shape.words[status])

        async def there() -> bool:
            return await self.row(job) == wanted

        await until(there, f"{job} at {wanted}")

    async def states(self, job: str) -> list[tuple[str, str]]:
        rows = await self.db.fetch("SELECT stage, state FROM pgbaton.dispatches WHERE job_key = $1 ORDER BY id", job)
        return [(r["stage"], r["state"]) for r in rows]

    async def until_state(self, job: str, stage: str, state: str) -> None:
        async def reached() -> bool:
            return (stage, state) in await self.states(job)

        await until(reached, f"{job}: {stage} {state}")

    @staticmethod
    def key_of(call: Call) -> str:
        return key_of(call.body["job_id"])

    async def known(self) -> JobTable:
        async with self.db.acquire() as conn:
            return await read_table(conn, self.pipeline)

    @asynccontextmanager
    async def worker(self, **changes: Any) -> AsyncIterator[Engine]:
        settings = {"database_url": self.server.dsn, "poll": 0.5, "reconnect_delay": 0.1, "drain_timeout": 5}
        async with Engine(self.pipeline, Settings(**(settings | changes))) as engine:
            yield engine


@asynccontextmanager
async def herd(dsn: str, shape: Shape, **changes: Any) -> AsyncIterator[Herd]:
    """The table in place of the ``jobs`` of the database, its pipeline attached. A stage does its work; ``/cut`` says
    500 to its first call after it has begun."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as db:
        await db.execute(f"DROP TABLE IF EXISTS jobs; {shape.ddl}")

        async def behave(server: StageServer, call: Call) -> Say:
            of = the.key_of(call)
            await the.put(of, server.step(call), "running")
            if call.path == "/cut" and call.attempt == 1:
                return Say(500)
            await the.put(of, server.step(call), "done")
            return Say()

        async with StageServer(dsn, {"/cut": "cut", "/glue": "glue"}, behave) as server:
            the = Herd(shape, two_stages(server.base_url, **(shape.of | changes)), server, db)
            async with db.acquire() as conn:
                await attach(conn, the.pipeline)
            yield the
