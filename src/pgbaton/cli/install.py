"""Commands that put it into the database: the schema and the trigger."""

from __future__ import annotations

import sys

from pgbaton.cli.common import ConfigFile, DatabaseUrl, app, out, with_database
from pgbaton.config import load_pipeline
from pgbaton.install.attach import attach as attach_pipeline
from pgbaton.install.attach import detach as detach_pipeline
from pgbaton.install.attach import pipeline_sql
from pgbaton.install.migrate import migrate as migrate_schema
from pgbaton.model import Pipeline


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


def _drawn(pipeline: Pipeline) -> str:
    stages = [node.step for node in pipeline.in_order if node.kind == "call"]
    return " → ".join([pipeline.in_order[0].entry[0], *stages])
