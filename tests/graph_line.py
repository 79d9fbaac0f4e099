"""Pipelines that are graphs, on the jobs table, with a worker beside them and stages that do as they are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from line import Line
from pgbaton import Pipeline
from pgbaton.install.attach import attach
from stage_server import Behaviour, Call, Say, StageServer, work

Told = Callable[[Call], str]


def told(status_of: Told) -> Behaviour:
    """A stage that writes running, then the status that ``status_of`` says."""

    async def behave(server: StageServer, call: Call) -> Say:
        await server.move(call, "running")
        await server.move(call, status_of(call))
        return Say()

    return behave


def stage(step: str, after: str, **rest: Any) -> dict[str, Any]:
    return {"step": step, "after": after, "path": f"/{step}", **rest}


def graph(stages: list[dict[str, Any]], base_url: str = "http://127.0.0.1:9", **rest: Any) -> Pipeline:
    """A pipeline on the jobs table."""
    return Pipeline.model_validate(
        {
            "name": "craft",
            "table": "public.jobs",
            "key": "job_id",
            "tenant": "tenant_id",
            "step": "current_step",
            "status": "status",
            "base_url": base_url,
            "stage": stages,
            **rest,
        }
    )


@asynccontextmanager
async def graph_line(
    dsn: str, stages: list[dict[str, Any]], behaviours: dict[str, Behaviour] | None = None, **rest: Any
) -> AsyncIterator[Line]:
    """The pipeline attached, its stages served; ``behaviours`` by step, others work."""
    steps = {f"/{s['step']}": s["step"] for s in stages if "path" in s}
    async with StageServer(dsn, steps, work) as server:
        server.behaviours |= {f"/{step}": behave for step, behave in (behaviours or {}).items()}
        pipeline = graph(stages, server.base_url, **rest)
        async with asyncpg.create_pool(dsn, min_size=1, max_size=8) as db:
            async with db.acquire() as conn:
                await attach(conn, pipeline)
            yield Line(dsn, server, pipeline, db)


def called(craft: Line) -> list[str]:
    """The steps that were called, in order."""
    return [call.path.removeprefix("/") for call in craft.server.calls]
