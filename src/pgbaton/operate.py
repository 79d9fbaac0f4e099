"""The operators' writes. Each is one guarded statement (or, where many jobs are meant, bounded batches of them) and
writes one row into ``pgbaton.audit`` in the same transaction; what changed nothing is not audited.

Jobs are moved through the user's table, compare-and-set, and the trigger does the rest; a row that somebody holds is
skipped, never waited for. ``who`` is the person or token that asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import asyncpg

from pgbaton.insights.listing import JobFilter
from pgbaton.table import JobTable

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
    raise NotImplementedError


async def cancel(conn: asyncpg.Connection, table: JobTable, job_keys: Sequence[str], *, who: str) -> Done:
    """Stop these jobs: where a dispatch is open, the row goes to (stage, ``cancelled``), which nothing is routed from.
    A call that is under way goes on, but its end changes nothing any more."""
    raise NotImplementedError


async def rerun(
    conn: asyncpg.Connection, table: JobTable, job_key: str, step: str, *, who: str, force: bool = False
) -> Done:
    """Put the job to the entry state of the stage that performs ``step``, wherever it is now.

    Raises :class:`Refused` where there is no such job or stage, where somebody holds the row this moment, or where a
    stage is at work on it and ``force`` is not given.
    """
    raise NotImplementedError


async def pause(conn: asyncpg.Connection, pipeline: str, stage: str | None = None, *, who: str) -> Done:
    """Call a stage (``None``: any of the pipeline's) no more. Calls under way go on. ``count`` is 0 if it was paused.

    Raises :class:`ConfigError` where there is no such stage.
    """
    raise NotImplementedError


async def resume(conn: asyncpg.Connection, pipeline: str, stage: str | None = None, *, who: str) -> Done:
    """The opposite of :func:`pause`."""
    raise NotImplementedError


async def pause_tenant(conn: asyncpg.Connection, table: JobTable, tenant: str, *, who: str) -> Done:
    """Call no stage for this tenant's jobs. ``count`` is 0 if it was paused already.

    Raises :class:`ConfigError` where the pipeline has no tenants.
    """
    raise NotImplementedError


async def resume_tenant(conn: asyncpg.Connection, table: JobTable, tenant: str, *, who: str) -> Done:
    """The opposite of :func:`pause_tenant`. ``seen``: dispatches that are due again."""
    raise NotImplementedError


async def count_matching(conn: asyncpg.Connection, filters: JobFilter, action: Action) -> int | None:
    """How many jobs :func:`act_on_matching` would look at, up to 10,001; ``None`` where that takes too long: narrow
    the filter."""
    raise NotImplementedError


async def act_on_matching(
    conn: asyncpg.Connection, table: JobTable, filters: JobFilter, action: Action, expected: int, *, who: str
) -> Done:
    """Do ``action`` to everything that matches and was there when this began, in batches of 500.

    ``expected`` is what :func:`count_matching` said and a person agreed to: no more than that many jobs are looked at,
    unless it was above 10,000 (then all of them are). Each batch is a transaction with an audit row of its own.
    """
    raise NotImplementedError
