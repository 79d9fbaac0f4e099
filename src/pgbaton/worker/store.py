"""Reads and writes of workers, one method for each file in ``sql/worker``.

Every method is one statement, so a worker that is frozen or killed in the middle of it holds nothing. Errors are
asyncpg's, and OSError.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

import asyncpg

from pgbaton import sql
from pgbaton.database import is_stale
from pgbaton.decision.outcome import Answer
from pgbaton.decision.passage import Children
from pgbaton.decision.verdict import Job, Verdict
from pgbaton.errors import LeaseLost, NotAtHome
from pgbaton.model import Dispatch, Passage, Stage
from pgbaton.table import JobTable, Session, child_table, with_types
from pgbaton.worker.records import Answered, Late, as_written, columns_of, dispatch_of, endings, job_of, stage_of

RECONCILE_PAGE = 1000
"""Rows of the user's table that one look for missing duties reads."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The result of a claim. ``claimed``: calls of this worker now. ``ended``: the dispatches that were completed by
    it. ``late``: how the attempts ended that had ended before their answers were brought, by dispatch id and attempt.
    ``others``: jobs that are to be looked at. ``newest``: the newest id that was dealt with, by stage (``""``: looks).
    ``found``: how many duties and looks there were. ``blocked``: seconds until another claim of jobs that a limit keeps
    back is worth it (None: none is kept back); ``kept_back``: the stages of those jobs. ``more``: stages with more
    jobs than this claim could take, by ``limit`` or by a limit."""

    claimed: tuple[Dispatch, ...]
    ended: frozenset[int]
    others: frozenset[str]
    newest: Mapping[str, int]
    found: int
    late: Late = field(default_factory=dict)
    blocked: float | None = None
    kept_back: frozenset[str] = frozenset()
    more: frozenset[str] = frozenset()

    @property
    def cut_short(self) -> bool:
        """Whether ``limit`` alone kept it from taking more."""
        return bool(self.more - self.kept_back)


@dataclass(frozen=True, slots=True)
class Written:
    """How a verdict was taken. ``written`` false: the table kept the row as it was, nothing was written. ``due_in``:
    seconds until the job's call is due, where it waits."""

    written: bool
    due_in: float | None


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A stage that answered 429. ``ceiling``: as many calls at once are made from now on; ``fresh``: it was cut by this
    answer, and not by an earlier one of the same burst."""

    ceiling: int
    fresh: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """``governed``: claims go by ``pgbaton.admit``. ``learned``: a stage has a ceiling that it may grow out of."""

    governed: bool
    learned: bool


@dataclass(frozen=True, slots=True)
class Move:
    """Put a claimed call's row from one (step, status) to another, if it is still there and the call still this
    worker's."""

    dispatch: Dispatch
    source: tuple[str, str]
    target: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the user's table: the key to go on behind (None: that was the end), and the jobs in a routed state
    without a duty or call, as (job, stage)."""

    last: str | None
    missing: tuple[tuple[str, str], ...]


class Store:
    """The journal of one pipeline. ``steps``: the stages that this worker knows how to call; it claims no others."""

    def __init__(self, session: Session, table: JobTable, steps: Iterable[str]) -> None:
        self._session = session
        self._table = table
        self._pipeline = table.pipeline
        self._children: dict[str, tuple[str, JobTable]] = {}
        entries = {entrance.node: entrance for entrance in table.routes}
        self.steps = [step for step in steps if step in entries]
        self._entries = [entries[step].step for step in self.steps]
        self._entry_statuses = [entries[step].status for step in self.steps]
        self._passages = [entrance.node for entrance in table.routes if not entrance.calls]
        self.governed: bool | None = None
        """Whether claims go by ``pgbaton.admit``; None: not known yet, the next claim finds out."""

    async def turn(
        self,
        worker: int | None,
        limit: int,
        answers: Sequence[Answered] = (),
        since: Mapping[str, int] | None = None,
        *,
        looks: int = 200,
        calling: bool = True,
    ) -> Turn:
        """Take at most ``limit`` duties and ``looks`` looks. ``since``: the id to begin at, by stage. ``calling``
        false: call nothing; name the jobs only. ``answers``: they are kept with the attempts that the duties end.

        Raises :class:`LeaseLost` where the worker has no lease, and :class:`NotAtHome` in a copy of the database;
        nothing was written then.
        """
        since = since or {}
        rows = await self._claim(
            "worker/turn",
            *(self._pipeline, worker, self.steps, [since.get(step, 0) for step in self.steps], limit),
            *(calling, since.get("", 0), looks),
            *columns_of(answers),
            *(self._entries, self._entry_statuses, self._passages),
        )
        rows, kept = _without_blocked(rows)
        late = endings(row for row in rows if row["outcome"] is not None)
        rows = [row for row in rows if row["outcome"] is None]
        newest: dict[str, int] = {}
        for row in rows:
            if row["plain"]:
                newest[row["stage"]] = max(row["id"], newest.get(row["stage"], 0))
        claimed = tuple(dispatch_of(row, 1) for row in rows if row["plain"] and row["stage"])
        ended = frozenset(row["ended_id"] for row in rows if row["plain"] and row["ended_id"])
        others = frozenset(row["job_key"] for row in rows if not row["plain"])
        return Turn(claimed, ended, others, newest, len(rows), late, *kept)

    async def claim_waiting(self, worker: int | None, limit: int) -> Turn:
        """Take calls that wait and are due; raises as :meth:`turn`."""
        beginnings = [0] * len(self.steps)
        known = self._entries, self._entry_statuses
        rows = await self._claim("worker/claim_waiting", self._pipeline, worker, self.steps, beginnings, limit, *known)
        rows, kept = _without_blocked(rows)
        claimed = tuple(dispatch_of(row, row["attempt"]) for row in rows if row["plain"])
        others = frozenset(row["job_key"] for row in rows if not row["plain"])
        return Turn(claimed, frozenset(), others, {}, len(rows), {}, *kept)

    async def limits(self) -> Limits:
        """Whether something limits or orders the calls of this pipeline, beyond a stage's own ``concurrency``."""
        row = (await self._fetch("worker/governed", self._pipeline))[0]
        return Limits(row["governed"], row["learned"])

    async def hold_back(
        self, step: str, seconds: float | None, since: float, refused: int, account: str | None = None
    ) -> HeldBack:
        """A stage answered 429 to ``refused`` calls (with that account), the last of which began ``since`` seconds ago,
        and asked to be left alone for ``seconds``."""
        rows = await self._fetch("worker/hold_back", self._pipeline, step, seconds, since, refused, account)
        return HeldBack(rows[0]["ceiling"], rows[0]["fresh"]) if rows else HeldBack(1, False)

    async def put_off(self, limit: int) -> tuple[int, list[str]]:
        """Make duties that are not to be called yet calls that wait; returns how many, and the jobs that must be looked
        at instead."""
        row = (await self._fetch("worker/put_off", self._pipeline, limit))[0]
        return row["count"], row["others"]

    async def ease(self, answered: Mapping[tuple[str, str | None], int]) -> None:
        """Stages have answered so many calls well, by step and account: their ceilings rise again."""
        stages = {step: calls for (step, account), calls in answered.items() if account is None}
        accounts = [(*name, calls) for name, calls in answered.items() if name[1] is not None]
        if stages:
            await self._fetch("worker/ease", self._pipeline, list(stages), list(stages.values()))
        if accounts:
            await self._fetch("worker/ease_accounts", self._pipeline, *(list(c) for c in zip(*accounts, strict=True)))

    async def _claim(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        if self.governed is None:
            self.governed = (await self.limits()).governed
        try:
            return await self._fetch(query, *arguments, admitted=self.governed)
        except asyncpg.PostgresError as error:
            if error.sqlstate == "PB001":
                raise LeaseLost(str(error)) from None
            if error.sqlstate == "PB002":
                raise NotAtHome(str(error)) from None
            raise

    async def note(self, answers: Sequence[Answered]) -> Late:
        """Keep answers to attempts that have ended already; returns how each of those ended."""
        return endings(await self._fetch("worker/note", *columns_of(answers)))

    async def look(self, job_keys: Collection[str]) -> list[Job]:
        """These jobs as a whole, each as one snapshot shows it."""
        return [job_of(row) for row in await self._fetch("worker/look", self._pipeline, list(job_keys))]

    def shown(self, state: tuple[str, str]) -> tuple[str, str]:
        """A (step, status) of the engine's, in the words that it writes into the table."""
        return state[0], self._table.words.word(state[1]) or ""

    async def stages(self) -> dict[str, Stage]:
        """The stages as the database has them, those that left the pipeline included; they have no path."""
        rows = await self._fetch("worker/stages", self._pipeline)
        ends: dict[str, list[str]] = {}
        for row in rows:
            ends.setdefault(row["after"], []).append(row["status"])
        return {row["step"]: stage_of(row).ending(ends.get(row["step"], ())) for row in rows}

    async def settle(
        self, verdicts: Sequence[tuple[Verdict, Answer | None]], stages: Mapping[str, Stage]
    ) -> dict[str, Written]:
        """Write verdicts. A job that is missing had changed meanwhile, or was locked: look and decide again."""
        rows = await self._fetch(
            "worker/settle", self._pipeline, json.dumps([as_written(v, answer, stages) for v, answer in verdicts])
        )
        return {row["key"]: Written(row["written"], row["due_in"]) for row in rows}

    async def prepare(self, worker: int | None, moves: Sequence[Move]) -> set[str]:
        """Put the rows of claimed calls where their stages expect them; returns the jobs whose row was moved."""
        columns = zip(
            *((m.dispatch.job_key, m.dispatch.id, m.dispatch.attempt, *m.source, *m.target) for m in moves), strict=True
        )
        rows = await self._fetch("worker/prepare", self._pipeline, worker, *(list(c) for c in columns))
        return {row["key"] for row in rows}

    async def lost(self, after: str, limit: int) -> list[str]:
        """Jobs whose call is held by a lost worker, or left to a stage beyond its time; behind the key ``after``."""
        return [row["job_key"] for row in await self._fetch("worker/lost", self._pipeline, after, limit)]

    async def next_due(self, since: float = 0.0) -> float | None:
        """Seconds, by the database's clock, until a call that waits may be claimed, or since one became so in the last
        ``since`` seconds; None: none waits."""
        due: float | None = (await self._fetch("worker/next_due", self._pipeline, self.steps, since))[0]["due"]
        return due

    async def strike(self, step: str, *, probed: bool) -> None:
        """Open the circuit of a stage that was found down (``probed``: by the probe that was to tell)."""
        await self._fetch("worker/strike", self._pipeline, step, probed)

    async def close_circuit(self, step: str) -> None:
        """A stage whose probe was answered may be called again."""
        await self._fetch("worker/close_circuit", self._pipeline, step)

    async def unreconciled(self, after: str | None, limit: int) -> Page:
        """Look at ``limit`` rows of the user's table behind the key ``after``, for routed ones without a duty or
        call."""
        row = (await self._fetch("operate/unreconciled", self._pipeline, after, limit, False))[0]
        missing = tuple(zip(row["keys"], row["steps"], strict=True))
        return Page(row["last"] if row["looked_at"] == limit else None, missing)

    async def reconcile(self, job_keys: Collection[str], *, past: bool = False) -> list[tuple[str, str]]:
        """Leave the duties that these jobs' rows ask for and lack; returns (job, stage) of each. ``past``: of rows that
        are left alone, too."""
        rows = await self._fetch("operate/reconcile", self._pipeline, list(job_keys), past)
        return [(row["job_key"], row["stage"]) for row in rows]

    async def forget_moved(self, after: str, limit: int) -> str:
        """Look at ``limit`` rows of the past behind the key ``after``; those that have moved are not left alone any
        more. Returns the key to go on behind, "" at the end."""
        row = (await self._fetch("worker/forget_moved", self._pipeline, after, limit))[0]
        return row["last"] if row["looked_at"] == limit else ""

    async def children(self, node: Passage, job_keys: Collection[str]) -> dict[str, Children]:
        """The children of these parents, counted. Empty: no pipeline of that name has this one for its parent."""
        table = await self._child_table(node.children or "")
        if table is None:
            return {}
        done = node.done or ("", "")
        rows = await self._session.fetch(table.query("worker/children"), table.pipeline, list(job_keys), *done)
        return {row["parent"]: Children(row["total"], row["ended"], row["done"]) for row in rows}

    async def _child_table(self, name: str) -> JobTable | None:
        for r in await self._session.fetch(sql.read("worker/child_table.sql"), name, self._pipeline):
            if name not in self._children or self._children[name][0] != r["attached"]:
                routes = await self._session.fetch(sql.read("install/routes.sql"), name)
                self._children[name] = r["attached"], child_table(r, routes)
            return self._children[name][1]
        return None

    async def tell_parents(self, job_keys: Collection[str]) -> None:
        """These jobs have ended where no trigger saw it: their parents may have waited for that."""
        if self._table.parent is not None:
            await self._fetch("worker/tell_parents", list(job_keys), self._table.parent[0])

    async def unpark(self, limit: int) -> int:
        """Make calls due that were parked for tenants that are paused no more; returns how many."""
        return int((await self._fetch("worker/unpark", self._pipeline, limit))[0]["due"])

    async def prune(self, retention: float, since: datetime | None = None) -> tuple[int, datetime | None]:
        """Forget attempts that ended more than ``retention`` seconds ago, and not before ``since``; returns how many
        rows (at most 1,000), and when the last of them had ended: the next batch goes on from there."""
        row = (await self._fetch("worker/prune", retention, since))[0]
        return row["count"], row["reached"]

    async def roll_up(self) -> bool:
        """Count an hour that is over into ``pgbaton.throughput``; whether there may be another."""
        return bool((await self._fetch("worker/roll_up", self._pipeline))[0]["more"])

    async def begin_roll_up(self) -> None:
        """Let :meth:`roll_up` begin with the first hour of the history, if it has not begun."""
        await self._fetch("worker/roll_up_begin", self._pipeline)

    async def take_lease(
        self, old: int | None, name: str, capacity: int, lease: float, held: Collection[tuple[int, int]]
    ) -> tuple[int, set[tuple[int, int]]]:
        """A lease of ``lease`` seconds in place of ``old``; returns its id, and those of the ``held`` attempts that are
        still this worker's. Raises :class:`NotAtHome` in a copy of the pipeline's database."""
        ids, attempts = [i for i, _ in held], [a for _, a in held]
        mine = ids, attempts, self.steps
        try:
            rows = await self._fetch("worker/take_lease", self._pipeline, old, name, capacity, lease, *mine)
        except asyncpg.PostgresError as error:
            if error.sqlstate == "PB002":
                raise NotAtHome(str(error)) from None
            raise
        return rows[0]["worker"], set(zip(rows[0]["kept_ids"], rows[0]["kept_attempts"], strict=True))

    async def describe(self, worker: int, version: str, base_url: str, routes: Sequence[tuple[str, str, str]]) -> None:
        """Write this worker's configuration under its lease: its routes as (step, after, path)."""
        await self._fetch("worker/describe", worker, version, base_url, json.dumps(routes))

    async def trouble(self, worker: int, code: str, words: str) -> None:
        """Write the error that keeps this worker from its work under its lease, with the code of its finding."""
        await self._fetch("worker/trouble", worker, code, words)

    async def renew(
        self, worker: int, lease: float, draining: bool, under_way: Mapping[str, int] = MappingProxyType({})
    ) -> bool:
        """Renew the lease, and say how many calls of each stage the worker holds; False where it has lapsed: another
        must be taken."""
        return bool(await self._fetch("worker/renew", worker, lease, draining, json.dumps(dict(under_way))))

    async def give_up_lease(self, worker: int) -> None:
        """The worker holds nothing any more and goes."""
        await self._fetch("worker/give_up_lease", worker)

    async def _fetch(self, query: str, *arguments: object, admitted: bool = False) -> list[asyncpg.Record]:
        """``admitted``: the claim of a pipeline that something limits or orders. A statement that does not fit the
        user's table any more is made anew for the table as it is now."""

        def text(table: JobTable) -> str:
            return table.query(query, admitted=admitted)

        try:
            return list(await self._session.fetch(text(self._table), *arguments))
        except asyncpg.PostgresError as error:
            if not is_stale(error):
                raise
            now = await with_types(self._session, self._table)  # says it where a column is gone
            if now == self._table:
                raise
            self._table = now
            return list(await self._session.fetch(text(now), *arguments))


def _without_blocked(
    rows: list[asyncpg.Record],
) -> tuple[list[asyncpg.Record], tuple[float | None, frozenset[str], frozenset[str]]]:
    """The rows of a claim that are duties or calls; then the last three fields of :class:`Turn`. A row without an id
    says that more waits for its stage, and (``waited``) in how many seconds a limit may let it be called."""
    left = [row for row in rows if row["id"] is None]
    if not left:
        return rows, (None, frozenset(), frozenset())
    blocked = {row["stage"]: row["waited"] for row in left if row["waited"] is not None}
    more = frozenset(row["stage"] for row in left)
    soonest = min(blocked.values(), default=None)
    return [row for row in rows if row["id"] is not None], (soonest, frozenset(blocked), more)
