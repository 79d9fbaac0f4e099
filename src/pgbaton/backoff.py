"""How long to wait before trying again; pure but for the dice."""

from __future__ import annotations

import random
from collections.abc import Callable
from email.utils import parsedate_to_datetime

RETRY_CAP = 300.0
"""Seconds: the longest that a failed call waits to be called again."""


def full_jitter(times: int, cap: float = RETRY_CAP, dice: Callable[[], float] = random.random) -> float:
    """Seconds until a call that failed, or was put off, so many times is called again: up to 1, 2, 4 … ``cap``."""
    return dice() * min(cap, 2.0 ** (min(max(times, 1), 20) - 1))


class Backoff:
    """Delays in seconds that double from ``first`` to ``cap``, each with jitter of half its length.

    ``reset`` after a success: the next delay is about ``first`` again.
    """

    def __init__(self, first: float, cap: float, dice: Callable[[], float] = random.random) -> None:
        self._first, self._cap, self._dice = first, max(first, cap), dice
        self._tries = 0

    def next(self) -> float:
        whole = min(self._cap, self._first * 2.0 ** min(self._tries, 60))
        self._tries += 1
        return whole * (0.5 + 0.5 * self._dice())

    def reset(self) -> None:
        self._tries = 0


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """The delay that a ``Retry-After`` header asks for: seconds or an HTTP date (RFC 9110, 10.2.3).

    ``now`` is a Unix time. None for a header that is absent, unreadable or beyond reason.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
