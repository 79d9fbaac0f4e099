"""The pipeline at a glance: its stages, workers and last hour."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import asyncpg

from pgbaton import sql
from pgbaton.errors import ConfigError, DatabaseError
from pgbaton.insights.bounded import TIMEOUT, TooWide, at_most
from pgbaton.insights.listing import CAP, ENDED_AT_MOST
from pgbaton.insights.status import Aged, UnderWay, WorkerSeen, under_way, worker_seen


@dataclass(frozen=True, slots=True)
class Circuit:
    """``open``: no worker calls the stage until ``open_until``; ``half-open``: one probe at a time.

    ``strikes``: times in a row that the stage was found down.
    """

    state: Literal["closed", "open", "half-open"]
    strikes: int
    open_until: datetime | None


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Seconds; ``None`` where nothing was seen."""

    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class StageOverview:
    """A stage. ``waiting``, ``running``, ``retrying``, ``parked`` (its tenant is paused) and ``dead`` (and not tried
    again since) are capped counts. ``dead_error`` and ``retry_error``: the newest of those errors, numbers and ids
    taken out. ``per_minute``: completions a minute of the last five. ``wait`` (available → started) and ``work``
    (started → finished) over ``sample`` dispatches that were completed lately. ``put_off``: of those retrying, the ones
    that the stage asked to be called later for, with the soonest of them (``put_off_in`` seconds) and its words.
    ``ages``: the calls under way by age. ``latest``: the median time of the newest calls (at most 20, of the last five
    minutes); ``earlier``: the times of the calls before them. ``kind``: call, or a passage (move, wait, gather), where
    nothing is called and a job may be for as long as it takes."""

    stage: str
    after: str
    position: int
    routed: bool
    paused: bool
    attempts: int
    timeout: float
    concurrency: int | None
    circuit: Circuit
    waiting: int
    running: int
    retrying: int
    parked: int
    dead: int
    dead_error: str | None
    retry_error: str | None
    oldest_wait: float | None
    per_minute: float
    wait: Quantiles
    work: Quantiles
    sample: int
    put_off: int = 0
    put_off_in: float | None = None
    put_off_error: str | None = None
    ages: tuple[Aged, ...] = ()
    latest: float | None = None
    latest_sample: int = 0
    earlier: Quantiles = Quantiles(None, None)
    earlier_sample: int = 0
    kind: str = "call"


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute of the last hour, of all stages: ``failed`` counts dispatches that died."""

    at: datetime
    completed: int
    failed: int


@dataclass(frozen=True, slots=True)
class PausedTenant:
    """A tenant whose jobs are not called."""

    tenant: str
    paused_at: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """The counts of the first page. ``minutes`` are 60, the oldest first; ``minutes_capped``: so much ended in the
    hour that only the newest 20,000 were counted, and the oldest minutes show too little."""

    pipeline: str
    at: datetime
    paused: bool
    stages: tuple[StageOverview, ...]
    workers: tuple[WorkerSeen, ...]
    tenants: tuple[PausedTenant, ...]
    oldest_wait: float | None
    minutes: tuple[Minute, ...]
    minutes_capped: bool

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


SAMPLE = 500
"""Ended dispatches of a stage, the newest, that its times are taken from."""


async def overview(conn: asyncpg.Connection, pipeline: str) -> Overview:
    """One look at the pipeline, in a few statements of bounded work.

    Raises :class:`ConfigError` for an unknown pipeline, :class:`DatabaseError` where the database is too slow to tell.
    """
    try:
        async with at_most(conn, TIMEOUT):
            state = await conn.fetchrow(sql.read("read/pipeline_state.sql"), pipeline)
            if state is None:
                raise ConfigError(f"there is no pipeline {pipeline!r}")
            stages = await conn.fetch(sql.read("read/stage_counts.sql"), pipeline, CAP + 1)
            hour = await conn.fetchrow(sql.read("read/last_hour.sql"), pipeline, ENDED_AT_MOST, SAMPLE)
            running = await under_way(conn, pipeline)
            workers = await conn.fetch(sql.read("read/workers.sql"))
    except TooWide:
        raise DatabaseError(f"the database took longer than {TIMEOUT:g} s to count") from None
    times = {t["stage"]: t for t in json.loads(hour["times"])}
    speed = {s["stage"]: s["per_minute"] for s in json.loads(hour["speed"])}
    seen = tuple(_stage(row, running, times.get(row["stage"]), speed.get(row["stage"], 0.0)) for row in stages)
    return Overview(
        pipeline=pipeline,
        at=state["at"],
        paused=state["paused"],
        stages=seen,
        workers=tuple(worker_seen(row, running) for row in workers if row["pipeline"] == pipeline),
        tenants=tuple(PausedTenant(*t) for t in state["tenants"]),
        oldest_wait=max((s.oldest_wait for s in seen if s.oldest_wait is not None), default=None),
        minutes=_minutes(state["at"], json.loads(hour["minutes"])),
        minutes_capped=hour["seen"] >= ENDED_AT_MOST,
    )


async def stages_now(conn: asyncpg.Connection, pipeline: str) -> tuple[StageOverview, ...]:
    """The stages and their counts alone, with no times and no speed. Raises :class:`DatabaseError` as above."""
    try:
        async with at_most(conn, TIMEOUT):
            rows = await conn.fetch(sql.read("read/stage_counts.sql"), pipeline, CAP + 1)
            running = await under_way(conn, pipeline)
    except TooWide:
        raise DatabaseError(f"the database took longer than {TIMEOUT:g} s to count") from None
    return tuple(_stage(row, running, None, 0.0) for row in rows)


def _stage(row: asyncpg.Record, running: UnderWay, times: dict[str, Any] | None, per_minute: float) -> StageOverview:
    state: Literal["closed", "open", "half-open"] = "closed"
    if row["strikes"] > 0:
        state = "open" if row["open"] else "half-open"
    same = (
        "stage",
        "after",
        "position",
        "routed",
        "paused",
        "attempts",
        "timeout",
        "concurrency",
        "waiting",
        "retrying",
        "parked",
        "dead",
        "dead_error",
        "retry_error",
        "oldest_wait",
        "put_off",
        "put_off_in",
        "put_off_error",
        "kind",
    )
    return StageOverview(
        **{name: row[name] for name in same},
        running=running.capped(row["pipeline"], row["stage"]),
        circuit=Circuit(state, row["strikes"], row["open_until"] if state == "open" else None),
        per_minute=float(per_minute),
        wait=_quantiles(times["wait"] if times else None),
        work=_quantiles(times["work"] if times else None),
        sample=times["sample"] if times else 0,
        ages=tuple(running.ages.get((row["pipeline"], row["stage"]), ())),
        latest=times["latest"] if times else None,
        latest_sample=times["latest_sample"] if times else 0,
        earlier=_quantiles(times["earlier"] if times else None),
        earlier_sample=times["earlier_sample"] if times else 0,
    )


def _quantiles(seconds: list[float] | None) -> Quantiles:
    """None: there was no first attempt among the samples, or no sample."""
    return Quantiles(*seconds) if seconds else Quantiles(None, None)


def _minutes(now: datetime, counted: list[dict[str, int]]) -> tuple[Minute, ...]:
    """Sixty minutes up to now, those in which nothing happened included."""
    by_minute = {m["minute"]: m for m in counted}
    nothing = {"completed": 0, "failed": 0}
    return tuple(
        Minute(now - timedelta(minutes=ago + 1), *(by_minute.get(ago, nothing)[k] for k in nothing))
        for ago in reversed(range(60))
    )
