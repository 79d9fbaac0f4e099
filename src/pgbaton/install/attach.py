"""Attach a pipeline to the user's table by the script of ``script.py``, only where something differs.

:func:`planned` says before how it would change the database; ``past.py`` sees to the rows that are there already."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import asyncpg

from pgbaton import sql
from pgbaton.counted import Counted
from pgbaton.errors import AttachError, NotAtHome, PastRows
from pgbaton.install.fits import check_fits
from pgbaton.install.graph_fits import check_graph
from pgbaton.install.holders import holders
from pgbaton.install.names import TRIGGERS, trigger_function
from pgbaton.install.past import RATE, Progress, walk
from pgbaton.install.plan import Plan, newly_routed, plan_of
from pgbaton.install.script import Decided, attach_parts, attach_sql, detach_sql
from pgbaton.install.survey import busy, installed, installed_settings, rows_by_state
from pgbaton.model import Pipeline
from pgbaton.rollout import Rollout
from pgbaton.sql import literal
from pgbaton.table import JobTable, read_table

LOCK_TRY = "30ms"
"""How long one try waits: as long as the writers of the table wait behind it, which are to wait for 50 ms at most."""
LOCK_PATIENCE = 10.0
"""Seconds of such tries, with pauses of ``LOCK_PAUSE`` to ``LOCK_PAUSE_CAP`` seconds, in which writers go on."""
LOCK_PAUSE = 0.05
"""Seconds of the first pause between two tries; the pauses double."""
LOCK_PAUSE_CAP = 0.5
"""Seconds of the longest pause."""


async def planned(
    conn: asyncpg.Connection,
    pipeline: Pipeline,
    *,
    past: Decided | None = None,
    rollout: Rollout | Literal["keep"] | None = "keep",
    counting: bool = True,
) -> Plan:
    """The plan of :func:`attach`; changes nothing. Counts the table's rows, in about a second for 5 million;
    ``counting`` false: only where a state becomes routed.

    ``rollout``: shadow mode as it is to be; ``keep``: as it is. Raises :class:`AttachError` where the table does not
    fit, and :class:`LockNotHad` where it cannot be read.
    """
    table = await read_table(conn, pipeline)
    await check_fits(conn, pipeline, table)
    await check_graph(conn, pipeline, table)
    try:
        attached = await _attached(conn, table)
        row = await installed_settings(conn, pipeline, table.parts() | {"table_literal": literal(table.qualified)})
    except asyncpg.InsufficientPrivilegeError as error:
        raise AttachError(f"no right to attach to {pipeline.table!r}: {error}") from None
    if attached["elsewhere"] is not None:
        raise AttachError(
            f"pipeline.name: {pipeline.name!r} is attached to {attached['elsewhere']}: detach it from there first"
        )
    table = replace(table, beside=attached["beside"])
    kept = Rollout.of(row["rollout"]) if rollout == "keep" else rollout
    if kept is not None:
        kept = kept.calling(pipeline)
    parts = attach_parts(pipeline, replace(table, rollout=kept))
    has = await installed(conn, row, parts)
    settings = {
        "table": row["table"],
        "key": list(pipeline.keys),
        "tenant": pipeline.tenant,
        "step": pipeline.step,
        "status": pipeline.status,
        "channel": pipeline.channel,
        "priority": pipeline.priority,
        "not_before": pipeline.not_before,
        "tier": pipeline.tier,
        "tiers": {name: tier.said_limits for name, tier in pipeline.tiers.items()},
        "pools": {p.name: p.size for p in pipeline.pools if any(s.pool == p.name for s in pipeline.stages)},
        "statuses": {meant: list(words) for meant, words in pipeline.statuses.by_meaning.items()},
    }
    lock = (float(LOCK_TRY.removesuffix("ms")) / 1000, LOCK_PATIENCE)
    rows = (
        await rows_by_state(conn, pipeline, has, parts, LOCK_PATIENCE)
        if counting or newly_routed(pipeline, has)
        else {}
    )
    return plan_of(pipeline, settings, trigger_function(table), has, rows, past=past, rollout=kept, lock=lock)


async def attach(
    conn: asyncpg.Connection,
    pipeline: Pipeline,
    *,
    past: Decided | None = None,
    rate: float = RATE,
    rollout: Rollout | Literal["keep"] | None = "keep",
    here: bool = False,
    told: Callable[[Progress], None] | None = None,
) -> Plan:
    """Install or update routes and trigger; the schema must be migrated. Returns the plan that was carried out.

    ``past``: the decision about rows that stand in a routed state without a dispatch: ``now`` leaves them alone until
    they move, ``backfill`` calls them, ``rate`` a second; ``told`` hears how far that is. ``here``: this database, a
    copy of the one that the pipeline was attached in, is its home from now on.

    Raises :class:`AttachError` where the table does not fit or a right is missing, :class:`PastRows` where rows stand
    in states that become routed and ``past`` is not given, :class:`NotAtHome` in a copy without ``here`` (nothing was
    changed in any of these), and :class:`LockNotHad` where the table was busy.
    """
    plan = await planned(conn, pipeline, past=past, rollout=rollout, counting=False)
    if plan.home == "elsewhere" and not here:
        raise NotAtHome(
            f"the pipeline {pipeline.name!r} was attached in another database, of which this is a copy: "
            "its workers would call the same stages. pgbaton attach --here makes this its home"
        )
    if plan.question:
        raise PastRows(
            f"{Counted(f'{plan.past:,}'):# row of|# rows of} {pipeline.table!r} "
            f"{Counted(plan.past):stands|stand} in routed states already: "
            "pgbaton attach --from now leaves them alone until they move, --backfill --rate 100/s calls them"
        )
    if rollout != "keep":
        past = past or "now"
    script = attach_sql(
        pipeline,
        decided=past or "none",
        rollout=plan.rollout,
        rollout_was=plan.rollout_was,
        moving=here,
        beside=(await _attached(conn, JobTable.of(pipeline)))["beside"],
        lock_timeout=LOCK_TRY,
    )
    await run_script(conn, script, pipeline)
    async for progress in walk(conn, replace(await read_table(conn, pipeline), rollout=plan.rollout), rate):
        if told is not None:
            told(progress)
    return plan


async def detach(conn: asyncpg.Connection, pipeline: Pipeline) -> None:
    """Remove the trigger, its function and the routes; dispatches stay as history, open ones are
    cancelled. The user's table is left as it is. Raises as :func:`attach`.

    The triggers go first: open dispatches end in a transaction of their own, while no writer waits for the table. To
    detach again finishes one that was broken off. A table that was renamed since is found by attach's own record."""
    table = JobTable.of(pipeline)
    table = replace(table, beside=(await _attached(conn, table))["beside"])
    for script in detach_sql(table, LOCK_TRY):
        await run_script(conn, script, pipeline, "detach from")


async def _attached(conn: asyncpg.Connection, table: JobTable) -> asyncpg.Record:
    return await conn.fetchrow(sql.read("install/attached.sql"), table.pipeline, table.qualified, list(TRIGGERS))


async def run_script(conn: asyncpg.Connection, script: str, pipeline: Pipeline, act: str = "attach to") -> None:
    """Run a script whose every wait for a lock is short, until it had all of them: while it waits, writers of the table
    wait behind it. ``act``: what is done to the table, for the error of a right that is missing."""
    end = time.monotonic() + LOCK_PATIENCE
    pause = LOCK_PAUSE
    while True:
        try:
            return await _run(conn, script, pipeline, act)
        except asyncpg.LockNotAvailableError:
            if time.monotonic() > end:
                raise busy(pipeline, LOCK_PATIENCE, await holders(conn, JobTable.of(pipeline).qualified)) from None
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
        pause = min(2 * pause, LOCK_PAUSE_CAP)


async def _run(conn: asyncpg.Connection, script: str, pipeline: Pipeline, act: str) -> None:
    try:
        await conn.execute(script)
    except asyncpg.InsufficientPrivilegeError as error:
        raise AttachError(f"no right to {act} {pipeline.table!r}: {error}") from None
    except asyncpg.DuplicateObjectError as error:
        raise AttachError(f"pipeline.table: {error.message}") from None
    except asyncpg.PostgresError as error:
        if error.sqlstate == "PB003":
            raise AttachError(error.message) from None
        raise
    finally:
        if conn.is_in_transaction():
            await conn.execute("ROLLBACK")
