"""What many viewers ask for is computed once: an answer that is shared, and how old it may be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

YOUNGEST = 0.5
"""Seconds between two computations at least, whoever asks and whatever happens."""
OLDEST = 1.0
"""Seconds after which an answer is computed again though nobody reported a change."""


class Cached(Generic[T]):
    """An answer that costs something, computed at most every ``youngest`` seconds and by one asker at a time."""

    def __init__(self, compute: Callable[[], Awaitable[T]], youngest: float = YOUNGEST) -> None:
        self._compute = compute
        self._youngest = youngest
        self._lock = asyncio.Lock()
        self._answer: tuple[T] | None = None
        self._failed: Exception | None = None
        self._asked = self._changed = -1e9
        self.version = 0

    def changed(self, *, at_once: bool = False) -> None:
        """What was computed up to now may be wrong. ``at_once``: and whoever asks next wants to see it, at any cost."""
        self._changed = time.monotonic()
        if at_once:
            self._asked = -1e9

    @property
    def rest(self) -> float:
        """Seconds until the next computation may begin: who asks after that sees every change reported by now."""
        return max(0.0, self._asked + self._youngest - time.monotonic())

    async def get(self) -> T:
        """The answer, at once where it is young. What fails, fails for all who wait for it."""
        if not self._good():
            async with self._lock:
                if not self._good():
                    await self._ask()
        if self._failed is not None:
            raise self._failed
        assert self._answer is not None
        return self._answer[0]

    def _good(self) -> bool:
        age = time.monotonic() - self._asked
        return age < self._youngest or (age < OLDEST and self._changed < self._asked)

    async def _ask(self) -> None:
        began = time.monotonic()
        try:
            self._answer, self._failed = (await self._compute(),), None
            self.version += 1
        except Exception as error:
            self._failed = error
        self._asked = began
