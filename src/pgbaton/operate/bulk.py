"""Bulk acts on all jobs that match a filter: an act (:mod:`pgbaton.operate.acts`) that is begun, carried on in
batches and, where that can be, undone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

import asyncpg

from pgbaton import sql
from pgbaton.counted import Counted
from pgbaton.decision import verdict as deciding
from pgbaton.decision.verdict import Job, Verdict
from pgbaton.errors import Refused
from pgbaton.events import describe
from pgbaton.insights.listing import CAP, JobFilter, Preview, count_jobs, list_jobs, preview_jobs
from pgbaton.model import OPEN, State
from pgbaton.operate import acts, desk
from pgbaton.operate.desk import DECIDED, Action, Batched, Decide, Done, add_up, person
from pgbaton.operate.jobs import check_routed
from pgbaton.table import JobTable

SCAN_TIMEOUT = 20.0
"""Seconds that one batch of a bulk act may look for matching jobs: longer than a person waits, as the act goes on by
itself."""
LAST_WORD = 2.0
"""Seconds that an act which breaks off may take to say so."""

_APPLIES: dict[Action, tuple[str, ...]] = {
    "retry": (State.DEAD, State.RETRYABLE),
    "cancel": OPEN,
    "rerun": (*OPEN, State.DEAD),
}
"""The states of the jobs that an act is about; a rerun takes any other that its filter names."""


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
    step: str | None = None,
) -> Done:
    """:func:`begin` and :func:`carry_on` in one; an act that changed nothing leaves no record."""
    act = await begin(conn, table, filters, action, expected, who=who, reason=reason, step=step)
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
    step: str | None = None,
) -> int | None:
    """Write down that ``action`` is to be done to all jobs that match; :func:`carry_on` does it. Returns the act's id;
    ``None`` where no job can match.

    ``expected`` is the count of :func:`count_matching` that a person agreed to: no more jobs than that are looked at,
    unless it was above 10,000 (then all of them are). ``step``: of a rerun, the stage that the jobs are put before;
    jobs that a stage works on are left alone. Raises :class:`Refused` where no stage performs it.
    """
    if step is not None:
        await check_routed(conn, table, step)
    if _for_action(filters, action) is None or expected <= 0:
        return None
    asked = {"filter": replace(filters, pipeline=None).as_json()} | ({} if step is None else {"from": step})
    total = None if expected > CAP else expected
    return await acts.begin(conn, table.pipeline, action, asked, total, who=person(who), reason=reason)


async def undo(conn: asyncpg.Connection, table: JobTable, act: int, *, who: str, reason: str = "") -> int:
    """Write down that the jobs which the act ``act`` cancelled are to be called again where they were cancelled;
    :func:`carry_on` does it. Returns the new act's id.

    Raises :class:`Refused` where that cannot be: it was no act that cancelled many jobs, it is under way, or undone.
    """
    entry = await conn.fetchrow(sql.read("operate/act_undoable.sql"), table.pipeline, act)
    if entry is None:
        raise Refused("not_undoable", f"the act {act} cannot be undone: only one that cancelled jobs, and has ended")
    return await acts.begin(
        conn, table.pipeline, "rerun", {"undoes": act}, entry["jobs"], who=person(who), reason=reason, undoes=act
    )


async def carry_on(conn: asyncpg.Connection, table: JobTable, act: int) -> Done:
    """Do an act that was begun, from where it is, in batches of 500, each a transaction that moves its row on: at any
    time it can be aborted, or taken over by another runner, and this one stops.

    Raises :class:`Refused`: ``over`` where it has ended; ``too_wide`` where finding a batch takes too long (the
    batches before are done, and the act can be carried on). Any other error that breaks it off is written into its row,
    too.
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
    while (left := desk.BATCH if act.total is None else min(desk.BATCH, act.total - done.seen)) > 0:
        batch = await _undo_batch(conn, act, reached, left) if act.undoes else await _batch(conn, act, reached, left)
        if not batch.keys:
            break
        last = batch.next is None or done.seen + len(batch.keys) == act.total
        one = await desk.batch(conn, table, batch.decide, batch.keys, Batched(act, batch.next, last))
        if one is None:
            break  # aborted, or taken over
        done, reached = add_up(done, one), batch.next
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
    action: Action = next((known for known in _APPLIES if known == act.action), "cancel")
    filters = _for_action(replace(JobFilter.from_json(act.detail["filter"]), pipeline=act.pipeline), action)
    assert filters is not None
    page = await list_jobs(conn, filters, None if reached is None else int(reached), most, timeout=SCAN_TIMEOUT)
    if page.too_wide:
        raise Refused(
            "too_wide",
            f"too few matches among too many jobs: narrow the filter ({Counted(act.jobs):# job|# jobs} done)",
        )
    decide = _decide_rerun(act.detail["from"]) if action == "rerun" else DECIDED[action]
    return _Batch([job.job_key for job in page.jobs], None if page.next is None else str(page.next), decide)


def _decide_rerun(step: str) -> Decide:
    def decide(job: Job, stages: deciding.Stages) -> Verdict | None:
        try:
            return None if job.row is None else deciding.rerun(job, stages(step), stages, force=False)
        except deciding.Working:
            return None

    return decide


async def _undo_batch(conn: asyncpg.Connection, act: acts.Act, reached: str | None, most: int) -> _Batch:
    rows = await conn.fetch(sql.read("operate/act_jobs.sql"), act.undoes, reached, most)
    stages = {row["job_key"]: row["stage"] for row in rows}

    def decide(job: Job, known: deciding.Stages) -> Verdict | None:
        return deciding.brought_back(job, stages[job.key], known)

    return _Batch(list(stages), rows[-1]["job_key"] if len(rows) == most else None, decide)


def _for_action(filters: JobFilter, action: Action) -> JobFilter | None:
    """The filter with the states that ``action`` can change anything in; ``None``: none of those is asked for."""
    applies = _APPLIES[action]
    named = tuple(s for s in State if s in filters.states and (s in applies or action == "rerun"))
    states = named if filters.states else applies
    return replace(filters, states=states, latest=True) if states else None
