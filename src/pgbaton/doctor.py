"""Look for what keeps jobs from moving; each finding with its remedy."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import asyncpg

from pgbaton import sql
from pgbaton.database import check_migrated, pooled
from pgbaton.errors import AttachError, NotMigrated
from pgbaton.table import table_of
from pgbaton.install.attach import TRIGGERS, trigger_body_md5

CLOCK_TOLERANCE = 5.0
"""Seconds by which this machine's clock may differ from the database's before it is worth a word."""
ROUND_TRIP = 3.0
REATTACH = "pgbaton attach --config FILE"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, and what mends it."""

    name: str
    what: str
    remedy: str


async def examine(conn: asyncpg.Connection, *, invariants: bool = False) -> list[Finding]:
    """Everything that is wrong with the engine's part of this database.

    ``invariants``: also ask of the live data what must always hold; that reads the user's tables whole.
    """
    try:
        await check_migrated(conn)
    except NotMigrated as error:
        return [Finding("not_migrated", str(error), "pgbaton migrate")]
    found = [f async for f in _triggers(conn)]
    found += [Finding(r["name"], r["what"], r["remedy"]) for r in await conn.fetch(sql.read("read/ailments.sql"))]
    found += [f async for f in _connection(conn)]
    if invariants:
        found += [f async for f in _invariants(conn)]
    return found


async def _triggers(conn: asyncpg.Connection) -> AsyncIterator[Finding]:
    doubles: set[tuple[str, str]] = set()
    for row in await conn.fetch(sql.read("read/triggers.sql"), list(TRIGGERS)):
        what = f"the trigger {row['trigger']} on {row['job_table']}"
        if row["enabled"] is None:
            yield Finding("trigger_missing", f"{what} is missing: changes of jobs are not seen", REATTACH)
        elif row["enabled"] not in ("O", "A"):
            yield Finding("trigger_disabled", f"{what} is disabled: changes of jobs are not seen", REATTACH)
        elif not row["as_owner"] or row["body_md5"] != await _expected(conn, row["pipeline"]):
            yield Finding(
                "trigger_drifted", f"the function of {what} is not the one that this version attaches", REATTACH
            )
        doubles |= {(row["job_table"], name) for name in row["doubles"]}
    for table, name in sorted(doubles):
        yield Finding(
            "trigger_doubled",
            f"the trigger {name} on {table} publishes or dispatches the same changes a second time",
            f'DROP TRIGGER "{name}" ON {table}',
        )


async def _expected(conn: asyncpg.Connection, pipeline: str) -> str | None:
    try:
        table = await table_of(conn, pipeline)
        routes = await conn.fetch(sql.read("install/routes.sql"), pipeline)
        return trigger_body_md5(replace(table, routes=tuple((r["step"], r["after"]) for r in routes)))
    except AttachError:
        return None


async def _connection(conn: asyncpg.Connection) -> AsyncIterator[Finding]:
    before = time.time()
    database = await conn.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    apart = max(before - database, database - time.time(), 0.0)
    if apart > CLOCK_TOLERANCE:
        yield Finding(
            "clock_difference",
            f"this machine's clock and the database's are {apart:.0f} s apart (leases follow the database's)",
            "synchronise the clocks (NTP), so that logs can be read side by side",
        )
    if pooled(conn):
        yield Finding(
            "pooler_in_path",
            "a transaction pooler is in the path: LISTEN hears nothing through it, so workers only poll",
            "set PGBATON_LISTEN_URL to a direct address of the same database",
        )
    elif not await _hears_itself(conn):
        yield Finding(
            "listen_round_trip",
            f"a notification did not come back within {ROUND_TRIP:g} s",
            "look for a pooler or proxy in the path, and for the notification queue",
        )


async def _hears_itself(conn: asyncpg.Connection) -> bool:
    heard, channel, word = asyncio.Event(), "pgbaton_doctor", secrets.token_hex(8)

    def hear(_connection: object, _pid: int, _channel: str, payload: str) -> None:
        if payload == word:
            heard.set()

    await conn.add_listener(channel, hear)
    try:
        await conn.execute("SELECT pg_notify($1, $2)", channel, word)
        async with asyncio.timeout(ROUND_TRIP):
            await heard.wait()
    except TimeoutError:
        return False
    finally:
        await conn.remove_listener(channel, hear)
    return True


async def _invariants(conn: asyncpg.Connection) -> AsyncIterator[Finding]:
    for row in await conn.fetch(sql.read("read/pipelines.sql")):
        table = await table_of(conn, row["name"])
        for broken in await conn.fetch(table.query("read/invariants"), row["name"]):
            yield Finding(
                "invariant_broken",
                f"{row['name']}: not true for {broken['broken']} jobs: {broken['invariant']} "
                f"({', '.join(broken['examples'])})",
                "pgbaton reconcile creates missing dispatches; workers settle the others by the row",
            )
