"""The id from which on a claim looks for duties.

A busy worker begins where its claims had come a moment ago. Duties that were taken stay in the index until VACUUM,
which an old snapshot keeps from its work, and a claim that begins at the oldest entry steps over all of them. A duty of
a transaction that lagged behind is found by the next look at everything.

Measured after a minute at full speed under one snapshot, 65,000 hops: 0.45 ms of Postgres a hop, and 1.1 ms without
this, which grew with every hop; 0.4 at the start of both. Without a snapshot it gains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic

from pgbaton.worker.periodic import rest

LAG = 0.3
"""Seconds: a transaction that commits no later than this behind others with larger ids is seen by the next claim; one
that lags more waits for a look at everything."""
EVERYTHING_EVERY = 0.25
"""Seconds between two looks at everything, at least."""
SHARE = 0.05
"""Share of a worker's time for looks at everything."""
LONGEST = 10.0
"""Seconds between two looks at everything, at most."""
CHEAP = 0.003
"""Seconds: while a look at everything takes no longer, a worker with little to do makes every claim such a look."""


class ClaimWindow:
    """Call :meth:`next` before each claim and :meth:`came` after it."""

    def __init__(self) -> None:
        self._since: dict[str, int] = {}
        self._newest: dict[str, int] = {}
        self._moved = 0.0
        self._began = 0.0
        self._next_everything = 0.0
        self._took = 0.0
        self._everything = True

    @property
    def is_everything(self) -> bool:
        """Whether the last claim looked at everything."""
        return self._everything

    def next(self, *, busy: bool = True) -> Mapping[str, int]:
        """The id to begin at, by stage; a stage that is missing: at the first. ``busy``: many calls are under way.

        A worker with few looks at everything, as long as that is cheap: it need not look again before it sleeps.
        """
        self._began = monotonic()
        if self._began > self._moved + LAG:
            self._since, self._newest, self._moved = self._newest, dict(self._newest), self._began
        quiet = not busy and self._took < CHEAP
        self._everything = quiet or not self._since or self._began >= self._next_everything
        return {} if self._everything else self._since

    def came(self, newest: Mapping[str, int]) -> None:
        """The claim has taken duties up to these ids."""
        if self._everything:
            now = monotonic()
            self._took = now - self._began
            self._next_everything = now + rest(self._took, SHARE, EVERYTHING_EVERY, LONGEST)
        for stage, newest_id in newest.items():
            self._newest[stage] = max(newest_id, self._newest.get(stage, 0))

    def widen(self) -> None:
        """Look at everything next."""
        self._next_everything = 0.0
