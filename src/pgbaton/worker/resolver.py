"""Look at jobs, decide them, write the verdicts: all that a turn does not do by itself."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import asyncpg

from pgbaton.database import is_refusal, refusal_words
from pgbaton.decision.outcome import RETRY_AFTER_CAP, Answer, Verb
from pgbaton.decision.passage import Children
from pgbaton.decision.verdict import Job, Standing, Verdict, refused, resolve, wants_count
from pgbaton.model import FAILED, Dispatch, Outcome, Passage, Stage, State
from pgbaton.worker.in_flight import Attempt, Ended, InFlight
from pgbaton.worker.lease import Lease
from pgbaton.worker.reports import Reports
from pgbaton.worker.store import Store, Written

BREACH_GRACE = 2.0
"""Seconds after a 2xx whose row has not moved until it is a breach: some stages answer before they commit."""

TRIES = 3
"""Looks at a job that changes between look and verdict, before it is left for later."""

Decided = Mapping[str, tuple[Verdict, Answer | None]]
"""Verdicts by job, with the answer that each was made from."""


@dataclass(slots=True)
class Resolved:
    """The result of a round. ``again``: calls that cannot be settled now: a lock is held, or the row and the answer may
    yet come to agree. ``due_in``: seconds until the soonest call that waits from now on is due (None: none does).
    ``settled``: the verdicts that were written."""

    again: list[Ended] = field(default_factory=list)
    due_in: float | None = None
    settled: list[Verdict] = field(default_factory=list)

    @property
    def missing(self) -> int | None:
        """Where only parents were settled: the fewest children that one of them still needs (0: it moves on)."""
        known = [left for verdict in self.settled if (left := _missing(verdict)) is not None]
        return min(known) if known and len(known) == len(self.settled) else None


class Resolver:
    """Resolves jobs of one worker, one round a job at a time."""

    def __init__(self, store: Store, lease: Lease, in_flight: InFlight, reports: Reports) -> None:
        self._store = store
        self._lease = lease
        self._in_flight = in_flight
        self._reports = reports
        self._stages: dict[str, Stage] = {}
        self._open: set[str] = set()

    async def resolve(self, calls: Sequence[Ended], keys: Collection[str], *, patient: bool = True) -> Resolved:
        """Settle calls that have ended, and look at other jobs. ``patient`` false: a row is decided as it is, also
        where its answer says that it should yet move."""
        for step in {c.dispatch.stage for c in calls if c.dispatch.probing and c.answer.status and not c.answer.down}:
            await self._store.close_circuit(step)
        await self._hold_back([call for call in calls if call.answer.refuses_more])
        ended = {c.dispatch.job_key: c for c in sorted(calls, key=lambda c: c.dispatch.name)}
        if older := [c for c in calls if ended[c.dispatch.job_key] is not c]:  # a job has one call at a time
            await self._note(older, Outcome.SUPERSEDED)
        mine = {*ended, *keys} - self._open
        busy = [ended.pop(key) for key in ended.keys() - mine]
        self._open |= mine
        try:
            found = await self._rounds(mine, ended, patient=patient)
        finally:
            self._open -= mine
        found.again += busy
        return found

    async def _hold_back(self, refused: Sequence[Ended]) -> None:
        """Call stages less that answered 429."""
        now = time.monotonic()
        for step, account in {(c.dispatch.stage, c.dispatch.account) for c in refused}:
            calls = [c for c in refused if (c.dispatch.stage, c.dispatch.account) == (step, account)]
            asked = [min(c.answer.retry_after, RETRY_AFTER_CAP) for c in calls if c.answer.retry_after is not None]
            since = min(now - c.at + c.took for c in calls)
            held = await self._store.hold_back(step, max(asked, default=None), since, len(calls), account)
            if held.fresh:
                self._reports.held_back(step, account, held.ceiling, max(asked, default=None))

    async def give_back(self, dispatches: Collection[Dispatch]) -> None:
        """Give attempts of this worker, whose stages are not called (any more), back by their rows. One that cannot be
        given back now is given back with the lease."""
        names = frozenset(d.name for d in dispatches)
        await self._rounds({d.job_key for d in dispatches}, {}, given_back=names)

    async def refuse(self, dispatch: Dispatch, target: tuple[str, str], error: asyncpg.PostgresError) -> None:
        """The user's table refuses the state that this attempt needs before its call."""
        for job in await self._store.look([dispatch.job_key]):
            if job.call is not None and (job.call.id, job.call.attempt) == dispatch.name:
                verdict = refused(Verdict(job, None, target=target), refusal_words(error), self._store.shown(target))
                written = await self._store.settle([(verdict, None)], self._stages)
                if job.key in written:
                    self._done(verdict, None)

    async def _rounds(
        self,
        keys: set[str],
        ended: dict[str, Ended],
        *,
        given_back: frozenset[Attempt] = frozenset(),
        patient: bool = True,
    ) -> Resolved:
        found = Resolved()
        for _ in range(TRIES):
            if not keys:
                break
            decided = await self._decide(keys, ended, given_back, patient, found)
            await self._open_circuits(ended, decided)
            written = await self._write(decided) if decided else {}
            for key, result in written.items():
                self._done(decided[key][0], ended.pop(key, None))
                found.settled.append(decided[key][0])
                if result.due_in is not None:
                    found.due_in = result.due_in if found.due_in is None else min(found.due_in, result.due_in)
            # No trigger saw the row come there, or its route is another now: it may ask for a duty.
            stranded = [key for key in written if self._may_be_stranded(decided[key][0])]
            if stranded:
                await self._store.reconcile(stranded, past=True)
            if dead := [key for key in written if decided[key][0].ended is State.DEAD]:
                await self._store.tell_parents(dead)
            keys = decided.keys() - written.keys()
        found.again += ended.values()
        return found

    async def _decide(
        self,
        keys: set[str],
        ended: dict[str, Ended],
        given_back: frozenset[Attempt],
        patient: bool,
        found: Resolved,
    ) -> dict[str, tuple[Verdict, Answer | None]]:
        """Look at jobs and decide those of which there is anything to write."""
        jobs = await self._store.look(keys)
        self._stages = await self._store.stages()  # as they are attached now, and not as in this worker's own file
        counted = await self._count_children(jobs, ended)
        decided: dict[str, tuple[Verdict, Answer | None]] = {}
        for job in jobs:
            call = ended.get(job.key)
            if call is not None and self._is_under_another_lease(job, call):
                found.again.append(ended.pop(job.key))
                continue
            if call is not None and not self._is_held(job, call):
                outcome = Outcome.ACCEPTED if self._is_mine(job, call) else Outcome.SUPERSEDED
                await self._note([ended.pop(job.key)], outcome)
                call = None
            if job.key in counted:
                job = replace(job, children=counted[job.key])
            name = (job.call.id, job.call.attempt) if job.call else (0, 0)
            answer = call.answer if call else None
            verdict = resolve(job, self._stages.__getitem__, answer, given_back=name in given_back)
            if call is not None and patient and _may_yet_agree(verdict, call):
                found.again.append(ended.pop(job.key))
            elif _changes(verdict):
                decided[job.key] = verdict, answer
        return decided

    async def _note(self, calls: Sequence[Ended], unknown: Outcome) -> None:
        """Keep the answers to attempts that were settled before: by a turn; by a verdict whose reply was lost; or by
        another worker, where the history does not know the attempt (``unknown``)."""
        late = await self._store.note([(call.dispatch, call.answer) for call in calls])
        for call in calls:
            self._settled(call, *late.get(call.dispatch.name, (unknown, None)), None)

    async def _count_children(self, jobs: Collection[Job], ended: Collection[str]) -> dict[str, Children]:
        """The children of the jobs that gather them, where a count may bring something."""
        gathers: dict[str, tuple[Passage, list[str]]] = {}
        for job in jobs:
            node = self._stages.get(job.call.stage) if job.call else None
            if isinstance(node, Passage) and wants_count(job, node, claimed=job.key in ended):
                gathers.setdefault(node.step, (node, []))[1].append(job.key)
        counted: dict[str, Children] = {}
        for node, keys in gathers.values():
            counted |= await self._store.children(node, keys)
        return counted

    def _may_be_stranded(self, verdict: Verdict) -> bool:
        """Whether the row may be in a routed state with no duty for it: no trigger saw it come there, or a stage's
        failure had to be its last one before that route was open."""
        row, entries = verdict.job.row, {node.entry for node in self._stages.values()}
        if verdict.ended is State.DEAD and verdict.job.call is not None:
            return (verdict.job.call.stage, FAILED) in entries
        goes_on = verdict.stands is not None or verdict.stays is not None
        return not goes_on and row is not None and row.at in entries and verdict.target is None

    async def _write(self, decided: Decided) -> dict[str, Written]:
        """Write verdicts. Where the user's table refuses a row, that job's verdict is written without the row, and the
        other jobs' verdicts as they are."""
        try:
            written = await self._store.settle(list(decided.values()), self._stages)
        except asyncpg.PostgresError as error:
            if not is_refusal(error):
                raise
            if len(decided) > 1:
                halves = list(decided.items())
                middle = len(halves) // 2
                return await self._write(dict(halves[:middle])) | await self._write(dict(halves[middle:]))
            return await self._write_refused(decided, refusal_words(error))
        kept = {key: decided[key] for key, result in written.items() if not result.written}
        for key in kept:
            del written[key]
        if kept:
            written |= await self._write_refused(kept, "it keeps the row as it is")
        return written

    async def _write_refused(self, decided: Decided, words: str) -> dict[str, Written]:
        instead = [
            (refused(v, words, self._store.shown(v.target) if v.target else None), answer)
            for v, answer in decided.values()
        ]
        written = await self._store.settle(instead, self._stages)
        for verdict, _ in instead:
            if verdict.job.key in written:
                self._reports.refused(verdict)
        return written

    def _is_mine(self, job: Job, call: Ended) -> bool:
        there = job.call
        return (
            there is not None and (there.id, there.attempt) == call.dispatch.name and there.worker == self._lease.worker
        )

    def _is_under_another_lease(self, job: Job, call: Ended) -> bool:
        """Whether this worker's lease is just being replaced: the attempt is in its hands, and the row names the lease
        before this one, or the one that it has yet to hear of."""
        there = job.call
        return (
            there is not None
            and (there.id, there.attempt) == call.dispatch.name
            and there.standing is Standing.HELD
            and there.worker != self._lease.worker
            and call.dispatch in self._in_flight
        )

    def _is_held(self, job: Job, call: Ended) -> bool:
        return self._is_mine(job, call) and job.call is not None and job.call.standing is Standing.HELD

    def _done(self, verdict: Verdict, call: Ended | None) -> None:
        decision, before = verdict.decision, verdict.job.call
        if decision is None or before is None or decision.verb is Verb.KEEP:
            return
        state = verdict.ended or (State.RETRYABLE if verdict.stands is Standing.WAITING else State.RUNNING)
        if call is not None:
            self._settled(call, decision.outcome, state, decision.error)
        else:
            rescued = before.standing is Standing.HELD and not before.alive
            self._reports.resolved(verdict.job, before, decision, state, rescued=rescued)

    def _settled(self, call: Ended, outcome: Outcome, state: State | None, error: str | None) -> None:
        self._reports.settled(call.dispatch, call.answer, outcome, state, error or call.answer.error)
        self._in_flight.let_go(call.dispatch)

    async def _open_circuits(self, ended: Mapping[str, Ended], decided: Decided) -> None:
        """Leave alone the stages that were found down."""
        verdicts = [v for v, answer in decided.values() if answer is not None]
        for step in {v.job.call.stage for v in verdicts if v.job.call and v.decision and v.decision.down}:
            probed = any(c.dispatch.probing and c.dispatch.stage == step for c in ended.values())
            await self._store.strike(step, probed=probed)


def _changes(verdict: Verdict) -> bool:
    """Whether there is anything to write."""
    keeps = verdict.decision is None or verdict.decision.verb is Verb.KEEP
    stays = {verdict.stays.id} if verdict.stays else set()
    return not keeps or verdict.new is not None or any(d.id not in stays for d in verdict.job.duties)


def _missing(verdict: Verdict) -> int | None:
    """How many children a parent still needs; 0 where it moves on; None for any other job."""
    if verdict.missing is not None and verdict.stands is Standing.LEFT:
        return verdict.missing
    return None if verdict.job.children is None else 0


def _may_yet_agree(verdict: Verdict, call: Ended) -> bool:
    breach = verdict.decision is not None and verdict.decision.outcome is Outcome.BREACH
    return breach and time.monotonic() - call.at < BREACH_GRACE
