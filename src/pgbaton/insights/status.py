"""Which pipelines there are, what their stages and workers do, and what no trigger saw."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import asyncpg

from pgbaton import sql
from pgbaton.errors import ConfigError, DatabaseError
from pgbaton.insights.bounded import TIMEOUT, TooWide, at_most
from pgbaton.insights.listing import CAP, SETTLED_AT_MOST
from pgbaton.table import JobTable, with_types
from pgbaton.worker.store import RECONCILE_PAGE, Store


@dataclass(frozen=True, slots=True)
class StageCounts:
    """Capped counts by state (settled ones of the last day); ``oldest_wait`` in seconds, of those due."""

    pipeline: str
    stage: str
    routed: bool
    paused: bool
    available: int
    running: int
    retryable: int
    completed: int
    dead: int
    cancelled: int
    oldest_wait: float | None


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker by its lease row; ``age`` and ``silent`` (since it was last renewed) in seconds."""

    id: int
    pipeline: str
    name: str
    capacity: int
    calls: int
    draining: bool
    alive: bool
    age: float
    silent: float


@dataclass(frozen=True, slots=True)
class Status:
    """What ``pgbaton status`` shows. ``completed_capped``: so much was completed in the last day that only the newest
    20,000, of all stages together, were counted."""

    stages: tuple[StageCounts, ...]
    workers: tuple[WorkerSeen, ...]
    completed_capped: bool

    def as_json(self) -> dict[str, Any]:
        """Plain data, with the oldest wait of all beside the parts."""
        waits = [s.oldest_wait for s in self.stages if s.oldest_wait is not None]
        return asdict(self) | {"oldest_wait": max(waits, default=None)}


async def status(conn: asyncpg.Connection) -> Status:
    """Counts by stage and state, workers, and the oldest wait, of every pipeline in the database.

    Raises :class:`DatabaseError` where the database is too slow to tell.
    """
    try:
        async with at_most(conn, TIMEOUT):
            stages = await conn.fetch(sql.read("read/counts.sql"), CAP + 1, SETTLED_AT_MOST)
            workers = await conn.fetch(sql.read("read/workers.sql"))
    except TooWide:
        raise DatabaseError(f"the database took longer than {TIMEOUT:g} s to count") from None
    return Status(
        tuple(StageCounts(**{k: r[k] for k in StageCounts.__dataclass_fields__}) for r in stages),
        tuple(worker_seen(r) for r in workers),
        any(r["completed_capped"] for r in stages),
    )


def worker_seen(row: asyncpg.Record) -> WorkerSeen:
    """A worker from a record of ``read/workers.sql``."""
    return WorkerSeen(**{k: row[k] for k in WorkerSeen.__dataclass_fields__})


async def table_of(conn: asyncpg.Connection, pipeline: str | None) -> JobTable:
    """The table of an attached pipeline; without a name, of the only one there is.

    Raises :class:`ConfigError` where the name is needed or unknown.
    """
    attached = {r["name"]: r for r in await conn.fetch(sql.read("read/pipelines.sql"))}
    if not attached:
        raise DatabaseError("no pipeline is attached in this database: run pgbaton attach")
    if pipeline is None and len(attached) > 1:
        raise ConfigError(f"there are several pipelines, name one with --pipeline: {', '.join(attached)}")
    name = pipeline or next(iter(attached))
    if name not in attached:
        raise ConfigError(f"there is no pipeline {name!r}; there are: {', '.join(attached)}")
    r = attached[name]
    table = JobTable(
        name,
        r["schema"],
        r["table"],
        r["key_column"],
        r["tenant_column"],
        r["step_column"],
        r["status_column"],
        channel=r["channel"],
    )
    return await with_types(conn, table)


async def reconcile(conn: asyncpg.Connection, table: JobTable, *, create: bool) -> list[tuple[str, str]]:
    """Jobs in a routed state without a dispatch, as (job, stage); ``create`` gives them one (and returns those)."""
    store = Store(conn, table, ())
    found: list[tuple[str, str]] = []
    after: str | None = None
    while True:
        page = await store.unreconciled(after, RECONCILE_PAGE)
        if page.missing:
            found += await store.reconcile([job for job, _ in page.missing]) if create else page.missing
        if page.last is None:
            return found
        after = page.last
