"""Commands that look and change nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pgbaton.cli.common import (
    AsJson,
    DatabaseUrl,
    ErrorPart,
    KeyPrefix,
    OlderThan,
    Output,
    PipelineName,
    Since,
    StageNames,
    States,
    TenantNames,
    Until,
    a_filter,
    app,
    output_of,
    with_database,
    with_table,
)
from pgbaton.cli.speech import Sentence, fail, language, tell, told
from pgbaton.cli.tables import Column, Format, of_several, plain, print_json, print_rows
from pgbaton.cli.when import short

if TYPE_CHECKING:
    import asyncpg

    from pgbaton.health import Finding
    from pgbaton.insights import StageCounts, Status, WorkerSeen

NO_WORKERS: Sentence = ("워커가 없습니다", "no workers")
NO_JOBS: Sentence = ("조건에 맞는 작업이 없습니다", "no job matches")
NOTHING_DEAD: Sentence = ("최종 실패한 작업이 없습니다", "nothing is dead")
TOO_WIDE: Sentence = (
    "검색 범위가 너무 넓어 중단했습니다. 상태, 테넌트, 단계, 작업으로 범위를 좁히세요",
    "search stopped: too few matches among too many jobs; narrow it by state, tenant, stage or job",
)
TOO_LONG: Sentence = ("시간이 너무 오래 걸립니다", "that took too long")
MORE: Sentence = ("(다음 페이지: --before {next})", "(the next page: --before {next})")
REMEDY: Sentence = ("조치", "remedy")
CAUSE: Sentence = ("원인", "cause")
CHECKED: Sentence = ("확인한 항목", "checked")
WELL: Sentence = ("문제가 없습니다", "nothing is wrong")
LIMITS_APART: Sentence = (
    "다음 한도는 이 데이터베이스 안에서만 적용되며 다른 데이터베이스와 합산하지 않습니다: {limits}",
    "these limits hold in this database by itself, and are not added up over databases: {limits}",
)
PAUSED: Sentence = ("일시정지", "paused")
NO_ROUTE: Sentence = ("경로 없음", "no route")


def _short(seconds: object) -> str:
    return short(float(str(seconds)), language())


def _ago(seconds: object) -> str:
    return told(("{since} 전", "{since} ago"), since=_short(seconds))


@app.command(
    everywhere=True, examples=["pgbaton status", "pgbaton status -o json | jq '.stages[] | select(.dead > 0)'"]
)
def status(
    pipeline: PipelineName = None, database_url: DatabaseUrl = None, output: Output = None, as_json: AsJson = False
) -> None:
    """Counts by stage and state, and the workers.

    Of what is settled, the last day's. Counting stops: 10,000+ is more than that. Of what was completed the newest
    20,000 are counted, and then + means at least. With -o csv: the stages.
    """
    from pgbaton import health, insights, sql
    from pgbaton.table import chosen

    async def work(conn: asyncpg.Connection) -> tuple[Status, list[Finding]]:
        chosen([r["name"] for r in await conn.fetch(sql.read("read/pipelines.sql"))], pipeline)
        return await insights.status(conn, pipeline), await health.adoption_checks(conn, pipeline)

    form = output_of(output, as_json)
    seen, notes = with_database(database_url, work)
    if form is Format.JSON:
        print_json(seen.as_json() | {"notes": [f.as_json(language()) for f in notes]})
        return
    several = len({s.pipeline for s in seen.stages}) > 1
    print_rows(_stage_columns(several), [_stage_row(seen, s, form) for s in seen.stages], form, language())
    if form is Format.CSV:
        return
    print()
    if seen.workers:
        print_rows(WORKERS, [_worker_row(w) for w in seen.workers], form, language())
    else:
        tell(NO_WORKERS)
    for f in notes:
        print(plain(f"{f.pipeline}: {f.sentence(language())}"))


def _stage_columns(several: bool) -> list[Column]:
    return [
        Column("pipeline", "파이프라인", wide=not several),
        Column("stage", "단계"),
        Column("available", "대기", number=True),
        Column("running", "처리 중", number=True),
        Column("retryable", "재시도 대기", number=True),
        Column("completed", "완료", number=True),
        Column("dead", "최종 실패", number=True),
        Column("cancelled", "취소", number=True, spare=1),
        Column("oldest", "최장 대기", number=True, shown=_short),
        Column("note", "비고", spare=2, coloured=True),
    ]


def _stage_row(seen: Status, s: StageCounts, form: Format) -> list[object]:
    from pgbaton.insights import shown_count
    from pgbaton.model import State

    counts: list[object] = [getattr(s, state.value) for state in State]
    if form is not Format.CSV:
        names = [state.value for state in State]
        counts = [shown_count(getattr(s, name)) for name in names]
        if seen.completed_capped:
            counts[names.index("completed")] = f"{s.completed:,}+"
    note = told(PAUSED) if s.paused else None if s.routed else told(NO_ROUTE)
    return [s.pipeline, s.stage, *counts, s.oldest_wait, note]


WORKERS = [
    Column("worker", "워커"),
    Column("pipeline", "파이프라인", spare=2),
    Column("id", spare=1),
    Column("calls", "호출", number=True),
    Column("renewed", "마지막 하트비트", shown=_ago, number=True),
    Column("state", "상태", coloured=True),
]


def _worker_row(w: WorkerSeen) -> list[object]:
    state = "lost" if not w.alive else "draining" if w.draining else "alive"
    return [w.name, w.pipeline, w.id, f"{w.calls}/{w.capacity}", w.silent, state]


JOBS = [
    Column("job", "작업"),
    Column("tenant", "테넌트", spare=3),
    Column("stage", "단계"),
    Column("state", "상태", coloured=True),
    Column("attempt", "시도", number=True, spare=5),
    Column("outcome", "결과", spare=4),
    Column("http", "HTTP", number=True, spare=6),
    Column("created", "생성", wide=True, is_time=True),
    Column("error", "오류", text=True, spare=1),
]


@app.command(
    everywhere=True,
    examples=[
        "pgbaton jobs --state dead --tenant acme --tenant hanbit --since yesterday",
        "pgbaton jobs --state available --older-than 10m",
        "pgbaton jobs --error 'HTTP 502' -o csv > bad-gateway.csv",
    ],
)
def jobs(
    database_url: DatabaseUrl = None,
    pipeline: PipelineName = None,
    state: States = None,
    stage: StageNames = None,
    tenant: TenantNames = None,
    job: Annotated[
        list[str] | None, typer.Option("--job", metavar="JOB", help="Only this job; may be repeated.")
    ] = None,
    job_prefix: KeyPrefix = None,
    since: Since = None,
    until: Until = None,
    older_than: OlderThan = None,
    error: ErrorPart = None,
    before: Annotated[int | None, typer.Option("--before", help="Only ids below this one: the next page.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 50,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Dispatches, newest first.

    With the outcome of their latest attempt. Exit code 1: it took too long.
    """
    from pgbaton import insights

    form = output_of(output, as_json)
    wanted = a_filter(pipeline, stage, state, tenant, since, until, older_than, error, job_prefix, job)
    page = with_database(database_url, lambda conn: insights.list_jobs(conn, wanted, before, limit, timeout=20))
    if page.too_wide:
        fail(TOO_WIDE)
    if form is Format.JSON:
        print_json([{k: v for k, v in asdict(row).items() if k != "age"} for row in page.jobs])
        return
    names = ("job_key", "tenant", "stage", "state", "attempt", "outcome", "http_status", "created_at", "error")
    if not page.jobs and form is not Format.CSV:
        tell(NO_JOBS)
        return
    print_rows(JOBS, [[getattr(row, name) for name in names] for row in page.jobs], form, language())
    if page.next is not None and form is not Format.CSV:
        tell(MORE, next=page.next)


DEAD = [
    Column("stage", "단계"),
    Column("jobs", "건수", number=True),
    Column("newest", "최근", number=True, shown=_ago),
    Column("for_example", "예시 작업", spare=1),
    Column("error", "오류", text=True),
]


@app.command(
    everywhere=True, examples=["pgbaton dead", "pgbaton dead -o wide", "pgbaton dead || echo 'somebody has to look'"]
)
def dead(
    pipeline: PipelineName = None, database_url: DatabaseUrl = None, output: Output = None, as_json: AsJson = False
) -> None:
    """Dead dispatches, by stage and error.

    Only those whose row is still marked as failed. Exit code 1: there are some.
    """
    from pgbaton import insights

    form = output_of(output, as_json)
    found = with_table(database_url, pipeline, insights.dead_groups)
    if found.too_wide:
        fail(TOO_LONG)
    if form is Format.JSON:
        print_json(asdict(found))
    elif found.groups or form is Format.CSV:
        counted = [g.count if form is Format.CSV else insights.shown_count(g.count) for g in found.groups]
        rows = [[g.stage, n, g.newest_age, g.jobs[0], g.error] for g, n in zip(found.groups, counted, strict=True)]
        print_rows(DEAD, rows, form, language())
    else:
        tell(NOTHING_DEAD)
    if found.groups:
        raise typer.Exit(1)


AUDIT = [
    Column("id", spare=4, number=True),
    Column("at", "시각", is_time=True),
    Column("who", "누가"),
    Column("action", "조치", coloured=True),
    Column("pipeline", "파이프라인", spare=5),
    Column("stage", "단계", spare=2),
    Column("tenant", "테넌트", spare=2),
    Column("job", "작업", spare=1),
    Column("jobs", "건수", number=True),
    Column("detail", "상세", text=True, spare=3),
]


@app.command(
    everywhere=True,
    examples=[
        "pgbaton audit",
        "pgbaton audit --since 03:00 --who kim",
        "pgbaton audit --limit 1000 -o csv > audit.csv",
    ],
)
def audit(
    pipeline: PipelineName = None,
    since: Since = None,
    until: Until = None,
    who: Annotated[list[str] | None, typer.Option("--who", help="Only theirs; may be repeated.")] = None,
    action: Annotated[list[str] | None, typer.Option("--action", help="Only such; may be repeated.")] = None,
    before: Annotated[int | None, typer.Option("--before", help="Only ids below this one: the next page.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 50,
    database_url: DatabaseUrl = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """The audit, newest first."""
    from pgbaton import insights
    from pgbaton.insights.ledger import AuditFilter

    form = output_of(output, as_json)
    wanted = AuditFilter(tuple(who or ()), tuple(action or ()), since, until)
    page = with_database(database_url, lambda conn: insights.audit(conn, pipeline, before, limit, wanted))
    if form is Format.JSON:
        print_json([asdict(entry) for entry in page.entries])
        return
    rows: list[list[object]] = [
        [e.id, e.at, e.who, e.action, e.pipeline, e.stage, e.tenant, e.job_key, e.jobs, e.detail or None]
        for e in page.entries
    ]
    print_rows(AUDIT, rows, form, language())
    if page.next is not None and form is not Format.CSV:
        tell(MORE, next=page.next)


@app.command(everywhere=True, examples=["pgbaton doctor", "pgbaton doctor --json | jq -r '.[].code'"])
def doctor(
    pipeline: PipelineName = None,
    invariants: Annotated[bool, typer.Option("--invariants", help="Also check the invariants.")] = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """The findings that keep jobs from moving, each with its cause and its remedy.

    Exit code 1: something was found. Of several databases it says which limits each has by itself.
    """
    from pgbaton import health
    from pgbaton.insights.limit_use import limits

    apart: list[str] = []

    async def work(conn: asyncpg.Connection) -> list[health.Health]:
        looked = await health.examine(conn, pipeline, invariants=invariants)
        for name in {h.pipeline for h in looked if h.pipeline and of_several()}:
            every = await limits(conn, name)
            apart.extend(one.limit for one in every if one.pool or one.concurrency or one.rate)
        return looked

    looked = with_database(database_url, work, migrated=False)
    found = health.of_all(looked)
    if as_json:
        print_json([f.as_json(language()) for f in found])
    else:
        for f in found:
            of = f"{f.pipeline}: " if len(looked) > 1 and f.pipeline else ""
            print(plain(f"{f.code}: {of}{f.sentence(language())}"))
            print(plain(f"  {told(CAUSE)}: {f.cause(language())}"))
            print(plain(f"  {told(REMEDY)}: {f.remedy(language())}"))
            print(plain(f"  {f.link}"))
        if not found:
            checked = ", ".join(dict.fromkeys(c.name for h in looked for c in h.checks))
            print(f"{told(WELL)} ({told(CHECKED)}: {checked})")
        if apart:
            tell(LIMITS_APART, limits=", ".join(sorted(set(apart))))
    if found:
        raise typer.Exit(1)
