"""The application ``app-yh``: five stages, and a pgbaton worker beside them that calls them in turn."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from adstudio import results
from adstudio import stages as ad_stages
from adstudio.admin import admin_page
from adstudio.config import AppSettings
from adstudio.door import Door
from adstudio.door.desk import Desk
from adstudio.door.tenants import Tenants
from adstudio.middleware import BodyLimit, RootPath
from adstudio.pipeline import ad_creative
from adstudio.stages.telling import TellingStages, mark_caller, tell_callers
from adstudio.studio import open_studio
from pgbaton import connection
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
    desk = Desk(stages, studio, Tenants(settings.tenants), f"app-{settings.part_name}", settings.log_language)
    beside = lifespan(stages, worker, engine=settings.enable_job_state_listener, stages_url=stages_url)

    @asynccontextmanager
    async def during(app: FastAPI) -> AsyncIterator[None]:
        async with connection(stages_url or worker.dsn()) as db:
            await results.check_tables(db)
        async with beside(app):
            yield

    app = FastAPI(title=settings.title, lifespan=during)
    app.include_router(stages.router, dependencies=[Depends(mark_caller)])
    app.include_router(Door(desk))
    app.include_router(health)
    if settings.pgbaton_web_token or settings.pgbaton_web_viewer_token:
        app.state.admin = admin_page(settings, worker, stages, studio.shelf)
        app.include_router(app.state.admin, prefix="/admin")
    if settings.root_path:
        paths = ["/ads", *(stage.path for stage in stages.pipeline.stages)]
        app.add_middleware(RootPath, root_path=settings.root_path, paths=paths)
    app.add_middleware(BodyLimit, most=MOST_BODY, but=LARGE_BODIES)
    answer_with_problems(app)
    tell_callers(app)
    return app
