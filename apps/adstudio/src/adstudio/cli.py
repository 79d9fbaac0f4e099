"""The command ``adstudio``: serve the application, or show what it does."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from adstudio import config
from adstudio.home import embedded_home
from adstudio.main import create_app
from adstudio.server import StudioServer, log_to
from adstudio.vision.detector import ModelError
from pgbaton.errors import PgbatonError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


def main() -> None:
    """Run the command; errors that were raised on purpose are sentences, not tracebacks."""
    try:
        app()
    except (PgbatonError, ModelError) as error:
        print(f"adstudio: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command()
def serve() -> None:
    """Serve app-yh. Without DATABASE_URL it keeps an embedded Postgres in ADSTUDIO_DATA (default: .adstudio)."""
    log_to(logging.StreamHandler())
    sys.exit(asyncio.run(_serve(config.load())))


async def _serve(settings: config.AppSettings) -> int:
    async with AsyncExitStack() as stack:
        stages_url = None
        if settings.database_url is None:
            home = await stack.enter_async_context(embedded_home(settings.data_folder / "postgres", durable=True))
            settings = settings.model_copy(update={"database_url": SecretStr(home.database_url)})
            stages_url = home.stages_url
            logging.getLogger("adstudio").info("embedded Postgres in %s", settings.data_folder / "postgres")
        server = StudioServer(create_app(settings, stages_url=stages_url), settings.host, settings.port)
        await server.serve()
        return 0 if server.started else 1


@app.command()
def demo(
    photo: Annotated[
        Path | None, typer.Option(help="A photo of yours, beside the four that are shipped.", show_default=False)
    ] = None,
    copy: Annotated[str | None, typer.Option(help="The line to set on it.", show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="Where the ads are written.")] = Path("out"),
) -> None:
    """Feed photos with a line each, show how they move, and write the finished ads."""
    if (photo is None) != (copy is None):
        raise typer.BadParameter("a photo needs a copy, and a copy a photo")
    from adstudio.demo import run_demo  # it draws on the terminal, which serving has no use for

    extra = [(photo, copy)] if photo is not None and copy is not None else []
    sys.exit(asyncio.run(run_demo(extra, out)))
