"""What a dispatcher has claimed and not settled yet.

Hands bound the memory and the number of calls; whatever the table gives to this worker and is not in its hands goes
back (see ``worker.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from pgbaton import telemetry
from pgbaton.loops import Wake
from pgbaton.model import Dispatch
from pgbaton.outcome import Answer


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that has ended and is not settled yet; ``at`` is monotonic time."""

    dispatch: Dispatch
    answer: Answer
    at: float


class Hands:
    """Claimed attempts, by (dispatch id, attempt), and the answers of calls that have ended.

    ``wake`` is set whenever there is something to settle or room to claim.
    """

    def __init__(self, pipeline: str, capacity: int, wake: Wake) -> None:
        self._capacity = capacity
        self._wake = wake
        self._calls: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._under_way: set[tuple[int, int]] = set()
        self._ended: list[Ended] = []
        telemetry.IN_FLIGHT.labels(pipeline).set_function(lambda: self.under_way)

    def __repr__(self) -> str:
        return f"{len(self._under_way)}/{self._capacity} in flight"

    def __bool__(self) -> bool:
        return bool(self._calls)

    def __contains__(self, dispatch: Dispatch) -> bool:
        return (dispatch.id, dispatch.attempt) in self._calls

    @property
    def held(self) -> frozenset[tuple[int, int]]:
        """The attempts in these hands."""
        return frozenset(self._calls)

    @property
    def under_way(self) -> int:
        """How many calls are under way."""
        return len(self._under_way)

    @property
    def room(self) -> int:
        """How many more may be called now. What waits to be settled is no call any more, but it takes up memory: as
        much of it may wait as calls may be under way."""
        return max(0, min(self._capacity - len(self._under_way), 2 * self._capacity - len(self._calls)))

    def take(self, dispatch: Dispatch, call: asyncio.Task[None]) -> None:
        """``call`` is under way for a dispatch that was just claimed."""
        attempt = dispatch.id, dispatch.attempt
        self._calls[attempt] = call
        self._under_way.add(attempt)

    def put_down(self, ended: Iterable[Ended]) -> None:
        """These calls have ended and are to be settled."""
        for call in ended:
            self._under_way.discard((call.dispatch.id, call.dispatch.attempt))
            self._ended.append(call)
        self._wake.set()

    def pick_up(self) -> list[Ended]:
        """All calls that have ended and wait to be settled, which they do no more."""
        ended, self._ended = self._ended, []
        return ended

    def let_go(self, dispatch: Dispatch) -> None:
        """The attempt is settled, or not this worker's any more."""
        attempt = dispatch.id, dispatch.attempt
        self._calls.pop(attempt, None)
        self._under_way.discard(attempt)

    def empty(self) -> dict[tuple[int, int], asyncio.Task[None]]:
        """Everything that was in these hands; nothing is any more."""
        calls, self._calls = self._calls, {}
        self._under_way.clear()
        self._ended.clear()
        return calls
