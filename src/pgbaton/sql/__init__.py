"""The SQL: ``tables/`` are migrations, ``protocol.sql`` every function, ``trigger.sql`` what runs in the user's
transaction.

The rest is one statement a file, in the folder of the part that uses it: ``worker/``, ``guard/``, ``operate/``,
``read/``, ``install/``. ``granted.sql`` says how many calls a claim may begin, ``limits.sql`` and ``admission.sql``
which jobs may be called where something limits that, and ``admitted/`` is what claims do differently then;
``wanted.sql`` says how many workers there should be.
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


def read_all() -> None:
    """Read every statement now: a worker that runs for weeks needs no file for its next one, though no file descriptor
    is left, or another version was installed over its files."""
    root = files(__package__)
    folders = {"": root} | {f"{item.name}/": item for item in root.iterdir() if item.is_dir()}
    for prefix, folder in folders.items():
        for item in folder.iterdir():
            if item.name.endswith(".sql"):
                read(prefix + item.name)


ARGUMENT = "\0"
"""Stands in a part for the argument that a query gives it; no name can hold this character."""

DURATION_CLASS = (
    f"least(greatest(floor(2 * ln(greatest(extract(epoch FROM {ARGUMENT})::float8, 0.001) * 1000) / ln(2)), 0), 59)"
    "::integer"
)
"""The class of a histogram that an interval is in: half powers of two of a millisecond; ``quantiles`` of
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


_CLAIMS = {
    "worker/turn": ("$1, $2, $3, $14, $15, $4, $5", "$6, false", "duties", 12, 3),
    "worker/claim_waiting": ("$1, $2, $3, $6, $7, $4, $5", "true, true", "calls", 13, 0),
}
"""A claim: what it asks its grants with, and admission besides; the file of ``admitted/`` with its lanes; how many
columns of its result are before ``waited`` and behind it."""


def claim_parts(name: str, *, admitted: bool) -> dict[str, str]:
    """The parts of the claim ``name``: the grants of ``granted.sql``, or where something limits or orders the
    calls those of ``pgbaton.admit``, which go by lanes, are paid for, and say what is kept back. Nothing for other
    statements."""
    if name not in _CLAIMS:
        return {}
    asked, besides, lanes, before, behind = _CLAIMS[name]
    if not admitted:
        nothing = dict.fromkeys(("unless_in_turn", "in_turn", "paid", "kept_back"), "")
        names = ("pipeline", "worker", "known", "entries", "statuses", "since", "how_many")
        arguments = dict(zip(names, asked.split(", "), strict=True))
        return {"granted": f"\n{render(read('granted.sql'), arguments).rstrip()} AS granted", **nothing}
    kept_back = ", ".join(["NULL", "g.stage", *["NULL"] * (before - 2), "g.blocked_in", *["NULL"] * behind])
    return {
        "granted": f"pgbaton.admit({asked}, {besides}, NULL)",
        "unless_in_turn": "\n         WHERE g.lane IS NULL",
        "in_turn": read(f"admitted/{lanes}.sql").rstrip(),
        "paid": read("admitted/paid.sql").rstrip(),
        "kept_back": f"\n UNION ALL\nSELECT {kept_back} FROM granted AS g WHERE g.may = 0",
    }


@cache
def migrations() -> tuple[tuple[int, str, str], ...]:
    """Version, name and SQL of every migration, the oldest first."""
    found = sorted(f.name for f in files(__package__).joinpath("tables").iterdir() if f.name.endswith(".sql"))
    return tuple((int(name[:4]), name[5:-4], read(f"tables/{name}")) for name in found)
