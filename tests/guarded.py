"""Two stages behind the guard, in an application that is served, and the database behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from fastapi import FastAPI

from app_server import Reply, Site, free_socket, served
from line import attached, two_stages
from pgbaton import Settings
from pgbaton.fastapi import Stages, Turn, answer_with_problems, health, lifespan

RESULTS = "CREATE TABLE results (job_id uuid PRIMARY KEY, said text)"
Work = Callable[[Turn], Awaitable[Any]]


async def keep(db: asyncpg.Connection, turn: Turn, said: str) -> None:
    await db.execute("INSERT INTO results VALUES ($1::text::uuid, $2)", turn.job_id, said)


async def cut(turn: Turn) -> dict[str, str]:
    turn.save(keep, "cut")
    return {"said": "cut"}


class Guarded:
    """An application with the two stages behind the guard, and the database behind it."""

    def __init__(self, site: Site, db: asyncpg.Pool) -> None:
        self.site, self.db = site, db

    async def add(self, step: str | None = "made", status: str | None = "done", tenant: str = "acme") -> str:
        insert = "INSERT INTO jobs (current_step, status, tenant_id) VALUES ($1, $2, $3) RETURNING job_id::text"
        return str(await self.db.fetchval(insert, step, status, tenant))

    async def call(self, job: object, tenant: object = "acme", path: str = "/cut") -> Reply:
        return await self.site.post(path, {"job_id": job, "tenant_id": tenant})

    async def row(self, job: str) -> tuple[str, str]:
        return tuple(await self.db.fetchrow("SELECT current_step, status FROM jobs WHERE job_id::text = $1", job))

    async def results(self) -> list[str]:
        return [r["said"] for r in await self.db.fetch("SELECT said FROM results ORDER BY said")]

    async def rows(self) -> list[asyncpg.Record]:
        return list(await self.db.fetch("SELECT xmin, * FROM jobs ORDER BY job_id"))


@asynccontextmanager
async def guarded(dsn: str, work: Work = cut, *, engine: bool = False, **changes: Any) -> AsyncIterator[Guarded]:
    listening = free_socket()
    pipeline = two_stages(f"http://127.0.0.1:{listening.getsockname()[1]}", **changes)
    stages = Stages(pipeline)
    stages.post("cut")(work)

    @stages.post("glue")
    async def glue(turn: Turn) -> dict[str, Any]:
        return {"seen": await turn.read(_said), "tenant": turn.job["tenant_id"]}

    settings = Settings(database_url=dsn, poll=0.5, reconnect_delay=0.1)  # type: ignore[arg-type]
    app = FastAPI(lifespan=lifespan(stages, settings, engine=engine))
    app.include_router(stages.router)
    app.include_router(health)
    answer_with_problems(app)
    async with attached(dsn, pipeline, RESULTS) as db, served(app, listening) as site:
        yield Guarded(site, db)


async def _said(db: asyncpg.Connection, turn: Turn) -> str | None:
    said: str | None = await db.fetchval("SELECT said FROM results WHERE job_id = $1::text::uuid", turn.job_id)
    return said


def is_problem(reply: Reply, status: int, title: str, detail: str = "") -> bool:
    """Whether it is that problem, as RFC 9457 spells it."""
    assert reply.kind == "application/problem+json"
    assert set(reply.json) == {"type", "title", "status", "detail"}
    assert reply.json["status"] == reply.status
    assert (reply.status, reply.json["title"]) == (status, title)
    assert detail in reply.json["detail"]
    return True
