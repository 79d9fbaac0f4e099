"""Capacity, claim, call, settle: the work of a worker.

What is claimed is in the *hands* of the dispatcher until it is settled. Hands bound the memory and the number
of calls; whatever the table gives to this worker and is not in its hands goes back (see ``worker.py``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pgbaton import telemetry, tracing
from pgbaton.backoff import Backoff
from pgbaton.errors import LeaseLost
from pgbaton.events import Event, EventLog, describe
from pgbaton.loops import RETRY_CAP, Wake
from pgbaton.model import DONE, FAILED, RUNNING, Advance, Dispatch, Outcome, Pipeline, State
from pgbaton.outcome import Answer, Begin, Decision, Place, Verb, decide, decide_claimed, decide_lost, place
from pgbaton.stage_client import StageClient
from pgbaton.store import Move, Store

ABSORB_BATCH = 200
BREACH_GRACE = 2.0
"""Seconds until a stage that said yes and moved nothing is taken at its word. Some answer before they commit, and a
stage that answers twice on one connection answers the next call before having read it."""
HELD_ROW_PAUSE = 0.5
"""Seconds between two looks at a row that somebody else holds or is changing."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """A call that has ended and is not settled yet; ``at`` is monotonic time."""

    dispatch: Dispatch
    answer: Answer
    at: float


@dataclass(slots=True)
class _Hands:
    """Claimed attempts (dispatch id, attempt), and the answers of calls that have ended."""

    calls: dict[tuple[int, int], asyncio.Task[None]] = field(default_factory=dict)
    ended: list[_Ended] = field(default_factory=list)
    answered: Wake = field(default_factory=Wake)
    emptied: Wake = field(default_factory=Wake)


class Dispatcher:
    """Claims what is due, calls its stage and settles what came of it, until :meth:`drain`.

    ``poll`` says for how many seconds it sleeps at most when nothing wakes it. ``count_tenants``: among the
    metrics, attempts by tenant.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        client: StageClient,
        wake: Wake,
        log: EventLog,
        *,
        capacity: int,
        poll: Callable[[], float],
        count_tenants: bool = False,
    ) -> None:
        self.claiming = asyncio.Lock()
        self.worker: int | None = None
        self._pipeline = pipeline
        self._store = store
        self._client = client
        self._wake = wake
        self._log = log
        self._capacity = capacity
        self._poll_now = poll
        self._count_tenants = count_tenants
        self._hands = _Hands()
        self._draining = False
        self._gauge = telemetry.IN_FLIGHT.labels(pipeline.name)

    def __repr__(self) -> str:
        state = "draining" if self._draining else "running"
        return f"<Dispatcher {self._pipeline.name!r} {state}, {len(self._hands.calls)}/{self._capacity} in flight>"

    @property
    def held(self) -> frozenset[tuple[int, int]]:
        """The attempts in this worker's hands, as (dispatch id, attempt)."""
        return frozenset(self._hands.calls)

    async def run(self) -> None:
        """Claim and call until drained, then return; calls under way keep the dispatcher from returning."""
        async with asyncio.TaskGroup() as tasks:
            settling = tasks.create_task(self._settle_answers())
            backoff = Backoff(0.1, RETRY_CAP)
            while not self._draining:
                try:
                    pause = await self._claim_and_call(tasks)
                    backoff.reset()
                except LeaseLost:
                    telemetry.LEASES_LOST.labels(self._pipeline.name).inc()
                    pause = backoff.next()  # the lease loop is about to mend it
                except Exception as error:
                    self._log.warning(Event.DATABASE_AWAY, loop="claim", error=describe(error))
                    pause = backoff.next()
                if pause > 0:
                    await self._wake.wait(pause)
            while self._hands.calls:
                await self._hands.emptied.wait(1.0)
            settling.cancel()

    def drain(self) -> None:
        """Claim nothing more."""
        self._draining = True
        self._wake.set()

    async def abandon(self) -> None:
        """Break off the calls that are under way and give their dispatches back, by the row."""
        async with self.claiming:  # what a claim under way brings is ours to give back, too
            calls = dict(self._hands.calls)
        self._hands.calls.clear()
        self._hands.emptied.set()
        for call in calls.values():
            call.cancel()
        await asyncio.gather(*calls.values(), return_exceptions=True)
        for dispatch in (await self._store.look([dispatch_id for dispatch_id, _ in calls])).values():
            if dispatch.state is State.RUNNING and dispatch.worker == self.worker:
                stage = self._pipeline.stage(dispatch.stage)
                await self._settle_one(dispatch, decide_lost(stage, dispatch.row, Outcome.RELEASED))

    async def _claim_and_call(self, tasks: asyncio.TaskGroup) -> float:
        """One claim; returns for how many seconds nothing is to be done unless somebody wakes us."""
        room = self._capacity - len(self._hands.calls)
        if room <= 0 or self.worker is None:
            return self._poll_now()
        async with self.claiming:
            began = time.time_ns()
            claimed = await self._store.claim(self.worker, room)
            for dispatch in claimed:
                self._hands.calls[dispatch.id, dispatch.attempt] = tasks.create_task(self._carry_out(dispatch))
        self._gauge.set(len(self._hands.calls))
        tracing.claimed(self._pipeline.name, claimed, began)
        for dispatch in claimed:
            waited = telemetry.WAIT_SECONDS.labels(self._pipeline.name, dispatch.stage)
            waited.observe(max(0.0, dispatch.waited or 0.0))
        if len(claimed) == room:
            return self._poll_now()  # full: a settled call wakes us
        if claimed:
            return 0  # there may be more, of a stage that was at its limit a moment ago
        due, changes = await self._store.next_due()
        if changes and await self._store.absorb(ABSORB_BATCH):
            return 0
        return self._poll_now() if due is None else min(self._poll_now(), max(0.01, due))

    async def _carry_out(self, dispatch: Dispatch) -> None:
        """From a claim to an answer that waits to be settled; whatever goes wrong, the hands let go."""
        try:
            stage = self._pipeline.stage(dispatch.stage)
            plain = stage.advance is Advance.STAGE and decide_claimed(stage, dispatch.row) is Begin.CALL
            ready = dispatch if plain else await self._prepare(dispatch)
            if ready is None:
                self._let_go(dispatch)
                return
            self._log.info(Event.STAGE_TRIGGERED, **_fields(ready))
            telemetry.CALLS_STARTED.labels(self._pipeline.name, stage.step).inc()
            if ready.attempt > 1:
                telemetry.REPEATED.labels(self._pipeline.name, stage.step).inc()
            began = time.monotonic()
            with tracing.calling(self._pipeline.name, ready) as call:
                answer = await self._client.call(ready, call.traceparent)
                call.answered(answer)
            telemetry.CALL_SECONDS.labels(self._pipeline.name, stage.step).observe(time.monotonic() - began)
            self._ended([_Ended(ready, answer, time.monotonic())])
        except asyncio.CancelledError:
            self._let_go(dispatch)
            raise
        except Exception as error:
            # The table still gives it to this worker: it goes back by the row, in a moment.
            self._log.error(Event.DATABASE_AWAY, loop="call", error=describe(error), **_fields(dispatch))
            self._let_go(dispatch)

    async def _prepare(self, claimed: Dispatch) -> Dispatch | None:
        """Bring the row into the state that a call needs. None: there is nothing to call."""
        stage = self._pipeline.stage(claimed.stage)
        while True:
            dispatch = (await self._store.look([claimed.id])).get(claimed.id)
            if dispatch is None or not _is_same_attempt(dispatch, claimed):
                return None
            begin = decide_claimed(stage, dispatch.row)
            if isinstance(begin, Decision):
                if await self._settle_one(dispatch, begin):
                    self._log.info(Event.STAGE_SKIPPED, outcome=begin.outcome.value, **_fields(dispatch))
                    return None
            elif begin is Begin.REWIND:
                if await self._store.move([Move(dispatch, (stage.step, FAILED), stage.entry)]):
                    continue
            elif stage.advance is Advance.STAGE or await self._store.move(
                [Move(dispatch, stage.entry, (stage.step, RUNNING))]
            ):
                return replace(dispatch, probing=claimed.probing, waited=claimed.waited)
            await asyncio.sleep(HELD_ROW_PAUSE)

    async def _settle_answers(self) -> None:
        """Settle answers in batches: while one is under way the next one gathers."""
        backoff = Backoff(0.1, RETRY_CAP)
        while True:
            await self._hands.answered.wait(self._poll_now())
            batch, self._hands.ended = self._hands.ended, []
            if not batch:
                continue
            try:
                held = await self._settle(batch)
                backoff.reset()
            except Exception as error:
                self._log.warning(Event.DATABASE_AWAY, loop="settle", error=describe(error))
                self._ended(batch)
                await asyncio.sleep(backoff.next())
                continue
            if held:  # they come again in a moment, and keep no others waiting
                asyncio.get_running_loop().call_later(HELD_ROW_PAUSE, self._ended, held)

    def _ended(self, calls: list[_Ended]) -> None:
        self._hands.ended.extend(calls)
        self._hands.answered.set()

    async def _settle(self, batch: list[_Ended]) -> list[_Ended]:
        """One round trip where the trigger has settled already, two or three where we must; returns what cannot be
        settled just now: its row is held by somebody, or the row and the answer may yet come to agree."""
        seen = await self._store.note([(call.dispatch, call.answer) for call in batch])
        held: list[_Ended] = []
        settled_already: list[tuple[_Ended, State | None]] = []
        decided: list[tuple[_Ended, Dispatch, Decision]] = []
        for call in batch:
            now = seen.get(call.dispatch.id)
            if now is None or not _is_same_attempt(now, call.dispatch):
                settled_already.append((call, now.state if now else None))
                continue
            decision = decide(self._pipeline.stage(now.stage), now.row, call.answer)
            if decision.outcome is Outcome.BREACH and time.monotonic() - call.at < BREACH_GRACE:
                held.append(call)
            else:
                decided.append((call, now, decision))
        await self._mind_circuits(batch, {now.stage for _, now, c in decided if c.down})
        advanced = await self._advance([now for _, now, c in decided if c.verb is Verb.ADVANCE])
        settled = await self._store.settle([(now, c) for _, now, c in decided if c.verb is not Verb.ADVANCE])
        # Nothing can go wrong any more: until here the whole batch would have come again.
        for call, state in settled_already:
            self._report(call.dispatch, call.answer, state, None)
            self._let_go(call.dispatch)
        for call, now, decision in decided:
            new_state = State.COMPLETED if now.id in advanced else settled.get(now.id)
            if new_state is None:
                held.append(call)
            else:
                self._report(now, call.answer, new_state, decision)
                self._let_go(now)
        return held

    async def _mind_circuits(self, batch: list[_Ended], down: set[str]) -> None:
        """Open the circuit of stages that are down, close it where a probe was answered."""
        probes = {call.dispatch.stage for call in batch if call.dispatch.probing}
        for step in down:
            await self._store.strike(step, probed=step in probes)
        answered = {call.dispatch.stage for call in batch if call.dispatch.probing and call.answer.status is not None}
        for step in answered - down:
            await self._store.close_circuit(step)

    async def _advance(self, dispatches: list[Dispatch]) -> set[int]:
        """Write done into the rows of stages that keep no state; the trigger settles their dispatches."""
        stages = [self._pipeline.stage(d.stage) for d in dispatches]
        moves = [
            # Somebody may have rewound the row meanwhile.
            Move(d, s.entry if place(s, d.row) is Place.ENTRY else (s.step, RUNNING), (s.step, DONE))
            for d, s in zip(dispatches, stages, strict=True)
        ]
        return await self._store.move(moves) if moves else set()

    async def _settle_one(self, dispatch: Dispatch, decision: Decision) -> bool:
        return bool(await self._store.settle([(dispatch, decision)]))

    def _let_go(self, dispatch: Dispatch) -> None:
        self._hands.calls.pop((dispatch.id, dispatch.attempt), None)
        self._gauge.set(len(self._hands.calls))
        self._wake.set()
        if not self._hands.calls:
            self._hands.emptied.set()

    def _report(self, dispatch: Dispatch, answer: Answer, state: State | None, decision: Decision | None) -> None:
        """Log and count what came of a call; without a decision the trigger (or a rescue) has settled it."""
        outcome = decision.outcome if decision else _OUTCOME_OF_STATE.get(state, Outcome.SUPERSEDED)
        fields = _fields(dispatch) | {"http_status": answer.status, "outcome": outcome.value}
        telemetry.ATTEMPTS.labels(self._pipeline.name, dispatch.stage, outcome.value).inc()
        if self._count_tenants:
            telemetry.ATTEMPTS_OF_TENANT.labels(
                self._pipeline.name, dispatch.stage, str(fields["tenant_id"] or ""), outcome.value
            ).inc()
        if state is State.DEAD:
            telemetry.DEAD.labels(self._pipeline.name, dispatch.stage).inc()
        if outcome is Outcome.COMPLETED:
            telemetry.CALLS_SUCCEEDED.labels(self._pipeline.name, dispatch.stage).inc()
            self._log.info(Event.STAGE_SUCCEEDED, **fields)
        elif outcome is Outcome.ACCEPTED:
            self._log.info(Event.STAGE_ACCEPTED, **fields)
        else:
            telemetry.CALLS_FAILED.labels(self._pipeline.name, dispatch.stage, outcome.value).inc()
            error = decision.error if decision else answer.error
            self._log.warning(Event.STAGE_FAILED, state=state, error=error, **fields)


_OUTCOME_OF_STATE: dict[State | None, Outcome] = {
    State.COMPLETED: Outcome.COMPLETED,
    State.RETRYABLE: Outcome.FAILED,
    State.DEAD: Outcome.FAILED,
}


def _is_same_attempt(now: Dispatch, then: Dispatch) -> bool:
    return now.state is State.RUNNING and now.attempt == then.attempt and now.worker == then.worker


def _fields(dispatch: Dispatch) -> dict[str, object]:
    tenant = dispatch.row.tenant if dispatch.row else None
    return {
        "job_id": dispatch.job_key,
        "tenant_id": tenant,
        "stage": dispatch.stage,
        "attempt": dispatch.attempt,
        "dispatch": dispatch.id,
    }
