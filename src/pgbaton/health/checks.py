"""Findings of the database beside the pipeline's counts: the trigger, locks, the connection, the invariants."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator

import asyncpg

from pgbaton import sql
from pgbaton.database import pooled
from pgbaton.errors import AttachError
from pgbaton.health.adoption import adoption_checks
from pgbaton.health.finding import Finding
from pgbaton.install.trigger import trigger_body_md5
from pgbaton.table import table_of

CLOCK_TOLERANCE = 5.0
"""Seconds by which this machine's clock may differ from the database's before it is worth a word."""
ROUND_TRIP = 3.0
"""Seconds that a notification may take to come back."""


async def checks(conn: asyncpg.Connection, pipeline: str | None = None) -> list[Finding]:
    """The findings that keep jobs of a pipeline (``None``: of any) from moving, besides its own counts. A few bounded
    reads."""
    found = [f for f in await changes(conn) if pipeline in (None, f.pipeline)]
    found += [f async for f in _triggers(conn) if pipeline in (None, f.pipeline)]
    for row in await conn.fetch(sql.read("read/ailments.sql"), pipeline):
        found.append(Finding(row["code"], row["level"], json.loads(row["values"]), row["pipeline"]))
    return found + await adoption_checks(conn, pipeline)


async def changes(conn: asyncpg.Connection) -> list[Finding]:
    """The changes since the pipelines were attached: their tables' and columns' names."""
    rows = await conn.fetch(sql.read("read/changed.sql"))
    return [Finding(row["code"], "bad", json.loads(row["values"]), row["pipeline"]) for row in rows]


async def _triggers(conn: asyncpg.Connection) -> AsyncIterator[Finding]:
    doubles: set[tuple[str, str, str]] = set()
    expected: dict[str, str | None] = {}
    for row in await conn.fetch(sql.read("read/triggers.sql")):
        values = {"trigger": row["trigger"], "table": row["job_table"]}
        if row["enabled"] is None:
            yield Finding("trigger_missing", "bad", values, row["pipeline"])
        elif row["enabled"] not in ("O", "A"):
            yield Finding("trigger_disabled", "bad", values, row["pipeline"])
        elif not row["as_owner"] or row["body_md5"] != await _expected(conn, row["pipeline"], expected):
            yield Finding("trigger_drifted", "warn", values, row["pipeline"])
        doubles |= {(row["pipeline"], row["job_table"], name) for name in row["doubles"]}
    for pipeline, table, name in sorted(doubles):
        yield Finding("trigger_doubled", "warn", {"trigger": name, "table": table}, pipeline)


async def _expected(conn: asyncpg.Connection, pipeline: str, known: dict[str, str | None]) -> str | None:
    """The hash of the function that this version attaches."""
    if pipeline not in known:
        try:
            table = await table_of(conn, pipeline)
            known[pipeline] = trigger_body_md5(table)
        except AttachError:
            known[pipeline] = None
    return known[pipeline]


async def clock_checks(conn: asyncpg.Connection) -> list[Finding]:
    """Whether this machine's clock is the database's."""
    before = time.time()
    database = await conn.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    apart = max(before - database, database - time.time(), 0.0)
    if apart > CLOCK_TOLERANCE:
        return [Finding("clock_difference", "warn", {"apart": apart})]
    return []


async def hears_itself(conn: asyncpg.Connection) -> list[Finding]:
    """Whether a notification comes back over this connection."""
    if pooled(conn):
        return [Finding("pooler_in_path", "warn")]
    if not await _hears_itself(conn):
        return [Finding("listen_round_trip", "warn", {"seconds": ROUND_TRIP})]
    return []


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


async def invariant_checks(conn: asyncpg.Connection, pipeline: str) -> list[Finding]:
    """The rules that must always hold and do not, asked of the live data."""
    try:
        table = await table_of(conn, pipeline)
    except AttachError:
        return []  # the table was changed, and that is a finding
    return [
        Finding(
            "invariant_broken",
            "bad",
            {"count": row["broken"], "invariant": row["invariant"], "examples": ", ".join(row["examples"])},
            pipeline,
        )
        for row in await conn.fetch(table.query("read/invariants"), pipeline)
    ]
