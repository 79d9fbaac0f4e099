"""Reads and writes of the workers' watch, one method for each file in ``sql/watch``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from pgbaton.health.census import Group
from pgbaton.table import JobTable


@dataclass(frozen=True, slots=True)
class Census:
    """Where the census is: when it began, the key to go on behind, what it found so far, of how many rows."""

    began: datetime
    after: str | None
    found: list[Group]
    seen: int


@dataclass(frozen=True, slots=True)
class CensusPage:
    """A page of the user's table. ``last``: the key to go on behind (None: that was the end). ``missing``: the jobs
    that are due without a duty."""

    last: str | None
    seen: int
    found: list[Group]
    missing: list[str]


class WatchStore:
    """The watching of one pipeline, over one connection. Errors are asyncpg's, and OSError."""

    def __init__(self, conn: asyncpg.Connection, table: JobTable) -> None:
        self._conn = conn
        self._table = table

    async def may(self, task: str, seconds: float) -> bool:
        """Whether this worker does ``task`` now; no other may for so many seconds."""
        return bool(await self._fetch("take", task, seconds))

    async def rest(self, task: str, seconds: float) -> None:
        """Let the task rest for so many seconds, in place of those that it was taken for."""
        await self._fetch("rest", task, seconds)

    async def census(self) -> Census:
        """Where the census is; it begins where there was none."""
        row = (await self._fetch("census_read"))[0]
        return Census(row["began_at"], row["next_key"], json.loads(row["so_far"]), row["seen"])

    async def census_page(self, after: str | None, limit: int) -> CensusPage:
        """Look at ``limit`` rows of the user's table beside the journal."""
        row = (await self._fetch("census", after, limit))[0]
        last = row["last"] if row["looked_at"] == limit else None
        return CensusPage(last, row["looked_at"], json.loads(row["found"]), row["missing"])

    async def census_write(self, census: Census, last: str | None, found: Sequence[Any], seen: int) -> bool:
        """Write down a page that began at ``census``; False where another worker has gone on meanwhile."""
        said = json.dumps(found)
        return bool(await self._fetch("census_write", census.after, census.began, last, said, seen))

    async def deployments(self) -> list[str]:
        """Write down versions, addresses and routes that run now and did not before; returns their kinds."""
        return [row["what"] for row in await self._fetch("deployments")]

    async def to_tell(self, seconds: float) -> dict[str, Any] | None:
        """A finding that the webhook is to be told of; no other sender gets it for so long."""
        rows = await self._fetch("tell_take", seconds)
        return dict(rows[0]) if rows else None

    async def told(self, row: dict[str, Any], again: float | None) -> None:
        """It was told, or (``again``) is to be tried again in so many seconds."""
        await self._fetch("told", row["id"], row["tell_at"], again)

    async def _fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        return list(await self._conn.fetch(self._table.query(f"watch/{query}"), self._table.pipeline, *arguments))
