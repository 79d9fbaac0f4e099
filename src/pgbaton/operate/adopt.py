"""Adopt a table that another system works on: go live out of shadow mode; take over rows that the other one began and
has not ended, back to their stage's entry state, to be called.

As in all of the operators' writes, a row that is locked, has moved, was changed since, or has got a dispatch is left as
it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import asyncpg

from pgbaton import sql
from pgbaton.decision import verdict as deciding
from pgbaton.errors import AttachError, ConfigError
from pgbaton.install.attach import attach, planned
from pgbaton.install.past import Progress
from pgbaton.install.script import Decided
from pgbaton.model import Pipeline
from pgbaton.operate.desk import BATCH, KEYS_KEPT, Desk, Done, open_desk, person, refusals_named
from pgbaton.rollout import Rollout
from pgbaton.table import JobTable


async def go_live(
    conn: asyncpg.Connection,
    pipeline: Pipeline,
    rollout: Rollout | None,
    past: Decided,
    rate: float,
    *,
    who: str,
    told: Callable[[Progress], None] | None = None,
) -> bool:
    """Call the jobs that ``rollout`` says (None: all) and record the others; returns whether that is new.

    ``past``, ``rate``, ``told``: as of :func:`pgbaton.attach`, of jobs that stand in a routed state and are called from
    now on. Raises as that, and :class:`AttachError` where the pipeline is not attached.
    """
    plan = await planned(conn, pipeline, past=past, rollout=rollout, counting=False)
    if plan.home == "none":
        raise AttachError(f"the pipeline {pipeline.name!r} is not attached: run pgbaton attach --shadow")
    await attach(conn, pipeline, past=past, rate=rate, rollout=rollout, told=told)
    if not plan.changes:
        return False
    detail = {"share": 100.0 if rollout is None else rollout.share, "tenants": list(rollout.tenants) if rollout else []}
    said = json.dumps(detail, ensure_ascii=False)
    await conn.execute(sql.read("operate/audit.sql"), person(who), "live", pipeline.name, None, None, 0, said, None)
    return True


async def take_over(
    conn: asyncpg.Connection, table: JobTable, stage: str | None, before: datetime | None, *, who: str
) -> Done:
    """Put the rows that :func:`pgbaton.insights.unowned` counts back to their entry states, 500 in a transaction, each
    with its row of the audit. ``stage``, ``before``: as there.

    Raises :class:`ConfigError` where ``before`` is given and the table does not tell when a row was changed, and
    :class:`DatabaseError` where the table refuses a row; batches before that one are done.
    """
    if before is not None and not table.has_updated_at:
        raise ConfigError(
            f"the table {table.qualified} has no column updated_at: it does not tell since when rows are so"
        )
    desk = await open_desk(conn, table)
    done, after = Done("takeover", 0), None
    while True:
        with refusals_named(table, "takeover"):
            async with conn.transaction(isolation="read_committed"):
                held = await conn.fetch(
                    table.query("operate/hold_unowned"), table.pipeline, stage, before, after, BATCH
                )
                keys = [row["job_key"] for row in held]
                changed = await _back(desk, keys)
                if changed:
                    detail = {"stage": stage, "before": before and before.isoformat()}
                    await desk.audit(person(who), "takeover", changed, detail, stage=stage)
        done = replace(
            done,
            count=done.count + len(changed),
            jobs=(done.jobs + tuple(changed))[:KEYS_KEPT],
            seen=done.seen + len(keys),
        )
        if len(keys) < BATCH:
            return done
        after = keys[-1]


async def _back(desk: Desk, keys: list[str]) -> list[str]:
    """Write the verdicts that bring these jobs to their entry states; returns the jobs that were written."""
    verdicts = []
    for job in await desk.store.look(keys):
        stage = desk.stages.get(job.row.step or "") if job.row else None
        if job.call is None and not job.duties and stage is not None:
            verdict = deciding.rerun(job, stage, desk.stages.__getitem__, force=True)
            if verdict is not None:
                verdicts.append(verdict)
    written = await desk.settle(verdicts) if verdicts else set()
    return [key for key in keys if key in written]
