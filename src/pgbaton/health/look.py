"""One look at a pipeline: everything that is checked, each check by itself.

The page, the doctor, ``/readyz``, the metrics and the recorder of incidents all look with :func:`look`. It reads no row
of the user's table: workers have counted those (the census). It costs about as much as the first
screen; docs/operations.md has the figure.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import asyncpg

from pgbaton import insights, sql
from pgbaton.counted import Counted
from pgbaton.database import check_migrated
from pgbaton.errors import DatabaseError, NotMigrated
from pgbaton.events import describe
from pgbaton.health import census, shares, workers
from pgbaton.health.checks import changes, checks, clock_checks, hears_itself, invariant_checks
from pgbaton.health.finding import LEVELS, Check, Finding, Health, Level, Share, worst_first
from pgbaton.health.rules import Usual, by_limit, diagnose
from pgbaton.insights import Overview
from pgbaton.insights.bounded import TooWide, at_most
from pgbaton.insights.limit_use import limits_in_use
from pgbaton.table import chosen

PATIENCE = 3.0
"""Seconds that a statement of one check may take."""
NEWEST_FAILURES = 200
"""Failed calls, the newest, that shares are made from."""
OLDEST_DUTIES = 1000
"""The oldest duties of a stage, whose tenants tell whose the queue is."""
MOSTLY = 0.8
"""Share of a queue from which on its tenant is named."""
STALE = 120.0
"""Seconds after which a census is stale, or ten times what it took: it begins again within moments."""

UNDER_WAY = "under way"
"""The beginning of the reason of a check that workers will make by themselves."""

_LOOK_AGAIN = (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError, TooWide, DatabaseError)


@dataclass
class _Looking:
    conn: asyncpg.Connection
    seen: Overview
    found: list[Finding] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    async def check(self, name: str, work: Callable[[_Looking], Awaitable[Check | None]]) -> None:
        """Make one check; where it fails, that is said, and the others are made."""
        try:
            async with at_most(self.conn, PATIENCE):
                said = await work(self)
            self.checks.append(said or Check(name, self.seen.at))
        except _LOOK_AGAIN as error:
            why = "too slow" if isinstance(error, (TooWide, asyncpg.QueryCanceledError)) else describe(error)
            self.checks.append(Check(name, None, why))


async def look(
    conn: asyncpg.Connection, pipeline: str, seen: Overview | None = None, *, invariants: bool = False
) -> Health:
    """The health of ``pipeline``. ``seen``: its counts, where they were just read. ``invariants``: also check the rules
    that must always hold on the live data, which reads the user's table whole.

    Raises the driver's errors where the connection is lost, :class:`ConfigError` for an unknown pipeline, and
    :class:`DatabaseError` where even the counts cannot be had.
    """
    seen = seen or await insights.overview(conn, pipeline)
    looking = _Looking(conn, seen)
    looking.checks.append(Check("counts", seen.at))
    await looking.check("usual", _usual)
    await looking.check("database", _ailments)
    await looking.check("workers", _workers)
    await looking.check("rows", _rows)
    if any(f.code in shares.MADE_OF_FAILURES for f in looking.found):
        await looking.check("failures", _failures)
    if any(f.code in ("full", "behind") for f in looking.found):
        await looking.check("queue", _queue)
    looking.found += await clock_checks(conn)
    if invariants:
        looking.found += await invariant_checks(conn, pipeline)
    looking.found += [_unchecked(pipeline, c.name, c.why) for c in looking.checks if c.why is not None]
    return Health(pipeline, seen.at, tuple(worst_first(looking.found)), tuple(looking.checks))


def _unchecked(pipeline: str, name: str, why: str) -> Finding:
    level: Level = "note" if why.startswith(UNDER_WAY) else "warn"
    return Finding("unchecked", level, {"check": name, "reason": why}, pipeline)


def of_all(looked: Iterable[Health]) -> list[Finding]:
    """The findings of several pipelines, each once, the worst first."""
    every = {(f.pipeline, f.code, f.subject): f for h in looked for f in h.findings}
    return sorted(every.values(), key=lambda f: LEVELS.index(f.level))


async def _usual(looking: _Looking) -> None:
    rows = await looking.conn.fetch(sql.read("read/usual.sql"), looking.seen.pipeline)
    usuals = {r["stage"]: Usual(r["calls"], r["p50"], r["p95"]) for r in rows}
    looking.found += diagnose(looking.seen, usuals)


async def _ailments(looking: _Looking) -> None:
    looking.found += await checks(looking.conn, looking.seen.pipeline)


async def _workers(looking: _Looking) -> None:
    rows = await looking.conn.fetch(sql.read("read/configurations.sql"), looking.seen.pipeline)
    said = [
        workers.Configuration(
            **{name: r[name] for name in ("name", "version", "base_url", "draining")},
            routes=tuple((step, after, path) for step, after, path in json.loads(r["routes"])),
        )
        for r in rows
        if r["routes"] is not None
    ]
    looking.found += workers.findings(looking.seen, said, all_said=len(said) == len(rows))


async def _rows(looking: _Looking) -> Check:
    row = await looking.conn.fetchrow(sql.read("read/census.sql"), looking.seen.pipeline)
    ended: datetime | None = row["whole_ended_at"]
    if ended is None:
        so_far = Counted(f"{row['seen'] or 0:,}")
        return Check("rows", None, f"{UNDER_WAY}: {so_far:# row|# rows} so far")
    looking.found += census.findings(
        looking.seen.pipeline, json.loads(row["whole"]), json.loads(row["stages"]), dated=row["dated"]
    )
    if row["unseen"]:
        return Check("rows", ended, f"{UNDER_WAY}: they changed while a trigger was missing")
    stale = row["age"] > max(STALE, 10 * row["took"])
    return Check("rows", ended, f"the last look ended {row['age']:.0f} s ago" if stale else None)


async def _failures(looking: _Looking) -> None:
    rows = await looking.conn.fetch(sql.read("read/failures.sql"), looking.seen.pipeline, NEWEST_FAILURES)
    failures = [shares.Failure(**dict(r)) for r in rows]
    living = sum(w.alive for w in looking.seen.workers)
    looking.found[:] = shares.with_shares(looking.found, failures, living)
    looking.found += shares.suspects(looking.seen.pipeline, failures)


async def _queue(looking: _Looking) -> None:
    await _whose_queue(looking)
    if any(f.code == "behind" for f in looking.found):
        limits = {one.seen.limit: one for one in await limits_in_use(looking.conn, looking.seen.pipeline)}
        looking.found[:] = [by_limit(f, limits) for f in looking.found]


async def _whose_queue(looking: _Looking) -> None:
    for n, f in enumerate(looking.found):
        if f.code in ("full", "behind"):
            rows = await looking.conn.fetch(
                sql.read("read/queue_shares.sql"), looking.seen.pipeline, f.values["stage"], OLDEST_DUTIES
            )
            waiting = int(f.values["waiting"] or 0)
            most = min(waiting, OLDEST_DUTIES)
            if rows and most > 1 and rows[0]["count"] >= MOSTLY * most:
                share = Share("tenant", rows[0]["tenant"], round(100 * min(1.0, rows[0]["count"] / most)))
                looking.found[n] = replace(f, shares=(share,))


async def examine(conn: asyncpg.Connection, pipeline: str | None = None, *, invariants: bool = False) -> list[Health]:
    """The health of every pipeline in this database, or of one. ``invariants``: also check the rules that must always
    hold on the live data; that reads the user's tables whole.

    A finding about the database itself is with each of them."""
    try:
        await check_migrated(conn)
    except NotMigrated as error:
        finding = Finding("not_migrated", "bad", {"error": str(error)})
        return [Health("", datetime.now(UTC), (finding,), (Check("schema", None),))]
    names = chosen([row["name"] for row in await conn.fetch(sql.read("read/pipelines.sql"))], pipeline)
    heard = await hears_itself(conn)
    if not names:
        return [Health("", datetime.now(UTC), tuple(worst_first([*await checks(conn), *heard])), ())]
    looked = [await look(conn, name, invariants=invariants) for name in names]
    gone = [f for f in await changes(conn) if f.code == "table_gone"]  # there is nothing of it to look at
    looked += [Health(f.pipeline or "", datetime.now(UTC), (f,), ()) for f in gone if pipeline in (None, f.pipeline)]
    return [replace(h, findings=tuple(worst_first([*h.findings, *heard]))) for h in looked]
