"""The page alone: ``pgbaton web``."""

from __future__ import annotations

from html import escape
from types import FrameType

import uvicorn
from fastapi import FastAPI
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pgbaton.config import Settings, each_database
from pgbaton.web.router import Dashboard, Dashboards, dashboard

NOT_FOUND = """<!doctype html>
<html lang="ko"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>404</title>
<h1>404</h1><p>이 주소에는 페이지가 없습니다. <span lang="en">There is no page at this address.</span></p>
<p><a href="{home}">pgbaton</a></p></html>
"""


class WebSettings(BaseSettings):
    """Tokens of the page: ``PGBATON_WEB_TOKEN`` for operators, ``PGBATON_WEB_VIEWER_TOKEN`` for viewers."""

    model_config = SettingsConfigDict(
        env_prefix="PGBATON_WEB_", extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True
    )

    token: SecretStr | None = None
    viewer_token: SecretStr | None = None
    title: str = Field(default="pgbaton", max_length=60)


def create_app(
    settings: Settings, web: WebSettings, pipeline: str | None = None
) -> tuple[FastAPI, Dashboard | Dashboards]:
    """An application that is nothing but the page, of each database that ``settings`` name. Raises
    :class:`ConfigError` where no token is set."""
    each = {
        name: dashboard(
            one,
            pipeline=pipeline,
            title=web.title,
            token=web.token.get_secret_value() if web.token else None,
            viewer_token=web.viewer_token.get_secret_value() if web.viewer_token else None,
        )
        for name, one in each_database(settings).items()
    }
    admin = Dashboards(each) if len(each) > 1 else next(iter(each.values()))
    app = FastAPI(title="pgbaton", openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(admin, prefix="/pgbaton")

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/")
    async def root(request: Request) -> RedirectResponse:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/pgbaton/")

    @app.exception_handler(404)
    async def lost(request: Request, _error: Exception) -> Response:
        home = escape(f"{request.scope.get('root_path', '')}/pgbaton/")
        return HTMLResponse(NOT_FOUND.format(home=home), 404, {"Content-Security-Policy": "default-src 'none'"})

    return app, admin


class Server(uvicorn.Server):
    """Uvicorn, but a signal also ends the streams of open pages: it would wait for them."""

    def __init__(self, app: FastAPI, admin: Dashboard | Dashboards, host: str, port: int, root_path: str = "") -> None:
        super().__init__(uvicorn.Config(app, host, port, root_path=root_path, access_log=False, log_level="warning"))
        self._admin = admin

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._admin.close()
        super().handle_exit(sig, frame)
