"""The command ``pgbaton``, one module for each theme."""

from __future__ import annotations

import io
import os
import sys

import asyncpg

from pgbaton.cli import install, limit, look, run, steer, web
from pgbaton.cli.common import app
from pgbaton.errors import PgbatonError
from pgbaton.events import describe

__all__ = ["app", "install", "limit", "look", "main", "run", "steer", "web"]


def main() -> None:
    """Run the command; errors that were raised on purpose are sentences, not tracebacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a sign shows another one
    try:
        app()
    except PgbatonError as error:
        print(f"pgbaton: {error}", file=sys.stderr)
        sys.exit(1)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        print(f"pgbaton: the database refused, or went away: {describe(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        _flush()


def _flush() -> None:
    """Write what is left to a reader that is perhaps gone (`pgbaton sql | head`), which is nobody's fault."""
    try:
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python tries once more when it ends, and complains
