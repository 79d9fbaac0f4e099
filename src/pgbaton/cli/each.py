"""A command in one of several databases, or in each of them, one after the other: ``--database NAME``.

Where ``PGBATON_DATABASES`` names none, a command has one database and none of this is loaded.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperOption

from pgbaton.cli import tables
from pgbaton.cli.speech import Sentence, warn
from pgbaton.errors import ConfigError, PgbatonError

if TYPE_CHECKING:
    from pgbaton.config import Settings

REFUSED: Sentence = (
    "데이터베이스가 거부했거나 연결이 끊겼습니다: {why}",
    "the database refused, or went away: {why}",
)
HELP = "The database, where PGBATON_DATABASES names several; all: each of them."


class OfDatabases(TyperCommand):
    """A command that takes ``--database``, if it takes ``--database-url`` and no ``--database`` of its own.
    ``everywhere``: it goes through all databases where none is chosen; others want to be told."""

    everywhere = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        names = {param.name for param in self.params}
        self._chooses = "database_url" in names and "database" not in names
        if self._chooses:
            self.params.append(TyperOption(param_decls=["database", "--database"], metavar="NAME", help=HELP))

    def invoke(self, ctx: Any) -> Any:
        if not self._chooses:
            return super().invoke(ctx)
        wanted = ctx.params.pop("database")
        several = _several(wanted, ctx.params["database_url"])
        if several is None:
            return super().invoke(ctx)
        if len(several) > 1 and wanted is None and not self.everywhere:
            names = ", ".join(several)
            raise ConfigError(f"several databases are named ({names}): give --database NAME, or --database all")
        codes = [self._in_one(ctx, name, settings, len(several) > 1) for name, settings in several.items()]
        if any(codes):
            raise typer.Exit(max(codes))
        return None

    def _in_one(self, ctx: Any, name: str, settings: Settings, one_of_several: bool) -> int:
        """The exit code there. A database that is away keeps no other from its turn."""
        ctx.params["database_url"] = settings.dsn()
        if not one_of_several:
            super().invoke(ctx)
            return 0
        for_programs = ctx.params.get("as_json") or ctx.params.get("output") in (tables.Format.JSON, tables.Format.CSV)
        tables.begin_part(name, headed=not for_programs)
        try:
            super().invoke(ctx)
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
