"""Databases that tests copy."""

from __future__ import annotations

import asyncpg


async def forget_home(dsn: str) -> None:
    """Let workers claim in copies of this database, too: what was attached in it has no home."""
    connection = await asyncpg.connect(dsn)
    try:
        if await connection.fetchval("SELECT to_regclass('pgbaton.pipelines') IS NOT NULL"):
            await connection.execute("UPDATE pgbaton.pipelines SET home_database = NULL")
    finally:
        await connection.close()
