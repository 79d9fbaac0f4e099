"""Reads that are given up before a person waits for too long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from pgbaton import sql

TIMEOUT = 5.0
"""Seconds that counting may take."""


class TooWide(Exception):
    """The statement took too long and was given up."""


@asynccontextmanager
async def at_most(conn: asyncpg.Connection, seconds: float) -> AsyncIterator[None]:
    """A transaction each of whose statements may take ``seconds``. Raises :class:`TooWide` where one does not end."""
    try:
        async with conn.transaction(isolation="read_committed"):
            await conn.fetch(sql.read("read/bounded.sql"), str(max(1, round(seconds * 1000))))
            yield
    except asyncpg.QueryCanceledError:
        raise TooWide from None
