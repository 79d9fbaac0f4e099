"""Where the page's data comes from: a small pool of its own, so that no reader keeps a stage waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import asyncpg

from pgbaton import insights
from pgbaton.cached import Cached, CachedEach
from pgbaton.config import Settings
from pgbaton.database import check_migrated, connection, pooled
from pgbaton.database import pool as pool_of
from pgbaton.health import Health, Steady, look
from pgbaton.insights import SPANS
from pgbaton.insights.limit_use import LimitUse, limits_in_use
from pgbaton.table import JobTable, table_of

CONNECTIONS = 4
"""Connections of the page's pool, at most."""
PATIENT = 2.0
"""Seconds that an answer is waited for where no person waits."""
TRENDS_YOUNGEST = 10.0
"""Seconds between two looks at the plots: a bin of them is an hour at least."""


PAGE = 50
"""Lines of a list on one page."""
LOOK_BACK = insights.CAP
"""Failed calls that a search for an error reads at a time."""


@dataclass(frozen=True, slots=True)
class JobsAsked:
    """A page of the list of jobs: what for, and the dispatches before which id."""

    filters: insights.JobFilter
    before: int | None


class Source:
    """Reads and acts on one pipeline (``None``: the only one that is attached). The first request opens it: so the page
    comes up, and says why it shows nothing, while the database is away."""

    def __init__(self, settings: Settings, pipeline: str | None) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._opening = asyncio.Lock()
        self._pool: asyncpg.Pool | None = None
        self._table: JobTable | None = None
        self.overview = Cached(self._read_overview)
        self.health = Cached(self._read_health)
        self._steady = Steady()
        self._acted = False
        self.dead = Cached(self._read_dead)
        self.limits = Cached(self._read_limits)
        self.jobs = CachedEach(self._read_jobs)
        self.trends = {span: Cached(partial(self._read_trends, span), youngest=TRENDS_YOUNGEST) for span in SPANS}

    def changed(self, *, at_once: bool = False) -> None:
        """Look again: the shared answers may be wrong by now."""
        self._acted |= at_once
        for shared in (self.overview, self.health):
            shared.changed(at_once=at_once)
        self.dead.changed(at_once=at_once)
        self.limits.changed(at_once=at_once)
        self.jobs.changed(at_once=at_once)

    async def renew(self) -> None:
        """Have the answers of the first screen computed anew, if it is time, before viewers are told to look."""
        with suppress(Exception):  # each viewer is told by the answer to its own question
            await self.health.get(PATIENT)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[asyncpg.Connection, JobTable]]:
        """A connection, and the pipeline's table. Raises :class:`PgbatonError` and what the driver raises."""
        pool, table = await self._open()
        async with pool.acquire(timeout=10) as conn:
            try:
                yield conn, table
            except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
                self._table = None  # attached anew, it seems: the next one looks
                raise

    async def close(self) -> None:
        """Give all connections back; statements that still run are cut."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def _open(self) -> tuple[asyncpg.Pool, JobTable]:
        async with self._opening:
            if self._table is None:
                dsn = self._settings.dsn()
                async with connection(dsn) as conn:
                    await check_migrated(conn)
                    table = await table_of(conn, self._pipeline)
                    through_pooler = pooled(conn)
                if self._pool is None:
                    self._pool = await pool_of(dsn, CONNECTIONS, through_pooler=through_pooler)
                self._table = table
            assert self._pool is not None
            return self._pool, self._table

    async def _read_overview(self) -> insights.Overview:
        async with self.opened() as (conn, table):
            return await insights.overview(conn, table.pipeline)

    async def _read_health(self) -> Health:
        acted, self._acted = self._acted, False
        seen = await self.overview.get(PATIENT)
        async with self.opened() as (conn, table):
            looked = await look(conn, table.pipeline, seen)
        return self._steady.told(looked, time.monotonic(), acted=acted)

    async def _read_trends(self, span: str) -> insights.Trends:
        async with self.opened() as (conn, table):
            return await insights.trends(conn, table.pipeline, span)

    async def _read_jobs(self, asked: JobsAsked) -> insights.JobPage:
        async with self.opened() as (conn, _):
            return await insights.list_jobs(conn, asked.filters, asked.before, PAGE, look_back=LOOK_BACK)

    async def _read_limits(self) -> list[LimitUse]:
        async with self.opened() as (conn, table):
            return await limits_in_use(conn, table.pipeline)

    async def _read_dead(self) -> insights.DeadGroups:
        async with self.opened() as (conn, table):
            return await insights.dead_groups(conn, table)
