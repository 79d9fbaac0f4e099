"""One job: its dispatches and calls, its row now, and why it is where it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal

import asyncpg

from pgbaton import sql
from pgbaton.insights.listing import CAP
from pgbaton.insights.reasons import Explanation, choices_of, reason
from pgbaton.insights.words import Value
from pgbaton.model import trace_id
from pgbaton.table import JobTable, child_table


@dataclass(frozen=True, slots=True)
class AttemptSeen:
    """One call. ``seconds``: how long it took, or has taken so far (``finished_at`` is ``None``). ``url``: where it
    went, ``None`` where the worker that made it is not known any more, or has not written its configuration."""

    attempt: int
    worker: str
    started_at: datetime
    finished_at: datetime | None
    seconds: float
    outcome: str | None
    http_status: int | None
    error: str | None
    answer: str | None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A bar of the timeline. ``running`` is attempt ``attempt``; in the other kinds, such as ``backoff`` and ``parked``
    (the tenant is paused), no call is under way. ``end`` is now where it is still so (``open``)."""

    kind: Literal["waiting", "running", "backoff", "parked"]
    start: datetime
    end: datetime
    open: bool
    attempt: int | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class DispatchSeen:
    """One time that the job entered a routed state. ``failures`` count against the stage's limit, ``attempt`` is the
    number of calls; ``timeline`` in the order of time; ``trace`` the id of the trace of its run."""

    id: int
    stage: str
    state: str
    attempt: int
    failures: int
    created_at: datetime
    available_at: datetime
    deadline: datetime | None
    settled_at: datetime | None
    parked: bool
    trace: str
    attempts: tuple[AttemptSeen, ...]
    timeline: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class RowSeen:
    """The user's row now; its other columns are not read."""

    step: str | None
    status: str | None
    tenant: str | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class ChildrenSeen:
    """The jobs of another pipeline that name this one as their parent: how many there are, how many have ended and how
    many of those are done. ``example``: the key of one that has not ended."""

    pipeline: str
    total: int
    ended: int
    done: int
    example: str | None


@dataclass(frozen=True, slots=True)
class JobDetail:
    """``dispatches``: the newest 200, in the order of time; ``truncated``: there are older ones. ``row`` is ``None``
    where the job is gone. ``choices``: the names by which a person can decide, where the job waits for that;
    ``rounds``: how often it has come by each route that is bounded, and how often it may (``None``: the route is gone),
    the latest first. ``children``: those of each pipeline that the pipeline gathers."""

    pipeline: str
    key: str
    at: datetime
    row: RowSeen | None
    explanation: Explanation
    dispatches: tuple[DispatchSeen, ...]
    truncated: bool
    choices: tuple[str, ...] = ()
    rounds: tuple[tuple[str, int, int | None], ...] = ()
    children: tuple[ChildrenSeen, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


DISPATCHES, ATTEMPTS = 200, 2000
"""Dispatches of a job that are shown, the newest, and attempts of them, at most: a page that a person can read."""


async def job(conn: asyncpg.Connection, table: JobTable, key: str) -> JobDetail | None:
    """Everything about one job; ``None`` where there is neither a row nor a dispatch of that key."""
    key = table.key.typed(key)
    facts = await _standing(conn, table, key)
    if facts is None:
        return None
    of = (table.pipeline, key)
    found = await conn.fetch(sql.read("read/history.sql"), *of, DISPATCHES + 1)
    kept = found[:DISPATCHES]
    calls: dict[int, list[AttemptSeen]] = {}
    for row in await conn.fetch(sql.read("read/attempts_of.sql"), *of, [d["id"] for d in kept], ATTEMPTS):
        names = AttemptSeen.__dataclass_fields__
        calls.setdefault(row["dispatch_id"], []).append(AttemptSeen(**{name: row[name] for name in names}))
    now = facts["at"]
    dispatches = (_dispatch(of, row, tuple(calls.get(row["id"], ())), now) for row in reversed(kept))
    row = RowSeen(facts["step"], facts["word"], facts["tenant"], facts["updated_at"]) if facts["present"] else None
    rounds = await _rounds(conn, of)
    why = _with_rounds(await _with_children(conn, table, key, facts), rounds)
    gathers = [json.loads(r["detail"]) for r in await conn.fetch(sql.read("read/gathers.sql"), table.pipeline)]
    counted = [await _children(conn, table, key, gather) for gather in gathers]
    return JobDetail(
        table.pipeline,
        key,
        now,
        row,
        why,
        tuple(dispatches),
        len(found) > DISPATCHES,
        choices_of(facts),
        rounds,
        tuple(one for one in counted if one is not None and one.total),
    )


async def explain(conn: asyncpg.Connection, table: JobTable, key: str) -> Explanation | None:
    """Why the job is where it is; ``None`` as in :func:`job`."""
    key = table.key.typed(key)
    facts = await _standing(conn, table, key)
    if facts is None:
        return None
    why = await _with_children(conn, table, key, facts)
    return _with_rounds(why, await _rounds(conn, (table.pipeline, key)))


async def _rounds(conn: asyncpg.Connection, of: tuple[str, str]) -> tuple[tuple[str, int, int | None], ...]:
    return tuple((r["route"], r["taken"], r["most"]) for r in await conn.fetch(sql.read("read/rounds.sql"), *of))


def _with_rounds(why: Explanation, rounds: Sequence[tuple[str, int, int | None]]) -> Explanation:
    """Why, with the round that the job came by last, unless it is through."""
    bounded = [(taken, most) for _, taken, most in rounds if most is not None]
    if not bounded or why.code in ("done", "gone"):
        return why
    return replace(why, values={**why.values, "round": bounded[0][0], "rounds": bounded[0][1]})


async def _with_children(conn: asyncpg.Connection, table: JobTable, key: str, facts: asyncpg.Record) -> Explanation:
    """Why, with the children counted where the job gathers them."""
    why = reason(facts)
    if why.code != "gathering":
        return why
    detail = json.loads(facts["detail"])
    seen = await _children(conn, table, key, detail)
    if seen is None:
        return Explanation("no_children", False, {"children": detail["children"]})
    if seen.example is None:
        return Explanation("counting", True, {"total": seen.total})
    doing = await conn.fetchrow(sql.read("read/child_doing.sql"), seen.pipeline, seen.example)
    values: dict[str, Value] = {
        "left": seen.total - seen.ended,
        "total": seen.total,
        "done": seen.done,
        "child": seen.example[:60],
        "stage": doing and doing["stage"],
        "doing": doing and doing["state"],
    }
    return replace(why, values={**why.values, **values})


async def _children(
    conn: asyncpg.Connection, table: JobTable, key: str, detail: Mapping[str, Any]
) -> ChildrenSeen | None:
    """The children that a gather counts; ``None`` where their pipeline is not attached."""
    row = await conn.fetchrow(sql.read("worker/child_table.sql"), detail["children"], table.pipeline)
    if row is None:
        return None
    of = child_table(row, await conn.fetch(sql.read("install/routes.sql"), row["name"]))
    seen = await conn.fetchrow(of.query("worker/children"), of.pipeline, [key], *detail["done"])
    example = None if seen["example"] is None else str(seen["example"])
    return ChildrenSeen(of.pipeline, seen["total"], seen["ended"], seen["done"], example)


async def _standing(conn: asyncpg.Connection, table: JobTable, key: str) -> asyncpg.Record | None:
    if "\x00" in key:
        return None
    try:
        facts = await conn.fetchrow(table.query("read/standing"), table.pipeline, key, CAP + 1)
    except asyncpg.DataError:
        return None  # no key of this table looks like that
    return facts if facts is not None and (facts["present"] or facts["id"] is not None) else None


def _dispatch(
    of: tuple[str, str], row: asyncpg.Record, attempts: tuple[AttemptSeen, ...], now: datetime
) -> DispatchSeen:
    until = row["settled_at"] or now
    parked = now if row["parked"] else None
    shown = dict(row)
    trace = trace_id(*of, shown.pop("run") or row["id"])
    return DispatchSeen(**shown, trace=trace, attempts=attempts, timeline=timeline(row, attempts, until, parked))


def timeline(
    row: Mapping[str, Any], attempts: Sequence[AttemptSeen], until: datetime, parked: datetime | None = None
) -> tuple[Segment, ...]:
    """The bars of one dispatch up to ``until``: the time between two attempts was backoff, the time behind the last one
    of an open dispatch is backoff until it is due and then waiting."""
    is_open = row["settled_at"] is None
    bars: list[Segment] = []
    at: datetime = row["created_at"]
    for number, attempt in enumerate(attempts):
        if attempt.started_at > at:
            bars.append(Segment("backoff" if number else "waiting", at, attempt.started_at, False))
        at = attempt.finished_at or until
        bars.append(
            Segment("running", attempt.started_at, at, attempt.finished_at is None, attempt.attempt, attempt.outcome)
        )
    if not is_open or row["state"] == "running":
        return tuple(bars)
    if parked is not None:
        return (*bars, Segment("parked", at, until, True))
    due = min(max(at, row["available_at"]), until)
    if attempts and due > at:
        bars.append(Segment("backoff", at, due, due == until))
    if due < until:
        bars.append(Segment("waiting", due, until, True))
    return tuple(bars)
