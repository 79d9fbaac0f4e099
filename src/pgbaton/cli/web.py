"""``pgbaton web``: the page alone, for where no application of yours carries it."""

from __future__ import annotations

from typing import Annotated

import typer

from pgbaton.cli.common import DatabaseUrl, PipelineName, app
from pgbaton.cli.each import DatabaseName
from pgbaton.errors import ConfigError
from pgbaton.events import log_to_stderr


@app.command(
    examples=["PGBATON_WEB_TOKEN=$(openssl rand -hex 32) pgbaton web", "pgbaton web --port 8012 --root-path /pgbaton"]
)
def web(
    database_url: DatabaseUrl = None,
    database: DatabaseName = None,
    pipeline: PipelineName = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8012,
    root_path: Annotated[str, typer.Option(help="The path that a proxy strips, if it does.")] = "",
) -> None:
    """The page: see the pipeline and steer it. Needs PGBATON_WEB_TOKEN (operators) or PGBATON_WEB_VIEWER_TOKEN."""
    from pgbaton.config import load_settings, read_settings

    try:
        from pgbaton.web.app import Server, WebSettings, create_app
    except ModuleNotFoundError as error:
        raise ConfigError(f'{error.name} is not installed: pip install "pgbaton[web]"') from None
    settings = load_settings(given={"database_url": database_url, "database": database})
    log_to_stderr(settings.log_format)
    application, admin = create_app(settings, read_settings(WebSettings), pipeline)
    server = Server(application, admin, host, port, root_path)
    server.run()
    if not server.started:
        raise typer.Exit(1)
