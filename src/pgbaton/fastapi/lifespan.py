"""The surroundings of an application's stages: a pool and a worker while it lives, and health routes."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from types import FrameType
from urllib.parse import urlsplit

import asyncpg
from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse

from pgbaton.cached import Cached
from pgbaton.config import Settings, one_database
from pgbaton.errors import PgbatonError
from pgbaton.events import log_if_unheard
from pgbaton.fastapi.guard import Stages
from pgbaton.health import Health, look
from pgbaton.model import Pipeline
from pgbaton.worker.fleet import Fleet

READY_TIMEOUT = 2.0
"""Seconds that the database may take to answer a question about its readiness."""
DOOR_PATIENCE, DOOR_EVERY = 5.0, 0.02
"""Seconds that a worker waits for its application's port at most, and between two tries: uvicorn takes a few
milliseconds."""
LOOK_EVERY = 5.0
"""Seconds between two looks at the health for ``/readyz``, however many ask: each costs as much as the page's first."""
LOOK_PATIENCE = 1.0
"""Seconds that a question waits for a look; then it is answered without findings."""


def lifespan(
    stages: Stages, settings: Settings, *more: Stages, engine: bool = True, stages_url: str | None = None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """The application's lifespan: the stages' pool, and (``engine``) a worker in this process, drained at the end.

    ``more``: the stages of further pipelines, such as the children's; health routes speak of the first. ``stages_url``:
    the database URL that the stages use, where their role is not the engine's. Of several databases
    (``PGBATON_DATABASES``) it is for the one that ``PGBATON_DATABASE`` chooses; without a choice it raises
    :class:`ConfigError`.
    """
    settings = one_database(settings)

    @asynccontextmanager
    async def during(app: FastAPI) -> AsyncIterator[None]:
        app.state.pgbaton = None
        app.state.pgbaton_health = Cached(partial(_look, app, stages.pipeline.name), youngest=LOOK_EVERY)
        log_if_unheard(settings.log_format)
        async with AsyncExitStack() as stack:
            url = stages_url or settings.dsn()
            app.state.pgbaton_pool = await stack.enter_async_context(stages.opened(url))
            for others in more:
                await stack.enter_async_context(others.opened(url))
            if engine:
                fleet = Fleet([one.pipeline for one in (stages, *more)], settings, before=_until_they_listen)
                app.state.pgbaton = await stack.enter_async_context(fleet)
                stack.enter_context(_draining_on_signal(fleet))
            yield

    return during


async def _until_they_listen(pipeline: Pipeline) -> None:
    """Until the stages' port can be connected to, :data:`DOOR_PATIENCE` at most.

    A server like uvicorn opens its port after the lifespan has begun, and a worker in it that calls its own application
    before would find the stages down, and leave them alone for a moment.
    """
    url = urlsplit(pipeline.base_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    with suppress(TimeoutError):
        async with asyncio.timeout(DOOR_PATIENCE):
            while await _is_refused(url.hostname or "", port):
                await asyncio.sleep(DOOR_EVERY)


async def _is_refused(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        # A name with several addresses, each refused, has an error without a number. Other errors will not pass soon.
        return isinstance(error, ConnectionRefusedError) or error.errno is None
    writer.close()
    return False


@contextmanager
def _draining_on_signal(engine: Fleet) -> Iterator[None]:
    """Let the worker claim nothing more from the moment that the server is told to end.

    A server closes its door first and ends the lifespan last; a worker that goes on calling its own application in
    between finds the door closed, and each such call would count as a failed attempt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    servers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    loop = asyncio.get_running_loop()

    def drain(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(engine.stop)
        handler = servers[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number, handler in servers.items():
        if callable(handler):
            signal.signal(number, drain)
    try:
        yield
    finally:
        for number, handler in servers.items():
            if signal.getsignal(number) is drain:
                signal.signal(number, handler)


health = APIRouter(tags=["health"])
"""``/healthz`` (alive; asks no database), ``/readyz`` (database, listener and findings) and ``/metrics``."""


@health.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process is alive; the database is not asked."""
    return {"status": "alive"}


@health.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """Whether the database answers and notifications arrive (where a worker runs in this process); 503 where not.

    And the codes and levels of what is found wrong with the pipeline (null: not looked), as the page and ``pgbaton
    doctor`` say them: they make no process unready, for another one would find the same.
    """
    engine: Fleet | None = request.app.state.pgbaton
    checks = {"database": await _answers(request.app.state.pgbaton_pool)}
    if engine is not None:
        checks |= {"engine": engine.running, "listener": engine.listening}
    ready = all(checks.values())
    found = await _findings(request.app) if checks["database"] else None
    said = {"status": "ready" if ready else "not ready", **checks, "findings": found}
    return JSONResponse(said, 200 if ready else 503)


@health.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics() -> Response:
    """Prometheus metrics of this process."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _look(app: FastAPI, pipeline: str) -> Health:
    pool: asyncpg.Pool = app.state.pgbaton_pool
    async with pool.acquire(timeout=LOOK_PATIENCE) as conn:
        return await look(conn, pipeline)


async def _findings(app: FastAPI) -> list[dict[str, str]] | None:
    """Code, level and stage alone: any client may ask, and the values hold tenants and errors."""
    shared: Cached[Health] = app.state.pgbaton_health
    try:
        async with asyncio.timeout(LOOK_PATIENCE):
            health = await shared.get()
    except (OSError, TimeoutError, PgbatonError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None
    stage = "stage"
    return [
        {"code": f.code, "level": f.level} | ({stage: str(f.values[stage])} if stage in f.values else {})
        for f in health.findings
    ]


async def _answers(pool: asyncpg.Pool) -> bool:
    try:
        async with pool.acquire(timeout=READY_TIMEOUT) as db:
            # If the server is silent, cancelling hangs too; terminate the connection instead.
            cut = asyncio.get_running_loop().call_later(READY_TIMEOUT, db.terminate)
            try:
                return bool(await db.fetchval("SELECT true"))
            finally:
                cut.cancel()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
