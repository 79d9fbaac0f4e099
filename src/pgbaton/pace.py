"""How soon the next turn with the database may follow the last one.

A turn costs both sides the same whether it carries one answer or twenty. While many calls are under way, waiting for a
fifth of the time that a call takes anyway makes turns few and full; while few are, nothing is waited for.
"""

from __future__ import annotations

MANY = 8
"""So many calls under way are enough to let more answers gather."""
SHARE = 0.2
"""Of a call's mean duration, between the beginnings of two turns."""
MOST = 0.03
"""Seconds between the beginnings of two turns that are waited for at most, however slow the calls are."""
WEIGHT = 0.05
"""Of a call's duration in the mean."""


class Pace:
    """Of one dispatcher. Times are monotonic, in seconds."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._turned_at = 0.0

    def called(self, seconds: float) -> None:
        """A call took so long."""
        self._mean += WEIGHT * (seconds - self._mean)

    def turned(self, at: float) -> None:
        """A turn begins."""
        self._turned_at = at

    def pause(self, at: float, under_way: int) -> float:
        """For how long to wait before the next turn, with so many calls under way; not above 0: begin."""
        return self._turned_at + min(MOST, SHARE * self._mean) - at if under_way >= MANY else 0.0
