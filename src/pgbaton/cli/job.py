"""Commands about one job: its calls, why it is where it is, and its moves as they happen."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from pgbaton.cli.common import AsJson, DatabaseUrl, Output, PipelineName, app, output_of, with_table
from pgbaton.cli.speech import Sentence, fail, language, tell
from pgbaton.cli.tables import Column, Format, on_terminal, plain, print_json, print_rows, width
from pgbaton.cli.when import short

if TYPE_CHECKING:
    import asyncpg

    from pgbaton.insights import Explanation, JobDetail
    from pgbaton.table import JobTable

NEEDS_SOMEBODY = 3
"""The exit code where a job does not go on by itself, though it should."""
AT_REST = frozenset({"done", "not_routed", "cancelled", "gone"})
"""Codes of explanations with which a job stays where it is, and nothing is wrong."""
LOOK_EVERY = 0.5
"""Seconds between two looks of ``--watch``: a person sees a step as it happens, for two small statements a second."""

NO_JOB: Sentence = ("작업 '{job}'이(가) 없습니다", "there is no job {job!r}")
NEWEST: Sentence = ("(최근 dispatch 200건)", "(the newest 200 dispatches)")

JobKey = Annotated[str, typer.Argument(metavar="JOB", help="The job's key.", show_default=False)]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow it: a line for each change, until it rests.")]


def _took(seconds: object) -> str:
    return short(float(str(seconds)), language())


CALLS = [
    Column("stage", "단계"),
    Column("state", "상태", coloured=True),
    Column("attempt", "시도", number=True, spare=2),
    Column("started", "시작", is_time=True, spare=3),
    Column("took", "소요", number=True, shown=_took),
    Column("outcome", "결과", coloured=True, spare=1),
    Column("http", "HTTP", number=True, spare=4),
    Column("worker", "워커", spare=6),
    Column("error", "오류", text=True, spare=5),
]


@app.command(examples=["pgbaton show 42", "pgbaton show 42 --watch", "pgbaton show 42 -o csv"])
def show(
    job: JobKey,
    watch: Watch = False,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """One job: its row and every call for it.

    With a sentence on why it is where it is. Exit code 1: there is no such job. With --watch it ends when the job
    does: 0 where nothing is left to do, 3 where somebody has to act.
    """
    from pgbaton import insights

    form = output_of(output, as_json)
    if watch:
        if form in (Format.JSON, Format.CSV):
            raise typer.BadParameter("--watch is for people: it has no -o json or csv")
        with_table(database_url, pipeline, lambda conn, table: _watch(conn, table, job))
        return
    found = with_table(database_url, pipeline, lambda conn, table: insights.job(conn, table, job))
    if found is None:
        fail(NO_JOB, job=job)
    if form is Format.JSON:
        print_json(found.as_json() | {"sentence": found.explanation.sentence(language())})
        return
    if form is not Format.CSV:
        if found.row is not None:
            print(plain(f"{job}: ({found.row.step}, {found.row.status}) {found.row.tenant or ''}").rstrip())
        print(plain(found.explanation.sentence(language())))
        if found.truncated:
            tell(NEWEST)
    print_rows(CALLS, _calls(found, every_cell=form is Format.CSV), form, language())


def _calls(found: JobDetail, *, every_cell: bool) -> list[list[object]]:
    rows: list[list[object]] = []
    for d in found.dispatches:
        for number, a in enumerate(d.attempts):
            head = [d.stage, d.state] if number == 0 or every_cell else ["", ""]
            rows.append(
                [*head, a.attempt, a.started_at, round(a.seconds, 3), a.outcome, a.http_status, a.worker, a.error]
            )
        if not d.attempts:
            rows.append([d.stage, d.state, *[None] * 7])
    return rows


async def _watch(conn: asyncpg.Connection, table: JobTable, job: str) -> NoReturn:
    """Print a line whenever the job's row, or the reason why it is there, changes; on a terminal the last one, where it
    fits, is kept up to date. Ends with the job."""
    from pgbaton import insights

    seen: object = None
    since, unended = "", False
    while True:
        found = await insights.job(conn, table, job)
        if found is None:
            fail(NO_JOB, job=job)
        fresh = seen != (seen := _mark(found))
        if fresh:
            since = datetime.now().strftime("%H:%M:%S")
            print("\n" if unended else "", end="")
        text = plain(f"{since}  {_where(found)}  {found.explanation.sentence(language())}")
        unended = on_terminal() and width(text) < shutil.get_terminal_size().columns
        if unended:
            print(text if fresh else f"\r\x1b[2K{text}", end="", flush=True)
        elif fresh:
            print(text, flush=True)
        if found.explanation.code in (*AT_REST, "dead"):
            print("\n" if unended else "", end="")
            raise typer.Exit(NEEDS_SOMEBODY if found.explanation.code == "dead" else 0)
        await asyncio.sleep(LOOK_EVERY)


def _where(found: JobDetail) -> str:
    return f"({found.row.step}, {found.row.status})" if found.row else "(-)"


def _mark(found: JobDetail) -> tuple[object, ...]:
    """The part of a job that makes a new line; time that goes on is none."""
    latest = found.dispatches[-1] if found.dispatches else None
    return (_where(found), found.explanation.code, latest and (latest.id, latest.state, latest.attempt))


@app.command(examples=["pgbaton explain 42", "PGBATON_LOG_LANGUAGE=ko pgbaton explain 42"])
def explain(
    job: JobKey, pipeline: PipelineName = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Why a job is where it is, in one sentence.

    Exit codes: 0 it goes on by itself, or nothing is left to do; 1 there is no such job; 3 somebody has to act.
    """
    from pgbaton import insights

    found: Explanation | None = with_table(
        database_url, pipeline, lambda conn, table: insights.explain(conn, table, job)
    )
    if found is None:
        fail(NO_JOB, job=job)
    said = found.sentence(language())
    if as_json:
        print_json(asdict(found) | {"sentence": said})
    else:
        print(plain(said))
    if not found.moves and found.code not in AT_REST:
        raise typer.Exit(NEEDS_SOMEBODY)
