"""Acts on jobs that are named, on stages and on tenants, done at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg

from pgbaton import sql
from pgbaton.decision import verdict as deciding
from pgbaton.decision.verdict import Job, Verdict, Working
from pgbaton.errors import ConfigError, Refused
from pgbaton.insights.bounded import TIMEOUT, TooWide, at_most
from pgbaton.operate import acts
from pgbaton.operate import desk as desks
from pgbaton.operate.desk import DECIDED, Act, By, Decide, Desk, Done, add_up, batch, open_desk, person, refusals_named
from pgbaton.table import JobTable
from pgbaton.worker.store import RECONCILE_PAGE, Store

PARK_BATCH = 1000
"""Jobs that one statement parks or makes due."""


async def retry(conn: asyncpg.Connection, table: JobTable, job_keys: Sequence[str], *, who: str) -> Done:
    """Give these dead jobs another life, and let those that wait for a retry be due now.

    A dead job's row is put back to its stage's entry state if it is still marked as failed there; that creates a new
    dispatch, and the dead one stays as history.
    """
    return await _in_batches(conn, table, "retry", job_keys, who)


async def cancel(conn: asyncpg.Connection, table: JobTable, job_keys: Sequence[str], *, who: str) -> Done:
    """Stop these jobs: where a dispatch is open, the row goes to (stage, ``cancelled``), from where no route leads.
    A call that is under way goes on, but its end changes nothing any more.

    Raises :class:`DatabaseError` where the status column cannot hold ``cancelled``.
    """
    return await _in_batches(conn, table, "cancel", job_keys, who)


async def quarantine(conn: asyncpg.Connection, table: JobTable, job_keys: Sequence[str], *, who: str) -> Done:
    """Set these jobs aside: their rows go to (stage, ``quarantined``), from where no route leads and no retry finds
    them. :func:`rerun` frees one. Raises :class:`DatabaseError` where the status column cannot hold that word."""
    return await _in_batches(conn, table, "quarantine", job_keys, who)


async def recall(conn: asyncpg.Connection, table: JobTable, stage: str, *, who: str, over: float = 0.0) -> Done:
    """Call again now the calls of ``stage`` that do not end: those whose answer was lost, or (``over`` above 0) those
    that were left to the stage more than so many seconds ago. Each is written only if it still stands as it was seen,
    so one that ends meanwhile is left alone; no attempt is used up.

    Raises :class:`Refused` where there is no such stage.
    """
    if stage not in (await open_desk(conn, table)).stages:
        raise Refused("unknown_stage", f"no stage performs {stage!r}")
    done, before = Done("recall", 0), -1
    while done.count != before:  # a job that could not be written comes again; a round that wrote nothing is the last
        before = done.count
        rows = await conn.fetch(sql.read("operate/stalled.sql"), table.pipeline, stage, over, desks.BATCH)
        by = By(person(who), "recall", {"over": over} if over else {})
        done = add_up(done, await _at_once(conn, table, deciding.recalled, [r["job_key"] for r in rows], by))
    return done


async def move_rows(
    conn: asyncpg.Connection,
    table: JobTable,
    source: tuple[str, str],
    target: tuple[str, str],
    *,
    who: str,
    only_count: bool = False,
) -> Done:
    """Put every row at ``source`` of which the journal holds nothing to ``target``: rows that were edited by hand, or
    whose stage has left, and lead nowhere. Reads the table whole, page by page. ``only_count``: say how many they are.
    Raises :class:`Refused` where ``target`` is no state of the pipeline."""
    stages = (await open_desk(conn, table)).stages
    if target[0] not in stages and target not in {stage.entry for stage in stages.values()}:
        raise Refused("unknown_stage", f"no stage performs {target[0]!r}")

    def decide(job: Job, _stages: deciding.Stages) -> Verdict | None:
        return deciding.moved(job, source, target)

    by = By(person(who), "move", {"from": source, "to": target})
    done, after = Done("move", 0), None
    while True:
        row = await conn.fetchrow(table.query("operate/rows_at"), table.pipeline, after, RECONCILE_PAGE, *source)
        for start in range(0, len(row["keys"]), desks.BATCH):
            keys = row["keys"][start : start + desks.BATCH]
            moved = Done("move", len(keys)) if only_count else await _at_once(conn, table, decide, keys, by)
            done = add_up(done, moved)
        if row["looked_at"] < RECONCILE_PAGE:
            return done
        after = row["last"]


async def rerun(
    conn: asyncpg.Connection, table: JobTable, job_key: str, step: str, *, who: str, force: bool = False
) -> Done:
    """Put the job to the entry state of the stage that performs ``step``, wherever it is now; its rounds are counted
    anew.

    Raises :class:`Refused` where there is no such job or stage, where another transaction has locked the row, or where
    a stage is at work on it and ``force`` is not given. ``count`` is 0 where it waits there already.
    """
    await check_routed(conn, table, step)
    desk, job_key = await open_desk(conn, table), table.key.typed(job_key)
    with refusals_named(table, "rerun"):
        async with conn.transaction(isolation="read_committed"):
            return await _rerun(desk, job_key, step, force, person(who))


async def check_routed(conn: asyncpg.Connection, table: JobTable, step: str) -> None:
    """Raises :class:`Refused` where the pipeline has no stage that performs ``step``."""
    routed = [r["step"] for r in await conn.fetch(sql.read("install/routes.sql"), table.pipeline)]
    if step not in routed:
        raise Refused("unknown_stage", f"no stage performs {step!r}; there are: {', '.join(routed)}")


async def _rerun(desk: Desk, job_key: str, step: str, force: bool, who: str) -> Done:
    stage = desk.stages[step]
    for _ in range(desks.TRIES):
        job = await _look(desk.store, job_key)
        try:
            verdict = deciding.rerun(job, stage, desk.stages.__getitem__, force=force)
        except Working:
            raise Refused(
                "running", f"a stage is at work on {job_key!r}: wait for it, cancel it, or force the rerun"
            ) from None
        if verdict is None:
            return Done("rerun", 0, (), 1)
        tenant = job.row.tenant if job.row else None
        if not await desk.conn.fetchval("SELECT pgbaton.is_live($1, $2, $3)", desk.pipeline, job_key, tenant):
            raise Refused("shadow", f"{job_key!r} is in shadow mode: it would be recorded, and not called")
        if await desk.settle([verdict]):
            # No change of the row, so no trigger: the duty is left by the row as it is.
            if verdict.target is not None or await desk.store.reconcile([job_key], past=True):
                await desk.begin_anew([job_key])
                was = {"was_step": job.row and job.row.step, "was_status": job.row and job.row.shown[1], "force": force}
                await desk.audit(who, "rerun", [job_key], was, stage=step)
                return Done("rerun", 1, (job_key,), 1)
            break
        await asyncio.sleep(desks.BETWEEN_TRIES)
    raise Refused("busy", f"another transaction holds the row of {job_key!r}: try again")


async def _look(store: Store, job_key: str) -> Job:
    try:
        (job,) = await store.look([job_key]) if "\x00" not in job_key else [Job(job_key, None, None)]
    except asyncpg.DataError:
        job = Job(job_key, None, None)  # no key of this table looks like that
    if job.row is None:
        raise Refused("unknown_job", f"there is no job {job_key!r}")
    return job


async def pause(
    conn: asyncpg.Connection, pipeline: str, stage: str | None = None, *, who: str, reason: str = ""
) -> Done:
    """Call a stage (``None``: any of the pipeline's) no more. Calls under way go on. ``count`` is 0 if it was paused.
    ``reason``: for the audit.

    Raises :class:`ConfigError` where there is no such stage.
    """
    return await _set_paused(conn, pipeline, stage, paused=True, who=who, reason=reason)


async def resume(
    conn: asyncpg.Connection, pipeline: str, stage: str | None = None, *, who: str, reason: str = ""
) -> Done:
    """The opposite of :func:`pause`."""
    return await _set_paused(conn, pipeline, stage, paused=False, who=who, reason=reason)


async def pause_tenant(conn: asyncpg.Connection, table: JobTable, tenant: str, *, who: str, reason: str = "") -> Done:
    """Call no stage for this tenant's jobs. ``count`` is 0 if it was paused already; ``seen``: dispatches parked.

    Raises :class:`ConfigError` where the pipeline has no tenants.
    """
    _check_tenant(table, tenant)
    said = (person(who), acts.why(reason))
    changed = await conn.fetchval(sql.read("operate/pause_tenant.sql"), table.pipeline, tenant, *said)
    parked = 0
    while page := await conn.fetchval(sql.read("operate/park.sql"), table.pipeline, tenant, PARK_BATCH):
        parked += page
    return Done("pause", int(changed), seen=parked)


async def resume_tenant(conn: asyncpg.Connection, table: JobTable, tenant: str, *, who: str, reason: str = "") -> Done:
    """The opposite of :func:`pause_tenant`. ``seen``: dispatches that are due again; should this be broken off,
    workers make the rest due."""
    _check_tenant(table, tenant)
    said = (person(who), acts.why(reason))
    changed = await conn.fetchval(sql.read("operate/resume_tenant.sql"), table.pipeline, tenant, *said)
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


async def _in_batches(conn: asyncpg.Connection, table: JobTable, action: Act, keys: Sequence[str], who: str) -> Done:
    keys = [table.key.typed(key) for key in keys]
    done = Done(action, 0)
    for start in range(0, len(keys), desks.BATCH):
        by = By(person(who), action)
        done = add_up(done, await _at_once(conn, table, DECIDED[action], keys[start : start + desks.BATCH], by))
    return done


async def _at_once(conn: asyncpg.Connection, table: JobTable, decide: Decide, keys: Sequence[str], by: By) -> Done:
    done = await batch(conn, table, decide, keys, by)
    assert done is not None
    return done


async def _set_paused(
    conn: asyncpg.Connection, pipeline: str, stage: str | None, *, paused: bool, who: str, reason: str
) -> Done:
    said = (person(who), acts.why(reason))
    row = await conn.fetchrow(sql.read("operate/set_paused.sql"), pipeline, stage, paused, *said)
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
                await (await open_desk(conn, table)).audit(person(who), "reconcile", [job for job, _ in found], {})
            return found
        after = page.last


def _check_tenant(table: JobTable, tenant: str) -> None:
    if table.tenant is None:
        raise ConfigError(f"the pipeline {table.pipeline!r} has no tenants")
    if not tenant or "\x00" in tenant:
        raise ConfigError("name a tenant")
