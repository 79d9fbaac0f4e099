"""Commands that install the schema and the trigger in the database."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pgbaton.cli.common import HERE, AsJson, ConfigFile, DatabaseUrl, app, with_database
from pgbaton.cli.planned import Rate, Told, asked, print_plan, tell_walked
from pgbaton.cli.speech import Sentence, tell
from pgbaton.cli.tables import print_json

if TYPE_CHECKING:
    import asyncpg

    from pgbaton.install.past import Progress
    from pgbaton.install.plan import Plan
    from pgbaton.install.script import Decided
    from pgbaton.model import Pipeline

MADE: Sentence = ("pgbaton 스키마를 만들었습니다: 버전 {now}", "created the schema pgbaton, version {now}")
UPGRADED: Sentence = (
    "pgbaton 스키마를 버전 {was}에서 {now}(으)로 올렸습니다",
    "upgraded the schema pgbaton from version {was} to {now}",
)
REPLACED: Sentence = (
    "pgbaton 스키마의 함수를 이 버전의 것으로 바꿨습니다: 버전 {now}",
    "replaced the functions of the schema pgbaton, version {now}, by those of this release",
)
UP_TO_DATE: Sentence = (
    "pgbaton 스키마가 최신 상태입니다: 버전 {now}",
    "the schema pgbaton is up to date, version {now}",
)
ATTACHED: Sentence = (
    "{name} 파이프라인을 {table} 테이블에 연결했습니다: {drawn}",
    "attached {name} to {table}: {drawn}",
)
UNCHANGED: Sentence = (
    "바뀐 것이 없습니다. {name} 파이프라인은 {table} 테이블에 연결되어 있습니다: {drawn}",
    "nothing changed: {name} is attached to {table}: {drawn}",
)
DETACHED: Sentence = ("{name} 파이프라인을 {table} 테이블에서 분리했습니다", "detached {name} from {table}")


@app.command(everywhere=True)
def migrate(database_url: DatabaseUrl = None) -> None:
    """Create or upgrade the engine's own schema.

    Safe to run again, at once, and beside running workers.
    """
    from pgbaton.install.migrate import migrate as migrate_schema

    done = with_database(database_url, migrate_schema, migrated=False)
    said = UP_TO_DATE
    if done.was != done.now:
        said = UPGRADED if done.was else MADE
    elif done.replaced:
        said = REPLACED
    tell(said, was=done.was, now=done.now)


@app.command(
    everywhere=True,
    examples=[
        "pgbaton attach --config pgbaton.toml",
        "pgbaton attach --config pgbaton.toml --dry-run",
        "pgbaton attach --config pgbaton.toml --backfill --rate 100/s",
    ],
)
def attach(
    config: ConfigFile = HERE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan, with the fate of rows.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="now", help="Leave rows in routed states alone until they move.", show_default=False
        ),
    ] = None,
    backfill: Annotated[bool, typer.Option("--backfill", help="Call rows that are in routed states already.")] = False,
    rate: Rate = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Record calls in place of making them; then: pgbaton live.")
    ] = False,
    here: Annotated[
        bool, typer.Option("--here", help="This database, a copy, is the pipeline's home from now on.")
    ] = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Install or update the trigger and the routes.

    The user's table gets the trigger. The plan is printed first, and only differences are written. Where rows stand in
    routed states already, it asks what to do with them; without a terminal it refuses.
    """
    from pgbaton.config import load_pipeline
    from pgbaton.install.attach import attach as attach_pipeline
    from pgbaton.install.attach import planned
    from pgbaton.install.past import RATE
    from pgbaton.model.limits import read_rate
    from pgbaton.rollout import Rollout

    if since not in (None, "now"):
        raise typer.BadParameter("--from: only now is known")
    if backfill and (since or shadow):
        raise typer.BadParameter("--backfill calls what --from now and --shadow do not")
    if rate is not None and not backfill:
        raise typer.BadParameter("--rate is of --backfill")
    pipeline, calls = load_pipeline(config), RATE if rate is None else read_rate("--rate", rate)
    past: Decided | None = "backfill" if backfill else "now" if since else None
    rollout: Rollout | Literal["keep"] = Rollout() if shadow else "keep"

    async def work(conn: asyncpg.Connection) -> tuple[Plan, Progress | None]:
        nonlocal past
        plan = await planned(conn, pipeline, past=past, rollout=rollout)
        asking = plan.question and not as_json and sys.stdin.isatty()
        refused = (plan.question and not asking) or (plan.home == "elsewhere" and not here)
        if not as_json:
            print_plan(plan, dry=dry_run or refused)
        if dry_run:
            return plan, None
        if asking:
            past = asked(plan.past)
        told = Told(as_json, 0 if plan.rollout else plan.past + plan.left)
        await attach_pipeline(conn, pipeline, past=past, rate=calls, rollout=rollout, here=here, told=told)
        return plan, told.last

    plan, walked = with_database(database_url, work)
    if as_json:
        print_json(plan.as_json() | {"dry_run": dry_run, "past": None if walked is None else asdict(walked)})
    elif not dry_run:
        if plan.rollout is None or (walked and walked.rows):  # in shadow mode no row is left alone, or called
            tell_walked(walked)
        said = ATTACHED if plan.changes else UNCHANGED
        tell(said, name=pipeline.name, table=pipeline.table, drawn=_drawn(pipeline))


@app.command(everywhere=True, examples=["pgbaton detach --config pgbaton.toml"])
def detach(config: ConfigFile, database_url: DatabaseUrl = None) -> None:
    """Remove the trigger and the routes.

    The user's table stays as it is.
    """
    from pgbaton.config import load_pipeline
    from pgbaton.install.attach import detach as detach_pipeline

    pipeline = load_pipeline(config)
    with_database(database_url, lambda conn: detach_pipeline(conn, pipeline))
    tell(DETACHED, name=pipeline.name, table=pipeline.table)


@app.command(examples=["pgbaton sql --config pgbaton.toml | psql mine"])
def sql(
    config: ConfigFile = HERE,
    beside: Annotated[bool, typer.Option("--beside", help="The table has another pipeline already.")] = False,
) -> None:
    """Print the statements of migrate and attach, for psql."""
    from pgbaton.config import load_pipeline
    from pgbaton.install.script import pipeline_sql

    sys.stdout.write(pipeline_sql(load_pipeline(config), beside=beside))


def _drawn(pipeline: Pipeline) -> str:
    stages = [node.step for node in pipeline.in_order if node.kind == "call"]
    return " → ".join([pipeline.in_order[0].entry[0], *stages])
