"""Look for what keeps jobs from moving; each finding with its remedy."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from pgbaton import sql
from pgbaton.attach import TRIGGERS
from pgbaton.database import check_migrated
from pgbaton.errors import NotMigrated


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, and what mends it."""

    name: str
    what: str
    remedy: str


async def examine(conn: asyncpg.Connection) -> list[Finding]:
    """Everything that is wrong with the engine's part of this database."""
    try:
        await check_migrated(conn)
    except NotMigrated as error:
        return [Finding("not_migrated", str(error), "pgbaton migrate")]
    found: list[Finding] = []
    for row in await conn.fetch(sql.read("queries/triggers.sql"), list(TRIGGERS)):
        what = f"the trigger {row['trigger']} on {row['job_table']}"
        if row["enabled"] is None:
            found.append(Finding("trigger_missing", f"{what} is missing", "pgbaton attach --config FILE"))
        elif row["enabled"] not in (b"O", b"A"):
            found.append(Finding("trigger_disabled", f"{what} is disabled", "pgbaton attach --config FILE"))
    for row in await conn.fetch(sql.read("queries/ailments.sql")):
        found.append(Finding(row["name"], row["what"], row["remedy"]))
    return found
