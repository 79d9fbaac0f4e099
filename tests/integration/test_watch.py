"""Which of several workers watches, and what it costs the others."""

from __future__ import annotations

import logging
import time
from typing import Any

import asyncpg

from line import line
from pgbaton.events import EventLog
from pgbaton.worker import watch
from pgbaton.worker.watch import Watch
from pgbaton.worker.watch_store import CensusPage, WatchStore

VERSION = "SELECT xmin::text, xmax::text, ctid::text FROM pgbaton.watches WHERE task = 'census'"


async def test_a_worker_that_asks_too_early_writes_and_locks_nothing(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        store = WatchStore(conn, (await craft.store())._table)
        assert await store.may("census", 60)
        before = tuple(await conn.fetchrow(VERSION))
        assert not await store.may("census", 60)
        assert tuple(await conn.fetchrow(VERSION)) == before
        await conn.execute("UPDATE pgbaton.watches SET until = now()")
        assert await store.may("census", 60)


async def test_a_worker_asks_for_the_census_once_in_its_interval(database: str, monkeypatch: Any) -> None:
    """Whether it got it or not: idle workers would otherwise be the database's busiest sessions."""
    asked: list[bool] = []
    may = WatchStore.may

    async def counted(store: WatchStore, task: str, seconds: float) -> bool:
        asked.append(await may(store, task, seconds))
        return asked[-1]

    monkeypatch.setattr(WatchStore, "may", counted)
    async with line(database) as craft, asyncpg.create_pool(craft.dsn, min_size=1, max_size=1) as pool:
        table = (await craft.store())._table
        log = EventLog("en", logging.getLogger("test"))
        one, other = (Watch(pool, table, log, look_every=5, reconciles=False) for _ in range(2))
        for _ in range(20):
            await one.census()
            await other.census()
    assert asked == [True, False]


async def test_a_worker_that_stood_still_in_a_page_of_the_census_does_not_stop_the_census(
    database: str, monkeypatch: Any
) -> None:
    """A suspended machine: the rest after a page is a multiple of the time that it took."""
    clock, page_of = [0.0], WatchStore.census_page
    monkeypatch.setattr(watch, "monotonic", lambda: time.monotonic() + clock[0])

    async def an_hour_later(store: WatchStore, after: str | None, limit: int) -> CensusPage:
        page = await page_of(store, after, limit)
        clock[0] += 3600
        return page

    monkeypatch.setattr(watch, "CENSUS_PAGE", 1)
    monkeypatch.setattr(WatchStore, "census_page", an_hour_later)
    async with line(database) as craft, asyncpg.create_pool(craft.dsn, min_size=1, max_size=1) as pool:
        await craft.add_many(2)
        log = EventLog("en", logging.getLogger("test"))
        await Watch(pool, (await craft.store())._table, log, look_every=5, reconciles=False).census()
        query = (
            "SELECT extract(epoch FROM until - clock_timestamp())::float8 FROM pgbaton.watches WHERE task = 'census'"
        )
        assert await pool.fetchval(query) <= watch.PATIENCE / watch.CENSUS_SHARE
