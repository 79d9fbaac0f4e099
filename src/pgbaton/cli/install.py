"""Commands that put it into the database: the schema and the trigger."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import Annotated, Literal

import asyncpg
import typer

from pgbaton.cli.common import AsJson, ConfigFile, DatabaseUrl, Who, app, out, person, plain, print_json, with_database
from pgbaton.cli.planned import print_plan
from pgbaton.config import load_pipeline
from pgbaton.errors import AttachError, ConfigError
from pgbaton.install.attach import Decided, pipeline_sql, planned
from pgbaton.install.attach import attach as attach_pipeline
from pgbaton.install.attach import detach as detach_pipeline
from pgbaton.install.migrate import migrate as migrate_schema
from pgbaton.install.past import RATE, Progress
from pgbaton.install.plan import Plan
from pgbaton.model import Pipeline
from pgbaton.rollout import Rollout, read_rate, read_share
from pgbaton.sql import read as read_sql


@app.command()
def migrate(database_url: DatabaseUrl = None) -> None:
    """Create or upgrade the engine's own schema. Safe to run again, at once, and beside running workers."""
    with_database(database_url, migrate_schema, migrated=False)
    out.print("the schema pgbaton is up to date")


@app.command()
def attach(
    config: ConfigFile,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done, to which rows.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="now", help="Leave rows in routed states alone until they move.", show_default=False
        ),
    ] = None,
    backfill: Annotated[bool, typer.Option("--backfill", help="Call rows that are in routed states already.")] = False,
    rate: Annotated[
        str | None,
        typer.Option("--rate", help="Of the backfill: 100/s (the default), 600/min, 1000/h.", show_default=False),
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Record what would be called, and call nothing; then: pgbaton live.")
    ] = False,
    here: Annotated[
        bool, typer.Option("--here", help="This database, a copy, is the pipeline's home from now on.")
    ] = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Install or update the trigger on the user's table and the routes, only where something changed.

    Says before what that will be. Where rows are in routed states already, it asks what becomes of them; without a
    terminal it refuses.
    """
    if since not in (None, "now"):
        raise typer.BadParameter("--from: only now is known")
    if backfill and (since or shadow):
        raise typer.BadParameter("--backfill calls what --from now and --shadow do not")
    if rate is not None and not backfill:
        raise typer.BadParameter("--rate is of --backfill")
    pipeline, calls = load_pipeline(config), RATE if rate is None else read_rate(rate)
    past: Decided | None = "backfill" if backfill else "now" if since else None
    rollout: Rollout | Literal["keep"] = Rollout() if shadow else "keep"

    async def work(conn: asyncpg.Connection) -> tuple[Plan, Progress | None]:
        nonlocal past
        plan = await planned(conn, pipeline, past=past, rollout=rollout)
        if not as_json:
            print_plan(plan, dry=dry_run)
        if dry_run:
            return plan, None
        if plan.question and not as_json and sys.stdin.isatty():
            past = _ask(plan)
        told = _Told(as_json, plan)
        await attach_pipeline(conn, pipeline, past=past, rate=calls, rollout=rollout, here=here, told=told)
        return plan, told.last

    plan, walked = with_database(database_url, work)
    if as_json:
        print_json(plan.as_json() | {"dry_run": dry_run, "past": None if walked is None else asdict(walked)})
    elif not dry_run:
        _say_walked(walked)
        done = f"attached {pipeline.name}" if plan.changes else f"nothing changed: {pipeline.name} is attached"
        out.print(f"{done} to {pipeline.table}: {_drawn(pipeline)}")


def _ask(plan: Plan) -> Decided:
    out.print(f"{plan.past:,} rows stand in states that become routed. What becomes of them?")
    out.print("  now       they are left alone until they move")
    out.print("  backfill  they are called")
    while True:
        said = typer.prompt("now or backfill").strip()
        if said in ("now", "backfill"):
            return "now" if said == "now" else "backfill"


class _Told:
    """Shows a walk's progress once a second at most, and keeps the last."""

    def __init__(self, quiet: bool, plan: Plan) -> None:
        self.last: Progress | None = None
        self._quiet, self._of, self._at = quiet, plan.past + plan.left, time.monotonic()

    def __call__(self, progress: Progress) -> None:
        self.last = progress
        if not self._quiet and not progress.ended and time.monotonic() - self._at > 1:
            self._at = time.monotonic()
            of = f" of {self._of:,}" if self._of else ""
            print(f"{_done(progress)}: {sum(progress.rows.values()):,}{of}", file=sys.stderr, flush=True)


def _done(progress: Progress) -> str:
    return "left alone" if progress.mode == "now" else "to be called"


def _say_walked(progress: Progress | None) -> None:
    if progress is not None:
        by_stage = ", ".join(f"{stage} {count:,}" for stage, count in sorted(progress.rows.items())) or "none"
        out.print(f"rows of the past {_done(progress)}: {by_stage}")


@app.command()
def live(
    config: ConfigFile,
    share: Annotated[
        str | None, typer.Option("--share", help="This share of the jobs: 10%.", show_default=False)
    ] = None,
    tenant: Annotated[
        list[str] | None, typer.Option("--tenant", help="All jobs of this tenant; may be repeated.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All jobs: the end of shadow mode.")] = False,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Call, too, what stands in routed states and is to be called now.")
    ] = False,
    rate: Annotated[str | None, typer.Option("--rate", help="Of the backfill: 100/s.", show_default=False)] = None,
    who: Who = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Of which jobs of a pipeline in shadow mode the calls are made. What a job's key falls to stays so: a job that is
    called at 10% is called at 20%.

    Jobs that stand in a routed state are left alone until they move, unless --backfill is given. Calls that are under
    way end as usual where a share becomes smaller.
    """
    if everything == (share is not None or bool(tenant)):
        raise typer.BadParameter("say --share, --tenant (or both), or --all")
    pipeline = load_pipeline(config)
    if tenant and pipeline.tenant is None:
        raise ConfigError(f"the pipeline {pipeline.name!r} has no tenants")
    wanted = None if everything else Rollout(0.0 if share is None else read_share(share), tuple(tenant or ()))

    async def work(conn: asyncpg.Connection) -> tuple[Plan, Progress | None]:
        told = _Told(as_json, plan := await planned(conn, pipeline, past="now", rollout=wanted, counting=False))
        if plan.home == "none":
            raise AttachError(f"the pipeline {pipeline.name!r} is not attached: run pgbaton attach --shadow")
        calls = RATE if rate is None else read_rate(rate)
        past: Decided = "backfill" if backfill else "now"
        await attach_pipeline(conn, pipeline, past=past, rate=calls, rollout=wanted, told=told)
        detail = {"share": 100.0 if wanted is None else wanted.share, "tenants": list(wanted.tenants) if wanted else []}
        await conn.execute(
            read_sql("operate/audit.sql"), person(who), "live", pipeline.name, None, None, 0, json.dumps(detail)
        )
        return plan, told.last

    plan, walked = with_database(database_url, work)
    if as_json:
        print_json({"rollout": None if wanted is None else asdict(wanted), "changed": bool(plan.changes)})
        return
    _say_walked(walked)
    tenants = f", and all of {', '.join(wanted.tenants)}" if wanted and wanted.tenants else ""
    out.print(plain("all jobs are called" if wanted is None else f"{wanted.share:g} % of the jobs are called{tenants}"))


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


def _drawn(pipeline: Pipeline) -> str:
    return " → ".join([pipeline.in_order[0].after, *(s.step for s in pipeline.in_order)])
