"""The write side: what workers read and write, one method for each file in ``sql/queries``.

Every method is one statement, so a worker that is frozen or killed in the middle of it holds nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import asyncpg

from pgbaton.errors import LeaseLost
from pgbaton.model import Dispatch, State
from pgbaton.outcome import Answer, Decision, Verb
from pgbaton.table import JobTable

RECONCILE_PAGE = 1000
"""Rows of the user's table that one look for missing dispatches reads."""


@dataclass(frozen=True, slots=True)
class Move:
    """Put a dispatch's row from one (step, status) to another, if it is still there and the attempt still runs."""

    dispatch: Dispatch
    source: tuple[str, str]
    target: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the user's table: the key to go on behind (None: that was the end), and the jobs in a routed state
    without a dispatch, as (job, stage)."""

    last: str | None
    missing: tuple[tuple[str, str], ...]


class Store:
    """Reads and writes dispatches of one pipeline through a pool. Errors are asyncpg's, and OSError.

    ``steps``: the stages that this worker knows how to call; it leaves all others alone.
    """

    def __init__(self, pool: asyncpg.Pool | asyncpg.Connection, table: JobTable, steps: Iterable[str]) -> None:
        self._pool = pool
        self._table = table
        self._pipeline = table.pipeline
        self.steps = list(steps)

    async def turn(
        self,
        worker: int | None,
        limit: int,
        answers: Sequence[tuple[Dispatch, Answer]],
        reach: Sequence[float | None] | None = None,
    ) -> tuple[dict[int, Dispatch], list[Dispatch]]:
        """Write down what calls brought back, and take at most ``limit`` due dispatches, in one statement.
        ``reach``: for how many seconds back to look for them, for each step (None: as far as there is anything).

        Returns the dispatches of the calls as the trigger has left them, by id, and those that were claimed. Raises
        :class:`LeaseLost` where the worker has no lease, if ``limit`` is not 0: then nothing was written down either.
        """
        claim = self._pipeline, worker, self.steps, limit, reach
        try:
            if answers:
                rows = await self._fetch(
                    "turn",
                    [d.id for d, _ in answers],
                    [d.attempt for d, _ in answers],
                    [a.status for _, a in answers],
                    [a.error for _, a in answers],
                    [a.body for _, a in answers],
                    *claim,
                )
            else:
                rows = await self._fetch("claim", *claim)
        except asyncpg.PostgresError as error:
            if error.sqlstate == "PB001":
                raise LeaseLost(str(error)) from None
            raise
        seen = {row["id"]: Dispatch.of(row) for row in rows if not row["claimed"]}
        return seen, [Dispatch.of(row) for row in rows if row["claimed"]]

    async def claim(self, worker: int, limit: int) -> list[Dispatch]:
        """A :meth:`turn` that carries no answers."""
        return (await self.turn(worker, limit, []))[1]

    async def note(self, answers: Sequence[tuple[Dispatch, Answer]]) -> dict[int, Dispatch]:
        """A :meth:`turn` that claims nothing."""
        return (await self.turn(None, 0, answers))[0]

    async def look(self, ids: Collection[int]) -> dict[int, Dispatch]:
        """Dispatches and their rows as they are now, by id."""
        return {row["id"]: Dispatch.of(row) for row in await self._fetch("look", list(ids))}

    async def settle(self, decided: Sequence[tuple[Dispatch, Decision]]) -> dict[int, State]:
        """Act on decisions about dispatches as they were seen; returns the new state of those that were settled.

        What is missing had changed meanwhile, or its row is held by somebody: look and decide again.
        """
        gone = [d.id for d, _ in decided if d.row is None]
        forgotten = await self._fetch("forget", self._pipeline, gone) if gone else []
        settled = {row["id"]: State.CANCELLED for row in forgotten}
        here = [(d, decision, d.row) for d, decision in decided if d.row is not None]
        if here:
            rows = await self._fetch(
                "settle",
                [d.id for d, _, _ in here],
                [d.attempt for d, _, _ in here],
                [d.worker for d, _, _ in here],
                [c.verb.value for _, c, _ in here],
                [c.outcome.value for _, c, _ in here],
                [c.error for _, c, _ in here],
                [c.after for _, c, _ in here],
                [row.step for _, _, row in here],
                [row.status for _, _, row in here],
            )
            settled |= {row["id"]: State(row["state"]) for row in rows}
            await self._look_again([d.job_key for d, c, _ in here if c.verb in (Verb.COMPLETE, Verb.CANCEL)])
        return settled

    async def move(self, moves: Sequence[Move]) -> set[int]:
        """Move rows on behalf of attempts that run; returns the ids of the dispatches whose row was moved."""
        columns = zip(
            *((m.dispatch.id, m.dispatch.attempt, m.dispatch.worker, *m.source, *m.target) for m in moves), strict=True
        )
        return {row["id"] for row in await self._fetch("move_own", *(list(c) for c in columns))}

    async def orphans(
        self, worker: int, held: Collection[tuple[int, int]] | None, after: int, limit: int
    ) -> list[Dispatch]:
        """Running dispatches that nobody works on: their worker's lease lapsed, or they are given to ``worker``,
        which holds only the attempts ``held``, as (dispatch id, attempt) (None: it cannot say). In the order of ids,
        from the one behind ``after``."""
        ids = None if held is None else [dispatch_id for dispatch_id, _ in held]
        attempts = [attempt for _, attempt in held or ()]
        rows = await self._fetch("orphans", self._pipeline, self.steps, worker, ids, attempts, after, limit)
        return [Dispatch.of(row) for row in rows]

    async def overdue(self, after: int, limit: int) -> list[Dispatch]:
        """Dispatches whose stage was left to work on and is past its deadline; paged as :meth:`orphans`."""
        return [Dispatch.of(r) for r in await self._fetch("overdue", self._pipeline, self.steps, after, limit)]

    async def next_due(self) -> tuple[float | None, bool]:
        """Seconds, by the database's clock, until something that waits may be claimed (None: nothing waits), and
        whether changes wait to be absorbed."""
        row = (await self._fetch("next_due", self._pipeline, self.steps))[0]
        return row["due"], row["changes"]

    async def absorb(self, limit: int) -> int:
        """Apply changes that users' transactions could only write down; returns how many."""
        return int((await self._fetch("absorb", self._pipeline, limit))[0]["applied"])

    async def strike(self, step: str, *, probed: bool) -> None:
        """Open the circuit of a stage that was found down (``probed``: by the probe that was to tell)."""
        await self._fetch("strike", self._pipeline, step, probed)

    async def close_circuit(self, step: str) -> None:
        """A stage whose probe was answered may be called again."""
        await self._fetch("close_circuit", self._pipeline, step)

    async def unreconciled(self, after: str | None, limit: int) -> Page:
        """Look at ``limit`` rows of the user's table behind the key ``after``, for routed ones with no dispatch."""
        row = (await self._fetch("unreconciled", self._pipeline, after, limit))[0]
        missing = tuple(zip(row["keys"], row["steps"], strict=True))
        return Page(row["last"] if row["looked_at"] == limit else None, missing)

    async def reconcile(self, job_keys: Collection[str]) -> list[tuple[str, str]]:
        """Create the dispatches that these jobs' rows ask for and lack; returns (job, stage) of each."""
        rows = await self._fetch("reconcile", self._pipeline, list(job_keys))
        return [(row["job_key"], row["stage"]) for row in rows]

    async def unpark(self, limit: int) -> int:
        """Make due what was parked for tenants that are paused no more; returns how many."""
        return int((await self._fetch("unpark", self._pipeline, limit))[0]["due"])

    async def prune(self, retention: float) -> int:
        """Forget settled dispatches older than ``retention`` seconds; returns how many (at most 1,000)."""
        return int(await self._value("prune", retention) or 0)

    async def register(self, name: str, capacity: int, lease: float) -> int:
        """A lease row for a new worker; ``lease`` in seconds. Returns its id."""
        return int(await self._value("register", self._pipeline, name, capacity, lease) or 0)

    async def renew(self, worker: int, lease: float, draining: bool) -> bool:
        """Renew the lease; False where the worker was forgotten and must register again."""
        return await self._value("renew", worker, lease, draining) is not None

    async def leave(self, worker: int) -> None:
        """Take the worker's row away."""
        await self._pool.execute(self._table.query("leave"), worker)

    async def _look_again(self, job_keys: Collection[str]) -> None:
        """What the trigger would have completed or cancelled was settled by us instead: the trigger was off, or
        a route has changed. Its row may ask for a dispatch."""
        if job_keys:
            await self.reconcile(job_keys)

    async def _fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        return list(await self._pool.fetch(self._table.query(query), *arguments))

    async def _value(self, query: str, *arguments: object) -> float | None:
        value: float | None = await self._pool.fetchval(self._table.query(query), *arguments)
        return value
