"""One computation for many viewers: an answer that is shared, and how old it may be. So their number costs
the database nothing; and where it is slow, the page asks it more seldom and shows what it knew a moment ago."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")
Q = TypeVar("Q", bound=Hashable)

YOUNGEST = 0.5
"""Seconds between two computations at least, however many ask and change."""
OLDEST = 1.0
"""Seconds after which an answer is computed again though no change was reported."""
REST = 4.0
"""From the beginning of a computation to the next, as a multiple of its duration: with 4, they take a quarter of a
connection's time at most, as long as the answer is not stale by then."""
PATIENCE = 0.05
"""Seconds that the next answer is waited for where there is one: open pages look again by themselves a moment later.
With 0.5 half of the screens took 0.2 s where a million jobs wait, because they waited for the counts."""
QUESTIONS = 100
"""Questions whose answers are kept, the latest asked."""
STALE = 5.0
"""Seconds after which an answer is not shown any more, though the next one is not there: an old answer must not say
that all is well."""


class Cached(Generic[T]):
    """An answer that costs something, computed by one task at a time, and at most every ``youngest`` seconds."""

    def __init__(self, compute: Callable[[], Awaitable[T]], youngest: float = YOUNGEST) -> None:
        self._compute = compute
        self._youngest = youngest
        self._asking: asyncio.Task[None] | None = None
        self._answer: tuple[T] | None = None
        self._failed: Exception | None = None
        self._asked = self._changed = self._wanted = -1e9
        self._took = 0.0
        self.version = 0

    def changed(self, *, at_once: bool = False) -> None:
        """Answers that were computed up to now may be wrong. ``at_once``: the next asker wants to see the new one, at
        any cost."""
        self._changed = time.monotonic()
        if at_once:
            self._wanted = self._changed

    @property
    def rest(self) -> float:
        """Seconds until the next computation may begin: an answer after that has every change reported by now."""
        return max(0.0, self._asked + self._pause - time.monotonic())

    @property
    def _pause(self) -> float:
        return max(self._youngest, min(REST * self._took, STALE))

    async def get(self, patience: float = PATIENCE) -> T:
        """The answer: at once where it is young, within ``patience`` seconds where it is no older than :data:`STALE`.
        An error of the computation is raised to all who wait for it."""
        came = time.monotonic()
        while not self._good(came):
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask())
            will_do = self._wanted < self._asked and self._failed is None and time.monotonic() - self._asked < STALE
            done, _ = await asyncio.wait([self._asking], timeout=patience if will_do else None)
            if not done:
                break
        if self._failed is not None:
            raise self._failed
        assert self._answer is not None
        return self._answer[0]

    def _good(self, came: float) -> bool:
        """For an asker that came then: the newest that it can get, or one that is young."""
        age = time.monotonic() - self._asked
        young = age < self._pause or (age < OLDEST and self._changed < self._asked)
        return self._wanted < self._asked and (came <= self._asked or young)

    async def _ask(self) -> None:
        began = time.monotonic()
        try:
            self._answer, self._failed = (await self._compute(),), None
            self.version += 1
        except Exception as error:
            self._failed = error
        self._asked, self._took = began, time.monotonic() - began


class CachedEach(Generic[Q, T]):
    """An answer for each question, of the latest :data:`QUESTIONS`: many who ask the same share it."""

    def __init__(self, compute: Callable[[Q], Awaitable[T]]) -> None:
        self._compute = compute
        self._each: OrderedDict[Q, Cached[T]] = OrderedDict()

    def changed(self, *, at_once: bool = False) -> None:
        """As of each :class:`Cached`."""
        for one in self._each.values():
            one.changed(at_once=at_once)

    async def get(self, question: Q) -> T:
        """As of :class:`Cached`."""
        if question not in self._each:
            self._each[question] = Cached(partial(self._compute, question))
            while len(self._each) > QUESTIONS:
                self._each.popitem(last=False)
        self._each.move_to_end(question)
        return await self._each[question].get()
