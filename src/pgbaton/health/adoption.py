"""What concerns an adopted table: rows of the past, shadow mode, a copy of the database, rows that nobody ends."""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from pgbaton import insights, sql
from pgbaton.errors import DatabaseError
from pgbaton.health.finding import Finding
from pgbaton.insights.unowned import unowned
from pgbaton.insights.words import Value

UNOWNED_TIMEOUT = 3.0
"""Seconds that the search for rows that nobody ends may take; it may read the table whole."""


async def adoption_checks(conn: asyncpg.Connection, pipeline: str | None) -> list[Finding]:
    """A few bounded reads of the engine's own tables."""
    found = []
    for r in await conn.fetch(sql.read("read/adoption.sql"), pipeline):
        if not r["at_home"]:
            found.append(Finding("not_at_home", "bad", {}, r["name"]))
        if r["mode"] == "ask":
            found.append(Finding("past_undecided", "warn", {}, r["name"]))
        elif r["mode"] is not None:
            found.append(Finding("past_unfinished", "warn", {"mode": r["mode"], "rows": r["rows"]}, r["name"]))
        if r["share"] is not None:
            said: dict[str, Value] = {"share": f"{r['share']:g}", "tenants": r["tenants"], "count": r["recorded"]}
            found.append(Finding("shadow", "note", said, r["name"]))
    return found


async def unowned_checks(conn: asyncpg.Connection, pipeline: str) -> list[Finding]:
    """Rows that have been running for longer than their stage's timeout, and that no dispatch is for. Reads the user's
    table: nothing is found where that takes too long, or where the table does not tell since when rows are so."""
    table = await insights.table_of(conn, pipeline)
    if not table.has_updated_at:
        return []
    now = await conn.fetchval("SELECT clock_timestamp()")
    found = []
    try:
        stages = await insights.counts.stages_now(conn, pipeline)
    except DatabaseError:
        return []
    for stage in stages:
        before = now - timedelta(seconds=stage.timeout)
        for u in await unowned(conn, table, stage.stage, before, timeout=UNOWNED_TIMEOUT) or ():
            since = "" if u.since is None else u.since.astimezone().isoformat(sep=" ", timespec="minutes")
            values: dict[str, Value] = {"stage": u.stage, "count": u.rows, "from": since, "older": round(stage.timeout)}
            found.append(Finding("unowned_running", "warn", values, pipeline))
    return found
