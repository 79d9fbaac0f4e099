"""Findings about an adopted table: rows of the past, shadow mode, a copy of the database."""

from __future__ import annotations

import asyncpg

from pgbaton import sql
from pgbaton.health.finding import Finding
from pgbaton.insights.words import Value


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
