"""Rows that are running at a stage though the engine has no dispatch for them: another system began them, and perhaps
never ended them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from pgbaton.errors import ConfigError
from pgbaton.insights.bounded import TooWide, at_most
from pgbaton.table import JobTable


@dataclass(frozen=True, slots=True)
class Unowned:
    """``rows`` of one stage; ``since``: when the oldest was changed last (None: the table does not tell, it has no
    ``updated_at``). ``jobs``: the ten oldest."""

    stage: str
    rows: int
    since: datetime | None
    jobs: tuple[str, ...]


async def unowned(
    conn: asyncpg.Connection,
    table: JobTable,
    stage: str | None = None,
    before: datetime | None = None,
    *,
    timeout: float = 60.0,
) -> list[Unowned] | None:
    """By stage; ``before``: only rows that were changed last before that. Reads the user's table whole, where it has no
    index that helps. None: that took more than ``timeout`` seconds.

    Raises :class:`ConfigError` where ``before`` is given and the table does not tell when a row was changed.
    """
    if before is not None and not table.has_updated_at:
        raise ConfigError(
            f"the table {table.qualified} has no column updated_at: it does not tell since when rows are so"
        )
    try:
        async with at_most(conn, timeout):
            rows = await conn.fetch(table.query("read/unowned"), table.pipeline, stage, before)
    except TooWide:
        return None
    return [Unowned(r["stage"], r["rows"], r["since"], tuple(r["jobs"])) for r in rows]
