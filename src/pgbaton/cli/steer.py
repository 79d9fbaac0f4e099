"""Commands that change something; each writes down who asked for it (``pgbaton audit``)."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

import asyncpg
import typer

from pgbaton import operate
from pgbaton.cli.common import (
    AsJson,
    DatabaseUrl,
    DryRun,
    ErrorPart,
    KeyPrefix,
    OlderThan,
    PipelineName,
    StageName,
    TenantName,
    Who,
    a_filter,
    app,
    out,
    person,
    plain,
    print_json,
    with_database,
    with_table,
)
from pgbaton.insights import CAP, JobFilter, shown_count
from pgbaton.operate import Action, Done
from pgbaton.table import JobTable, table_of

JobKeys = Annotated[list[str] | None, typer.Argument(help="Job keys.", show_default=False)]


@app.command()
def retry(
    job: JobKeys = None,
    all_jobs: Annotated[bool, typer.Option("--all", help="Every job that is dead or waits for a retry.")] = False,
    stage: StageName = None,
    tenant: TenantName = None,
    older_than: OlderThan = None,
    error: ErrorPart = None,
    job_prefix: KeyPrefix = None,
    dry_run: DryRun = False,
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Give dead jobs another life, and let those that wait for a retry be due now. Exit code 1: there was none."""
    wanted = a_filter(None, stage, None, tenant, older_than, error, job_prefix)
    done = _act("retry", job, all_jobs, wanted, dry_run, who, pipeline, database_url, as_json)
    _say(done, "retried", "nothing to retry", as_json)


@app.command()
def cancel(
    job: JobKeys = None,
    all_jobs: Annotated[bool, typer.Option("--all", help="Every job that has not ended.")] = False,
    stage: StageName = None,
    tenant: TenantName = None,
    older_than: OlderThan = None,
    error: ErrorPart = None,
    job_prefix: KeyPrefix = None,
    dry_run: DryRun = False,
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Stop jobs where they are: their rows go to (stage, cancelled). Exit code 1: there was none to stop."""
    wanted = a_filter(None, stage, None, tenant, older_than, error, job_prefix)
    done = _act("cancel", job, all_jobs, wanted, dry_run, who, pipeline, database_url, as_json)
    _say(done, "cancelled", "nothing to cancel", as_json)


def _act(
    action: Action,
    job: list[str] | None,
    all_jobs: bool,
    wanted: JobFilter,
    dry_run: bool,
    who: str | None,
    pipeline: str | None,
    database_url: str | None,
    as_json: bool,
) -> Done:
    if bool(job) == (all_jobs or bool(wanted.as_json())):
        raise typer.BadParameter("name jobs, or say --all (with --stage: all of that stage; so with other filters)")

    async def work(conn: asyncpg.Connection, table: JobTable) -> Done | int | None:
        matching = replace(wanted, pipeline=table.pipeline)
        if dry_run:
            return len(job) if job else await operate.count_matching(conn, matching, action)
        if job:
            return await {"retry": operate.retry, "cancel": operate.cancel}[action](conn, table, job, who=person(who))
        return await operate.act_on_matching(conn, table, matching, action, CAP + 1, who=person(who))

    came = with_table(database_url, pipeline, work)
    if isinstance(came, Done):
        return came
    if came is None:
        print("pgbaton: counting takes too long: narrow the filter", file=sys.stderr)
        raise typer.Exit(1)
    if as_json:
        print_json({"would": action, "count": min(came, CAP), "capped": came > CAP})
    else:
        out.print(f"would {action} {shown_count(came)}")
    raise typer.Exit(0 if came else 1)


def _say(done: Done, word: str, nothing: str, as_json: bool) -> None:
    if as_json:
        print_json({word: list(done.jobs)} | ({"count": done.count} if done.count > len(done.jobs) else {}))
    elif done.count:
        out.print("\n".join([f"{word}:", *(plain(key) for key in done.jobs)]))
        if done.count > len(done.jobs):
            out.print(f"and {done.count - len(done.jobs):,} more")
    else:
        out.print(nothing)
    if not done.count:
        raise typer.Exit(1)


@app.command()
def rerun(
    job: Annotated[str, typer.Argument(help="The job's key.", show_default=False)],
    step: Annotated[str, typer.Option("--from", help="The step to do again, and all behind it.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Even while a stage works on it.")] = False,
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Put a job to the entry state of a step, wherever it is now. Exit code 1: refused, or it waits there already."""
    done = with_table(
        database_url,
        pipeline,
        lambda conn, table: operate.rerun(conn, table, job, step, who=person(who), force=force),
    )
    if as_json:
        print_json({"rerun": list(done.jobs), "from": step})
    else:
        out.print(plain(f"{job} goes on from {step}" if done.count else f"{job} waits for {step} already"))
    if not done.count:
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
        return await operate.reconcile(conn, await table_of(conn, pipeline), create=not dry_run)

    found = with_database(database_url, work)
    if as_json:
        print_json([{"job": job, "stage": stage} for job, stage in found])
        return
    for job, stage in found:
        out.print(f"{job}  {stage}")
    out.print(f"{len(found)} {'missing' if dry_run else 'created'}")


@app.command()
def pause(
    stage: StageName = None,
    tenant: TenantName = None,
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Call a stage, a tenant's jobs or (with neither) the whole pipeline no more until that is resumed."""
    _set_paused(database_url, pipeline, stage, tenant, who, as_json, paused=True)


@app.command()
def resume(
    stage: StageName = None,
    tenant: TenantName = None,
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """The opposite of pause."""
    _set_paused(database_url, pipeline, stage, tenant, who, as_json, paused=False)


def _set_paused(
    database_url: str | None,
    pipeline: str | None,
    stage: str | None,
    tenant: str | None,
    who: str | None,
    as_json: bool,
    *,
    paused: bool,
) -> None:
    if stage and tenant:
        raise typer.BadParameter("a stage or a tenant, not both")

    async def work(conn: asyncpg.Connection, table: JobTable) -> tuple[str, Done]:
        if tenant:
            act_on_tenant = operate.pause_tenant if paused else operate.resume_tenant
            return table.pipeline, await act_on_tenant(conn, table, tenant, who=person(who))
        act = operate.pause if paused else operate.resume
        return table.pipeline, await act(conn, table.pipeline, stage, who=person(who))

    name, done = with_table(database_url, pipeline, work)
    word = "paused" if paused else "resumed"
    if as_json:
        print_json({word: {"pipeline": name, "stage": stage, "tenant": tenant}, "changed": bool(done.count)})
    else:
        out.print(f"{word} " + (f"the tenant {plain(tenant)}" if tenant else stage or name))
