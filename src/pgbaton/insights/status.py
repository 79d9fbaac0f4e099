"""The work of the stages and workers of every pipeline."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import asyncpg

from pgbaton import sql
from pgbaton.errors import DatabaseError
from pgbaton.insights.bounded import TIMEOUT, TooWide, at_most
from pgbaton.insights.listing import CAP, ENDED_AT_MOST


@dataclass(frozen=True, slots=True)
class StageCounts:
    """Capped counts by state: ``completed`` and ``cancelled`` of the last day; ``dead`` and not tried again since;
    parked dispatches count as ``available``. ``oldest_wait`` in seconds, of those due."""

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
    """A worker by its lease row. Seconds: ``age``, ``silent`` (since it was last renewed), ``lease`` (its length)."""

    id: int
    pipeline: str
    name: str
    capacity: int
    calls: int
    draining: bool
    alive: bool
    age: float
    silent: float
    lease: float
    stages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """The counts of ``pgbaton status``. ``completed_capped``: so much was completed in the last day that only the
    newest 20,000, of all stages together, were counted."""

    stages: tuple[StageCounts, ...]
    workers: tuple[WorkerSeen, ...]
    completed_capped: bool

    def as_json(self) -> dict[str, Any]:
        """Plain data, with the oldest wait of all beside the parts."""
        waits = [s.oldest_wait for s in self.stages if s.oldest_wait is not None]
        return asdict(self) | {"oldest_wait": max(waits, default=None)}


@dataclass(frozen=True, slots=True)
class Aged:
    """Calls under way that are alike: ``count`` of them began between ``over`` and twice as many seconds ago, the
    oldest ``oldest`` seconds ago. ``lost``: their answer was lost, and they are left to the stage. ``until``: seconds
    from now until the last of them is given up."""

    count: int
    over: float
    oldest: float
    until: float
    lost: bool


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Calls under way, by (pipeline, stage), and by the worker that holds them."""

    stages: Counter[tuple[str, str]]
    workers: Counter[int]
    ages: dict[tuple[str, str], list[Aged]]

    def capped(self, pipeline: str, stage: str) -> int:
        """Of one stage, as all counts: up to one above the cap."""
        return min(self.stages[pipeline, stage], CAP + 1)


async def under_way(conn: asyncpg.Connection, pipeline: str | None = None) -> UnderWay:
    """Count the calls under way."""
    stages: Counter[tuple[str, str]] = Counter()
    workers: Counter[int] = Counter()
    ages: dict[tuple[str, str], list[Aged]] = {}
    for row in await conn.fetch(sql.read("read/under_way.sql"), pipeline):
        stages[row["pipeline"], row["stage"]] += row["calls"]
        if row["worker"] is not None:
            workers[row["worker"]] += row["calls"]
        aged = Aged(row["calls"], 2.0 ** row["power"], row["oldest"] or 0.0, row["until"] or 0.0, row["lost"])
        ages.setdefault((row["pipeline"], row["stage"]), []).append(aged)
    return UnderWay(stages, workers, ages)


async def status(conn: asyncpg.Connection, pipeline: str | None = None) -> Status:
    """Counts by stage and state, workers, and the oldest wait, of a pipeline (``None``: of every one in the database).

    Raises :class:`DatabaseError` where the database is too slow to tell.
    """
    try:
        async with at_most(conn, TIMEOUT):
            stages = await conn.fetch(sql.read("read/stage_counts.sql"), pipeline, CAP + 1)
            ended = await conn.fetch(sql.read("read/counts.sql"), CAP + 1, ENDED_AT_MOST)
            running = await under_way(conn, pipeline)
            workers = await conn.fetch(sql.read("read/workers.sql"))
    except TooWide:
        raise DatabaseError(f"the database took longer than {TIMEOUT:g} s to count") from None
    lately = {(r["pipeline"], r["stage"]): r for r in ended}
    return Status(
        tuple(_counts(row, lately[row["pipeline"], row["stage"]], running) for row in stages),
        tuple(worker_seen(row, running) for row in workers if pipeline in (None, row["pipeline"])),
        any(r["completed_capped"] for r in ended if pipeline in (None, r["pipeline"])),
    )


def _counts(row: asyncpg.Record, ended: asyncpg.Record, running: UnderWay) -> StageCounts:
    return StageCounts(
        pipeline=row["pipeline"],
        stage=row["stage"],
        routed=row["routed"],
        paused=row["paused"] or row["pipeline_paused"],
        available=min(row["waiting"] + row["parked"], CAP + 1),
        running=running.capped(row["pipeline"], row["stage"]),
        retryable=row["retrying"],
        completed=ended["completed"],
        dead=row["dead"],
        cancelled=ended["cancelled"],
        oldest_wait=row["oldest_wait"],
    )


def worker_seen(row: asyncpg.Record, running: UnderWay) -> WorkerSeen:
    """A worker from a record of ``read/workers.sql``."""
    return WorkerSeen(**dict(row) | {"stages": tuple(row["stages"])}, calls=running.workers[row["id"]])
