"""The operators' writes. Each looks at jobs as a worker does, decides them (:mod:`pgbaton.verdict`), and writes the
verdicts in one transaction with its row of ``pgbaton.audit``. Many jobs go in bounded batches, under one row
(:mod:`pgbaton.acts`) that each batch moves on. What changed nothing is not audited, unless it was begun as such.

A row that another transaction holds is skipped, never waited for. ``who`` is the person or token that asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import asyncpg

from pgbaton import acts, sql
from pgbaton import verdict as deciding
from pgbaton.database import refusal_words
from pgbaton.errors import ConfigError, DatabaseError, Refused
from pgbaton.events import describe
from pgbaton.insights.bounded import TIMEOUT, TooWide, at_most
from pgbaton.insights.listing import CAP, JobFilter, Preview, count_jobs, list_jobs, preview_jobs
from pgbaton.model import CANCELLED, OPEN, Stage, State
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
LAST_WORD = 2.0
"""Seconds that an act which breaks off may take to say so."""

Action = Literal["retry", "cancel"]
"""What can be done to everything that matches a filter."""
Act = Literal["retry", "cancel", "recall", "quarantine", "move"]
"""What is done to jobs by their keys."""


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


async def quarantine(conn: asyncpg.Connection, table: JobTable, job_keys: Sequence[str], *, who: str) -> Done:
    """Set these jobs aside: their rows go to (stage, ``quarantined``), which nothing is routed from and no retry finds.
    :func:`rerun` frees one. Raises :class:`DatabaseError` where the status column cannot hold that word."""
    return await _in_batches(conn, table, "quarantine", job_keys, who)


async def recall(conn: asyncpg.Connection, table: JobTable, stage: str, *, who: str, over: float = 0.0) -> Done:
    """Call again now the calls of ``stage`` that do not end: those whose answer was lost, or (``over`` above 0) those
    that were left to the stage more than so many seconds ago. Each is written only if it still stands as it was seen,
    so one that ends meanwhile is left alone; no attempt is used up.

    Raises :class:`Refused` where there is no such stage.
    """
    if stage not in (await _desk(conn, table)).stages:
        raise Refused("unknown_stage", f"no stage performs {stage!r}")
    done, before = Done("recall", 0), -1
    while done.count != before:  # what could not be written comes again; a round that wrote nothing is the last
        before = done.count
        rows = await conn.fetch(sql.read("operate/stalled.sql"), table.pipeline, stage, over, BATCH)
        by = _By(_person(who), "recall", {"over": over} if over else {})
        done = _sum(done, await _at_once(conn, table, deciding.recalled, [r["job_key"] for r in rows], by))
    return done


async def move_rows(
    conn: asyncpg.Connection, table: JobTable, source: tuple[str, str], target: tuple[str, str], *, who: str
) -> Done:
    """Put every row at ``source`` of which the journal holds nothing to ``target``: rows that were edited by hand and
    lead nowhere. Reads the table whole, page by page. Raises :class:`Refused` where ``target`` is no state of the
    pipeline."""
    stages = (await _desk(conn, table)).stages
    if target[0] not in stages and target not in {stage.entry for stage in stages.values()}:
        raise Refused("unknown_stage", f"no stage performs {target[0]!r}")

    def decide(job: Job, _stages: deciding.Stages) -> Verdict | None:
        return deciding.moved(job, source, target)

    by = _By(_person(who), "move", {"from": source, "to": target})
    done, after = Done("move", 0), None
    while True:
        row = await conn.fetchrow(table.query("operate/rows_at"), table.pipeline, after, RECONCILE_PAGE, *source)
        for start in range(0, len(row["keys"]), BATCH):
            keys = row["keys"][start : start + BATCH]
            done = _sum(done, await _at_once(conn, table, decide, keys, by))
        if row["looked_at"] < RECONCILE_PAGE:
            return done
        after = row["last"]


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


async def has_tenant(conn: asyncpg.Connection, table: JobTable, tenant: str) -> bool | None:
    """Whether any job has this tenant, or it is known as paused; ``None`` where looking takes too long (a large table
    without an index on it).

    Raises :class:`ConfigError` where the pipeline has no tenants.
    """
    _check_tenant(table, tenant)
    try:
        async with at_most(conn, TIMEOUT):
            return bool(await conn.fetchval(table.query("operate/has_tenant"), table.pipeline, tenant))
    except TooWide:
        return None


_APPLIES: dict[Action, tuple[str, ...]] = {
    "retry": (State.DEAD, State.RETRYABLE),
    "cancel": OPEN,
}


async def count_matching(conn: asyncpg.Connection, filters: JobFilter, action: Action) -> int | None:
    """How many jobs :func:`act_on_matching` would look at, up to 10,001; ``None`` where that takes too long: narrow
    the filter."""
    narrowed = _for_action(filters, action)
    return 0 if narrowed is None else await count_jobs(conn, narrowed)


async def preview_matching(conn: asyncpg.Connection, filters: JobFilter, action: Action) -> Preview | None:
    """As :func:`count_matching`, by group."""
    narrowed = _for_action(filters, action)
    return Preview(0, (), ()) if narrowed is None else await preview_jobs(conn, narrowed)


async def act_on_matching(
    conn: asyncpg.Connection,
    table: JobTable,
    filters: JobFilter,
    action: Action,
    expected: int,
    *,
    who: str,
    reason: str = "",
) -> Done:
    """:func:`begin` and :func:`carry_on` in one; what changed nothing leaves no record."""
    act = await begin(conn, table, filters, action, expected, who=who, reason=reason)
    if act is None:
        return Done(action, 0)
    done = await carry_on(conn, table, act)
    if not done.count:
        await acts.forget(conn, act)
    return done


async def begin(
    conn: asyncpg.Connection,
    table: JobTable,
    filters: JobFilter,
    action: Action,
    expected: int,
    *,
    who: str,
    reason: str = "",
) -> int | None:
    """Write down that ``action`` is to be done to everything that matches; :func:`carry_on` does it. Returns the act's
    id; ``None`` where nothing can match.

    ``expected`` is what :func:`count_matching` said and a person agreed to: no more than that many jobs are looked at,
    unless it was above 10,000 (then all of them are).
    """
    if _for_action(filters, action) is None or expected <= 0:
        return None
    asked = {"filter": replace(filters, pipeline=None).as_json()}
    total = None if expected > CAP else expected
    return await acts.begin(conn, table.pipeline, action, asked, total, who=_person(who), reason=reason)


async def undo(conn: asyncpg.Connection, table: JobTable, act: int, *, who: str, reason: str = "") -> int:
    """Write down that the jobs which the act ``act`` cancelled are to be called again where they were cancelled;
    :func:`carry_on` does it. Returns the new act's id.

    Raises :class:`Refused` where that cannot be: it was no act that cancelled many jobs, it is under way, or undone.
    """
    entry = await conn.fetchrow(sql.read("operate/act_undoable.sql"), table.pipeline, act)
    if entry is None:
        raise Refused("not_undoable", f"the act {act} cannot be undone: only one that cancelled jobs, and has ended")
    return await acts.begin(
        conn, table.pipeline, "rerun", {"undoes": act}, entry["jobs"], who=_person(who), reason=reason, undoes=act
    )


async def carry_on(conn: asyncpg.Connection, table: JobTable, act: int) -> Done:
    """Do an act that was begun, from where it is, in batches of 500, each a transaction that moves its row on: at any
    time it can be aborted, or taken over by another runner, and this one stops.

    Raises :class:`Refused`: ``over`` where it has ended; ``too_wide`` where finding a batch takes too long (what came
    before is done, and the act can be carried on). Whatever else breaks it off is written into its row, too.
    """
    held = await acts.take(conn, table.pipeline, act)
    try:
        done = await _carry_on(conn, table, held)
    except BaseException as error:
        with suppress(Exception):
            async with asyncio.timeout(LAST_WORD):
                await acts.end(conn, held, "broken", _last_words(error))
        raise
    await acts.end(conn, held, "done")
    return done


def _last_words(error: BaseException) -> str:
    return "the process ended" if isinstance(error, asyncio.CancelledError) else describe(error)[:500]


async def _carry_on(conn: asyncpg.Connection, table: JobTable, act: acts.Act) -> Done:
    done, reached = Done(act.action, act.jobs, (), act.seen), act.reached
    while (left := BATCH if act.total is None else min(BATCH, act.total - done.seen)) > 0:
        batch = await _undo_batch(conn, act, reached, left) if act.undoes else await _batch(conn, act, reached, left)
        if not batch.keys:
            break
        last = batch.next is None or done.seen + len(batch.keys) == act.total
        one = await _act(conn, table, batch.decide, batch.keys, _Batched(act, batch.next, last))
        if one is None:
            break  # aborted, or taken over
        done, reached = _sum(done, one), batch.next
        if last:
            break
    return done


@dataclass(frozen=True, slots=True)
class _Batch:
    """Jobs to decide, and where the batch behind this one begins (``None``: there is none)."""

    keys: list[str]
    next: str | None
    decide: Decide


async def _batch(conn: asyncpg.Connection, act: acts.Act, reached: str | None, most: int) -> _Batch:
    action: Action = "retry" if act.action == "retry" else "cancel"
    filters = _for_action(replace(JobFilter.from_json(act.detail["filter"]), pipeline=act.pipeline), action)
    assert filters is not None
    page = await list_jobs(conn, filters, None if reached is None else int(reached), most, timeout=SCAN_TIMEOUT)
    if page.too_wide:
        raise Refused("too_wide", f"too few matches among too many jobs: narrow the filter ({act.jobs} jobs done)")
    return _Batch([job.job_key for job in page.jobs], None if page.next is None else str(page.next), _DECIDED[action])


async def _undo_batch(conn: asyncpg.Connection, act: acts.Act, reached: str | None, most: int) -> _Batch:
    rows = await conn.fetch(sql.read("operate/act_jobs.sql"), act.undoes, reached, most)
    stages = {row["job_key"]: row["stage"] for row in rows}

    def decide(job: Job, known: deciding.Stages) -> Verdict | None:
        return deciding.brought_back(job, stages[job.key], known)

    return _Batch(list(stages), rows[-1]["job_key"] if len(rows) == most else None, decide)


def _for_action(filters: JobFilter, action: Action) -> JobFilter | None:
    """The filter with the states that ``action`` can change anything in; ``None``: none of those is asked for."""
    applies = _APPLIES[action]
    states = tuple(s for s in applies if s in filters.states) if filters.states else applies
    return replace(filters, states=states, latest=True) if states else None


async def _in_batches(conn: asyncpg.Connection, table: JobTable, action: Act, keys: Sequence[str], who: str) -> Done:
    keys = [table.key.typed(key) for key in keys]
    done = Done(action, 0)
    for start in range(0, len(keys), BATCH):
        by = _By(_person(who), action)
        done = _sum(done, await _at_once(conn, table, _DECIDED[action], keys[start : start + BATCH], by))
    return done


async def _at_once(conn: asyncpg.Connection, table: JobTable, decide: Decide, keys: Sequence[str], by: _By) -> Done:
    done = await _act(conn, table, decide, keys, by)
    assert done is not None
    return done


@dataclass(frozen=True, slots=True)
class _By:
    """Somebody's act that is done at once."""

    who: str
    action: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Batched:
    """A batch of an act on many, and where the one behind it begins."""

    act: acts.Act
    reached: str | None
    last: bool

    @property
    def action(self) -> str:
        return self.act.action


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
        """Write down what was done to ``keys``."""
        one = keys[0] if len(keys) == 1 else None
        said = json.dumps(detail, ensure_ascii=False)
        await self.conn.execute(sql.read("operate/audit.sql"), who, action, self.pipeline, stage, one, len(keys), said)

    async def wake(self) -> None:
        """What waited is due now, which no trigger has told the workers that sleep."""
        await self.conn.execute("SELECT pg_notify('pgbaton_wake', $1)", self.pipeline)


async def _desk(conn: asyncpg.Connection, table: JobTable) -> _Desk:
    store = Store(conn, table, ())
    return _Desk(store, conn, table.pipeline, await store.stages())


Decide = Callable[[Job, deciding.Stages], Verdict | None]
_DECIDED: dict[Act, Decide] = {
    "retry": deciding.retried,
    "cancel": deciding.cancelled,
    "recall": deciding.recalled,
    "quarantine": deciding.quarantined,
}


async def _act(
    conn: asyncpg.Connection,
    table: JobTable,
    decide: Decide,
    keys: Sequence[str],
    of: _Batched | _By,
) -> Done | None:
    """One batch, in one transaction with its audit. None: the act that it is of was aborted, or taken over."""
    desk = await _desk(conn, table)
    changed: dict[str, str | None] = {}
    with _refusals_named(table, of.action):
        async with conn.transaction(isolation="read_committed"):
            if isinstance(of, _Batched) and not await acts.hold(conn, of.act):
                return None
            left = list(keys) if of.action == "move" else await _known(conn, table.pipeline, keys)
            for _ in range(TRIES):
                jobs = await desk.store.look(left)
                decided = {job.key: decide(job, desk.stages.__getitem__) for job in jobs}
                verdicts = {key: verdict for key, verdict in decided.items() if verdict is not None}
                written = await desk.settle(list(verdicts.values())) if verdicts else set()
                changed |= {key: _stage_of(verdicts[key]) for key in left if key in written}
                left = [key for key in verdicts if key not in written]
                if not left:
                    break
                await asyncio.sleep(BETWEEN_TRIES)
            if isinstance(of, _Batched):
                await acts.advance(conn, of.act, changed, len(keys), of.reached, last=of.last)
            elif changed:
                await desk.audit(of.who, of.action, list(changed), of.detail)
            if changed and of.action in ("retry", "recall"):
                await desk.wake()
    return Done(of.action, len(changed), tuple(changed)[:KEYS_KEPT], len(keys))


def _stage_of(verdict: Verdict) -> str | None:
    """Where the job was: the stage that it was put to, or of its call."""
    if verdict.target is not None and verdict.target[1] == CANCELLED:
        return verdict.target[0]
    return verdict.job.call.stage if verdict.job.call else None


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


async def reconcile(
    conn: asyncpg.Connection, table: JobTable, *, create: bool, who: str | None = None
) -> list[tuple[str, str]]:
    """Jobs in a routed state that nothing waits for, as (job, stage); ``create`` gives each its duty (and returns
    those). ``who``: the person that asked, for the audit."""
    store = Store(conn, table, ())
    found: list[tuple[str, str]] = []
    after: str | None = None
    while True:
        page = await store.unreconciled(after, RECONCILE_PAGE)
        if page.missing:
            found += await store.reconcile([job for job, _ in page.missing]) if create else page.missing
        if page.last is None:
            if create and found and who is not None:
                await (await _desk(conn, table)).audit(_person(who), "reconcile", [job for job, _ in found], {})
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
