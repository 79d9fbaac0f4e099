"""The SQL: ``tables/`` are migrations, ``protocol.sql`` every function, ``trigger.sql`` what runs in the user's
transaction.

The rest is one statement a file, in the folder of the part that uses it: ``worker/``, ``guard/``, ``operate/``,
``read/``, ``install/``; ``admission.sql`` says who may be called where something limits that, and ``admitted/`` is what
claims do differently then; ``wanted.sql`` says how many workers there should be.
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

DURATION_CLASS = (
    f"least(greatest(floor(2 * ln(greatest(extract(epoch FROM {ARGUMENT})::float8, 0.001) * 1000) / ln(2)), 0), 59)"
    "::integer"
)
"""Which class of a histogram an interval is in: half powers of two of a millisecond; ``quantiles`` of
:mod:`pgbaton.insights.trends` reads them back."""


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


_ADMITTED = {
    "worker/turn.sql": ("admitted/turn.sql", "(SELECT * FROM dealt WHERE done AND stage <> '')", 12, 3),
    "worker/claim_waiting.sql": (
        "admitted/waiting.sql",
        "(SELECT * FROM judged WHERE id IN (SELECT id FROM claimed))",
        13,
        0,
    ),
}
"""A claim; the head that admission gives it; what it has claimed in the end; which column of its result is ``waited``,
and how many follow."""


@cache
def admitted(name: str) -> str:
    """The claim ``name`` as it is made where something limits or orders the calls: it takes what ``pgbaton.admit``
    grants, pays for it, and says what is kept back; all that it does with a job is the same text."""
    head, claimed, waited, behind = _ADMITTED[name]
    _, judged, tail = read(name).partition("), judged AS MATERIALIZED (")
    middle, end, result = tail.rpartition("\n)\nSELECT ")
    if not judged or not end:
        raise ValueError(f"{name} has another shape than admission expects")
    spent = read("admitted/end.sql").replace("{claimed}", claimed)
    blocked = ", ".join(["NULL", "a.stage", *["NULL"] * (waited - 3), "a.blocked_in", *["NULL"] * behind])
    kept_back = f"UNION ALL\nSELECT {blocked} FROM admitted AS a WHERE a.may = 0\n"
    return f"{read(head)}{judged}{middle}\n)\n{spent}SELECT {result.rstrip()}\n{kept_back}"


@cache
def migrations() -> tuple[tuple[int, str, str], ...]:
    """Version, name and SQL of every migration, the oldest first."""
    found = sorted(f.name for f in files(__package__).joinpath("tables").iterdir() if f.name.endswith(".sql"))
    return tuple((int(name[:4]), name[5:-4], read(f"tables/{name}")) for name in found)
