"""What the commands share: the application, its options, and how things are shown."""

from __future__ import annotations

import asyncio
import getpass
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import asyncpg
import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperCommand, TyperOption
from typer.models import CommandFunctionType as CommandFunction

from pgbaton.config import load_settings
from pgbaton.database import check_migrated, connection
from pgbaton.insights import JobFilter
from pgbaton.model import State
from pgbaton.table import JobTable, table_of

T = TypeVar("T")

HELP = """The command ``pgbaton``. Exit codes: 0 well, 1 something is wrong (said on standard error) or there was
nothing to do, 2 wrong usage."""


class _Once(TyperCommand):
    """A command whose options, but for those that may be repeated, are refused where they are given twice: the last one
    would win, and the others be dropped in silence."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = Counter(arg.partition("=")[0] for arg in args[: args.index("--") if "--" in args else None])
        for option in self.params:
            if isinstance(option, TyperOption) and not option.multiple and sum(given[name] for name in option.opts) > 1:
                raise typer.BadParameter(f"{option.opts[0]} is given twice", ctx)
        return super().parse_args(ctx, args)


class _App(typer.Typer):
    def command(self, name: str | None = None, **options: Any) -> Callable[[CommandFunction], CommandFunction]:
        return super().command(name, **({"cls": _Once} | options))


app = _App(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=HELP)
out = Console(highlight=False, markup=False, emoji=False)

ConfigFile = Annotated[Path, typer.Option("--config", help="The pipeline's TOML file.", show_default=False)]
DatabaseUrl = Annotated[
    str | None, typer.Option("--database-url", help="postgresql://…; default: DATABASE_URL.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
PipelineName = Annotated[str | None, typer.Option("--pipeline", help="Its name, where there are several.")]
StageName = Annotated[str | None, typer.Option("--stage", help="Only this stage.")]
States = Annotated[list[State] | None, typer.Option("--state", help="Only these; may be repeated.")]
TenantName = Annotated[str | None, typer.Option("--tenant", help="Only this tenant.")]
OlderThan = Annotated[
    float | None, typer.Option("--older-than", min=0, help="Only those created more than so many seconds ago.")
]
ErrorPart = Annotated[str | None, typer.Option("--error", help="Only those whose latest error has this in it.")]
KeyPrefix = Annotated[str | None, typer.Option("--job-prefix", help="Only jobs whose key begins so.")]
Who = Annotated[str | None, typer.Option("--as", help="Who does this, for the audit; default: the OS user.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many jobs that would be.")]


def with_database(
    database_url: str | None, work: Callable[[asyncpg.Connection], Coroutine[Any, Any, T]], *, migrated: bool = True
) -> T:
    """Do ``work`` with a connection of its own."""
    dsn = load_settings(given={"database_url": database_url}).dsn()

    async def connected() -> T:
        async with connection(dsn) as conn:
            if migrated:
                await check_migrated(conn)
            return await work(conn)

    return asyncio.run(connected())


def with_table(
    database_url: str | None,
    pipeline: str | None,
    work: Callable[[asyncpg.Connection, JobTable], Coroutine[Any, Any, T]],
) -> T:
    """As :func:`with_database`, with the table of the pipeline (``None``: of the only one there is)."""

    async def with_its_table(conn: asyncpg.Connection) -> T:
        return await work(conn, await table_of(conn, pipeline))

    return with_database(database_url, with_its_table)


def a_filter(
    pipeline: str | None,
    stage: str | None = None,
    state: list[State] | None = None,
    tenant: str | None = None,
    older_than: float | None = None,
    error: str | None = None,
    job_prefix: str | None = None,
    job: str | None = None,
) -> JobFilter:
    """The filter that the options ask for."""
    return JobFilter(
        pipeline=pipeline,
        stages=(stage,) if stage else (),
        states=tuple(s.value for s in state or ()),
        tenants=(tenant,) if tenant else (),
        until=older_than,
        error=error or None,
        job_prefix=job_prefix or None,
        jobs=(job,) if job else (),
    )


def person(given: str | None) -> str:
    """Who acts: as given, or the OS user."""
    if given:
        return given
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def new_table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def plain(value: object) -> str:
    """A cell: text of others' making must not break the line, nor speak to the terminal."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else "�" for c in text)


def in_seconds(seconds: float) -> str:
    return (
        f"{seconds:.1f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )


def print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, default=str, indent=2))
