"""Decide and settle what the trigger has not settled: failures, stages that work on, and those that keep no state."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from pgbaton.hands import Ended, Hands
from pgbaton.model import DONE, RUNNING, Dispatch, Outcome, Pipeline, State
from pgbaton.outcome import Decision, Place, Verb, decide, place
from pgbaton.reports import Reports
from pgbaton.store import Move, Store

BREACH_GRACE = 2.0
"""Seconds until a stage that said yes and moved nothing is taken at its word. Some answer before they commit, and a
stage that answers twice on one connection answers the next call before having read it."""


class Settler:
    """Settles calls that have ended, by their answers and by the dispatches as they were read after them."""

    def __init__(self, pipeline: Pipeline, store: Store, hands: Hands, reports: Reports) -> None:
        self._pipeline = pipeline
        self._store = store
        self._hands = hands
        self._reports = reports

    def let_go_of_settled(self, batch: Sequence[Ended], seen: dict[int, Dispatch]) -> list[Ended]:
        """Report what the trigger, or a rescue, has settled already, which is nearly everything; returns the rest."""
        rest: list[Ended] = []
        for call in batch:
            now = seen.get(call.dispatch.id)
            if call.dispatch.probing or (now is not None and is_same_attempt(now, call.dispatch)):
                rest.append(call)
            else:
                self._let_go(call, now.state if now else None, None)
        return rest

    async def settle(self, batch: Sequence[Ended], seen: dict[int, Dispatch]) -> list[Ended]:
        """Decide and settle; returns what cannot be settled just now: its row is held by somebody, or the row and the
        answer may yet come to agree. Where something is raised, nothing was let go."""
        held: list[Ended] = []
        settled_already: list[tuple[Ended, State | None]] = []
        decided: list[tuple[Ended, Dispatch, Decision]] = []
        for call in batch:
            now = seen.get(call.dispatch.id)
            if now is None or not is_same_attempt(now, call.dispatch):
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
            self._let_go(call, state, None)
        for call, now, decision in decided:
            new_state = State.COMPLETED if now.id in advanced else settled.get(now.id)
            if new_state is None:
                held.append(call)
            else:
                self._let_go(replace(call, dispatch=now), new_state, decision)
        return held

    def _let_go(self, call: Ended, state: State | None, decision: Decision | None) -> None:
        self._reports.settled(call.dispatch, call.answer, state, decision)
        self._hands.let_go(call.dispatch)

    async def settle_one(self, dispatch: Dispatch, decision: Decision) -> bool:
        """Act on a decision; False where the dispatch, or its row, had changed or was held."""
        return bool(await self._store.settle([(dispatch, decision)]))

    async def _mind_circuits(self, batch: Sequence[Ended], down: set[str]) -> None:
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


def is_same_attempt(now: Dispatch, then: Dispatch) -> bool:
    """Whether a dispatch still runs the attempt that it ran when it was read."""
    return now.state is State.RUNNING and now.attempt == then.attempt and now.worker == then.worker
