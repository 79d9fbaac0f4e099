"""Commands that change something; each writes its person's name into the audit (``pgbaton audit``)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from pgbaton.cli.ask import agreed
from pgbaton.cli.common import (
    AsJson,
    DatabaseUrl,
    DryRun,
    ErrorPart,
    KeyPrefix,
    OlderThan,
    PipelineName,
    Reason,
    Since,
    StageName,
    StageNames,
    States,
    TenantName,
    TenantNames,
    Until,
    Who,
    Yes,
    a_filter,
    app,
    person,
    with_database,
    with_table,
)
from pgbaton.cli.speech import Sentence, fail, tell, told
from pgbaton.cli.tables import plain, print_json

if TYPE_CHECKING:
    import asyncpg

    from pgbaton.insights import JobFilter
    from pgbaton.operate.desk import Action, Done
    from pgbaton.table import JobTable

RETRIED: Sentence = ("재시도:", "retried:")
CANCELLED: Sentence = ("취소:", "cancelled:")
RERUN: Sentence = ("재실행:", "run again:")
ONE_OR_MATCHING: Sentence = (
    "작업 하나를 지정하거나 조건(--stage, --state, …)을 쓰세요",
    "name one job, or say which by --stage, --state and the like",
)
FORCE_ONE: Sentence = (
    "--force는 작업 하나를 지정할 때만 씁니다",
    "--force goes with one named job: of many those that a stage works on are left alone",
)
AND_MORE: Sentence = ("외 {count}건", "and {count} more")
NOTHING: dict[Action, Sentence] = {
    "retry": ("재시도할 작업이 없습니다", "nothing to retry"),
    "cancel": ("취소할 작업이 없습니다", "nothing to cancel"),
    "rerun": ("재실행할 작업이 없습니다", "nothing to run again"),
}
WOULD: dict[Action, Sentence] = {
    "retry": ("재시도 대상: {count}건", "would retry {count}"),
    "cancel": ("취소 대상: {count}건", "would cancel {count}"),
    "rerun": ("재실행 대상: {count}건", "would run {count} again"),
}
EVERY: dict[Action, Sentence] = {
    "retry": ("전체 재시도", "retry every job that is dead or waits for a retry"),
    "cancel": ("전체 취소", "cancel every job that has not ended"),
}
NAME_JOBS: Sentence = (
    "작업을 지정하거나 --all을 쓰세요 (--stage와 함께: 그 단계 전체, 다른 조건도 같습니다)",
    "name jobs, or say --all (with --stage: all of that stage; so with other filters)",
)
NO_REASON: Sentence = (
    "--reason은 --all이나 조건과 함께 씁니다: 지정한 작업에는 감사 기록에 사유 항목이 없습니다",
    "--reason goes with --all or a filter: what is done to named jobs has no reason in the audit",
)
TOO_LONG: Sentence = (
    "건수를 세는 데 너무 오래 걸립니다: 조건을 좁히세요",
    "counting takes too long: narrow the filter",
)
GOES_ON: Sentence = ("{job} 작업을 {step} 단계부터 재실행합니다", "{job} goes on from {step}")
WAITS: Sentence = ("{job} 작업은 이미 {step} 단계를 기다리고 있습니다", "{job} waits for {step} already")
MISSING: Sentence = ("누락 {count}건", "{count} missing")
CREATED: Sentence = ("생성 {count}건", "{count} created")
NOT_BOTH: Sentence = ("단계와 테넌트 중 하나만 지정하세요", "a stage or a tenant, not both")
PAUSED: Sentence = ("일시정지: {what}", "paused {what}")
RESUMED: Sentence = ("재개: {what}", "resumed {what}")
THE_TENANT: Sentence = ("테넌트 {tenant}", "the tenant {tenant}")
NO_TENANT: Sentence = (
    "{pipeline} 파이프라인에 테넌트 '{tenant}'의 작업이 없습니다. 첫 작업 전에 미리 멈추려면 --force를 지정하세요",
    "no job of {pipeline} has the tenant {tenant!r}; to pause it before its first job: --force",
)

JobKeys = Annotated[list[str] | None, typer.Argument(metavar="JOB", help="Job keys.", show_default=False)]


@app.command(
    examples=[
        "pgbaton retry 42 43",
        "pgbaton retry --stage planner --error 'HTTP 502'",
        "pgbaton retry --all --dry-run",
        "pgbaton retry --all --yes",
    ]
)
def retry(
    job: JobKeys = None,
    all_jobs: Annotated[bool, typer.Option("--all", help="Every job that is dead or waits for a retry.")] = False,
    stage: StageNames = None,
    tenant: TenantNames = None,
    since: Since = None,
    until: Until = None,
    older_than: OlderThan = None,
    error: ErrorPart = None,
    job_prefix: KeyPrefix = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    reason: Reason = "",
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Give dead jobs another life.

    Those that wait for a retry are due at once. Exit code 1: there was none. With --all and
    nothing that narrows it, the number of jobs is to be typed, or --yes to be given.
    """
    wanted = a_filter(None, stage, None, tenant, since, until, older_than, error, job_prefix)
    done = _act("retry", job, all_jobs, wanted, dry_run, yes, reason, who, pipeline, database_url, as_json)
    _say(done, "retried", RETRIED, NOTHING["retry"], as_json)


@app.command(
    examples=[
        "pgbaton cancel 42",
        "pgbaton cancel --tenant acme --older-than 2d",
        "pgbaton cancel --all --dry-run --json",
    ]
)
def cancel(
    job: JobKeys = None,
    all_jobs: Annotated[bool, typer.Option("--all", help="Every job that has not ended.")] = False,
    stage: StageNames = None,
    tenant: TenantNames = None,
    since: Since = None,
    until: Until = None,
    older_than: OlderThan = None,
    error: ErrorPart = None,
    job_prefix: KeyPrefix = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    reason: Reason = "",
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Stop jobs where they are.

    Their rows go to (stage, cancelled). Exit code 1: there was none to stop. With --all and
    nothing that narrows it, the number of jobs is to be typed, or --yes to be given.
    """
    wanted = a_filter(None, stage, None, tenant, since, until, older_than, error, job_prefix)
    done = _act("cancel", job, all_jobs, wanted, dry_run, yes, reason, who, pipeline, database_url, as_json)
    _say(done, "cancelled", CANCELLED, NOTHING["cancel"], as_json)


def _act(
    action: Action,
    job: list[str] | None,
    all_jobs: bool,
    wanted: JobFilter,
    dry_run: bool,
    yes: bool,
    reason: str,
    who: str | None,
    pipeline: str | None,
    database_url: str | None,
    as_json: bool,
    step: str | None = None,
) -> Done:
    from pgbaton import operate
    from pgbaton.insights import CAP, shown_count
    from pgbaton.operate import bulk
    from pgbaton.operate.desk import Done

    narrows = wanted.narrows
    if bool(job) == (all_jobs or narrows):
        raise typer.BadParameter(told(NAME_JOBS))

    if job and reason:
        raise typer.BadParameter(told(NO_REASON))

    async def work(conn: asyncpg.Connection, table: JobTable) -> Done | int | None:
        matching = replace(wanted, pipeline=table.pipeline)
        if dry_run:
            return len(job) if job else await bulk.count_matching(conn, matching, action)
        if job:
            return await {"retry": operate.retry, "cancel": operate.cancel}[action](conn, table, job, who=person(who))
        expected = CAP + 1
        if not narrows and not yes:  # everything
            counted = await bulk.count_matching(conn, matching, action)
            expected = CAP + 1 if counted is None else counted
            if expected:
                agreed(expected, EVERY[action], yes=yes)
        by = person(who)
        return await bulk.act_on_matching(conn, table, matching, action, expected, who=by, reason=reason, step=step)

    came = with_table(database_url, pipeline, work)
    if isinstance(came, Done):
        return came
    if came is None:
        fail(TOO_LONG)
    if as_json:
        print_json({"would": action, "count": min(came, CAP), "capped": came > CAP})
    else:
        tell(WOULD[action], count=shown_count(came))
    raise typer.Exit(0 if came else 1)


def _say(done: Done, name: str, word: Sentence, nothing: Sentence, as_json: bool) -> None:
    if as_json:
        print_json({name: list(done.jobs)} | ({"count": done.count} if done.count > len(done.jobs) else {}))
    elif done.count:
        print("\n".join([told(word), *(plain(key) for key in done.jobs)]))
        if done.count > len(done.jobs):
            tell(AND_MORE, count=f"{done.count - len(done.jobs):,}")
    else:
        tell(nothing)
    if not done.count:
        raise typer.Exit(1)


@app.command(
    examples=[
        "pgbaton rerun 42 --from planner",
        "pgbaton rerun 42 --from planner --force",
        "pgbaton rerun --stage judge --from planner --dry-run",
    ]
)
def rerun(
    step: Annotated[str, typer.Option("--from", help="The step to do again, and all behind it.", show_default=False)],
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="The job's key.", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Even while a stage works on it.")] = False,
    stage: StageNames = None,
    state: States = None,
    tenant: TenantNames = None,
    since: Since = None,
    until: Until = None,
    older_than: OlderThan = None,
    error: ErrorPart = None,
    job_prefix: KeyPrefix = None,
    dry_run: DryRun = False,
    reason: Reason = "",
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Do a job again from a step on, or all that match.

    It is put to the entry state of that step, wherever it is now. With --stage and the like: every job that matches
    and is open or dead (--state completed: those that ended well); those that a stage works on are left alone. Exit
    code 1: refused, there was none, or it waits there already.
    """
    from pgbaton import operate

    narrowed = any((stage, state, tenant, since, until, older_than, error, job_prefix))
    if (job is None) != narrowed:
        raise typer.BadParameter(told(ONE_OR_MATCHING))
    if job is None or dry_run or reason:
        if force:
            raise typer.BadParameter(told(FORCE_ONE))
        wanted = a_filter(None, stage, state, tenant, since, until, older_than, error, job_prefix)
        named = None if job is None else [job]
        many = _act("rerun", named, False, wanted, dry_run, True, reason, who, pipeline, database_url, as_json, step)
        _say(many, "rerun", RERUN, NOTHING["rerun"], as_json)
        return
    done = with_table(
        database_url,
        pipeline,
        lambda conn, table: operate.rerun(conn, table, job, step, who=person(who), force=force),
    )
    if as_json:
        print_json({"rerun": list(done.jobs), "from": step})
    else:
        tell(GOES_ON if done.count else WAITS, job=job, step=step)
    if not done.count:
        raise typer.Exit(1)


@app.command(examples=["pgbaton reconcile --dry-run", "pgbaton reconcile"])
def reconcile(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show them.")] = False,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make the dispatches that no trigger made.

    Of rows in a routed state that have none: the trigger was off, a backup was restored, a table was adopted.
    """
    from pgbaton import operate
    from pgbaton.table import table_of

    async def work(conn: asyncpg.Connection) -> list[tuple[str, str]]:
        return await operate.reconcile(conn, await table_of(conn, pipeline), create=not dry_run)

    found = with_database(database_url, work)
    if as_json:
        print_json([{"job": job, "stage": stage} for job, stage in found])
        return
    for job, stage in found:
        print(f"{plain(job)}  {plain(stage)}")
    tell(MISSING if dry_run else CREATED, count=len(found))


@app.command(examples=["pgbaton pause --stage planner", "pgbaton pause --tenant acme --reason flood", "pgbaton pause"])
def pause(
    stage: StageName = None,
    tenant: TenantName = None,
    force: Annotated[bool, typer.Option("--force", help="A tenant that has no job yet, too.")] = False,
    reason: Reason = "",
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Call a stage, a tenant's jobs or all no more.

    With neither --stage nor --tenant: the whole pipeline. Until it is resumed; calls under way go on.
    """
    _set_paused(database_url, pipeline, stage, tenant, reason, who, as_json, paused=True, force=force)


@app.command(examples=["pgbaton resume --stage planner", "pgbaton resume --tenant acme"])
def resume(
    stage: StageName = None,
    tenant: TenantName = None,
    reason: Reason = "",
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """The opposite of pause."""
    _set_paused(database_url, pipeline, stage, tenant, reason, who, as_json, paused=False)


def _set_paused(
    database_url: str | None,
    pipeline: str | None,
    stage: str | None,
    tenant: str | None,
    reason: str,
    who: str | None,
    as_json: bool,
    *,
    paused: bool,
    force: bool = False,
) -> None:
    from pgbaton import operate

    if stage is not None and tenant is not None:
        raise typer.BadParameter(told(NOT_BOTH))

    async def work(conn: asyncpg.Connection, table: JobTable) -> tuple[str, Done]:
        if tenant is not None:
            if paused and not force and await operate.has_tenant(conn, table, tenant) is False:
                fail(NO_TENANT, pipeline=table.pipeline, tenant=tenant)
            act_on_tenant = operate.pause_tenant if paused else operate.resume_tenant
            return table.pipeline, await act_on_tenant(conn, table, tenant, who=person(who), reason=reason)
        act = operate.pause if paused else operate.resume
        return table.pipeline, await act(conn, table.pipeline, stage, who=person(who), reason=reason)

    name, done = with_table(database_url, pipeline, work)
    if as_json:
        word = "paused" if paused else "resumed"
        print_json({word: {"pipeline": name, "stage": stage, "tenant": tenant}, "changed": bool(done.count)})
        return
    what = told(THE_TENANT, tenant=tenant) if tenant is not None else stage or name
    tell(PAUSED if paused else RESUMED, what=what)
