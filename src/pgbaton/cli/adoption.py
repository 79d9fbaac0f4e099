"""Commands for a table that another system works on: shadow mode, going live, and rows that the other one left."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pgbaton.cli.common import (
    HERE,
    AsJson,
    ConfigFile,
    DatabaseUrl,
    OlderThan,
    Output,
    PipelineName,
    StageName,
    Who,
    app,
    output_of,
    person,
    read_by,
    with_database,
    with_table,
)
from pgbaton.cli.planned import Rate, Told, tell_walked
from pgbaton.cli.speech import Sentence, fail, language, tell
from pgbaton.cli.tables import Column, Format, print_json, print_rows
from pgbaton.cli.when import short
from pgbaton.times import moment

if TYPE_CHECKING:
    import asyncpg

    from pgbaton.insights.shadow import Recorded
    from pgbaton.insights.unowned import Unowned
    from pgbaton.install.past import Progress
    from pgbaton.install.script import Decided
    from pgbaton.operate.desk import Done
    from pgbaton.table import JobTable

NOTHING_RECORDED: Sentence = ("기록이 없습니다", "nothing was recorded")
ALL_LIVE: Sentence = ("모든 작업을 호출합니다", "all jobs are called")
SHARE_LIVE: Sentence = ("작업의 {share}%를 호출합니다", "{share} % of the jobs are called")
AND_TENANTS: Sentence = ("전부 호출하는 테넌트: {tenants}", "and all of {tenants}")
TAKEN: Sentence = ("넘겨받음: {seen}건 중 {count}건", "taken over: {count} of {seen}")
UNDATED: Sentence = (
    "updated_at이 비어 있는 행 {count}건은 시각을 알 수 없습니다: --all을 쓰세요",
    "{count:# row has|# rows have} an empty updated_at, so that it is not known since when: --all",
)
NOTHING_LEFT: Sentence = ("넘겨받을 행이 없습니다", "nothing to take over")
TOO_LONG: Sentence = (
    "찾는 데 너무 오래 걸립니다. --stage를 지정하거나 단계와 상태 컬럼에 인덱스를 만드세요",
    "looking takes too long: name a stage, or make an index on the columns of step and status",
)


def _short(seconds: object) -> str:
    return short(float(str(seconds)), language())


RECORDS = [
    Column("id", number=True, spare=3),
    Column("at", "시각", is_time=True, spare=2),
    Column("job", "작업"),
    Column("stage", "단계"),
    Column("became", "이후"),
    Column("after", "걸린 시간", number=True, shown=_short, spare=1),
    Column("url", "URL", text=True),
]
COMPARED = [
    Column("stage", "단계"),
    Column("recorded", "기록", number=True),
    Column("reached", "완료", number=True),
    Column("running", "처리 중", number=True),
    Column("failed", "실패", number=True),
    Column("waits", "대기", number=True),
    Column("elsewhere", "다른 상태", number=True),
    Column("gone", "삭제됨", number=True),
    Column("median", "중앙값", number=True, shown=_short, spare=1),
]
UNOWNED = [
    Column("stage", "단계"),
    Column("rows", "행", number=True),
    Column("oldest_since", "가장 오래된 시각", is_time=True),
    Column("for_example", "예시 작업", text=True),
]


@app.command(examples=["pgbaton shadow", "pgbaton shadow --stage planner --list", "pgbaton shadow --json > calls.json"])
def shadow(
    stage: StageName = None,
    before: Annotated[int | None, typer.Option("--before", help="Only ids below this one: the next page.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="The newest so many.")] = 10_000,
    each: Annotated[bool, typer.Option("--list", help="Each of them, in place of the comparison.")] = False,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """The calls that would have been made, and the moves of the rows.

    In shadow mode. reached: the row came to (stage, done) by itself. waits: it stands where the stage would have been
    called. --json exports each with its URL, headers and body. Exit code 1: nothing was recorded.
    """
    from pgbaton.insights.shadow import compared, recorded

    form = output_of(output, as_json)

    async def work(conn: asyncpg.Connection, table: JobTable) -> list[Recorded]:
        return await recorded(conn, table, stage, before, limit)

    found = with_table(database_url, pipeline, work)
    if form is Format.JSON:
        print_json([record.as_json() for record in found])
    elif not found:
        tell(NOTHING_RECORDED)
    elif each:
        rows: list[list[object]] = [[r.id, r.at, r.job_key, r.stage, r.became, r.seconds, r.url] for r in found]
        print_rows(RECORDS, rows, form, language())
    else:
        names = [c.name for c in COMPARED[2:-1]]
        counted: list[list[object]] = [
            [c.stage, c.recorded, *(c.became.get(name, 0) for name in names), c.seconds] for c in compared(found)
        ]
        print_rows(COMPARED, counted, form, language())
    if not found:
        raise typer.Exit(1)


@app.command(
    examples=[
        "pgbaton live --config pgbaton.toml --share 10%",
        "pgbaton live --config pgbaton.toml --share 10% --tenant acme",
        "pgbaton live --config pgbaton.toml --all",
    ]
)
def live(
    config: ConfigFile = HERE,
    share: Annotated[
        str | None, typer.Option("--share", metavar="SHARE", help="This share of the jobs: 10%.", show_default=False)
    ] = None,
    tenant: Annotated[
        list[str] | None,
        typer.Option(
            "--tenant", metavar="TENANT", help="All jobs of this tenant; may be repeated.", show_default=False
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All jobs: the end of shadow mode.")] = False,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Call, too, rows in routed states of jobs that are called now.")
    ] = False,
    rate: Rate = None,
    who: Who = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Call a share of the jobs, or all: out of shadow mode.

    A job that is called at 10% is called at 20%. Jobs that stand in a routed state are left alone until they move,
    unless --backfill is given. Where a share becomes smaller, calls that are open end as usual.
    """
    from pgbaton.config import load_pipeline
    from pgbaton.errors import ConfigError
    from pgbaton.install.past import RATE
    from pgbaton.model.limits import read_rate
    from pgbaton.operate.adopt import go_live
    from pgbaton.rollout import Rollout, read_share

    if everything == (share is not None or bool(tenant)):
        raise typer.BadParameter("say --share, --tenant (or both), or --all")
    pipeline = load_pipeline(config)
    if tenant and pipeline.tenant is None:
        raise ConfigError(f"the pipeline {pipeline.name!r} has no tenants")
    wanted = None if everything else Rollout(0.0 if share is None else read_share(share), tuple(tenant or ()))
    calls = RATE if rate is None else read_rate("--rate", rate)
    past: Decided = "backfill" if backfill else "now"

    async def work(conn: asyncpg.Connection) -> tuple[bool, Progress | None]:
        told = Told(as_json, 0)
        return await go_live(conn, pipeline, wanted, past, calls, who=person(who), told=told), told.last

    changed, walked = with_database(database_url, work)
    if as_json:
        said = None if wanted is None else {"share": wanted.share, "tenants": list(wanted.tenants)}
        print_json({"rollout": said, "changed": changed})
        return
    tell_walked(walked)
    if wanted is None:
        tell(ALL_LIVE)
    else:
        tell(SHARE_LIVE, share=f"{wanted.share:g}")
        if wanted.tenants:
            tell(AND_TENANTS, tenants=", ".join(wanted.tenants))


@app.command(
    examples=["pgbaton takeover --before 10:00 --dry-run", "pgbaton takeover --before 10:00 --stage yolo_detect"]
)
def takeover(
    stage: StageName = None,
    before: Annotated[
        object,
        typer.Option(
            "--before", metavar="TIME", parser=read_by(moment), help="Rows that were changed last before: 10:00, 2h."
        ),
    ] = None,
    older_than: OlderThan = None,
    all_rows: Annotated[bool, typer.Option("--all", help="However long they have been so.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show them.")] = False,
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Take over rows that another system never ended.

    Rows that are running at a stage though the engine has no dispatch for them, such as those that another system began
    and never ended, are put back to where the stage is called. Exit code 1: there was none.
    """
    from pgbaton.insights.unowned import unowned
    from pgbaton.operate.adopt import take_over
    from pgbaton.operate.desk import Done as Acted

    form = output_of(output, as_json)
    if [before is not None, older_than is not None, all_rows].count(True) != 1:
        raise typer.BadParameter("say --before, --older-than or --all")
    ago, undated = older_than if older_than is not None else before, 0

    async def work(conn: asyncpg.Connection, table: JobTable) -> Done | list[Unowned] | None:
        at = ago if isinstance(ago, datetime) else None
        if isinstance(ago, int | float):
            at = await conn.fetchval("SELECT clock_timestamp() - make_interval(secs => $1)", float(ago))
        if dry_run:
            nonlocal undated
            found = await unowned(conn, table, stage, at)
            if found == [] and at is not None:  # those whose updated_at is empty are before no time
                undated = sum(u.rows for u in await unowned(conn, table, stage) or () if u.since is None)
            return found
        return await take_over(conn, table, stage, at, who=person(who))

    came = with_table(database_url, pipeline, work)
    if came is None:
        fail(TOO_LONG)
    if isinstance(came, Acted):
        if form is Format.JSON:
            print_json({"taken_over": list(came.jobs), "count": came.count, "seen": came.seen})
        else:
            tell(TAKEN if came.count else NOTHING_LEFT, count=f"{came.count:,}", seen=f"{came.seen:,}")
        if not came.count:
            raise typer.Exit(1)
        return
    if form is Format.JSON:
        print_json([asdict(found) for found in came])
    elif came:
        rows: list[list[object]] = [[u.stage, u.rows, u.since, ", ".join(u.jobs)] for u in came]
        print_rows(UNOWNED, rows, form, language())
    else:
        tell(NOTHING_LEFT)
        if undated:
            tell(UNDATED, count=f"{undated:,}")
    if not came:
        raise typer.Exit(1)
