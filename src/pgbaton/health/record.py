"""The timeline of findings: each is a row from its appearance to its end."""

from __future__ import annotations

import json

import asyncpg

from pgbaton import sql
from pgbaton.health.finding import Health


async def record(conn: asyncpg.Connection, health: Health, hold: float) -> None:
    """Write down findings that appeared or ended. ``hold``: seconds that a finding must have been untrue before it
    ends. Any number of processes may do so at once: one row of a finding is open at any moment."""
    found = {(f.code, f.subject): f for f in health.findings}
    await conn.fetch(
        sql.read("watch/record.sql"),
        health.pipeline,
        [code for code, _ in found],
        [subject for _, subject in found],
        [json.dumps(f.as_json()) for f in found.values()],
        hold,
    )
