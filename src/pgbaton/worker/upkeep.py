"""The periodic work of a worker: renew its lease, rescue, unpark, reconcile, prune, roll up."""

from __future__ import annotations

import asyncio

from pgbaton.events import Event, EventLog
from pgbaton.worker.lease import Lease
from pgbaton.worker.periodic import Wake, every
from pgbaton.worker.reports import Reports
from pgbaton.worker.resolver import Resolver
from pgbaton.worker.store import RECONCILE_PAGE, Store

RESCUE_EVERY = 1.0
"""Seconds between two looks for lost and overdue calls: a lost call waits for so much longer than its lease. The look
reads all calls; where it takes long it is made more rarely."""
PRUNE_EVERY = 60.0
"""Seconds between two times of pruning: rows stay for so much longer than the retention, which is in days."""
LIMITS_EVERY = 1.0
"""Seconds until a worker sees that a pipeline has got its first limit, or lost its last; until then it claims nothing
of the stages concerned."""
PUT_OFF_EVERY = 0.5
"""Seconds between two looks for duties whose ``not_before`` is in the future: a duty stands in a claim's way for so
long at most."""
PUT_OFF_PAGE = 1000
"""Duties that one statement makes calls that wait."""
ROLL_UP_EVERY = 60.0
"""Seconds between two looks for an hour that is over; rolling it up reads each of its dispatches once more."""
PAGE = 200
"""Jobs of one rescue, and calls of one unpark: a short transaction each."""


class Upkeep:
    """``retention`` and ``reconcile_every`` are in seconds. ``puts_off``: a column of the pipeline says before when a
    job is not called."""

    def __init__(
        self,
        store: Store,
        turns: Store,
        lease: Lease,
        resolver: Resolver,
        reports: Reports,
        wake: Wake,
        log: EventLog,
        *,
        retention: float,
        reconcile_every: float,
        puts_off: bool,
    ) -> None:
        self._puts_off = puts_off
        self._store = store
        self._turns = turns
        self._lease = lease
        self._resolver = resolver
        self._reports = reports
        self._wake = wake
        self._log = log
        self._retention = retention
        self._reconcile_every = reconcile_every
        self._reconciled_to: str | None = None
        self._forgotten_to = ""

    async def run(self, stop: asyncio.Event) -> None:
        """All of it until ``stop``."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(every(self._lease.seconds / 3, self._lease.renew, stop, self._log, "lease"))
            tasks.create_task(every(RESCUE_EVERY, self.rescue, stop, self._log, "rescue", costly=True))
            tasks.create_task(every(RESCUE_EVERY, self.unpark, stop, self._log, "unpark"))
            tasks.create_task(every(LIMITS_EVERY, self.see_limits, stop, self._log, "limits"))
            if self._puts_off:
                tasks.create_task(every(PUT_OFF_EVERY, self.put_off, stop, self._log, "put off"))
            tasks.create_task(every(PRUNE_EVERY, self.prune, stop, self._log, "prune"))
            tasks.create_task(every(ROLL_UP_EVERY, self.roll_up, stop, self._log, "roll-up", costly=True))
            if self._reconcile_every > 0:
                tasks.create_task(every(self._reconcile_every, self.reconcile, stop, self._log, "reconcile"))

    async def rescue(self) -> None:
        """Take back calls whose worker was lost, and give up stages that work beyond their time; by the row. Not
        just after the database was away."""
        after = ""
        while self._lease.rescues and (page := await self._store.lost(after, PAGE)):
            await self._resolver.resolve([], page)
            self._wake.set()
            if len(page) < PAGE:
                break
            after = page[-1]

    async def unpark(self) -> None:
        """Make calls due that were parked for tenants that were resumed."""
        if await self._store.unpark(PAGE):
            self._wake.set()

    async def put_off(self) -> None:
        """Let duties wait that are not to be called yet; a duty whose time came meanwhile is a call that is due."""
        while True:
            count, others = await self._store.put_off(PUT_OFF_PAGE)
            if others:
                await self._resolver.resolve([], others)
            if count:
                self._wake.set()
            if count < PUT_OFF_PAGE:
                return

    async def see_limits(self) -> None:
        """Claim as the pipeline's limits ask for, as they are now; and let those rise that answers 429 have lowered."""
        limits = await self._store.limits()
        if limits.governed != self._turns.governed:
            self._turns.governed = limits.governed
            self._wake.set()
        answered = self._reports.take_answered()
        if limits.learned and answered:
            await self._store.ease(answered)

    async def reconcile(self) -> None:
        """Look at the next page of the user's table for routed rows that no trigger saw; before, let those of the past
        that have moved be looked at like all others. Gently: one page a time."""
        self._forgotten_to = await self._store.forget_moved(self._forgotten_to, RECONCILE_PAGE)
        page = await self._store.unreconciled(self._reconciled_to, RECONCILE_PAGE)
        self._reconciled_to = page.last
        if page.missing:
            for job, stage in await self._store.reconcile([job for job, _ in page.missing]):
                self._log.warning(Event.DISPATCH_MISSING, job_id=job, stage=stage)

    async def prune(self) -> None:
        """Forget attempts that ended longer ago than the retention."""
        count, reached = await self._store.prune(self._retention)
        while count >= 1000:
            count, reached = await self._store.prune(self._retention, reached)

    async def roll_up(self) -> None:
        """Count the hours that are over, for the plots."""
        await self._store.begin_roll_up()
        while await self._store.roll_up():
            await asyncio.sleep(0)
