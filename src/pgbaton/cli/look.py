"""Commands that look and change nothing."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated, NoReturn

import asyncpg
import typer

from pgbaton import health, insights
from pgbaton.cli.common import (
    AsJson,
    DatabaseUrl,
    ErrorPart,
    KeyPrefix,
    OlderThan,
    PipelineName,
    StageName,
    States,
    TenantName,
    a_filter,
    app,
    in_seconds,
    new_table,
    out,
    plain,
    print_json,
    with_database,
    with_table,
)
from pgbaton.config import load_settings
from pgbaton.events import Language
from pgbaton.insights import JobDetail, shown_count
from pgbaton.model import State

NEEDS_SOMEBODY = 3
"""The exit code of ``explain`` where a job does not go on by itself, though it should."""
REMEDY: dict[Language, str] = {"ko": "조치", "en": "remedy"}
WELL: dict[Language, str] = {"ko": "문제가 없습니다", "en": "nothing is wrong"}
AT_REST = frozenset({"left_alone", "shadow", "done", "not_routed", "cancelled", "gone"})

JobKey = Annotated[str, typer.Argument(help="The job's key.", show_default=False)]


@app.command()
def status(database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Counts by stage and state (settled ones of the last day), workers, the oldest wait; shadow mode, where it is on.

    Counting stops: 10,000+ is more than that. Of what was completed the newest 20,000 are counted, and then + means
    at least.
    """

    async def work(conn: asyncpg.Connection) -> tuple[insights.Status, list[health.Finding]]:
        return await insights.status(conn), await health.adoption_checks(conn, None)

    seen, notes = with_database(database_url, work)
    language = load_settings().log_language
    if as_json:
        print_json(seen.as_json() | {"notes": [f.as_json(language) for f in notes]})
        return
    states = [s.value for s in State]
    table = new_table("pipeline", "stage", *states, "oldest wait")
    for s in seen.stages:
        mark = " (paused)" if s.paused else "" if s.routed else " (no route)"
        wait = "" if s.oldest_wait is None else in_seconds(s.oldest_wait)
        counts = {state: shown_count(getattr(s, state)) for state in states}
        if seen.completed_capped:
            counts["completed"] = f"{s.completed:,}+"
        table.add_row(s.pipeline, s.stage + mark, *counts.values(), wait)
    out.print(table)
    table = new_table("worker", "pipeline", "id", "calls", "renewed", "state")
    for w in seen.workers:
        state = "lost" if not w.alive else "draining" if w.draining else "alive"
        calls = f"{w.calls}/{w.capacity}"
        table.add_row(plain(w.name), w.pipeline, str(w.id), calls, f"{in_seconds(w.silent)} ago", state)
    out.print(table if seen.workers else "no workers")
    for f in notes:
        out.print(plain(f"{f.pipeline}: {f.sentence(language)}"), soft_wrap=True)


@app.command()
def jobs(
    database_url: DatabaseUrl = None,
    pipeline: PipelineName = None,
    state: States = None,
    stage: StageName = None,
    tenant: TenantName = None,
    job: Annotated[str | None, typer.Option("--job", help="Only this job.")] = None,
    job_prefix: KeyPrefix = None,
    older_than: OlderThan = None,
    error: ErrorPart = None,
    before: Annotated[int | None, typer.Option("--before", help="Only ids below this one: the next page.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Dispatches and what came of their latest attempt, newest first. Exit code 1: it took too long."""
    wanted = a_filter(pipeline, stage, state, tenant, older_than, error, job_prefix, job)
    page = with_database(database_url, lambda conn: insights.list_jobs(conn, wanted, before, limit, timeout=20))
    if page.too_wide:
        _fail("search stopped: too few matches among too many jobs; narrow it by state, tenant, stage or job")
    if as_json:
        print_json([{k: v for k, v in asdict(row).items() if k != "age"} for row in page.jobs])
        return
    table = new_table("job", "tenant", "stage", "state", "attempt", "outcome", "http", "error")
    for row in page.jobs:
        names = ("job_key", "tenant", "stage", "state", "attempt", "outcome", "http_status", "error")
        table.add_row(*(plain(getattr(row, name)) for name in names))
    out.print(table)


@app.command()
def show(job: JobKey, pipeline: PipelineName = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """A job: its row, why it is where it is, and every call that was made for it. Exit code 1: there is no such job."""
    found = with_table(database_url, pipeline, lambda conn, table: insights.job(conn, table, job))
    if found is None:
        _fail(f"there is no job {job!r}")
    language = load_settings().log_language
    if as_json:
        print_json(found.as_json() | {"sentence": found.explanation.sentence(language)})
        return
    if found.row is not None:
        out.print(plain(f"{job}: ({found.row.step}, {found.row.status}) {found.row.tenant or ''}").rstrip())
    out.print(plain(found.explanation.sentence(language)))
    _print_calls(found)


def _print_calls(found: JobDetail) -> None:
    table = new_table("stage", "state", "attempt", "started", "took", "outcome", "http", "worker", "error")
    for d in found.dispatches:
        for number, a in enumerate(d.attempts):
            head = (d.stage, d.state) if number == 0 else ("", "")
            started = a.started_at.isoformat(sep=" ", timespec="seconds")
            cells = (*head, a.attempt, started, in_seconds(a.seconds), a.outcome, a.http_status, a.worker, a.error)
            table.add_row(*(plain(cell) for cell in cells))
        if not d.attempts:
            table.add_row(plain(d.stage), d.state)
    if found.truncated:
        out.print("(the newest 200 dispatches)")
    out.print(table)


@app.command()
def explain(
    job: JobKey, pipeline: PipelineName = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Why a job is where it is, in one sentence (PGBATON_LOG_LANGUAGE: ko or en).

    Exit codes: 0 it goes on by itself, or nothing is left to do; 1 there is no such job; 3 somebody has to act.
    """
    found = with_table(database_url, pipeline, lambda conn, table: insights.explain(conn, table, job))
    if found is None:
        _fail(f"there is no job {job!r}")
    said = found.sentence(load_settings().log_language)
    if as_json:
        print_json(asdict(found) | {"sentence": said})
    else:
        out.print(plain(said), soft_wrap=True)
    if not found.moves and found.code not in AT_REST:
        raise typer.Exit(NEEDS_SOMEBODY)


@app.command()
def dead(pipeline: PipelineName = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """What died and is still marked as failed, grouped by stage and error. Exit code 1: there is some."""
    found = with_table(database_url, pipeline, insights.dead_groups)
    if found.too_wide:
        _fail("that took too long")
    if as_json:
        print_json(asdict(found))
    elif found.groups:
        table = new_table("stage", "error", "jobs", "newest", "for example")
        for g in found.groups:
            cells = (g.stage, g.error, shown_count(g.count), f"{in_seconds(g.newest_age)} ago", g.jobs[0])
            table.add_row(*(plain(cell) for cell in cells))
        out.print(table)
    else:
        out.print("nothing is dead")
    if found.groups:
        raise typer.Exit(1)


@app.command()
def audit(
    pipeline: PipelineName = None,
    before: Annotated[int | None, typer.Option("--before", help="Only ids below this one: the next page.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 50,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Who did what, newest first."""
    page = with_database(database_url, lambda conn: insights.audit(conn, pipeline, before, limit))
    if as_json:
        print_json([asdict(entry) for entry in page.entries])
        return
    table = new_table("id", "at", "who", "action", "pipeline", "stage", "tenant", "job", "jobs", "detail")
    for e in page.entries:
        at = e.at.isoformat(sep=" ", timespec="seconds")
        cells = (e.id, at, e.who, e.action, e.pipeline, e.stage, e.tenant, e.job_key, e.jobs, e.detail or "")
        table.add_row(*(plain(cell) for cell in cells))
    out.print(table)


@app.command()
def doctor(
    invariants: Annotated[bool, typer.Option("--invariants", help="Also check what must always hold.")] = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Look for what keeps jobs from moving; each finding with its remedy. Exit code 1: something was found."""
    found = with_database(database_url, lambda conn: health.examine(conn, invariants=invariants), migrated=False)
    language = load_settings().log_language
    if as_json:
        print_json([f.as_json(language) for f in found])
    else:
        several = len({f.pipeline for f in found if f.pipeline}) > 1
        for f in found:
            of = f"{f.pipeline}: " if several and f.pipeline else ""
            out.print(plain(f"{f.code}: {of}{f.sentence(language)}"))
            out.print(plain(f"  {REMEDY[language]}: {f.remedy(language)}"))
        if not found:
            out.print(WELL[language])
    if found:
        raise typer.Exit(1)


def _fail(why: str) -> NoReturn:
    print(f"pgbaton: {why}", file=sys.stderr)
    raise typer.Exit(1)
