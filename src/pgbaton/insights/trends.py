"""Throughput and waits by stage and tenant, over hours, days and weeks: from the hours that workers have rolled up, and
for the hour that is not over from the newest 20,000 dispatches. So the cost does not grow with the history."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from pgbaton import sql
from pgbaton.errors import DatabaseError
from pgbaton.insights.bounded import TIMEOUT, TooWide, at_most
from pgbaton.insights.counts import Quantiles
from pgbaton.insights.listing import ENDED_AT_MOST

SPANS: Mapping[str, tuple[int, int]] = {
    "day": (3600, 24),
    "week": (6 * 3600, 28),
    "month": (86400, 30),
    "quarter": (7 * 86400, 13),
}
"""Seconds of a bin, and how many bins, by name."""
ORIGIN = datetime(2000, 1, 3, tzinfo=UTC)
"""A Monday: bins of a week begin on Mondays, in UTC as all bins."""
MOST_TENANTS = 8
"""Tenants that the plots show, those that had most."""
MOST_MARKS = 50
"""Marks of a span that are shown, the newest."""
KEPT = timedelta(days=92)
"""For so long the rolled up hours are kept (``sql/worker/roll_up.sql``): of a longer span there is none before."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The ends from ``at`` on: dispatches that were ``completed``, and that died. ``wait``: until the first call;
    ``work``: of a completed call; each to within a fifth, for they are counted in classes."""

    at: datetime
    completed: int
    dead: int
    wait: Quantiles
    work: Quantiles


@dataclass(frozen=True, slots=True)
class Trend:
    """The bins of a stage or of a tenant, the oldest first, with those in which nothing ended. ``whole``: of a stage,
    all of them as one; ``before``: the span of the same length before them, where it is kept."""

    name: str
    bins: tuple[Bin, ...]
    whole: Bin | None = None
    before: Bin | None = None

    @property
    def total(self) -> int:
        return sum(one.completed + one.dead for one in self.bins)


@dataclass(frozen=True, slots=True)
class Mark:
    """At this moment another ``version`` or ``base_url`` of a worker was seen than before, or other ``routes``."""

    at: datetime
    what: str
    was: str
    is_now: str


@dataclass(frozen=True, slots=True)
class Trends:
    """``seconds`` of a bin. ``tenants``: the eight that had most. ``capped``: so much ended since the last full hour
    that only the newest 20,000 were counted, and the last bin shows too little. ``marks``: the newest 50 of the span,
    the oldest first."""

    seconds: int
    stages: tuple[Trend, ...]
    tenants: tuple[Trend, ...]
    capped: bool
    marks: tuple[Mark, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(slots=True)
class _Sum:
    completed: int = 0
    dead: int = 0
    waits: Counter[int] = field(default_factory=Counter)
    works: Counter[int] = field(default_factory=Counter)

    def add(self, other: _Sum) -> None:
        self.completed += other.completed
        self.dead += other.dead
        self.waits.update(other.waits)
        self.works.update(other.works)

    def bin(self, at: datetime) -> Bin:
        return Bin(at, self.completed, self.dead, quantiles(self.waits), quantiles(self.works))


async def trends(conn: asyncpg.Connection, pipeline: str, span: str = "day", tenant: str | None = None) -> Trends:
    """The plots of a span (:data:`SPANS`), of all tenants or of one. Raises :class:`DatabaseError` where the database
    is too slow to tell."""
    seconds, many = SPANS[span]
    try:
        async with at_most(conn, TIMEOUT):
            now: datetime = await conn.fetchval("SELECT statement_timestamp()")
            begins = [_bin_of(now, seconds) - timedelta(seconds=seconds * ago) for ago in reversed(range(many))]
            steps = [r["step"] for r in await conn.fetch(sql.read("read/steps.sql"), pipeline)]
            earlier = begins[0] - timedelta(seconds=seconds * many)
            kept = earlier > now - KEPT
            hours = await conn.fetch(sql.read("read/trends.sql"), pipeline, earlier if kept else begins[0], tenant)
            marks = await conn.fetch(sql.read("read/trend_marks.sql"), pipeline, begins[0], MOST_MARKS)
            query = sql.render(sql.read("read/trends_lately.sql"), {"class_of": sql.DURATION_CLASS})
            lately = await conn.fetch(query, pipeline, begins[0], tenant, ENDED_AT_MOST)
            of_tenants = []
            if tenant is None:
                of_tenants = await conn.fetch(sql.read("read/trend_tenants.sql"), pipeline, begins[0], seconds)
    except TooWide:
        raise DatabaseError(f"the database took longer than {TIMEOUT:g} s to count") from None
    stages: dict[str, dict[datetime, _Sum]] = defaultdict(lambda: defaultdict(_Sum))
    tenants: dict[str, dict[datetime, _Sum]] = defaultdict(lambda: defaultdict(_Sum))
    for row in hours:
        one = stages[row["stage"]][_bin_of(row["at"], seconds)]
        _add(one, row)
        one.waits.update(_histogram(row["waits"]))
        one.works.update(_histogram(row["works"]))
    for row in of_tenants:
        _add(tenants[row["tenant"]][row["at"]], row)
    for row in lately:
        at = _bin_of(row["at"], seconds)
        _add(stages[row["stage"]][at], row)
        if row["wait"] is not None:
            stages[row["stage"]][at].waits[row["wait"]] += row["n"]
        if row["work"] is not None:
            stages[row["stage"]][at].works[row["work"]] += row["n"]
        if tenant is None and row["tenant"] is not None:
            _add(tenants[row["tenant"]][at], row)
    made = [Trend(name, tuple(sums[at].bin(at) for at in begins)) for name, sums in tenants.items()]
    return Trends(
        seconds,
        tuple(_of_stage(step, stages[step], begins, earlier if kept else None) for step in steps),
        tuple(sorted(made, key=lambda t: (-t.total, t.name))[:MOST_TENANTS]),
        bool(lately) and lately[0]["seen"] >= ENDED_AT_MOST,
        tuple(Mark(**dict(row)) for row in reversed(marks)),
    )


def _of_stage(step: str, sums: Mapping[datetime, _Sum], begins: Sequence[datetime], earlier: datetime | None) -> Trend:
    whole, before = _Sum(), _Sum()
    for at, one in sums.items():
        (whole if at >= begins[0] else before).add(one)
    return Trend(
        step,
        tuple(sums.get(at, _Sum()).bin(at) for at in begins),
        whole.bin(begins[0]),
        before.bin(earlier) if earlier is not None and (before.completed or before.dead) else None,
    )


def _add(to: _Sum, row: asyncpg.Record) -> None:
    to.completed += row["completed"]
    to.dead += row["dead"]


def _bin_of(at: datetime, seconds: int) -> datetime:
    return ORIGIN + timedelta(seconds=(at - ORIGIN).total_seconds() // seconds * seconds)


def _histogram(text: str) -> dict[int, int]:
    return {int(bucket): n for bucket, n in json.loads(text).items()}


def quantiles(histogram: Mapping[int, int]) -> Quantiles:
    """The median and the 95th percentile of a histogram of half powers of two of a millisecond."""
    total = sum(histogram.values())

    def at(share: float) -> float | None:
        seen = 0
        for bucket in sorted(histogram):
            seen += histogram[bucket]
            if seen >= share * total:
                return float(0.001 * 2 ** ((bucket + 0.5) / 2))
        return None

    return Quantiles(at(0.5), at(0.95)) if total else Quantiles(None, None)
