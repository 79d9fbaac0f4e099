"""Rows of the past: those that stood in a state when it became routed. A walk along the table's key leaves them alone
or gives them their duty, a page in a transaction, so that it goes on where it was after a crash.

While a walk has not ended nothing is reconciled (``pgbaton.left_alone``). A row that moves leaves its duty by the
trigger, also while a walk goes on.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal

import asyncpg

from pgbaton import sql
from pgbaton.table import JobTable

PAGE = 1000
"""Rows of the table that one transaction of a walk looks at."""
BURST = 0.2
"""Seconds: one transaction of a backfill makes as many duties as its rate allows in this time."""
RATE = 100.0
"""Jobs a second that a backfill calls, unless an operator gives a rate. Older duties are called first: all at once,
they would keep jobs waiting that come in meanwhile."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a walk is. ``rows``: left alone, or called, by stage. ``looked_at``: rows of the table."""

    mode: Literal["now", "backfill"]
    looked_at: int
    rows: Mapping[str, int]
    ended: bool


async def walk(conn: asyncpg.Connection, table: JobTable, rate: float = RATE) -> AsyncIterator[Progress]:
    """Go on with the walk of this pipeline, if there is one, to its end. ``rate``: jobs a second of a backfill.

    Several may do so at once: each page is one's, and no job gets two duties.
    """
    began, made = time.monotonic(), 0
    while True:
        async with conn.transaction(isolation="read_committed"):
            progress, created = await _page(conn, table, max(1, min(PAGE, int(rate * BURST))))
        if progress is None:
            return
        yield progress
        if progress.ended:
            return
        made += created
        if progress.mode == "backfill" and (early := began + made / rate - time.monotonic()) > 0:
            await asyncio.sleep(early)


async def _page(conn: asyncpg.Connection, table: JobTable, calls: int) -> tuple[Progress | None, int]:
    """One page: how far the walk is, and how many duties were made; ``calls`` at most."""
    name = table.pipeline
    has = await conn.fetchrow(table.query("install/walk"), name)
    if has is None or has["mode"] == "ask":
        return None, 0
    page = await conn.fetchrow(table.query("operate/unreconciled"), name, has["after_key"], PAGE, True)
    keys, stages, looked_at, created = page["keys"], page["steps"], page["looked_at"], 0
    last = page["last"] if looked_at == PAGE else None
    rows = Counter(json.loads(has["rows"]))
    if has["mode"] == "now":
        await conn.execute(table.query("install/leave_alone"), name, keys, stages)
        rows.update(stages)
    elif keys:
        if len(keys) > calls:  # the rest of the page comes next
            keys, last, looked_at = keys[:calls], keys[calls - 1], 0
        # Locked first: the statement after that sees every duty that a trigger has left for these rows.
        held = [r["job_key"] for r in await conn.fetch(table.query("install/hold_rows"), keys)]
        made = await conn.fetch(table.query("operate/reconcile"), name, held, True)
        rows.update(r["stage"] for r in made)
        created = len(made)
        if len(held) < len(keys):  # the rest is locked: workers reconcile it when the walk has ended
            await conn.execute(sql.read("install/not_left.sql"), name, keys)
    await conn.execute(table.query("install/walked"), name, last, looked_at, json.dumps(rows))
    return Progress(has["mode"], has["looked_at"] + looked_at, rows, last is None), created
