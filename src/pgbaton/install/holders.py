"""The sessions that hold a lock which was asked for in vain."""

from __future__ import annotations

import asyncpg

from pgbaton import sql
from pgbaton.events import shown

MOST = 3
"""Holders that a message names."""


async def holders(conn: asyncpg.Connection, table: str | None = None) -> str:
    """The sessions that hold locks on ``table`` (quoted; ``None``: on the engine's own tables) which DDL waits for, the
    oldest transaction first: ``process 4711 (role report, psql, idle in transaction for 93 s)``."""
    found = await conn.fetch(sql.read("install/holders.sql"), table)
    said = [
        f"process {r['pid']} (role {shown(r['role'])}, {shown(r['application'] or 'no application_name')}, "
        f"{r['state'] or 'state hidden'} for {r['seconds']:.0f} s)"
        for r in found[:MOST]
    ]
    if len(found) > MOST:
        said.append(f"{len(found) - MOST} more")
    return f"locked by {', '.join(said)}" if said else "its lock was free again when this was asked"
