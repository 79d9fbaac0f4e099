"""A command in one of several databases, or in each of them, one after the other: ``--database NAME``.

Where ``PGBATON_DATABASES`` names none, a command has one database and none of this is loaded.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgbaton.cli import tables
from pgbaton.cli.speech import Sentence, warn
from pgbaton.errors import ConfigError, PgbatonError

if TYPE_CHECKING:
    from pgbaton.config import Settings

REFUSED: Sentence = (
    "데이터베이스가 거부했거나 연결이 끊겼습니다: {why}",
    "the database refused, or went away: {why}",
)
DatabaseName = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="NAME",
        help="The one that is meant, where PGBATON_DATABASES names several; all: each of them.",
        show_default=False,
    ),
]


def in_databases(work: Callable[..., None], *, everywhere: bool) -> Callable[..., None]:
    """``work`` with the option ``--database``, if it has ``--database-url`` alone: it is done in the database that is
    chosen, or in each. ``everywhere``: in all of them, where none is chosen; otherwise that is refused."""
    signature = inspect.signature(work, eval_str=True)
    if "database_url" not in signature.parameters or "database" in signature.parameters:
        return work

    @wraps(work)
    def chosen(*, database: str | None = None, **given: Any) -> None:
        several = _several(database, given["database_url"])
        if several is None:
            return work(**given)
        if len(several) == 1:
            [settings] = several.values()
            return work(**given | {"database_url": settings.dsn()})
        if database is None and not everywhere:
            names = ", ".join(several)
            raise ConfigError(f"several databases are named ({names}): give --database NAME, or --database all")
        codes = [_in_one(work, given, name, settings) for name, settings in several.items()]
        if any(codes):
            raise typer.Exit(max(codes))
        return None

    option = inspect.Parameter("database", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=DatabaseName)
    chosen.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), option]
    )
    chosen.__annotations__ = {**work.__annotations__, "database": DatabaseName}
    return chosen


def _in_one(work: Callable[..., None], given: dict[str, Any], name: str, settings: Settings) -> int:
    """The exit code of ``work`` in one of several. A database that is away keeps no other from its turn."""
    for_programs = given.get("as_json") or given.get("output") in (tables.Format.JSON, tables.Format.CSV)
    tables.begin_part(name, headed=not for_programs)
    try:
        work(**given | {"database_url": settings.dsn()})
        return 0
    except typer.Exit as ended:
        return int(ended.exit_code)
    except Exception as error:
        if not say(error, name):
            raise
        return 1


def _several(wanted: str | None, database_url: str | None) -> dict[str, Settings] | None:
    """The databases that a command is about; ``None``: the one of ``DATABASE_URL``, or of the command line."""
    if database_url is not None:
        if wanted is not None:
            raise typer.BadParameter("--database and --database-url contradict each other")
        return None
    if wanted is None and not os.environ.get("PGBATON_DATABASES"):
        return None
    from pgbaton.config import load_databases

    return load_databases(given={"database": wanted})


def say(error: Exception, place: str = "") -> bool:
    """Say an error that was raised on purpose, or by the server or the way to it, on standard error. False: it is
    neither, but a fault."""
    of = f"{place}: " if place else ""
    if isinstance(error, PgbatonError):
        print(f"pgbaton: {of}{error}", file=sys.stderr)
        return True
    if _of_the_database(error):
        from pgbaton.events import describe

        warn(REFUSED, why=of + describe(error))
        return True
    return False


def _of_the_database(error: Exception) -> bool:
    """Whether the server, or the way to it, raised this."""
    if isinstance(error, OSError):
        return True
    asyncpg = sys.modules.get("asyncpg")
    return asyncpg is not None and isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError)
