"""The watch of workers besides their work, each task by one of them at a time: the census of the user's table,
deployments, and the findings of an incident.

A worker that dies with a task holds no lock: another may take the task when its time has passed. Where two workers read
the same page of the census, one of them writes it.
"""

from __future__ import annotations

import asyncio
from time import monotonic

import asyncpg

from pgbaton.events import Event, EventLog
from pgbaton.health import Steady, look, record
from pgbaton.health.census import merged
from pgbaton.health.steady import HOLD
from pgbaton.insights.bounded import TooWide, at_most
from pgbaton.table import JobTable
from pgbaton.worker.periodic import every
from pgbaton.worker.store import Store
from pgbaton.worker.telemetry import FINDINGS
from pgbaton.worker.watch_store import WatchStore
from pgbaton.worker.webhook import MOST, TAKEN, Webhook

CENSUS_PAGE = 2000
"""Rows of the user's table that one look reads; docs/operations.md has what it costs."""
CENSUS_SHARE = 0.05
"""Share of one connection's time for the census of a table of more than one page."""
CENSUS_EVERY = 3.0
"""Seconds between two looks where the table is one page, and between two times that a worker asks in vain."""
TICK = 0.3
"""Seconds between two looks whether this worker may read the next page of a larger table: the page follows within
them."""
PATIENCE = 2.0
"""Seconds that a page may take, and that a connection is waited for; a lock on the table is not waited for longer."""
TELL_EVERY = 1.0
"""Seconds between two looks for a finding that the webhook is to be told of: it is told so late at most."""


class Watch:
    """``look_every``: seconds between two looks at the health; 0: nothing is watched. ``reconciles``: whether rows that
    are due without a duty get it."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        table: JobTable,
        log: EventLog,
        *,
        look_every: float,
        reconciles: bool,
        webhook: Webhook | None = None,
    ) -> None:
        self._pool = pool
        self._table = table
        self._log = log
        self._look_every = look_every
        self._reconciles = reconciles
        self._steady = Steady()
        self._webhook = webhook
        self._census_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """All of it until ``stop``."""
        if self._look_every <= 0:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(every(TICK, self.census, stop, self._log, "census"))
            if self._webhook is not None:
                tasks.create_task(every(TELL_EVERY, self.tell, stop, self._log, "webhook"))
            tasks.create_task(every(self._look_every, self.look, stop, self._log, "watch"))

    async def census(self) -> None:
        """Look at the next page of the user's table beside the journal, where it can be this worker's turn."""
        if monotonic() < self._census_at:
            return
        async with self._pool.acquire(timeout=PATIENCE) as conn:
            store = WatchStore(conn, self._table)
            mine = await store.may("census", CENSUS_EVERY)
            self._census_at = monotonic() + CENSUS_EVERY
            if not mine:
                return
            census = await store.census()
            began = monotonic()
            try:
                async with at_most(conn, PATIENCE):
                    page = await store.census_page(census.after, CENSUS_PAGE)
            except TooWide:  # a lock is held; once the census is stale, the health says so
                return
            took = min(monotonic() - began, PATIENCE)  # more is a time in which this worker stood still
            if page.missing and self._reconciles:
                for job, stage in await Store(conn, self._table, ()).reconcile(page.missing):
                    self._log.warning(Event.DISPATCH_MISSING, job_id=job, stage=stage)
            found = merged(census.found, page.found)
            if await store.census_write(census, page.last, found, census.seen + page.seen) and page.last:
                await store.rest("census", took / CENSUS_SHARE)
                self._census_at = monotonic() + took / CENSUS_SHARE

    async def tell(self) -> None:
        """Tell the webhook of findings that appeared or ended. No connection is held while it answers."""
        for _ in range(MOST if self._webhook else 0):
            async with self._pool.acquire(timeout=PATIENCE) as conn:
                row = await WatchStore(conn, self._table).to_tell(TAKEN)
            if row is None or self._webhook is None:
                return
            again = await self._webhook.tell(row)
            async with self._pool.acquire(timeout=PATIENCE) as conn:
                await WatchStore(conn, self._table).told(row, again)

    async def look(self) -> None:
        """Look at the health, and write down findings that appeared or ended, and deployments."""
        async with self._pool.acquire(timeout=PATIENCE) as conn:
            store = WatchStore(conn, self._table)
            if not await store.may("look", self._look_every * 0.9):
                return
            await store.deployments()
            health = self._steady.told(await look(conn, self._table.pipeline), monotonic())
            await record(conn, health, HOLD)
        FINDINGS.clear()
        for finding in health.findings:
            FINDINGS.labels(self._table.pipeline, finding.code, finding.level).inc()
