"""The one loop of all background work, and the flag that wakes a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from pgbaton.backoff import Backoff
from pgbaton.database import report
from pgbaton.events import EventLog

RETRY_CAP = 1.0
"""Seconds between two tries at most while the database is away: work goes on soon after it is back."""
SHARE = 0.1
"""Share of a worker's time for work that is costly."""
LONGEST = 5.0
"""Seconds for which costly work rests at most."""


def rest(took: float, share: float, least: float, most: float) -> float:
    """Pause in seconds after work that took ``took`` seconds, so that it uses at most ``share`` of the time; clamped to
    [``least``, ``most``]."""
    return max(least, min(most, took / share))


class Wake:
    """A flag that coalesces any number of wake-ups into one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, seconds: float) -> bool:
        """Wait until the flag is set, at most ``seconds``; takes the flag down. True if it was set."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


async def every(
    seconds: float,
    work: Callable[[], Awaitable[object]],
    stop: asyncio.Event,
    log: EventLog,
    name: str,
    *,
    costly: bool = False,
) -> None:
    """Do ``work`` again and again until ``stop``, ``seconds`` apart; after an error sooner, backing off. ``costly``:
    the longer it takes, the more rarely it is done.

    Catches every error of the work: a driver whose connection was cut can raise outside its own tree of errors, and the
    worker would not notice that a loop had died of it.
    """
    backoff = Backoff(0.1, min(seconds, RETRY_CAP))
    while not stop.is_set():
        began = monotonic()
        try:
            await work()
            pause = rest(monotonic() - began, SHARE, seconds, LONGEST) if costly else seconds
            backoff.reset()
        except Exception as error:
            report(log, name, error)
            pause = backoff.next()
        try:
            async with asyncio.timeout(pause):
                await stop.wait()
        except TimeoutError:
            continue
