"""The command ``pgbaton``, one module for each theme. A heavy module (asyncpg, pydantic, the worker, the page) is
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
from pgbaton.cli.each import say

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


def main() -> None:
    """Run the command; errors that were raised on purpose are sentences, not tracebacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a sign that the terminal cannot show is replaced
    try:
        completion.prepare()
        app(prog_name="pgbaton")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not say(error):
            raise
        sys.exit(1)
    finally:
        _flush()


def _flush() -> None:
    """Write the rest of the output; a reader that is gone (`pgbaton sql | head`) is no error."""
    try:
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python tries once more when it ends, and complains
