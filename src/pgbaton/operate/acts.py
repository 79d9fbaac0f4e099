"""An act on many jobs as a thing: one row of ``pgbaton.audit`` that says how far it has come, and its jobs behind it.

Its batches are transactions; each also moves the row on. So the row tells the truth whenever the runner dies, and any
runner may carry the act on from there: it writes its name into the row, and the batch of another one is refused.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from pgbaton import sql
from pgbaton.errors import Refused

LONGEST_REASON = 1000
"""Characters of a reason for the audit: a paragraph. More is cut."""


@dataclass(frozen=True, slots=True)
class Act:
    """An act in the hands of ``runner``. ``total``: as many jobs were agreed to (``None``: all). ``reached``: where the
    next batch begins. ``undoes``: the act that it takes back."""

    id: int
    runner: str
    who: str
    action: str
    pipeline: str
    detail: Mapping[str, Any]
    total: int | None
    seen: int
    jobs: int
    reached: str | None
    undoes: int | None


def why(reason: str) -> str | None:
    """A reason as it may be stored: bounded, and None where none was given."""
    return reason.replace("\x00", "").strip()[:LONGEST_REASON] or None


async def begin(
    conn: asyncpg.Connection,
    pipeline: str,
    action: str,
    detail: Mapping[str, Any],
    total: int | None,
    *,
    who: str,
    reason: str = "",
    undoes: int | None = None,
) -> int:
    """Write down that it begins; returns its id. Raises :class:`Refused` (``undone``) where another one undoes the
    same act."""
    said = json.dumps(detail, ensure_ascii=False)
    try:
        return int(
            await conn.fetchval(
                sql.read("operate/act_begin.sql"), who, action, pipeline, said, total, why(reason), undoes
            )
        )
    except asyncpg.UniqueViolationError:
        raise Refused("undone", f"the act {undoes} was undone already") from None


async def take(conn: asyncpg.Connection, pipeline: str, act: int) -> Act:
    """Carry it on from now. Raises :class:`Refused` (``over``) where it has ended."""
    runner = secrets.token_hex(8)
    row = await conn.fetchrow(sql.read("operate/act_take.sql"), act, runner, pipeline)
    if row is None:
        raise Refused("over", f"the act {act} has ended, or there is none")
    return Act(act, runner, **(dict(row) | {"detail": json.loads(row["detail"])}))


async def hold(conn: asyncpg.Connection, act: Act) -> bool:
    """In a batch's transaction: it may be written. False where the act was aborted, or another runner has it."""
    return bool(await conn.fetchval(sql.read("operate/act_hold.sql"), act.id, act.runner))


async def advance(
    conn: asyncpg.Connection, act: Act, changed: Mapping[str, str | None], seen: int, reached: str | None, *, last: bool
) -> None:
    """In the same transaction: the jobs that the batch changed, each with its stage, and where the next begins; with
    the ``last`` one it is done."""
    keys, stages = list(changed), list(changed.values())
    await conn.execute(sql.read("operate/act_advance.sql"), act.id, keys, stages, seen, reached, last)


async def end(conn: asyncpg.Connection, act: Act, state: str, error: str | None = None) -> None:
    """It is ``done``, or ``broken``: it can be carried on."""
    await conn.execute(sql.read("operate/act_end.sql"), act.id, act.runner, state, error)


async def abort(conn: asyncpg.Connection, pipeline: str, act: int, *, who: str) -> bool:
    """End it where it is: jobs that it has changed stay so. False where it had ended. Waits for the batch that is under
    way."""
    return bool(await conn.fetchval(sql.read("operate/act_abort.sql"), pipeline, act, who))


async def forget(conn: asyncpg.Connection, act: int) -> None:
    """Forget an act that changed nothing."""
    await conn.execute(sql.read("operate/act_forget.sql"), act)
