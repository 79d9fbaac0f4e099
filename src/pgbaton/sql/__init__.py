"""The SQL: ``tables/`` are migrations, ``protocol.sql`` every function, ``trigger.sql`` what runs in the user's
transaction.

The rest is one statement a file, in the folder of the part that uses it: ``worker/``, ``guard/``, ``operate/``,
``read/``, ``install/``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files


@cache
def read(name: str) -> str:
    """The text of ``name`` (``worker/turn.sql``)."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


ARGUMENT = "\0"
"""Stands in a part for what a query gives it; no name can hold this character."""


def render(template: str, parts: Mapping[str, str]) -> str:
    """Put SQL parts in the place of their ``{name}``, or ``{name(argument)}`` where they ask for one; each part is SQL
    already, quoted by its maker."""

    def part(found: re.Match[str]) -> str:
        return parts[found[1]].replace(ARGUMENT, found[2] or "")

    return re.sub(r"\{([a-z_0-9]+)(?:\(([^{}()]*)\))?\}", part, template)


def quoted(name: str) -> str:
    """``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | None) -> str:
    """``value`` as an SQL string literal (or NULL), under either setting of ``standard_conforming_strings``."""
    if value is None:
        return "NULL"
    doubled = value.replace("'", "''")
    return f"'{doubled}'" if "\\" not in doubled else "E'" + doubled.replace("\\", "\\\\") + "'"


@cache
def migrations() -> tuple[tuple[int, str, str], ...]:
    """Version, name and SQL of every migration, the oldest first."""
    found = sorted(f.name for f in files(__package__).joinpath("tables").iterdir() if f.name.endswith(".sql"))
    return tuple((int(name[:4]), name[5:-4], read(f"tables/{name}")) for name in found)
