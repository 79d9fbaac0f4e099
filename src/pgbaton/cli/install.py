"""Commands that make it run: the schema, the trigger, a worker."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated

import typer

from pgbaton.cli.common import ConfigFile, DatabaseUrl, app, out, with_database
from pgbaton.cli.signals import watched_at
from pgbaton.config import Settings, load_pipeline, load_settings
from pgbaton.events import log_to_stderr
from pgbaton.install.attach import attach as attach_pipeline
from pgbaton.install.attach import detach as detach_pipeline
from pgbaton.install.attach import pipeline_sql
from pgbaton.install.migrate import migrate as migrate_schema
from pgbaton.model import Pipeline
from pgbaton.worker.engine import Engine


@app.command()
def migrate(database_url: DatabaseUrl = None) -> None:
    """Create or upgrade the engine's own schema. Safe to run again, at once, and beside running workers."""
    with_database(database_url, migrate_schema, migrated=False)
    out.print("the schema pgbaton is up to date")


@app.command()
def attach(config: ConfigFile, database_url: DatabaseUrl = None) -> None:
    """Install or update the trigger on the user's table and the routes, only where something changed."""
    pipeline = load_pipeline(config)
    with_database(database_url, lambda conn: attach_pipeline(conn, pipeline))
    out.print(f"attached {pipeline.name} to {pipeline.table}: {_drawn(pipeline)}")


@app.command()
def detach(config: ConfigFile, database_url: DatabaseUrl = None) -> None:
    """Remove the trigger and the routes; the user's table stays as it is."""
    pipeline = load_pipeline(config)
    with_database(database_url, lambda conn: detach_pipeline(conn, pipeline))
    out.print(f"detached {pipeline.name} from {pipeline.table}")


@app.command()
def sql(config: ConfigFile) -> None:
    """Print the SQL that migrate and attach would run, for plain psql."""
    sys.stdout.write(pipeline_sql(load_pipeline(config)))


@app.command()
def run(
    config: ConfigFile,
    database_url: DatabaseUrl = None,
    capacity: Annotated[int | None, typer.Option(help="Calls under way at once.")] = None,
    drain_timeout: Annotated[float | None, typer.Option(help="Seconds that a shutdown waits for calls.")] = None,
    log_language: Annotated[str | None, typer.Option(help="ko or en.")] = None,
    metrics: Annotated[
        str | None,
        typer.Option(envvar="PGBATON_METRICS", help="host:port of /metrics, /healthz and /readyz; none: not served."),
    ] = None,
) -> None:
    """A worker: listen, claim, call stages. SIGTERM and SIGINT drain it."""
    pipeline = load_pipeline(config)
    given = {
        "database_url": database_url,
        "capacity": capacity,
        "drain_timeout": drain_timeout,
        "log_language": log_language,
    }
    settings = load_settings(config, given)
    log_to_stderr(settings.log_format)
    with asyncio.Runner(loop_factory=_quicker_loop()) as runner:
        runner.run(_run(pipeline, settings, metrics))


def _quicker_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed (the extra ``speed``)."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _run(pipeline: Pipeline, settings: Settings, metrics: str | None) -> None:
    engine, started = Engine(pipeline, settings), False

    def ready() -> bool:
        return started and engine.running and engine.listening is not False

    loop = asyncio.get_running_loop()
    for signalled in (signal.SIGTERM, signal.SIGINT):  # before it starts: it may hold a lease when it is told to end
        loop.add_signal_handler(signalled, engine.stop)
    with watched_at(metrics, ready) if metrics else nullcontext():
        async with engine:
            started = True
            await engine.wait()


def _drawn(pipeline: Pipeline) -> str:
    return " → ".join([pipeline.in_order[0].after, *(s.step for s in pipeline.in_order)])
