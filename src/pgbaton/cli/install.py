"""Commands that put it into the database: the schema and the trigger."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pgbaton.cli.common import ConfigFile, DatabaseUrl, app, with_database
from pgbaton.cli.speech import Sentence, tell

if TYPE_CHECKING:
    from pgbaton.model import Pipeline

UP_TO_DATE: Sentence = ("pgbaton 스키마가 최신 상태입니다", "the schema pgbaton is up to date")
ATTACHED: Sentence = (
    "{name} 파이프라인을 {table} 테이블에 연결했습니다: {drawn}",
    "attached {name} to {table}: {drawn}",
)
DETACHED: Sentence = ("{name} 파이프라인을 {table} 테이블에서 분리했습니다", "detached {name} from {table}")


@app.command()
def migrate(database_url: DatabaseUrl = None) -> None:
    """Create or upgrade the engine's own schema.

    Safe to run again, at once, and beside running workers.
    """
    from pgbaton.install.migrate import migrate as migrate_schema

    with_database(database_url, migrate_schema, migrated=False)
    tell(UP_TO_DATE)


@app.command(examples=["pgbaton attach --config pgbaton.toml"])
def attach(config: ConfigFile, database_url: DatabaseUrl = None) -> None:
    """Install or update the trigger and the routes.

    The user's table gets the trigger; only what changed is written.
    """
    from pgbaton.config import load_pipeline
    from pgbaton.install.attach import attach as attach_pipeline

    pipeline = load_pipeline(config)
    with_database(database_url, lambda conn: attach_pipeline(conn, pipeline))
    tell(ATTACHED, name=pipeline.name, table=pipeline.table, drawn=_drawn(pipeline))


@app.command(examples=["pgbaton detach --config pgbaton.toml"])
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
def sql(config: ConfigFile) -> None:
    """Print what migrate and attach would run, for psql."""
    from pgbaton.config import load_pipeline
    from pgbaton.install.attach import pipeline_sql

    sys.stdout.write(pipeline_sql(load_pipeline(config)))


def _drawn(pipeline: Pipeline) -> str:
    return " → ".join([pipeline.in_order[0].after, *(s.step for s in pipeline.in_order)])
