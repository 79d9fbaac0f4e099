"""A worker that has no file descriptor left (``ulimit -n``): it can connect to no stage, and no stage is to blame.

Its lease lives, for that connection is open already, so other workers would never take its calls over: it gives them
back, tells of it, and claims one call a second until one gets through.
"""

from __future__ import annotations

import os
import time

from pgbaton.database import NONE_LEFT

REST = 1.0
"""Seconds between two tries, and so the time after which a worker works again whose descriptors have come back."""
SAID_EVERY = 60.0
"""Seconds between two lines in the log: a worker with a few left meets the last one again and again."""


def refused_by_own_limit(said: str) -> bool:
    """Whether a connection was refused by this machine, not by the stage. ``said``: the client's cause; where looking
    up the stage's name failed it does not name the limit, so one descriptor is opened to see."""
    if any(f"(os error {number})" in said for number in NONE_LEFT):
        return True
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in NONE_LEFT
    return False


class Shortage:
    """How many calls one worker may claim, by whether its last ones found a descriptor."""

    def __init__(self) -> None:
        self._short = False
        self._tries_at = 0.0
        self._said_at = float("-inf")

    def room(self, room: int) -> int:
        """At most one call a second while there is a shortage."""
        if not self._short:
            return room
        now = time.monotonic()
        if now < self._tries_at:
            return 0
        self._tries_at = now + REST
        return min(1, room)

    def met(self) -> bool:
        """A call found no descriptor; returns whether the log is to say so."""
        now = time.monotonic()
        self._short, self._tries_at = True, now + REST
        if now < self._said_at + SAID_EVERY:
            return False
        self._said_at = now
        return True

    def over(self) -> None:
        """A call got through."""
        self._short = False
