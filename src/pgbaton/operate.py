"""The operators' writes. Each is one guarded statement (or, where many jobs are meant, bounded batches of them) and
writes one row into ``pgbaton.audit`` in the same transaction; what changed nothing is not audited.

Jobs are moved through the user's table, compare-and-set, and the trigger does the rest; a row that somebody holds is
skipped, never waited for. ``who`` is the person or token that asked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import asyncpg

from pgbaton import sql
from pgbaton.errors import ConfigError, DatabaseError, Refused
from pgbaton.insights.listing import CAP, JobFilter, count_jobs, list_jobs
from pgbaton.model import OPEN, State
from pgbaton.table import JobTable
from pgbaton.worker.store import Store

BATCH = 500
KEYS_KEPT = 1000
PARK_BATCH = 1000
SCAN_TIMEOUT = 20.0
"""Seconds that one batch of a bulk action may look for what matches."""

Action = Literal["retry", "cancel"]
"""What can be done to everything that matches a filter."""


@dataclass(frozen=True, slots=True)
class Done:
    """What an action came to. ``count``: jobs that were changed; ``jobs``: the first 1,000 of their keys. ``seen``:
    how many it looked at (the others were elsewhere already, or somebody held their rows)."""

    action: str
    count: int
    jobs: tuple[str, ...] = ()
    seen: int = 0


async def retry(conn: asyncpg.Connection, table: JobTable, job_keys: Sequence[str], *, who: str) -> Done:
    """Give these dead jobs another life, and let those that wait for a retry be due now.

    A dead job's row is put back to its stage's entry state if it is still marked as failed there; that creates a new
    dispatch, and the dead one stays as history.
    """
    return await _in_batches(conn, table, "retry", job_keys, who)


async def cancel(conn: asyncpg.Connection, table: JobTable, job_keys: Sequence[str], *, who: str) -> Done:
    """Stop these jobs: where a dispatch is open, the row goes to (stage, ``cancelled``), which nothing is routed from.
    A call that is under way goes on, but its end changes nothing any more.

    Raises :class:`DatabaseError` where the status column cannot hold ``cancelled``.
    """
    return await _in_batches(conn, table, "cancel", job_keys, who)


async def rerun(
    conn: asyncpg.Connection, table: JobTable, job_key: str, step: str, *, who: str, force: bool = False
) -> Done:
    """Put the job to the entry state of the stage that performs ``step``, wherever it is now.

    Raises :class:`Refused` where there is no such job or stage, where somebody holds the row this moment, or where a
    stage is at work on it and ``force`` is not given. ``count`` is 0 where it waits there already.
    """
    stages = [r["step"] for r in await conn.fetch(sql.read("operate/routes.sql"), table.pipeline)]
    if step not in stages:
        raise Refused("unknown_stage", f"no stage performs {step!r}; there are: {', '.join(stages)}")
    try:
        came = await conn.fetchrow(table.query("rerun_job"), table.pipeline, job_key, step, force, _person(who))
    except asyncpg.DataError:
        came = None
    if came is None or not came["known"]:
        raise Refused("unknown_job", f"there is no job {job_key!r}")
    if not came["had"]:
        raise Refused("busy", f"somebody holds the row of {job_key!r} this moment: try again")
    if not came["free"]:
        raise Refused("running", f"a stage is at work on {job_key!r}: wait for it, cancel it, or force the rerun")
    created: list[tuple[str, str]] = []
    if came["there"]:  # no change, so no trigger: whatever is missing is created by the row as it is
        created = await Store(conn, table, ()).reconcile([job_key])
    done = came["moved"] or len(created)
    return Done("rerun", int(bool(done)), (job_key,) if done else (), 1)


async def pause(conn: asyncpg.Connection, pipeline: str, stage: str | None = None, *, who: str) -> Done:
    """Call a stage (``None``: any of the pipeline's) no more. Calls under way go on. ``count`` is 0 if it was paused.

    Raises :class:`ConfigError` where there is no such stage.
    """
    return await _set_paused(conn, pipeline, stage, paused=True, who=who)


async def resume(conn: asyncpg.Connection, pipeline: str, stage: str | None = None, *, who: str) -> Done:
    """The opposite of :func:`pause`."""
    return await _set_paused(conn, pipeline, stage, paused=False, who=who)


async def pause_tenant(conn: asyncpg.Connection, table: JobTable, tenant: str, *, who: str) -> Done:
    """Call no stage for this tenant's jobs. ``count`` is 0 if it was paused already; ``seen``: dispatches parked.

    Raises :class:`ConfigError` where the pipeline has no tenants.
    """
    _check_tenant(table, tenant)
    changed = await conn.fetchval(sql.read("operate/pause_tenant.sql"), table.pipeline, tenant, _person(who))
    parked, last = 0, 0
    while last is not None:
        page = await conn.fetchrow(sql.read("operate/park.sql"), table.pipeline, tenant, last, PARK_BATCH)
        parked, last = parked + page["parked"], page["last"]
    return Done("pause", int(changed), seen=parked)


async def resume_tenant(conn: asyncpg.Connection, table: JobTable, tenant: str, *, who: str) -> Done:
    """The opposite of :func:`pause_tenant`. ``seen``: dispatches that are due again; should this be broken off,
    workers make the rest due."""
    _check_tenant(table, tenant)
    changed = await conn.fetchval(sql.read("operate/resume_tenant.sql"), table.pipeline, tenant, _person(who))
    store, due = Store(conn, table, ()), 0
    while (made := await store.unpark(PARK_BATCH)) > 0:
        due += made
    return Done("resume", int(changed), seen=due)


_APPLIES: dict[Action, tuple[str, ...]] = {
    "retry": (State.DEAD, State.RETRYABLE),
    "cancel": OPEN,
}


async def count_matching(conn: asyncpg.Connection, filters: JobFilter, action: Action) -> int | None:
    """How many jobs :func:`act_on_matching` would look at, up to 10,001; ``None`` where that takes too long: narrow
    the filter."""
    narrowed = _for_action(filters, action)
    return 0 if narrowed is None else await count_jobs(conn, narrowed)


async def act_on_matching(
    conn: asyncpg.Connection, table: JobTable, filters: JobFilter, action: Action, expected: int, *, who: str
) -> Done:
    """Do ``action`` to everything that matches and was there when this began, in batches of 500.

    ``expected`` is what :func:`count_matching` said and a person agreed to: no more than that many jobs are looked at,
    unless it was above 10,000 (then all of them are). Each batch is a transaction with an audit row of its own. Raises
    :class:`Refused` (``too_wide``) where finding a batch takes too long; those before it are done.
    """
    narrowed = _for_action(filters, action)
    before: int | None = None
    done = Done(action, 0)
    while narrowed is not None:
        left = BATCH if expected > CAP else min(BATCH, expected - done.seen)
        if left <= 0:
            break
        page = await list_jobs(conn, narrowed, before, left, timeout=SCAN_TIMEOUT)
        if page.too_wide:
            raise Refused("too_wide", f"the filter finds too little among too much: narrow it ({done.count} jobs done)")
        keys = [job.job_key for job in page.jobs]
        done = _sum(done, await _act(conn, table, action, keys, who, {"filter": filters.as_json()}))
        if page.next is None:
            break
        before = page.next
    return done


def _for_action(filters: JobFilter, action: Action) -> JobFilter | None:
    """The filter with the states that ``action`` can change anything in; ``None``: none of those is asked for."""
    applies = _APPLIES[action]
    states = tuple(s for s in applies if s in filters.states) if filters.states else applies
    return replace(filters, states=states, latest=True) if states else None


async def _in_batches(conn: asyncpg.Connection, table: JobTable, action: Action, keys: Sequence[str], who: str) -> Done:
    done = Done(action, 0)
    for start in range(0, len(keys), BATCH):
        done = _sum(done, await _act(conn, table, action, keys[start : start + BATCH], who, {}))
    return done


async def _act(
    conn: asyncpg.Connection, table: JobTable, action: Action, keys: Sequence[str], who: str, detail: dict[str, Any]
) -> Done:
    if not keys:
        return Done(action, 0)
    plain = [key for key in keys if "\x00" not in key]
    try:
        rows = await conn.fetch(
            table.query(f"{action}_jobs"), table.pipeline, plain, _person(who), json.dumps(detail, ensure_ascii=False)
        )
    except (asyncpg.DataError, asyncpg.CheckViolationError, asyncpg.ForeignKeyViolationError) as error:
        raise DatabaseError(f"the table {table.qualified} refuses this {action}: {error}") from None
    changed = tuple(row["job_key"] for row in rows)
    return Done(action, len(changed), changed[:KEYS_KEPT], len(keys))


def _sum(one: Done, other: Done) -> Done:
    return Done(one.action, one.count + other.count, (one.jobs + other.jobs)[:KEYS_KEPT], one.seen + other.seen)


async def _set_paused(conn: asyncpg.Connection, pipeline: str, stage: str | None, *, paused: bool, who: str) -> Done:
    row = await conn.fetchrow(sql.read("operate/set_paused.sql"), pipeline, stage, paused, _person(who))
    if not row["known"]:
        what = f"the pipeline {pipeline!r} has no stage {stage!r}" if stage else f"there is no pipeline {pipeline!r}"
        raise ConfigError(what)
    return Done("pause" if paused else "resume", int(row["changed"]))


def _check_tenant(table: JobTable, tenant: str) -> None:
    if table.tenant is None:
        raise ConfigError(f"the pipeline {table.pipeline!r} has no tenants")
    if not tenant or "\x00" in tenant:
        raise ConfigError("name a tenant")


def _person(who: str) -> str:
    """As it may be stored: bounded, and nothing that Postgres cannot hold."""
    return who.replace("\x00", "").encode("utf-8", "replace").decode()[:200] or "?"
