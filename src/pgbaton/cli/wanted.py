"""``pgbaton wanted``: how many workers there should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pgbaton.cli.common import AsJson, DatabaseUrl, PipelineName, app, read_by, with_table
from pgbaton.cli.speech import Sentence, language, told
from pgbaton.cli.tables import Column, Format, print_json, print_rows
from pgbaton.cli.when import short
from pgbaton.times import duration

if TYPE_CHECKING:
    import asyncpg

    from pgbaton.insights.wanted import Wanted
    from pgbaton.table import JobTable

ANY_STAGE: Sentence = ("(어느 워커든)", "(any worker)")
WORKERS: Sentence = (
    "필요한 워커: {workers} (워커당 동시 호출 {capacity}건)",
    "workers wanted: {workers}, of {capacity:# call|# calls} each",
)
KEPT_BY: dict[str, Sentence] = {
    "paused": ("일시정지", "paused"),
    "down": ("단계 장애: 호출 한 건으로 확인", "down: one call finds out"),
    "concurrency": ("동시 호출 한도", "its concurrency"),
    "rate": ("속도 한도", "its rate"),
    "tenants": ("테넌트 한도", "its tenants' limits"),
    "pool": ("풀의 자리", "its pool"),
}
COLUMNS = [
    Column("stage", "단계"),
    Column("waiting", "대기", number=True),
    Column("under_way", "처리 중", number=True),
    Column("takes", "호출당 시간", number=True),
    Column("calls", "필요한 동시 호출", number=True),
    Column("kept_by", "제한", text=True),
]


@app.command(examples=["pgbaton wanted", "pgbaton wanted --stages vlm_analyze,vlm_judge --capacity 8 --within 30s"])
def wanted(
    stages: Annotated[str | None, typer.Option(help="Of workers of these stages, with commas between them.")] = None,
    capacity: Annotated[
        int | None, typer.Option(help="Calls that a worker makes at once; default: the setting.")
    ] = None,
    within: Annotated[
        float,
        typer.Option(metavar="DURATION", parser=read_by(duration), help="All waiting jobs are to have begun so soon."),
    ] = 60.0,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """How many workers there should be now: by the jobs that wait, the time that calls take, and the limits."""
    from pgbaton.config import load_settings

    each = load_settings(given={"capacity": capacity}).capacity
    of = None if stages is None else [step.strip() for step in stages.split(",") if step.strip()]

    if of == []:  # an empty variable of a script must not mean that no worker is wanted
        raise typer.BadParameter("--stages is empty")

    async def work(conn: asyncpg.Connection, table: JobTable) -> Wanted:
        from pgbaton.insights.wanted import wanted

        return await wanted(conn, table.pipeline, of, each, within)

    found = with_table(database_url, pipeline, work)
    if as_json:
        print_json(found.as_json())
        return
    if found.stages:
        rows = [
            [s.stage or told(ANY_STAGE), s.waiting, s.under_way, short(s.takes, language()), s.calls,
             told(KEPT_BY[s.kept_by]) if s.kept_by else None]
            for s in found.stages
        ]  # fmt: skip
        print_rows(COLUMNS, rows, Format.TABLE, language())
        print()
    print(told(WORKERS, workers=found.workers, capacity=found.capacity))
