"""``pgbaton run``: a worker."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from pgbaton.cli.common import HERE, ConfigFiles, DatabaseUrl, app
from pgbaton.cli.each import DatabaseName

if TYPE_CHECKING:
    from pgbaton.config import Settings
    from pgbaton.model import Pipeline


FILES_HERE = [HERE]


@app.command(
    examples=[
        "pgbaton run",
        "pgbaton run --config pgbaton.toml --metrics 127.0.0.1:9108",
        "pgbaton run -c ads.toml -c mails.toml",
        "PGBATON_DATABASES=north,south pgbaton run --config pgbaton.toml",
    ]
)
def run(
    config: ConfigFiles = FILES_HERE,
    database_url: DatabaseUrl = None,
    database: DatabaseName = None,
    capacity: Annotated[int | None, typer.Option(help="Calls under way at once.")] = None,
    stages: Annotated[
        str | None, typer.Option(help="Only these stages, with commas between them; others are other workers' to call.")
    ] = None,
    drain_timeout: Annotated[float | None, typer.Option(help="Seconds that a shutdown waits for calls.")] = None,
    log_language: Annotated[str | None, typer.Option(help="ko or en.")] = None,
    metrics: Annotated[
        str | None,
        typer.Option(envvar="PGBATON_METRICS", help="host:port of /metrics, /healthz and /readyz; none: not served."),
    ] = None,
) -> None:
    """A worker: listen, claim, call stages. SIGTERM and SIGINT drain it. Several --config: one process for all, whose
    [worker] table is the first file's. PGBATON_DATABASES: a worker in each database."""
    from pgbaton.config import load_databases, load_pipeline
    from pgbaton.events import log_to_stderr

    pipelines = [load_pipeline(file) for file in config]
    given = {
        "database_url": database_url,
        "database": database,
        "capacity": capacity,
        "stages": stages,
        "drain_timeout": drain_timeout,
        "log_language": log_language,
    }
    settings = load_databases(config[0], given)
    log_to_stderr(next(iter(settings.values())).log_format)
    with asyncio.Runner(loop_factory=_quicker_loop()) as runner:
        runner.run(_run(pipelines, settings, metrics))


def _quicker_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed (the extra ``speed``)."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _run(pipelines: Sequence[Pipeline], settings: Mapping[str, Settings], metrics: str | None) -> None:
    from pgbaton.cli.metrics_server import watched_at
    from pgbaton.worker.fleet import Fleet
    from pgbaton.worker.shards import Shards

    several = len(settings) > 1
    fleet = Shards(pipelines, settings) if several else Fleet(pipelines, next(iter(settings.values())))
    loop = asyncio.get_running_loop()
    for signalled in (signal.SIGTERM, signal.SIGINT):  # before it starts: it may hold a lease when it is told to end
        loop.add_signal_handler(signalled, fleet.stop)
    with watched_at(metrics, lambda: fleet.ready) if metrics else nullcontext():
        async with fleet:
            await fleet.wait()
