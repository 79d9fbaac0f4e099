"""What an application needs around its stages: a pool and a worker while it lives, and health routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import asyncpg
from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse

from pgbaton.config import Settings
from pgbaton.engine import Engine
from pgbaton.fastapi.guard import Stages


def lifespan(
    stages: Stages, settings: Settings, *, engine: bool = True, stages_url: str | None = None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """The application's lifespan: the stages' pool, and (``engine``) a worker in this process, drained at the end.

    ``stages_url``: the database URL that the stages use, where their role is not the engine's.
    """

    @asynccontextmanager
    async def during(app: FastAPI) -> AsyncIterator[None]:
        app.state.pgbaton = None
        async with stages.opened(stages_url or settings.dsn()) as pool:
            app.state.pgbaton_pool = pool
            if not engine:
                yield
                return
            async with Engine(stages.pipeline, settings) as running:
                app.state.pgbaton = running
                yield

    return during


health = APIRouter(tags=["health"])
"""``/healthz`` (alive; asks nobody), ``/readyz`` (database and listener) and ``/metrics``."""


@health.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process is alive; the database is not asked."""
    return {"status": "alive"}


@health.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """Whether the database answers and notifications arrive (where a worker runs in this process)."""
    engine: Engine | None = request.app.state.pgbaton
    checks = {"database": await _answers(request.app.state.pgbaton_pool)}
    if engine is not None:
        checks |= {"engine": engine.running, "listener": engine.listening is not False}
    ready = all(checks.values())
    return JSONResponse({"status": "ready" if ready else "not ready", **checks}, 200 if ready else 503)


@health.get("/metrics")
async def metrics() -> Response:
    """Prometheus metrics of this process."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _answers(pool: asyncpg.Pool) -> bool:
    try:
        return bool(await pool.fetchval("SELECT true", timeout=2))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
