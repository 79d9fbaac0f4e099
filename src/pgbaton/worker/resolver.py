"""Look at jobs, decide them, write the verdicts: all that a turn does not do by itself."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from pgbaton.model import Dispatch, Outcome, Pipeline, State
from pgbaton.outcome import Answer, Job, Standing, Verb, Verdict, resolve
from pgbaton.worker.in_flight import Attempt, Ended, InFlight
from pgbaton.worker.lease import Lease
from pgbaton.worker.reports import Reports
from pgbaton.worker.store import Store

BREACH_GRACE = 2.0
"""Seconds after a 2xx whose row has not moved until it is a breach: some stages answer before they commit."""

TRIES = 3
"""Looks at a job that changes between look and verdict, before it is left for later."""


class Resolver:
    """Resolves jobs of one worker. ``waits``: seconds until the soonest call that it has made wait is due (None: none)."""

    def __init__(self, pipeline: Pipeline, store: Store, lease: Lease, in_flight: InFlight, reports: Reports) -> None:
        self._store = store
        self._lease = lease
        self._in_flight = in_flight
        self._reports = reports
        self._stages = {stage.step: stage for stage in pipeline.stages}
        self._open: set[str] = set()

    async def resolve(self, calls: Sequence[Ended], keys: Collection[str]) -> tuple[list[Ended], float | None]:
        """Settle calls that have ended, and look at other jobs.

        Returns the calls that cannot be settled now (the row or the journal is locked, or the row and the answer may yet
        come to agree), and the seconds until the soonest call that waits from now on is due.
        """
        for step in {c.dispatch.stage for c in calls if c.dispatch.probing and c.answer.status not in (None, 503)}:
            await self._store.close_circuit(step)
        late = await self._store.note([(c.dispatch, c.answer) for c in calls]) if calls else {}
        for call in calls:
            if call.dispatch.name in late:
                self._settled(call, *late[call.dispatch.name], None)
        ended = {c.dispatch.job_key: c for c in calls if c.dispatch.name not in late}
        mine = {*ended, *keys} - self._open
        held = [call for key, call in ended.items() if key not in mine]
        if not mine:
            return held, None
        self._open |= mine
        try:
            again, due = await self._settle(mine, ended)
            return held + again, due
        finally:
            self._open -= mine

    async def give_back(self, dispatches: Collection[Dispatch]) -> None:
        """Give attempts of this worker, whose stages are not called (any more), back by their rows. One that cannot be given
        back now is given back with the lease."""
        names = frozenset(d.name for d in dispatches)
        await self._settle({d.job_key for d in dispatches}, {}, given_back=names)

    async def _settle(
        self, keys: set[str], ended: dict[str, Ended], given_back: frozenset[Attempt] = frozenset()
    ) -> tuple[list[Ended], float | None]:
        held: list[Ended] = []
        soonest: float | None = None
        for _ in range(TRIES):
            jobs = await self._store.look(keys)
            await self._learn(jobs)
            verdicts: dict[str, tuple[Verdict, Answer | None]] = {}
            for job in jobs:
                call = ended.get(job.key)
                if call is not None and not self._is_held(job, call):
                    # Another worker's by now; or the verdict was written, and the answer to that was lost.
                    outcome = Outcome.ACCEPTED if self._is_mine(job, call) else Outcome.SUPERSEDED
                    self._settled(ended.pop(job.key), outcome, None, None)
                    call = None
                name = (job.call.id, job.call.attempt) if job.call else (0, 0)
                verdict = resolve(
                    job, self._stages.__getitem__, call.answer if call else None, given_back=name in given_back
                )
                if call is not None and _may_yet_agree(verdict, call):
                    held.append(ended.pop(job.key))
                elif _changes(verdict):
                    verdicts[job.key] = verdict, call.answer if call else None
            await self._open_circuits(ended, verdicts)
            due = await self._store.settle(list(verdicts.values()), self._stages) if verdicts else {}
            for key, seconds in due.items():
                self._done(verdicts[key][0], ended.pop(key, None))
                if seconds is not None:
                    soonest = seconds if soonest is None else min(soonest, seconds)
            keys = verdicts.keys() - due.keys()
            if not keys:
                break
        return held + list(ended.values()), soonest

    def _is_mine(self, job: Job, call: Ended) -> bool:
        there = job.call
        return there is not None and (there.id, there.attempt) == call.dispatch.name and there.worker == self._lease.worker

    def _is_held(self, job: Job, call: Ended) -> bool:
        return self._is_mine(job, call) and job.call is not None and job.call.standing is Standing.HELD

    async def _learn(self, jobs: Sequence[Job]) -> None:
        """Stages that this worker does not call, but whose calls it must decide, are as the database has them."""
        named = {d.stage for job in jobs for d in job.duties if d.stage} | {job.call.stage for job in jobs if job.call}
        if named - self._stages.keys():
            self._stages = await self._store.stages() | self._stages

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

    async def _open_circuits(self, ended: dict[str, Ended], verdicts: dict[str, tuple[Verdict, Answer | None]]) -> None:
        """Leave alone the stages that were found down."""
        decided = [v for v, answer in verdicts.values() if answer is not None]
        for step in {v.job.call.stage for v in decided if v.job.call and v.decision and v.decision.down}:
            probed = any(c.dispatch.probing and c.dispatch.stage == step for c in ended.values())
            await self._store.strike(step, probed=probed)


def _changes(verdict: Verdict) -> bool:
    """Whether there is anything to write."""
    keeps = verdict.decision is None or verdict.decision.verb is Verb.KEEP
    stays = {verdict.stays.id} if verdict.stays else set()
    return not keeps or verdict.new is not None or any(d.id not in stays for d in verdict.job.duties)


def _may_yet_agree(verdict: Verdict, call: Ended) -> bool:
    breach = verdict.decision is not None and verdict.decision.outcome is Outcome.BREACH
    return breach and time.monotonic() - call.at < BREACH_GRACE
