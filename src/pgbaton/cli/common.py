"""The common part of the commands: the application, its options, and their connection."""

from __future__ import annotations

import asyncio
import getpass
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.models import CommandFunctionType as CommandFunction

from pgbaton.cli.each import in_databases
from pgbaton.cli.tables import Format
from pgbaton.times import duration, moment

if TYPE_CHECKING:  # --help must not wait for them
    import asyncpg

    from pgbaton.insights import JobFilter
    from pgbaton.table import JobTable
    from pgbaton.times import Moment

T = TypeVar("T")

HELP = """Move the rows of your own Postgres table through a pipeline of HTTP stages.

\b
Exit codes: 0 well
            1 something is wrong (said on standard error), or there was nothing to do
            2 wrong usage

PGBATON_LOG_LANGUAGE=ko: in Korean. NO_COLOR: without colours. TZ: your time zone."""


THEMES = (
    "install", "adoption", "run", "web", "look", "job", "steer", "limit", "wanted", "capacity", "simulate",
    "completion",
)  # fmt: skip
"""The modules of commands as the help lists them; others come before the last."""


class _Once(TyperCommand):
    """A command whose options, but for those that may be repeated, are refused where they are given twice: the last one
    would win, and the others be dropped in silence."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = Counter(_option(arg) for arg in args[: args.index("--") if "--" in args else None])
        for option in self.params:
            if isinstance(option, TyperOption) and not option.multiple and sum(given[name] for name in option.opts) > 1:
                raise typer.BadParameter(f"{option.opts[-1]} is given twice", ctx)
        return super().parse_args(ctx, args)


def _option(arg: str) -> str:
    """The option's name in an argument: ``--json``, ``--tenant=acme``, ``-ocsv``."""
    return arg.partition("=")[0] if arg.startswith("--") else arg[:2]


class _Themes(TyperGroup):
    """The commands in the help, by theme."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=lambda name: _theme(self.commands[name].callback))


def _theme(command: object) -> int:
    module = getattr(command, "__module__", "").rpartition(".")[2]
    return THEMES.index(module) if module in THEMES else len(THEMES) - 1


class _App(typer.Typer):
    def command(
        self, name: str | None = None, *, examples: Sequence[str] = (), everywhere: bool = False, **options: Any
    ) -> Callable[[CommandFunction], CommandFunction]:
        """A command whose help ends with ``examples``. ``everywhere``: of several databases it means all."""
        if examples:
            options["epilog"] = "\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)
        register = super().command(name, **({"cls": _Once} | options))

        def command(work: CommandFunction) -> CommandFunction:
            register(in_databases(work, everywhere=everywhere))
            return work

        return command


app = _App(
    cls=_Themes,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=HELP,
)


def _version(wanted: bool) -> None:
    if wanted:
        from pgbaton import __version__

        print(f"pgbaton {__version__}")
        raise typer.Exit


@app.callback()
def _command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and end.")
    ] = False,
) -> None:
    """Nothing but the options that come before a command."""


def read_by(read: Callable[[str], T]) -> Callable[[Any], T]:
    """``read`` as an option's parser: its :class:`ValueError` is wrong usage."""

    def parse(given: Any) -> T:
        if not isinstance(given, str):
            return given  # type: ignore[no-any-return]  # a default, or parsed already
        try:
            return read(given)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return parse


def _state(text: str) -> str:
    from pgbaton.model import State

    if text not in tuple(State):
        raise ValueError(f"there is no state {text!r}; there are: {', '.join(State)}")
    return text


def _states() -> list[str]:
    from pgbaton.model import State

    return [str(state) for state in State]


HERE = Path("pgbaton.toml")
"""The pipeline's file where none is named; what removes a pipeline wants its name."""
ConfigFile = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The pipeline's TOML file.")]
ConfigFiles = Annotated[
    list[Path],
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The pipeline's TOML file; again for each further one.",
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", metavar="URL", help="postgresql://…; default: DATABASE_URL.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs; the same as -o json.")]
Output = Annotated[
    Format | None,
    typer.Option(
        "-o", "--output", metavar="FORMAT", help="table, wide (every column, whole), json or csv.", show_default=False
    ),
]
PipelineName = Annotated[
    str | None, typer.Option("--pipeline", metavar="NAME", help="Its name, where there are several.")
]
StageName = Annotated[str | None, typer.Option("--stage", metavar="STEP", help="Only this stage.")]
StageNames = Annotated[
    list[str] | None, typer.Option("--stage", metavar="STEP", help="Only this stage; may be repeated.")
]
TenantNames = Annotated[
    list[str] | None, typer.Option("--tenant", metavar="TENANT", help="Only this tenant; may be repeated.")
]
Since = Annotated[
    Any,
    typer.Option(
        "--since",
        metavar="TIME",
        parser=read_by(moment),
        help="Only from then on: 10m, 2h (ago), 03:00, today, yesterday, 2026-11-28.",
        show_default=False,
    ),
]
Until = Annotated[
    Any,
    typer.Option("--until", metavar="TIME", parser=read_by(moment), help="Only before that.", show_default=False),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the audit.", show_default=False)]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state", metavar="STATE", parser=read_by(_state), autocompletion=_states, help="Only these; may be repeated."
    ),
]
TenantName = Annotated[str | None, typer.Option("--tenant", metavar="TENANT", help="Only this tenant.")]
OlderThan = Annotated[
    float | None,
    typer.Option(
        "--older-than",
        metavar="DURATION",
        parser=read_by(duration),
        help="Only those created longer ago: 10m, 2h, 3d, or seconds.",
    ),
]
ErrorPart = Annotated[
    str | None, typer.Option("--error", metavar="TEXT", help="Only those whose latest error has this in it.")
]
KeyPrefix = Annotated[str | None, typer.Option("--job-prefix", metavar="TEXT", help="Only jobs whose key begins so.")]
Who = Annotated[str | None, typer.Option("--as", metavar="WHO", help="Your name for the audit; default: the OS user.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many jobs that would be.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, even where it is about every job.")]


def output_of(output: Format | None, as_json: bool) -> Format:
    """The form of output that ``-o`` and ``--json`` ask for together."""
    if as_json and output not in (None, Format.JSON):
        raise typer.BadParameter(f"--json and -o {output} contradict each other")
    return Format.JSON if as_json else output or Format.TABLE


def with_database(
    database_url: str | None, work: Callable[[asyncpg.Connection], Coroutine[Any, Any, T]], *, migrated: bool = True
) -> T:
    """Do ``work`` with a connection of its own."""
    from pgbaton.config import load_settings
    from pgbaton.database import check_migrated, connection

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
    from pgbaton.table import table_of

    async def with_its_table(conn: asyncpg.Connection) -> T:
        return await work(conn, await table_of(conn, pipeline))

    return with_database(database_url, with_its_table)


def a_filter(
    pipeline: str | None,
    stage: Sequence[str] | None = None,
    state: Sequence[str] | None = None,
    tenant: Sequence[str] | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    older_than: float | None = None,
    error: str | None = None,
    job_prefix: str | None = None,
    job: Sequence[str] | None = None,
) -> JobFilter:
    """The filter that the options ask for."""
    from pgbaton.insights import JobFilter

    if older_than is not None and until is not None:
        raise typer.BadParameter("--older-than and --until ask for the same: give one of them")
    for name, given in (("--stage", stage), ("--tenant", tenant), ("--job", job)):
        if "" in (given or ()):  # an empty variable of a script must not mean every job
            raise typer.BadParameter(f"{name} is empty")
    if job_prefix == "" or error == "":
        raise typer.BadParameter("--job-prefix or --error is empty")

    return JobFilter(
        pipeline=pipeline,
        stages=tuple(stage or ()),
        states=tuple(state or ()),
        tenants=tuple(tenant or ()),
        since=since,
        until=older_than if until is None else until,
        error=error,
        job_prefix=job_prefix,
        jobs=tuple(job or ()),
    )


def person(given: str | None) -> str:
    """The name of the person who acts: as given, or the OS user."""
    if given:
        return given
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
