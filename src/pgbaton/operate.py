"""The operators' writes. Each looks at jobs as a worker does, decides them (:mod:`pgbaton.verdict`), and writes the
verdicts in one transaction with one row of ``pgbaton.audit``; many jobs go in bounded batches. What changed nothing is
not audited.

A row that another transaction holds is skipped, never waited for. ``who`` is the person or token that asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import asyncpg

from pgbaton import sql
from pgbaton import verdict as deciding
from pgbaton.database import refusal_words
from pgbaton.errors import ConfigError, DatabaseError, Refused
from pgbaton.insights.listing import CAP, JobFilter, count_jobs, list_jobs
from pgbaton.model import OPEN, Stage, State
from pgbaton.table import JobTable
from pgbaton.verdict import Job, Verdict, Working
from pgbaton.worker.store import RECONCILE_PAGE, Store

BATCH = 500
KEYS_KEPT = 1000
PARK_BATCH = 1000
SCAN_TIMEOUT = 20.0
"""Seconds that one batch of a bulk action may look for what matches."""
TRIES = 3
"""Looks at a job that changes between look and verdict, or is locked."""
BETWEEN_TRIES = 0.02
"""Seconds."""

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
    routed = [r["step"] for r in await conn.fetch(sql.read("install/routes.sql"), table.pipeline)]
    if step not in routed:
        raise Refused("unknown_stage", f"no stage performs {step!r}; there are: {', '.join(routed)}")
    desk, job_key = await _desk(conn, table), table.key.typed(job_key)
    with _refusals_named(table, "rerun"):
        async with conn.transaction(isolation="read_committed"):
            return await _rerun(desk, job_key, step, force, _person(who))


async def _rerun(desk: _Desk, job_key: str, step: str, force: bool, who: str) -> Done:
    stage = desk.stages[step]
    for _ in range(TRIES):
        job = await _look(desk.store, job_key)
        try:
            verdict = deciding.rerun(job, stage, desk.stages.__getitem__, force=force)
        except Working:
            raise Refused(
                "running", f"a stage is at work on {job_key!r}: wait for it, cancel it, or force the rerun"
            ) from None
        if verdict is None:
            return Done("rerun", 0, (), 1)
        if await desk.settle([verdict]):
            # No change of the row, so no trigger: the duty is left by the row as it is.
            if verdict.target is not None or await desk.store.reconcile([job_key]):
                was = {"was_step": job.row and job.row.step, "was_status": job.row and job.row.shown[1], "force": force}
                await desk.audit(who, "rerun", [job_key], was, stage=step)
                return Done("rerun", 1, (job_key,), 1)
            break
        await asyncio.sleep(BETWEEN_TRIES)
    raise Refused("busy", f"another transaction holds the row of {job_key!r}: try again")


async def _look(store: Store, job_key: str) -> Job:
    try:
        (job,) = await store.look([job_key]) if "\x00" not in job_key else [Job(job_key, None, None)]
    except asyncpg.DataError:
        job = Job(job_key, None, None)  # no key of this table looks like that
    if job.row is None:
        raise Refused("unknown_job", f"there is no job {job_key!r}")
    return job


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
    parked = 0
    while page := await conn.fetchval(sql.read("operate/park.sql"), table.pipeline, tenant, PARK_BATCH):
        parked += page
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
            raise Refused(
                "too_wide", f"too few matches among too many jobs: narrow the filter ({done.count} jobs done)"
            )
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
    keys = [table.key.typed(key) for key in keys]
    done = Done(action, 0)
    for start in range(0, len(keys), BATCH):
        done = _sum(done, await _act(conn, table, action, keys[start : start + BATCH], who, {}))
    return done


@dataclass(frozen=True, slots=True)
class _Desk:
    """One operator's look at a journal, and what is written into it."""

    store: Store
    conn: asyncpg.Connection
    pipeline: str
    stages: Mapping[str, Stage]

    async def settle(self, verdicts: Sequence[Verdict]) -> set[str]:
        """Write verdicts; returns the jobs of those that were written."""
        written = await self.store.settle([(verdict, None) for verdict in verdicts], self.stages)
        # It has set the path that triggers of the user's table expect; the statements that follow have the engine's.
        await self.conn.execute("SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)")
        return {key for key, result in written.items() if result.written}

    async def audit(
        self, who: str, action: str, keys: Sequence[str], detail: Mapping[str, Any], *, stage: str | None = None
    ) -> None:
        """Write down what was done to ``keys``, and wake the workers that sleep."""
        one = keys[0] if len(keys) == 1 else None
        said = json.dumps(detail, ensure_ascii=False)
        await self.conn.execute(sql.read("operate/audit.sql"), who, action, self.pipeline, stage, one, len(keys), said)
        if action == "retry":  # what waits is due now, which no trigger has told
            await self.conn.execute("SELECT pg_notify('pgbaton_wake', $1)", self.pipeline)


async def _desk(conn: asyncpg.Connection, table: JobTable) -> _Desk:
    store = Store(conn, table, ())
    return _Desk(store, conn, table.pipeline, await store.stages())


_DECIDED: dict[Action, Callable[[Job, deciding.Stages], Verdict | None]] = {
    "retry": deciding.retried,
    "cancel": deciding.cancelled,
}


async def _act(
    conn: asyncpg.Connection, table: JobTable, action: Action, keys: Sequence[str], who: str, detail: dict[str, Any]
) -> Done:
    """One batch, in one transaction."""
    desk = await _desk(conn, table)
    changed: list[str] = []
    with _refusals_named(table, action):
        async with conn.transaction(isolation="read_committed"):
            left = await _known(conn, table.pipeline, keys)
            for _ in range(TRIES):
                jobs = await desk.store.look(left)
                decided = {job.key: _DECIDED[action](job, desk.stages.__getitem__) for job in jobs}
                verdicts = {key: verdict for key, verdict in decided.items() if verdict is not None}
                written = await desk.settle(list(verdicts.values())) if verdicts else set()
                changed += [key for key in left if key in written]
                left = [key for key in verdicts if key not in written]
                if not left:
                    break
                await asyncio.sleep(BETWEEN_TRIES)
            if changed:
                await desk.audit(_person(who), action, changed, detail)
    return Done(action, len(changed), tuple(changed[:KEYS_KEPT]), len(keys))


async def _known(conn: asyncpg.Connection, pipeline: str, keys: Iterable[str]) -> list[str]:
    """Those that are jobs of the journal, each once: only they can be keys of the table for sure."""
    plain = list(dict.fromkeys(key for key in keys if "\x00" not in key))
    return [row["job_key"] for row in await conn.fetch(sql.read("operate/known.sql"), pipeline, plain)]


@contextmanager
def _refusals_named(table: JobTable, action: str) -> Iterator[None]:
    """Say which table refuses the state that an action writes."""
    try:
        yield
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.RaiseError) as error:
        raise DatabaseError(f"the table {table.qualified} refuses this {action}: {refusal_words(error)}") from None


def _sum(one: Done, other: Done) -> Done:
    return Done(one.action, one.count + other.count, (one.jobs + other.jobs)[:KEYS_KEPT], one.seen + other.seen)


async def _set_paused(conn: asyncpg.Connection, pipeline: str, stage: str | None, *, paused: bool, who: str) -> Done:
    row = await conn.fetchrow(sql.read("operate/set_paused.sql"), pipeline, stage, paused, _person(who))
    if not row["known"]:
        what = f"the pipeline {pipeline!r} has no stage {stage!r}" if stage else f"there is no pipeline {pipeline!r}"
        raise ConfigError(what)
    return Done("pause" if paused else "resume", int(row["changed"]))


async def reconcile(conn: asyncpg.Connection, table: JobTable, *, create: bool) -> list[tuple[str, str]]:
    """Jobs in a routed state that nothing waits for, as (job, stage); ``create`` gives each its duty (and returns
    those)."""
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


def _check_tenant(table: JobTable, tenant: str) -> None:
    if table.tenant is None:
        raise ConfigError(f"the pipeline {table.pipeline!r} has no tenants")
    if not tenant or "\x00" in tenant:
        raise ConfigError("name a tenant")


def _person(who: str) -> str:
    """As it may be stored: bounded, and nothing that Postgres cannot hold."""
    return who.replace("\x00", "").encode("utf-8", "replace").decode()[:200] or "?"
