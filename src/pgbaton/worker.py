"""The worker's periodic duties: keep its lease, rescue what others (or it itself) lost, prune history."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

from pgbaton import telemetry
from pgbaton.dispatcher import Dispatcher
from pgbaton.events import Event, EventLog
from pgbaton.loops import Wake, every
from pgbaton.model import Dispatch, Pipeline, State
from pgbaton.outcome import Decision, decide_lost, decide_overdue
from pgbaton.store import RECONCILE_PAGE, Store

RESCUE_EVERY = 1.0
PRUNE_EVERY = 60.0
PAGE = 200

Read = Callable[[int], Awaitable[list[Dispatch]]]
"""A page of dispatches behind an id, in the order of ids."""
Sift = Callable[[list[Dispatch]], Awaitable[list[Dispatch]]]


def worker_name() -> str:
    """``host:pid``, for people; the table tells workers apart by their ids."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Worker:
    """Holds the lease row of one dispatcher. ``lease``, ``retention`` and ``reconcile_every`` are in seconds.

    The lease store has a connection of its own, so that a busy pool never costs the lease.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        lease_store: Store,
        dispatcher: Dispatcher,
        wake: Wake,
        log: EventLog,
        *,
        capacity: int,
        lease: float,
        retention: float,
        reconcile_every: float,
    ) -> None:
        self._pipeline = pipeline
        self._store = store
        self._lease_store = lease_store
        self._dispatcher = dispatcher
        self._wake = wake
        self._log = log
        self._capacity = capacity
        self._lease = lease
        self._retention = retention
        self._reconcile_every = reconcile_every
        self._reconciled_to: str | None = None
        self._draining = False

    async def run(self, stop: asyncio.Event) -> None:
        """All duties until ``stop``."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(every(self._lease / 3, self.renew, stop, self._log, "lease"))
            tasks.create_task(every(RESCUE_EVERY, self.rescue, stop, self._log, "rescue"))
            tasks.create_task(every(RESCUE_EVERY, self.reclaim, stop, self._log, "reclaim", costly=True))
            tasks.create_task(every(PRUNE_EVERY, self.prune, stop, self._log, "prune"))
            if self._reconcile_every > 0:
                tasks.create_task(every(self._reconcile_every, self.reconcile, stop, self._log, "reconcile"))

    async def renew(self) -> None:
        """Renew the lease, or take a new one where there is none."""
        worker = self._dispatcher.worker
        if worker is not None and await self._lease_store.renew(worker, self._lease, self._draining):
            return
        if self._draining:
            return  # who is about to leave, or has left, takes no new lease
        if worker is not None:
            telemetry.LEASES_LOST.labels(self._pipeline.name).inc()
        self._dispatcher.worker = await self._lease_store.register(worker_name(), self._capacity, self._lease)
        self._log.info(Event.WORKER_STARTED, worker=self._dispatcher.worker, name=worker_name())
        self._wake.set()

    async def drain(self) -> None:
        """Show in the lease row that this worker claims nothing more."""
        self._draining = True
        await self.renew()

    async def leave(self) -> None:
        """Give the lease up; nothing may be in this worker's hands any more."""
        worker, self._dispatcher.worker = self._dispatcher.worker, None
        if worker is not None:
            await self._lease_store.leave(worker)

    async def rescue(self) -> None:
        """Take back what lost its worker, and give up stages that worked past their deadline; by the row."""
        worker = self._dispatcher.worker or 0

        async def orphans(after: int) -> list[Dispatch]:
            return await self._store.orphans(worker, None, after, PAGE)

        async def not_in_hand(page: list[Dispatch]) -> list[Dispatch]:
            # Under a lease that we had before, perhaps: then nobody need call it again.
            return self._dispatcher.not_in_hand(page)

        async def overdue(after: int) -> list[Dispatch]:
            return await self._store.overdue(after, PAGE)

        await self._store.absorb(PAGE)
        await self._store.unpark(PAGE)
        await self._take_back(orphans, not_in_hand)
        await self._settle_pages(overdue, lambda d: decide_overdue(self._pipeline.stage(d.stage), d.row))

    async def reclaim(self) -> None:
        """Take back what the table gives to this worker and is not in its hands. This look steps over all that the
        worker has claimed and vacuum has not cleared away, which may be much."""
        worker = self._dispatcher.worker or 0

        async def given(after: int) -> list[Dispatch]:
            return await self._store.orphans(worker, self._dispatcher.held, after, PAGE)

        async def unknown(page: list[Dispatch]) -> list[Dispatch]:
            mine = [d for d in page if d.worker == worker]
            return await self._dispatcher.unknown(mine) if mine else []

        await self._take_back(given, unknown)

    async def _take_back(self, read: Read, sift: Sift) -> None:
        def judge(dispatch: Dispatch) -> Decision:
            return decide_lost(self._pipeline.stage(dispatch.stage), dispatch.row)

        for dispatch in await self._settle_pages(read, judge, sift):
            telemetry.RESCUED.labels(self._pipeline.name).inc()
            self._log.warning(
                Event.DISPATCH_RESCUED,
                job_id=dispatch.job_key,
                stage=dispatch.stage,
                attempt=dispatch.attempt,
                dispatch=dispatch.id,
                worker=dispatch.worker,
            )

    async def _settle_pages(
        self, read: Read, judge: Callable[[Dispatch], Decision], sift: Sift | None = None
    ) -> list[Dispatch]:
        """Settle page after page, or what ``sift`` leaves of each; a page full of rows that somebody holds does not
        keep us from the next."""
        settled: list[Dispatch] = []
        after = 0
        while True:
            page = await read(after)
            found = await sift(page) if sift and page else page
            states = await self._store.settle([(d, judge(d)) for d in found]) if found else {}
            settled += [d for d in found if d.id in states]
            for dead in (d for d in found if states.get(d.id) is State.DEAD):
                telemetry.DEAD.labels(self._pipeline.name, dead.stage).inc()
            if states:
                self._wake.set()
            if len(page) < PAGE:
                return settled
            after = page[-1].id

    async def reconcile(self) -> None:
        """Look at the next page of the user's table for routed rows that no trigger saw. Gently: one page a time."""
        page = await self._store.unreconciled(self._reconciled_to, RECONCILE_PAGE)
        self._reconciled_to = page.last
        if page.missing:
            for job, stage in await self._store.reconcile([job for job, _ in page.missing]):
                self._log.warning(Event.DISPATCH_MISSING, job_id=job, stage=stage)

    async def prune(self) -> None:
        """Forget settled dispatches that are older than the retention."""
        while await self._store.prune(self._retention) >= 1000:
            await asyncio.sleep(0)
