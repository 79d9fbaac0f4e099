"""Commands for a table that another system has worked on: what it left, and what would be called in its place."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated

import asyncpg
import typer

from pgbaton.cli.common import (
    AsJson,
    DatabaseUrl,
    PipelineName,
    StageName,
    Who,
    app,
    in_seconds,
    new_table,
    out,
    person,
    plain,
    print_json,
    with_table,
)
from pgbaton.insights.shadow import Recorded, compared, recorded
from pgbaton.insights.unowned import Unowned, unowned
from pgbaton.operate import Done
from pgbaton.table import JobTable
from pgbaton.takeover import take_over

BECAME = ("reached", "running", "failed", "waits", "elsewhere", "gone")


@app.command()
def shadow(
    stage: StageName = None,
    before: Annotated[int | None, typer.Option("--before", help="Only ids below this one: the next page.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="The newest so many.")] = 10_000,
    show: Annotated[bool, typer.Option("--list", help="Each of them, in place of the comparison.")] = False,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Shadow mode: what would have been called, and what the rows did by themselves since.

    reached: the row came to (stage, done). waits: it stands where the stage would have been called. --json exports
    each with its URL, headers and body. Exit code 1: nothing was recorded.
    """

    async def work(conn: asyncpg.Connection, table: JobTable) -> list[Recorded]:
        return await recorded(conn, table, stage, before, limit)

    found = with_table(database_url, pipeline, work)
    if as_json:
        print_json([record.as_json() for record in found])
    elif not found:
        out.print("nothing was recorded")
    elif show:
        table = new_table("id", "at", "job", "stage", "became", "after", "url")
        for r in found:
            after = "" if r.seconds is None else in_seconds(r.seconds)
            at = r.at.isoformat(sep=" ", timespec="seconds")
            table.add_row(*(plain(cell) for cell in (r.id, at, r.job_key, r.stage, r.became, after, r.url)))
        out.print(table)
    else:
        table = new_table("stage", "recorded", *BECAME, "median")
        for c in compared(found):
            took = "" if c.seconds is None else in_seconds(c.seconds)
            table.add_row(plain(c.stage), f"{c.recorded:,}", *(f"{c.became.get(b, 0):,}" for b in BECAME), took)
        out.print(table)
    if not found:
        raise typer.Exit(1)


@app.command()
def takeover(
    stage: StageName = None,
    before: Annotated[
        str | None, typer.Option("--before", help="Rows that were changed last before 10:00, or 2026-11-28T10:00.")
    ] = None,
    older_than: Annotated[
        float | None, typer.Option("--older-than", min=0, help="Rows that were changed last so many seconds ago.")
    ] = None,
    all_rows: Annotated[bool, typer.Option("--all", help="However long they have been so.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show them.")] = False,
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Rows that are running at a stage though the engine has no dispatch for them, such as those that another system
    began and never ended: put them back to where the stage is called. Exit code 1: there was none."""
    if [before is not None, older_than is not None, all_rows].count(True) != 1:
        raise typer.BadParameter("say --before, --older-than or --all")
    moment = _moment(before) if before is not None else None
    if older_than is not None:
        moment = datetime.now().astimezone() - timedelta(seconds=older_than)

    async def work(conn: asyncpg.Connection, table: JobTable) -> Done | list[Unowned] | None:
        if dry_run:
            return await unowned(conn, table, stage, moment)
        return await take_over(conn, table, stage, moment, who=person(who))

    came = with_table(database_url, pipeline, work)
    if isinstance(came, Done):
        _say_taken(came, as_json)
        return
    if came is None:
        print("pgbaton: looking takes too long: name a stage, or make an index on its step and status", file=sys.stderr)
        raise typer.Exit(1)
    if as_json:
        print_json([asdict(found) for found in came])
    elif came:
        table = new_table("stage", "rows", "oldest since", "for example")
        for u in came:
            since = "" if u.since is None else u.since.astimezone().isoformat(sep=" ", timespec="seconds")
            table.add_row(*(plain(cell) for cell in (u.stage, f"{u.rows:,}", since, ", ".join(u.jobs))))
        out.print(table)
    else:
        out.print("nothing to take over")
    if not came:
        raise typer.Exit(1)


def _say_taken(done: Done, as_json: bool) -> None:
    if as_json:
        print_json({"taken_over": list(done.jobs), "count": done.count, "seen": done.seen})
    elif done.count:
        out.print(f"taken over: {done.count:,} of {done.seen:,}")
    else:
        out.print("nothing to take over")
    if not done.count:
        raise typer.Exit(1)


def _moment(text: str) -> datetime:
    """A time of today, or of a day, in this machine's zone unless it names one."""
    try:
        if "-" not in text:
            clock = datetime.strptime(text.strip(), "%H:%M").time()
            return datetime.combine(datetime.now().astimezone().date(), clock).astimezone()
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter("--before: must be a time such as 10:00 or 2026-11-28T10:00") from None
    return moment.astimezone()
