"""The calls that a worker has claimed: those under way, and those that have ended and wait to be settled."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pgbaton.decision.outcome import Answer
from pgbaton.model import Dispatch
from pgbaton.worker import telemetry
from pgbaton.worker.periodic import Wake

Attempt = tuple[int, int]
"""Dispatch id and attempt."""


PATIENCE = 0.05
"""Seconds that the answer of an attempt which a duty has ended already waits for a turn that is made anyway; then it
wakes the worker."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that has ended and is not settled yet; ``at`` is monotonic time, ``took`` in seconds."""

    dispatch: Dispatch
    answer: Answer
    at: float
    took: float = 0.0


class InFlight:
    """The attempts of one worker. ``wake`` is set when there is something to settle, and when there is room again."""

    def __init__(self, pipeline: str, capacity: int, wake: Wake) -> None:
        self._capacity = capacity
        self._wake = wake
        self._tasks: dict[Attempt, tuple[Dispatch, asyncio.Task[None]]] = {}
        self._under_way: set[Attempt] = set()
        self._completed: set[int] = set()
        self._ended: list[Ended] = []
        self._answered: dict[Attempt, Ended] = {}
        telemetry.IN_FLIGHT.labels(pipeline).set_function(lambda: self.under_way)

    def __repr__(self) -> str:
        return f"{len(self._under_way)}/{self._capacity} in flight"

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def __contains__(self, dispatch: Dispatch) -> bool:
        return dispatch.name in self._tasks

    @property
    def held(self) -> frozenset[Attempt]:
        """The attempts that are this worker's."""
        return frozenset(self._tasks)

    @property
    def by_stage(self) -> Counter[str]:
        """How many attempts of each stage are this worker's."""
        return Counter(dispatch.stage for dispatch, _ in self._tasks.values())

    @property
    def under_way(self) -> int:
        """How many calls are under way."""
        return len(self._under_way)

    @property
    def room(self) -> int:
        """Free slots: at most ``capacity`` calls run, and at most ``capacity`` ended calls wait to be settled."""
        return max(0, min(self._capacity - len(self._under_way), 2 * self._capacity - len(self._tasks)))

    def begin(self, dispatch: Dispatch, task: asyncio.Task[None]) -> None:
        """``task`` calls the stage for a dispatch that was just claimed."""
        self._tasks[dispatch.name] = dispatch, task
        self._under_way.add(dispatch.name)

    def complete(self, dispatches: frozenset[int]) -> None:
        """A turn has ended these by their stages' commits; the answers of those that are this worker's may be yet to
        come."""
        self._completed |= dispatches & {dispatch for dispatch, _ in self._tasks}

    def end(self, calls: Iterable[Ended]) -> None:
        """These calls have ended and are to be settled; at once, unless nothing waits for it."""
        was_full = not self.room
        urgent = False
        for call in calls:
            self._under_way.discard(call.dispatch.name)
            self._answered[call.dispatch.name] = call
            self._ended.append(call)
            urgent = urgent or call.dispatch.id not in self._completed
        if urgent or was_full:
            self._wake.set()
        else:
            asyncio.get_running_loop().call_later(PATIENCE, self._wake.set)

    def take_ended(self) -> list[Ended]:
        """All calls that wait to be settled and are still this worker's; they wait no more."""
        ended, self._ended = self._ended, []
        return [call for call in ended if call.dispatch in self]

    def put_back(self, call: Ended) -> None:
        """This call waits for the next turn; it does not wake the worker."""
        self._ended.append(call)

    def let_go(self, dispatch: Dispatch) -> None:
        """The attempt is settled, or not this worker's any more."""
        was_full = not self.room
        self._forget(dispatch.name)
        if was_full:
            self._wake.set()

    def keep_only(self, attempts: set[Attempt]) -> None:
        """All others are not this worker's any more; their calls go on, and nothing comes of them."""
        for attempt in self.held - attempts:
            self._forget(attempt)

    def break_off(self) -> tuple[list[asyncio.Task[None]], list[Dispatch], list[Ended]]:
        """Cancel the calls that are under way and forget everything; returns their tasks, the dispatches that have no
        answer, and the answers."""
        held = list(self._tasks.values())
        answers = list(self._answered.values())
        unanswered = [dispatch for dispatch, _ in held if dispatch.name not in self._answered]
        for dispatch, task in held:
            task.cancel()
            self._forget(dispatch.name)
        self._ended.clear()
        self._wake.set()
        return [task for _, task in held], unanswered, answers

    def _forget(self, attempt: Attempt) -> None:
        self._tasks.pop(attempt, None)
        self._answered.pop(attempt, None)
        self._under_way.discard(attempt)
        self._completed.discard(attempt[0])
