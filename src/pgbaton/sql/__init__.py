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


def render(template: str, parts: Mapping[str, str]) -> str:
    """Put SQL parts in the place of their ``{name}``; each part is SQL already, quoted by its maker."""
    return re.sub(r"\{([a-z_0-9]+)\}", lambda found: parts[found[1]], template)


@cache
def migrations() -> tuple[tuple[int, str, str], ...]:
    """Version, name and SQL of every migration, the oldest first."""
    found = sorted(f.name for f in files(__package__).joinpath("tables").iterdir() if f.name.endswith(".sql"))
    return tuple((int(name[:4]), name[5:-4], read(f"tables/{name}")) for name in found)
