"""The command ``pgbaton``, one module for each theme. What is heavy (asyncpg, pydantic, the worker, the page) is
imported in the command that needs it: help and completion wait for none of it."""

from __future__ import annotations

import io
import os
import sys

from pgbaton.cli import (
    adoption,
    capacity,
    completion,
    decide,
    graph,
    install,
    job,
    limit,
    look,
    mend,
    run,
    simulate,
    steer,
    wanted,
    web,
)
from pgbaton.cli.common import app
from pgbaton.cli.speech import Sentence, warn
from pgbaton.errors import PgbatonError
from pgbaton.events import describe

__all__ = [
    "adoption",
    "app",
    "capacity",
    "completion",
    "decide",
    "graph",
    "install",
    "job",
    "limit",
    "look",
    "main",
    "mend",
    "run",
    "simulate",
    "steer",
    "wanted",
    "web",
]

REFUSED: Sentence = (
    "데이터베이스가 거부했거나 연결이 끊겼습니다: {why}",
    "the database refused, or went away: {why}",
)


def main() -> None:
    """Run the command; errors that were raised on purpose are sentences, not tracebacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a sign shows another one
    try:
        completion.prepare()
        app(prog_name="pgbaton")
    except PgbatonError as error:
        print(f"pgbaton: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not _of_the_database(error):
            raise
        warn(REFUSED, why=describe(error))
        sys.exit(1)
    finally:
        _flush()


def _of_the_database(error: Exception) -> bool:
    """Whether the server, or the way to it, raised this."""
    if isinstance(error, OSError):
        return True
    asyncpg = sys.modules.get("asyncpg")
    return asyncpg is not None and isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError)


def _flush() -> None:
    """Write what is left to a reader that is perhaps gone (`pgbaton sql | head`), which is nobody's fault."""
    try:
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python tries once more when it ends, and complains
