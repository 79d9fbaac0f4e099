"""Limits tried out: arrivals and durations in, waits and idle places out, with time simulated.

The function that workers ask decides which call is next, ``pgbaton.admit``, on a scratch database; only the
clock, the arrivals and the ends of calls are made up here.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from pgbaton import sql
from pgbaton.install.attach import attach
from pgbaton.install.migrate import migrate
from pgbaton.model import Kind, Pipeline
from pgbaton.sql import quoted
from pgbaton.table import PRIORITY_WEIGHT, JobTable

BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
"""The simulated time at which everything begins."""
LOOK_AGAIN = 0.01
"""Seconds of simulated time between two looks at jobs that a limit keeps back, at least."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job that comes up for the first stage after ``at`` seconds."""

    at: float
    tenant: str | None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Called:
    """A call as it was made; times in seconds since the beginning."""

    stage: str
    tenant: str | None
    due: float
    began: float
    ended: float

    @property
    def waited(self) -> float:
        return self.began - self.due


@dataclass(slots=True)
class Simulated:
    """All calls that were made, and, by stage and pool, how many place-seconds were taken."""

    calls: list[Called] = field(default_factory=list)
    lasted: float = 0.0

    def waits(self, stage: str | None = None) -> dict[str | None, list[float]]:
        """How long each call of each tenant waited, in seconds."""
        found: dict[str | None, list[float]] = defaultdict(list)
        for call in self.calls:
            if stage in (None, call.stage):
                found[call.tenant].append(call.waited)
        return dict(found)

    def busy(self, stages: Iterable[str]) -> float:
        """Call-seconds of these stages."""
        wanted = set(stages)
        return sum(call.ended - call.began for call in self.calls if call.stage in wanted)


def quantile(values: Sequence[float], share: float) -> float:
    """The value beneath which ``share`` of them are."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


class Simulation:
    """One run on a scratch database, which is changed: nothing of it may be in use. ``takes``: seconds that a call of a
    stage takes, asked for each call. ``capacity``: calls at once that the simulated workers can make. ``after``: called
    behind each claim, with the simulated time."""

    def __init__(
        self, conn: asyncpg.Connection, pipeline: Pipeline, takes: Callable[[str], float], capacity: int = 10_000
    ) -> None:
        self._conn = conn
        self._pipeline = pipeline
        self._takes = takes
        self._capacity = capacity
        calls = [node for node in pipeline.in_order if node.kind is Kind.CALL]
        self._steps = [stage.step for stage in calls]
        self._entries = [stage.entry for stage in calls]
        self._under_way = 0

    async def prepare(self) -> None:
        """Make the schema, a table of the pipeline's shape, and attach it."""
        await migrate(self._conn)
        table = JobTable.of(self._pipeline)
        keys = ", ".join(quoted(name) for name in table.key.columns)
        names = (*table.key.columns, table.step, table.status)
        columns = [*(f"{quoted(name)} text" for name in names), f"PRIMARY KEY ({keys})"]
        tenant = None if table.tenant in names else table.tenant
        for name, kind in ((tenant, "text"), (table.priority, "bigint"), (table.not_before, "timestamptz")):
            if name is not None:
                columns.append(f"{quoted(name)} {kind}")
        await self._conn.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(table.schema)}")
        await self._conn.execute(f"CREATE TABLE {table.qualified} ({', '.join(columns)})")
        await attach(self._conn, self._pipeline)
        taken = await self._conn.fetchrow(
            sql.read("worker/take_lease.sql"), self._pipeline.name, None, "simulated", 1, 1e8, [], [], self._steps
        )
        self._worker = taken["worker"]

    async def run(
        self, arrivals: Sequence[Arrival], after: Callable[[float], Any] | None = None, until: float = math.inf
    ) -> Simulated:
        """Let all of them come and go, or until that simulated second."""
        result = Simulated()
        # (time, order, what): arrivals and ends of calls; a bare time is a look at jobs that a limit keeps back.
        events: list[tuple[float, int, Any]] = [(a.at, n, a) for n, a in enumerate(arrivals)]
        heapq.heapify(events)
        jobs: dict[str, int] = {}
        made = len(events)
        while events and events[0][0] <= until:
            now = events[0][0]
            while events and events[0][0] <= now:
                _, order, what = heapq.heappop(events)
                if isinstance(what, Arrival):
                    jobs[str(order)] = what.priority
                    await self._arrive(0, str(order), what.tenant, what.priority, now)
                elif what is not None:
                    await self._end(what, jobs, now)
            blocked: float | None = None
            for row in await self._claim(now):
                if row["id"] is None:
                    blocked = row["blocked_in"] if blocked is None else min(blocked, row["blocked_in"])
                    continue
                made += 1
                ends = now + self._takes(row["stage"])
                due = (row["created_at"] - BEGIN).total_seconds()
                call = Called(row["stage"], row["tenant"], due, now, ends)
                result.calls.append(call)
                result.lasted = max(result.lasted, ends)
                self._under_way += 1
                heapq.heappush(events, (ends, made, (row["job_key"], call)))
            if blocked is not None and (not events or events[0][0] > now + blocked):
                made += 1
                heapq.heappush(events, (now + max(blocked, LOOK_AGAIN), made, None))
            if after is not None:
                await after(now)
        return result

    async def _arrive(self, place: int, job: str, tenant: str | None, priority: int, now: float) -> None:
        later = float(priority * PRIORITY_WEIGHT) if self._pipeline.priority else 0.0
        await self._conn.execute(
            sql.read("simulate/arrive.sql"),
            *(self._pipeline.name, self._steps[place], *self._entries[place], [job], [tenant], [later], _at(now)),
        )

    async def _end(self, ended: tuple[str, Called], jobs: dict[str, int], now: float) -> None:
        job, call = ended
        self._under_way -= 1
        await self._conn.execute(
            "DELETE FROM pgbaton.calls WHERE pipeline = $1 AND job_key = $2", self._pipeline.name, job
        )
        place = self._steps.index(call.stage) + 1
        if place < len(self._steps):
            await self._arrive(place, job, call.tenant, jobs[job], now)

    async def _claim(self, now: float) -> list[asyncpg.Record]:
        free = self._capacity - self._under_way
        if free <= 0:
            return []
        steps, statuses = zip(*self._entries, strict=True)
        arguments = (self._pipeline.name, self._worker, self._steps, steps, statuses, free, _at(now))
        return list(await self._conn.fetch(sql.read("simulate/claim.sql"), *arguments))


def _at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)
