"""The lease of one worker: the name under which it claims.

A worker that cannot be sure of its lease, or of a claim's result, takes a new one. It keeps the attempts in its hands
under that name; other calls of the old lease are rescued as any lost worker's. So no worker ever looks for calls that
it may hold.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic

from pgbaton.config import MISSED
from pgbaton.database import ailment
from pgbaton.events import Event, EventLog, describe
from pgbaton.worker import telemetry
from pgbaton.worker.in_flight import InFlight
from pgbaton.worker.store import Store

TELL_EVERY = 2.0
"""Seconds between two times that a worker writes down what keeps it from its work; ``read/ailments.sql`` counts such a
row for 15 seconds, so it stands while the trouble lasts."""


def worker_name() -> str:
    """``host:pid``, for people; the table tells workers apart by their ids."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Lease:
    """``seconds``: its length. ``worker``: its id in the database; None before the first is taken. ``store`` has a
    connection of its own, so that a busy pool never costs the lease. ``describe`` is called with each new lease: it
    writes the worker's configuration there."""

    def __init__(
        self,
        pipeline: str,
        store: Store,
        in_flight: InFlight,
        log: EventLog,
        *,
        seconds: float,
        capacity: int,
        describe: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self.worker: int | None = None
        self.seconds = seconds
        self._pipeline = pipeline
        self._store = store
        self._in_flight = in_flight
        self._log = log
        self._capacity = capacity
        self._describe = describe
        self._until = self._confirmed = self._returned = 0.0
        self._doubtful = True
        self._draining = False
        self._securing = asyncio.Lock()
        self._told_until = 0.0

    def __repr__(self) -> str:
        return f"<Lease {self.worker}{', in doubt' if self._doubtful else ''}>"

    @property
    def holds(self) -> bool:
        """Whether this worker may claim: its lease is not in doubt, and has not lapsed by its own clock."""
        return not self._doubtful and monotonic() < self._until

    @property
    def rescues(self) -> bool:
        """Whether this worker may take calls that others hold under leases that lapsed. Where it missed a renewal
        itself, it leaves the others a lease's time to come back: the database may have been away for all, and on a
        standby that was promoted since, all leases look lapsed."""
        now = monotonic()
        return self._returned + self.seconds <= now <= self._confirmed + MISSED * self.seconds

    def doubt(self) -> None:
        """A claim's answer was lost, so the worker cannot know its calls: it takes a new lease before its next turn."""
        self._doubtful = True

    async def secure(self) -> None:
        """Take a lease where there is none, or none to rely on."""
        async with self._securing:
            if self._doubtful:
                await self._take()

    async def _take(self) -> None:
        began, old = monotonic(), self.worker
        fresh, kept = await self._store.take_lease(
            old, worker_name(), self._capacity, self.seconds, self._in_flight.held
        )
        self._in_flight.keep_only(kept)
        self.worker, self._doubtful = fresh, False
        self._confirm(began)
        if self._describe is not None:
            await self._describe(fresh)
        if old is not None:
            telemetry.LEASES_LOST.labels(self._pipeline).inc()
        self._log.info(Event.WORKER_STARTED, worker=fresh, name=worker_name(), instead_of=old)

    async def renew(self) -> None:
        """Renew it; where it has lapsed it is in doubt."""
        began, worker = monotonic(), self.worker
        if worker is None or self._doubtful:
            return
        renewed = await self._store.renew(worker, self.seconds, self._draining, self._in_flight.by_stage)
        if worker != self.worker:
            return
        if renewed:
            self._confirm(began)
        else:
            self._doubtful = True

    async def tell(self, error: Exception) -> None:
        """Write the error that keeps this worker from its work under its lease, where more than its log should tell of
        it: the page cannot see otherwise why a worker that lives does nothing."""
        code = ailment(error)
        if self.worker is None or code is None or monotonic() < self._told_until:
            return
        self._told_until = monotonic() + TELL_EVERY
        with suppress(Exception):
            await self._store.trouble(self.worker, code, describe(error))

    def _confirm(self, began: float) -> None:
        """The lease is good from ``began`` on, when it was asked for."""
        if self._confirmed and began > self._confirmed + MISSED * self.seconds:
            self._returned = monotonic()
        self._until, self._confirmed = began + self.seconds, began

    async def drain(self) -> None:
        """Show that this worker claims nothing more."""
        self._draining = True
        await self.renew()

    async def give_up(self) -> None:
        """Nothing is in this worker's hands any more."""
        if self.worker is not None:
            await self._store.give_up_lease(self.worker)
