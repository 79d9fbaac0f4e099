"""The command ``pgbaton``. Exit codes: 0 well, 1 something is wrong (said on standard error), 2 wrong usage."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from pgbaton import doctor as examination
from pgbaton import insights
from pgbaton.attach import attach as attach_pipeline
from pgbaton.attach import detach as detach_pipeline
from pgbaton.attach import pipeline_sql
from pgbaton.config import Settings, load_pipeline, load_settings
from pgbaton.database import check_migrated, connection
from pgbaton.engine import Engine
from pgbaton.errors import PgbatonError
from pgbaton.events import describe
from pgbaton.migrate import migrate as migrate_schema
from pgbaton.model import Pipeline, State

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
out = Console(highlight=False, markup=False, emoji=False)

ConfigFile = Annotated[Path, typer.Option("--config", help="The pipeline's TOML file.", show_default=False)]
DatabaseUrl = Annotated[
    str | None, typer.Option("--database-url", help="postgresql://…; default: DATABASE_URL.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
PipelineName = Annotated[str | None, typer.Option("--pipeline", help="Its name, where there are several.")]
StageName = Annotated[str | None, typer.Option("--stage", help="Only this stage.")]


def main() -> None:
    """Run the command; errors that were raised on purpose are sentences, not tracebacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a sign shows another one
    try:
        app()
    except PgbatonError as error:
        print(f"pgbaton: {error}", file=sys.stderr)
        sys.exit(1)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        print(f"pgbaton: the database refused, or went away: {describe(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command()
def migrate(database_url: DatabaseUrl = None) -> None:
    """Create or upgrade the engine's own schema. Safe to run again, at once, and beside running workers."""
    _with_database(database_url, migrate_schema, migrated=False)
    out.print("the schema pgbaton is up to date")


@app.command()
def attach(config: ConfigFile, database_url: DatabaseUrl = None) -> None:
    """Install or update the trigger on the user's table and the routes, only where something changed."""
    pipeline = load_pipeline(config)
    _with_database(database_url, lambda conn: attach_pipeline(conn, pipeline))
    out.print(f"attached {pipeline.name} to {pipeline.table}: {_drawn(pipeline)}")


@app.command()
def detach(config: ConfigFile, database_url: DatabaseUrl = None) -> None:
    """Remove the trigger and the routes; the user's table stays as it is."""
    pipeline = load_pipeline(config)
    _with_database(database_url, lambda conn: detach_pipeline(conn, pipeline))
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
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    asyncio.run(_run(pipeline, settings))


async def _run(pipeline: Pipeline, settings: Settings) -> None:
    async with Engine(pipeline, settings) as engine:
        loop = asyncio.get_running_loop()
        for signalled in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signalled, engine.stop)
        await engine.wait()


@app.command()
def status(database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Counts by stage and state, workers, the oldest wait."""
    seen = _with_database(database_url, insights.status)
    if as_json:
        _print_json(seen.as_json())
        return
    states = [s.value for s in State]
    table = _table("pipeline", "stage", *states, "oldest wait")
    for s in seen.stages:
        mark = " (paused)" if s.paused else "" if s.routed else " (no route)"
        wait = "" if s.oldest_wait is None else _seconds(s.oldest_wait)
        table.add_row(s.pipeline, s.stage + mark, *(str(getattr(s, state)) for state in states), wait)
    out.print(table)
    table = _table("worker", "pipeline", "id", "calls", "renewed", "state")
    for w in seen.workers:
        state = "lost" if not w.alive else "draining" if w.draining else "alive"
        calls = f"{w.calls}/{w.capacity}"
        table.add_row(_plain(w.name), w.pipeline, str(w.id), calls, f"{_seconds(w.silent)} ago", state)
    out.print(table if seen.workers else "no workers")


@app.command()
def jobs(
    database_url: DatabaseUrl = None,
    pipeline: PipelineName = None,
    state: Annotated[list[State] | None, typer.Option("--state", help="Only these; may be repeated.")] = None,
    stage: StageName = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant.")] = None,
    job: Annotated[str | None, typer.Option("--job", help="Only this job.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Dispatches and what came of their latest attempt, newest first."""
    states = [s.value for s in state] if state else None
    found = _with_database(
        database_url,
        lambda conn: insights.jobs(
            conn, pipeline=pipeline, states=states, stage=stage, tenant=tenant, job=job, limit=limit
        ),
    )
    if as_json:
        _print_json(found)
        return
    table = _table("job", "tenant", "stage", "state", "attempt", "outcome", "http", "error")
    for row in found:
        names = ("job_key", "tenant", "stage", "state", "attempt", "outcome", "http_status", "error")
        table.add_row(*(_plain(row[name]) for name in names))
    out.print(table)


@app.command()
def retry(
    job: Annotated[list[str] | None, typer.Argument(help="Job keys.", show_default=False)] = None,
    all_jobs: Annotated[bool, typer.Option("--all", help="Every job that is dead or waits for a retry.")] = False,
    stage: StageName = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Give dead jobs another life, and let those that wait for a retry be due now. Exit code 1: there was none."""
    if bool(job) == all_jobs:
        raise typer.BadParameter("name jobs, or say --all (with --stage: all of that stage)")

    async def work(conn: asyncpg.Connection) -> list[str]:
        return await insights.retry(conn, await insights.table_of(conn, pipeline), job or None, stage)

    retried = _with_database(database_url, work)
    if as_json:
        _print_json({"retried": retried})
    else:
        out.print("\n".join(["retried:", *retried]) if retried else "nothing to retry")
    if not retried:
        raise typer.Exit(1)


@app.command()
def reconcile(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show them.")] = False,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Find rows in a routed state without a dispatch (trigger off, restored backup, adopted table); create those."""

    async def work(conn: asyncpg.Connection) -> list[tuple[str, str]]:
        return await insights.reconcile(conn, await insights.table_of(conn, pipeline), create=not dry_run)

    found = _with_database(database_url, work)
    if as_json:
        _print_json([{"job": job, "stage": stage} for job, stage in found])
        return
    for job, stage in found:
        out.print(f"{job}  {stage}", markup=False)
    out.print(f"{len(found)} {'missing' if dry_run else 'created'}")


@app.command()
def pause(stage: StageName = None, pipeline: PipelineName = None, database_url: DatabaseUrl = None) -> None:
    """Call a stage (or, without --stage, the whole pipeline) no more until it is resumed."""
    out.print(f"paused {_set_paused(database_url, pipeline, stage, paused=True)}")


@app.command()
def resume(stage: StageName = None, pipeline: PipelineName = None, database_url: DatabaseUrl = None) -> None:
    """The opposite of pause."""
    out.print(f"resumed {_set_paused(database_url, pipeline, stage, paused=False)}")


def _set_paused(database_url: str | None, pipeline: str | None, stage: str | None, *, paused: bool) -> str:
    async def work(conn: asyncpg.Connection) -> str:
        table = await insights.table_of(conn, pipeline)
        return await insights.pause(conn, table.pipeline, stage, paused)

    return _with_database(database_url, work)


@app.command()
def doctor(
    invariants: Annotated[bool, typer.Option("--invariants", help="Also check what must always hold.")] = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Look for what keeps jobs from moving; each finding with its remedy. Exit code 1: something was found."""
    found = _with_database(database_url, lambda conn: examination.examine(conn, invariants=invariants), migrated=False)
    if as_json:
        _print_json([{"name": f.name, "what": f.what, "remedy": f.remedy} for f in found])
    else:
        for f in found:
            out.print(f"{f.name}: {f.what}\n  remedy: {f.remedy}")
        if not found:
            out.print("nothing is wrong")
    if found:
        raise typer.Exit(1)


def _with_database(
    database_url: str | None, work: Callable[[asyncpg.Connection], Coroutine[Any, Any, T]], *, migrated: bool = True
) -> T:
    dsn = load_settings(given={"database_url": database_url}).dsn()

    async def connected() -> T:
        async with connection(dsn) as conn:
            if migrated:
                await check_migrated(conn)
            return await work(conn)

    return asyncio.run(connected())


def _drawn(pipeline: Pipeline) -> str:
    return " → ".join([pipeline.in_order[0].after, *(s.step for s in pipeline.in_order)])


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _plain(value: object) -> str:
    """A cell: text of others' making must not break the line, nor speak to the terminal."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else "�" for c in text)


def _seconds(seconds: float) -> str:
    return (
        f"{seconds:.1f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, default=str, indent=2))
