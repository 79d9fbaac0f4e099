"""Commands for jobs that wait for a person."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from pgbaton.cli.common import DatabaseUrl, PipelineName, Who, app, person, with_table
from pgbaton.cli.tables import plain
from pgbaton.errors import Refused

if TYPE_CHECKING:
    import asyncpg

    from pgbaton.table import JobTable

JobKey = Annotated[str, typer.Argument(help="The job's key.", show_default=False)]


@app.command()
def decide(
    job: JobKey,
    choice: Annotated[
        str, typer.Argument(help="One of the choices of the state that it waits in.", show_default=False)
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit.")] = "",
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    who: Who = None,
) -> None:
    """Decide about a job that waits for a person. Exit code 1: it does not wait, or there is no such choice."""
    from pgbaton.operate import approve

    async def work(conn: asyncpg.Connection, table: JobTable) -> None:

        await approve.decide(conn, table, table.key.typed(job), choice, who=person(who), reason=reason)

    with_table(database_url, pipeline, work)
    print(plain(f"{job}: {choice}"))


@app.command()
def link(
    job: JobKey,
    to: Annotated[str, typer.Option("--to", help="The person who will decide, for the audit.", show_default=False)],
    hours: Annotated[float, typer.Option("--hours", min=0.01, max=24 * 90, help="For how long it can be used.")] = 24,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Print a link by which one person can decide about a job that waits, once. It goes behind the address of the page;
    PGBATON_LINK_SECRET signs it, and the page has to have the same."""
    from pgbaton.operate import approve

    secret = approve.secret_of(os.environ.get("PGBATON_LINK_SECRET"))

    async def work(conn: asyncpg.Connection, table: JobTable) -> str:
        found = await approve.waiting(conn, table, table.key.typed(job))
        if found is None:
            raise Refused("not_waiting", f"{job!r} does not wait for a decision")
        until = int(time.time() + hours * 3600)
        return approve.Link(table.pipeline, found.job_key, found.dispatch, until, to[:100]).signed(secret)

    print(f"decide?link={with_table(database_url, pipeline, work)}")
