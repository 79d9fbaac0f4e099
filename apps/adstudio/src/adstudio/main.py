"""The application ``app-yh``: five stages, and a pgbaton worker beside them that calls them in turn."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
from fastapi import Depends, FastAPI

from adstudio import results
from adstudio import stages as ad_stages
from adstudio.admin import admin_page
from adstudio.config import AppSettings
from adstudio.door import Door
from adstudio.door.desk import Desk
from adstudio.door.tenants import Tenants
from adstudio.middleware import BodyLimit, RootPath
from adstudio.pipeline import ad_creative, ad_variants
from adstudio.stages.telling import TellingStages, mark_caller, tell_callers
from adstudio.studio import open_studio
from pgbaton import Settings, connection
from pgbaton.fastapi import answer_with_problems, health, lifespan

MOST_BODY = 64 * 1024
"""Bytes; a call to a stage has about a hundred."""
LARGE_BODIES = re.compile(r"(/.*)?/ads(/.*)?")
"""Where the door reads for itself, bounded too, without holding a photo's whole form in memory."""


def create_app(settings: AppSettings, *, stages_url: str | None = None) -> FastAPI:
    """The application for ``settings``; ``database_url`` must be set.

    ``stages_url``: the database URL of the stages' own role, where it is not the worker's.
    """
    worker = settings.worker()
    stages = TellingStages(ad_creative(settings.base_url))
    studio = open_studio(settings)
    ad_stages.register(stages, studio)
    variants = TellingStages(ad_variants(settings.base_url))
    ad_stages.register_variants(variants, studio)
    desk = Desk(stages, studio, Tenants(settings.tenants), f"app-{settings.part_name}", settings.log_language)
    engine = settings.enable_job_state_listener
    alone = lifespan(stages, worker, engine=engine, stages_url=stages_url)
    both = lifespan(stages, worker, variants, engine=engine, stages_url=stages_url)

    @asynccontextmanager
    async def during(app: FastAPI) -> AsyncIterator[None]:
        url = stages_url or worker.dsn()
        async with connection(url) as db:
            await results.check_tables(db)
        async with AsyncExitStack() as stack:
            if engine and not await _variants_attached(worker):
                await stack.enter_async_context(variants.opened(url))  # they can be called by hand, as with no worker
                await stack.enter_async_context(alone(app))
            else:
                await stack.enter_async_context(both(app))
            yield

    app = FastAPI(title=settings.title, lifespan=during)
    for router in (stages.router, variants.router):
        app.include_router(router, dependencies=[Depends(mark_caller)])
    app.include_router(Door(desk))
    app.include_router(health)
    if settings.pgbaton_web_token or settings.pgbaton_web_viewer_token:
        app.state.admin = admin_page(settings, worker, stages, studio.shelf)
        app.include_router(app.state.admin, prefix="/admin")
    if settings.root_path:
        paths = ["/ads", *(stage.path for part in (stages, variants) for stage in part.pipeline.stages)]
        app.add_middleware(RootPath, root_path=settings.root_path, paths=paths)
    app.add_middleware(BodyLimit, most=MOST_BODY, but=LARGE_BODIES)
    answer_with_problems(app)
    tell_callers(app)
    return app


async def _variants_attached(worker: Settings) -> bool:
    """Whether this database knows the pipeline of variants, and the worker calls all stages: one that takes some of
    them takes those of ads."""
    async with connection(worker.dsn()) as db:
        attached = "SELECT EXISTS (SELECT FROM pgbaton.pipelines WHERE name = 'ad_variants')"
        try:
            return worker.stages is None and bool(await db.fetchval(attached))
        except asyncpg.PostgresError:
            return False  # no schema, or no right to it: the worker for ads says so
