"""The command ``adstudio``: serve the application, prepare its database, or demonstrate it."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from adstudio import config
from adstudio.vision.errors import ModelError
from pgbaton.errors import AttachError, ConfigError, NotMigrated, PgbatonError
from pgbaton.events import log_to_stderr

# A command imports the rest of its modules where it begins: a wrong setting is told in a moment.

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


def main() -> None:
    """Run the command; errors that were raised on purpose are sentences, not tracebacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a sign that the terminal cannot show is replaced
    try:
        app()
    except (PgbatonError, ModelError) as error:
        mended_by_us = isinstance(error, NotMigrated | AttachError) and "run pgbaton" in str(error)
        hint = ", or let `adstudio prepare` do all of it" if mended_by_us else ""
        print(f"adstudio: {error}{hint}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command()
def serve() -> None:
    """Serve app-yh. Without DATABASE_URL it keeps an embedded Postgres in ADSTUDIO_DATA (default: .adstudio)."""
    settings = config.load()
    from adstudio.serving import run_server

    log_to_stderr(settings.worker().log_format)
    asyncio.run(run_server(settings))


@app.command()
def prepare() -> None:
    """Make the tables in the database that DATABASE_URL names, and attach the engine to them. Safe to repeat."""
    url = config.load().database_url
    if url is None:
        raise ConfigError("no database: set DATABASE_URL (without one `adstudio serve` has a database of its own)")
    from adstudio import home

    asyncio.run(home.prepare(url.get_secret_value()))
    print("the database is ready for `adstudio serve`")


@app.command()
def demo(
    photo: Annotated[
        Path | None, typer.Option(help="A photo of yours, instead of the six that are shipped.", show_default=False)
    ] = None,
    copy: Annotated[str | None, typer.Option(help="The line to set on it.", show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="Where the ads are written.")] = Path("out"),
    variants: Annotated[int, typer.Option(min=1, max=3, help="Made of each ad; the best wins.")] = 3,
) -> None:
    """Feed photos with a line each, show how they move, and write the finished ads."""
    if (photo is None) != (copy is None):
        raise typer.BadParameter("a photo needs a copy, and a copy a photo")
    settings = config.load()
    from adstudio.demo import run_demo

    own = [(photo, copy)] if photo is not None and copy is not None else []
    sys.exit(asyncio.run(run_demo(settings, own, out, variants)))


@app.command()
def sweep(
    days: Annotated[int, typer.Option(min=2, help="How old a file is at least.")] = 7,
    remove: Annotated[bool, typer.Option(help="Remove them; without this they are only counted.")] = False,
) -> None:
    """Count, or remove, stored pictures that no row of DATABASE_URL names. For daily use with ADSTUDIO_ASSETS."""
    settings = config.load()
    if settings.database_url is None or settings.assets is None:
        raise ConfigError("nothing to sweep: set DATABASE_URL and ADSTUDIO_ASSETS")
    from adstudio.sweeping import run_sweep

    print(asyncio.run(run_sweep(settings.database_url.get_secret_value(), settings.assets, days, remove=remove)))


@app.command()
def quality(
    folder: Annotated[
        Path, typer.Argument(help="A folder with a set.toml, or with photos and a .txt of copy for each.")
    ],
    out: Annotated[Path, typer.Option(help="Where pictures, values and contact sheets are written.")] = Path(
        "build/quality"
    ),
    keep: Annotated[bool, typer.Option(help="Let what is made be the folder's golden images.")] = False,
) -> None:
    """Make and judge the ads of a folder without a database; show the judge's values and the time of each stage."""
    from rich.console import Console

    from adstudio.quality_run import run_quality

    sys.exit(run_quality(folder, out, Console(highlight=False), keep=keep))
