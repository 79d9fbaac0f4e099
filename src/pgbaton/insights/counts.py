"""The pipeline at a glance: its stages, workers and last hour."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import asyncpg

from pgbaton.insights.status import WorkerSeen


@dataclass(frozen=True, slots=True)
class Circuit:
    """``open``: nobody calls the stage until ``open_until``; ``half-open``: one probe at a time.

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
    again since) are capped counts. ``per_minute``: completions a minute of the last five. ``wait`` (available →
    started) and ``work`` (started → finished) over ``sample`` dispatches that were settled lately."""

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
    oldest_wait: float | None
    per_minute: float
    wait: Quantiles
    work: Quantiles
    sample: int


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
    """What the first page shows. ``minutes`` are 60, the oldest first; ``minutes_capped``: so much was settled in the
    hour that only the newest 20,000 were counted, and the oldest minutes show too little. ``inbox``: changes that wait
    to be applied (capped)."""

    pipeline: str
    at: datetime
    paused: bool
    stages: tuple[StageOverview, ...]
    workers: tuple[WorkerSeen, ...]
    tenants: tuple[PausedTenant, ...]
    oldest_wait: float | None
    inbox: int
    minutes: tuple[Minute, ...]
    minutes_capped: bool

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


async def overview(conn: asyncpg.Connection, pipeline: str) -> Overview:
    """One look at the pipeline, in a few statements of bounded work. Raises :class:`ConfigError` for an unknown one."""
    raise NotImplementedError
