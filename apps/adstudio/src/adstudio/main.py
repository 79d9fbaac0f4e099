"""The application ``app-yh``: five stages, and a pgbaton worker beside them that calls them in turn."""

from __future__ import annotations

from fastapi import FastAPI

from adstudio import stages as ad_stages
from adstudio.admin import admin_page
from adstudio.config import AppSettings
from adstudio.pipeline import ad_creative
from adstudio.studio import open_studio
from pgbaton import Settings
from pgbaton.fastapi import Stages, answer_with_problems, health, lifespan


def create_app(settings: AppSettings, *, stages_url: str | None = None) -> FastAPI:
    """The application for ``settings``; ``database_url`` must be set.

    ``stages_url``: the database URL of the stages' own role, where it is not the worker's.
    """
    stages = Stages(ad_creative(settings.base_url))
    ad_stages.register(stages, open_studio(settings.yolo_model, settings.vision_endpoint))
    worker = Settings(
        database_url=settings.database_url,
        reconnect_delay=settings.job_state_listener_reconnect_delay,
        log_language=settings.log_language,
    )
    app = FastAPI(
        title=settings.title,
        root_path=settings.root_path,
        lifespan=lifespan(stages, worker, engine=settings.enable_job_state_listener, stages_url=stages_url),
    )
    app.include_router(stages.router)
    app.include_router(health)
    if settings.pgbaton_web_token or settings.pgbaton_web_viewer_token:
        app.state.admin = admin_page(settings, worker, stages)
        app.include_router(app.state.admin, prefix="/admin")
    answer_with_problems(app)
    return app
