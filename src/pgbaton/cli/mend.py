"""Commands that mend findings of the doctor, and report on them afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pgbaton.cli import speech
from pgbaton.cli.common import AsJson, DatabaseUrl, DryRun, PipelineName, Who, app, person, read_by, with_table
from pgbaton.cli.speech import Sentence, tell
from pgbaton.cli.tables import print_json
from pgbaton.times import duration

if TYPE_CHECKING:
    import asyncpg

    from pgbaton.health import Happened
    from pgbaton.operate.desk import Done
    from pgbaton.table import JobTable

RECALLED: Sentence = ("{count}건을 다시 호출합니다", "{count} will be called again")
NONE_STALLED: Sentence = ("다시 호출할 작업이 없습니다", "nothing to call again")
SET_ASIDE: Sentence = ("{count}건을 격리했습니다", "{count} in quarantine")
MOVED: Sentence = ("{count}건을 옮겼습니다", "{count} moved")
WOULD_MOVE: Sentence = ("옮길 대상: {count}건", "would move {count}")
NONE_THERE: Sentence = (
    "그 상태에 옮길 행이 없습니다(진행 중인 호출이 있는 행은 옮기지 않습니다)",
    "no row to move stands there (those with an open dispatch are not moved)",
)
NOT_OPEN: Sentence = ("격리할 작업이 없습니다", "no such job is open or dead")


def _state_of(text: str) -> tuple[str, str]:
    """``glue,done`` as a step and a status. Raises :class:`ValueError` with a sentence."""
    step, comma, status = (part.strip() for part in text.partition(","))
    if not (step and comma and status):
        raise ValueError(f"{text!r} is no state: write step,status, as in glue,done")
    return step, status


def _state_option(name: str, said: str) -> Any:
    return typer.Option(name, metavar="STEP,STATUS", parser=read_by(_state_of), help=said, show_default=False)


@app.command(examples=["pgbaton recall --stage planner", "pgbaton recall --stage planner --over 10m"])
def recall(
    stage: Annotated[str, typer.Option("--stage", help="Whose calls.", show_default=False)],
    over: Annotated[
        float,
        typer.Option(
            "--over",
            metavar="DURATION",
            parser=read_by(duration),
            help="Also calls that were left to the stage longer ago (10m).",
            show_default=False,
        ),
    ] = 0.0,
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Call again now calls that were left to a stage and do not end.

    Without --over only calls whose answer was lost. No attempt is used up. Exit code 1: there was none.
    """

    async def work(conn: asyncpg.Connection, table: JobTable) -> Done:
        from pgbaton import operate

        return await operate.recall(conn, table, stage, who=person(who), over=over)

    _say(with_table(database_url, pipeline, work), RECALLED, NONE_STALLED, as_json)


@app.command(examples=["pgbaton quarantine 42", "pgbaton rerun 42 --from planner  # frees it"])
def quarantine(
    job: Annotated[list[str], typer.Argument(metavar="JOB", help="Job keys.", show_default=False)],
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Set jobs aside: their rows go to (stage, quarantined), and nothing calls them.

    Rerun frees one. Exit code 1: none of them is open or dead.
    """

    async def work(conn: asyncpg.Connection, table: JobTable) -> Done:
        from pgbaton import operate

        return await operate.quarantine(conn, table, job, who=person(who))

    _say(with_table(database_url, pipeline, work), SET_ASIDE, NOT_OPEN, as_json)


@app.command(
    examples=["pgbaton move --from glue,done --to pack,done --dry-run", "pgbaton move --from glue,done --to pack,done"]
)
def move(
    source: Annotated[Any, _state_option("--from", "The state that they stand in.")],
    target: Annotated[Any, _state_option("--to", "The state that they are put to.")],
    dry_run: DryRun = False,
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Put rows that no call holds from one state to another, where their stage has left, say.

    All rows in that state, in batches. What the new state leads to is called. Exit code 1: there was none.
    """

    async def work(conn: asyncpg.Connection, table: JobTable) -> Done:
        from pgbaton import operate

        return await operate.move_rows(conn, table, source, target, who=person(who), only_count=dry_run)

    _say(with_table(database_url, pipeline, work), WOULD_MOVE if dry_run else MOVED, NONE_THERE, as_json)


def _say(done: Done, changed: Sentence, nothing: Sentence, as_json: bool) -> None:
    if as_json:
        print_json({"action": done.action, "count": done.count, "jobs": list(done.jobs)})
    elif done.count:
        tell(changed, count=f"{done.count:,}")
    else:
        tell(nothing)
    if not done.count:
        raise typer.Exit(1)


@app.command(examples=["pgbaton incident", "pgbaton incident --since 8h --language ko"])
def incident(
    since: Annotated[
        float,
        typer.Option(
            "--since",
            metavar="DURATION",
            parser=read_by(duration),
            help="So long ago: 2h, 30m.",
            show_default="2h",
        ),
    ] = 2 * 3600.0,
    language: Annotated[
        Literal["ko", "en"] | None, typer.Option("--language", help="Of the report; default: as everywhere.")
    ] = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Findings, acts and deployments, as a short report to hand on."""
    until = datetime.now(UTC)
    began = until - timedelta(seconds=since)

    async def work(conn: asyncpg.Connection, table: JobTable) -> tuple[str, list[Happened]]:
        from pgbaton import health

        return table.pipeline, await health.happened(conn, table.pipeline, began, until)

    from pgbaton.health import report

    name, events = with_table(database_url, pipeline, work)
    spoken = language or speech.language()
    if as_json:
        print_json([e.as_json(spoken) for e in events])
        return
    said = report(name, events, began, until, spoken)
    print("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in said), end="")
