"""How far back a claim looks.

What was claimed stays in the index of what is due until vacuum has been there, and under a snapshot that somebody
holds, vacuum cannot: claims that began at the oldest entry would step over all of it, every time. Whoever claims much
knows how far it has come. What became due before that and is seen only now (its transaction lagged, a claim was
rolled back) is found by the next look at everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from pgbaton.loops import rest
from pgbaton.model import Dispatch

LAG = 1.0
"""Seconds by which a transaction may lag behind the others and still be seen by the next look."""
EVERYTHING_EVERY = 0.25
"""Seconds between two looks at everything, at least."""
SHARE = 0.05
"""Of the time, for looks at everything."""
LONGEST = 10.0
"""Seconds between two looks at everything, at most."""


class Reach:
    """Of one worker and its steps: :meth:`now` before each claim, :meth:`came` after it."""

    def __init__(self, steps: Sequence[str]) -> None:
        self._steps = steps
        self._due_since: dict[str, float] = {}
        self._began = 0.0
        self._next_everything = 0.0

    def now(self) -> list[float | None] | None:
        """For how many seconds back to look, for each step (None: as far as there is anything); None: at everything."""
        self._began = monotonic()
        if not self._due_since or self._began >= self._next_everything:
            return None
        return [self._began - self._due_since[s] + LAG if s in self._due_since else None for s in self._steps]

    def came(self, claimed: Sequence[Dispatch], *, everything: bool) -> None:
        """What a claim has brought; ``everything``: it had looked at everything."""
        if everything:
            now = monotonic()
            self._next_everything = now + rest(now - self._began, SHARE, EVERYTHING_EVERY, LONGEST)
        newest: dict[str, float] = {}
        for dispatch in claimed:
            since = self._began - (dispatch.waited or 0.0)  # we began before the claim: never too short a reach
            newest[dispatch.stage] = max(since, newest.get(dispatch.stage, since))
        self._due_since |= newest

    def forget(self) -> None:
        """Look at everything next."""
        self._due_since.clear()
