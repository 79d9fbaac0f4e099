"""An operator at the journal: a look at jobs, their verdicts written in one transaction with the audit's row."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import asyncpg

from pgbaton import sql
from pgbaton.database import refusal_words
from pgbaton.decision import verdict as deciding
from pgbaton.decision.verdict import Job, Verdict
from pgbaton.errors import DatabaseError
from pgbaton.model import CANCELLED, Stage
from pgbaton.operate import acts
from pgbaton.table import JobTable
from pgbaton.worker.store import Store

BATCH = 500
"""Jobs in one transaction: their rows' locks are held for well under a second."""
KEYS_KEPT = 1000
"""Keys of changed jobs that a result names; it counts the others."""
TRIES = 3
"""Looks at a job that changes between look and verdict, or is locked."""
BETWEEN_TRIES = 0.02
"""Seconds between two such looks: a lock of a worker lasts a few milliseconds."""
Action = Literal["retry", "cancel", "rerun"]
"""The acts on all jobs that match a filter."""
Act = Literal["retry", "cancel", "recall", "quarantine", "move"]
"""The acts on jobs by their keys."""


@dataclass(frozen=True, slots=True)
class Done:
    """The result of an action. ``count``: jobs that were changed; ``jobs``: the first 1,000 of their keys. ``seen``:
    how many it looked at (the others were elsewhere already, or another transaction had locked their rows)."""

    action: str
    count: int
    jobs: tuple[str, ...] = ()
    seen: int = 0


Decide = Callable[[Job, deciding.Stages], Verdict | None]
DECIDED: dict[Act, Decide] = {
    "retry": deciding.retried,
    "cancel": deciding.cancelled,
    "recall": deciding.recalled,
    "quarantine": deciding.quarantined,
}


@dataclass(frozen=True, slots=True)
class By:
    """A person's act that is done at once."""

    who: str
    action: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batched:
    """A batch of an act on many, and where the one behind it begins."""

    act: acts.Act
    reached: str | None
    last: bool

    @property
    def action(self) -> str:
        return self.act.action


@dataclass(frozen=True, slots=True)
class Desk:
    """One operator's look at a journal, and writes into it."""

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
        """Write down the act on ``keys``."""
        one = keys[0] if len(keys) == 1 else None
        said = json.dumps(detail, ensure_ascii=False)
        arguments = who, action, self.pipeline, stage, one, len(keys), said, None
        await self.conn.execute(sql.read("operate/audit.sql"), *arguments)

    async def begin_anew(self, keys: Sequence[str]) -> None:
        """These jobs are run again: their rounds are counted from nothing."""
        await self.conn.execute(sql.read("operate/forget_rounds.sql"), self.pipeline, keys)

    async def wake(self) -> None:
        """Wake the workers: calls that waited are due now, and no trigger has told the workers that sleep."""
        await self.conn.execute("SELECT pg_notify('pgbaton_wake', $1)", self.pipeline)


async def open_desk(conn: asyncpg.Connection, table: JobTable) -> Desk:
    store = Store(conn, table, ())
    return Desk(store, conn, table.pipeline, await store.stages())


async def batch(
    conn: asyncpg.Connection,
    table: JobTable,
    decide: Decide,
    keys: Sequence[str],
    of: Batched | By,
) -> Done | None:
    """One batch, in one transaction with its audit. None: the act that it is of was aborted, or taken over."""
    desk = await open_desk(conn, table)
    changed: dict[str, str | None] = {}
    with refusals_named(table, of.action):
        async with conn.transaction(isolation="read_committed"):
            if isinstance(of, Batched) and not await acts.hold(conn, of.act):
                return None
            left = list(keys) if of.action == "move" else await _known(conn, table.pipeline, keys)
            for _ in range(TRIES):
                jobs = await desk.store.look(left)
                decided = {job.key: decide(job, desk.stages.__getitem__) for job in jobs}
                verdicts = {key: verdict for key, verdict in decided.items() if verdict is not None}
                written = await desk.settle(list(verdicts.values())) if verdicts else set()
                changed |= {key: _stage_of(verdicts[key]) for key in left if key in written}
                if at_entry := [key for key in written if _lacks_its_duty(verdicts[key], of.action)]:
                    await desk.store.reconcile(at_entry, past=True)
                if of.action == "rerun" and not _is_undo(of):
                    await desk.begin_anew(list(written))
                left = [key for key in verdicts if key not in written]
                if not left:
                    break
                await asyncio.sleep(BETWEEN_TRIES)
            if isinstance(of, Batched):
                await acts.advance(conn, of.act, changed, len(keys), of.reached, last=of.last)
            elif changed:
                await desk.audit(of.who, of.action, list(changed), of.detail)
            if changed and of.action in ("retry", "recall"):
                await desk.wake()
    return Done(of.action, len(changed), tuple(changed)[:KEYS_KEPT], len(keys))


def _lacks_its_duty(verdict: Verdict, action: str) -> bool:
    """Whether the row is where a stage is called already, so that no trigger leaves a duty."""
    refused = verdict.decision is None and verdict.job.refused is not None
    return verdict.target is None and (refused or action == "rerun")


def _is_undo(of: Batched | By) -> bool:
    return isinstance(of, Batched) and of.act.undoes is not None


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
def refusals_named(table: JobTable, action: str) -> Iterator[None]:
    """Say which table refuses the state that an action writes."""
    try:
        yield
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.RaiseError) as error:
        raise DatabaseError(f"the table {table.qualified} refuses this {action}: {refusal_words(error)}") from None


def add_up(one: Done, other: Done) -> Done:
    return Done(one.action, one.count + other.count, (one.jobs + other.jobs)[:KEYS_KEPT], one.seen + other.seen)


def person(who: str) -> str:
    """A name as it may be stored: bounded, without characters that Postgres cannot hold."""
    return who.replace("\x00", "").encode("utf-8", "replace").decode()[:200] or "?"
