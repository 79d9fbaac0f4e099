"""The gate: a sleeping worker holds (or waits for) an advisory lock; a writer notifies only when it cannot share it.

A NOTIFY costs every writer dearly (all of a server's commits that notify wait for one another), and a worker that is
busy needs none. The gate of a pipeline is one advisory lock, with no flag that could go stale:

- a worker whose claim came back short closes the gate: it asks for the lock exclusively. Once it has the lock, it
  claims once more, and then it sleeps;
- the trigger tries to share the lock until its commit. If it can, it does not notify: no worker sleeps, and none can
  fall asleep before this commit. If it cannot, because a worker holds the lock or waits for it, it notifies;
- a worker that is busy, or has no free slot, opens the gate. A dead worker's lock frees itself.

With 32 writers and nothing due, writers have 0.59 of their speed without a trigger, against 0.16 where every change
notifies (docs/benchmarks.md). Of several sleepers one holds the gate and starts at once when a NOTIFY comes; the others
follow a little later, or all of them would claim the same job. models/gate.pml checks it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random

import asyncpg

from pgbaton import sql
from pgbaton.backoff import Backoff
from pgbaton.database import CONNECT_TIMEOUT, connect, prove_alive, report
from pgbaton.events import EventLog
from pgbaton.worker.periodic import RETRY_CAP, Wake

PATIENCE = 5.0
"""Seconds that one request for the lock waits: a waiting request holds a snapshot, and so VACUUM back."""
PATIENCE_EACH = 0.25
"""Seconds, in place of PATIENCE, where the connection has the gates of several pipelines to see to: while it waits for
one it cannot close another, and a duty of that pipeline may be found so much later."""
REST = 1.0
"""Seconds until the keeper of several pipelines' gates asks again for those that other workers hold: as long as they
do, writers notify."""
FULL_TURNS = 3
"""Full claims in a row after which a worker is busy."""
FOLLOW = (0.05, 0.15)
"""Seconds, from and to: after this time, drawn at random, a worker that does not hold the gate follows the one that
does."""


class Gate:
    """The gate as one worker sees it; ``wake`` is set once it is closed, and by :meth:`heard`.

    Until a :class:`Gatekeeper` runs, and whenever the database is away, it is not held; no duty is lost by that, for
    workers poll.
    """

    def __init__(self, pipeline: str, wake: Wake, changed: asyncio.Event) -> None:
        self.pipeline = pipeline
        self._wake = wake
        self._changed = changed
        self._full_turns = 0
        self._wanted = False
        self._following: asyncio.TimerHandle | None = None
        self.held = False
        """Whether this worker has the lock."""
        self.others_hold = True
        """Whether another worker had it when this one asked last."""
        self.left = False
        """Whether its worker has ended."""

    def __repr__(self) -> str:
        return f"<Gate {'held' if self.held else 'wanted' if self._wanted else 'open'}>"

    @property
    def is_open(self) -> bool:
        """Whether this worker is busy, and needs no NOTIFY."""
        return not self._wanted

    def close(self) -> None:
        """The last claim came back short: from now on a writer has to notify."""
        self._full_turns = 0
        if not self._wanted:
            self._wanted = True
            self._changed.set()
            if self.held:  # opened and closed before the keeper came to it: what was heard meanwhile was not heeded
                self._wake.set()

    def came_full(self) -> None:
        """A claim brought as much as it could; after a few of these the worker is busy."""
        self._full_turns += 1
        if self._full_turns >= FULL_TURNS:
            self.open()

    def open(self) -> None:
        """The worker is busy, or has no free slot: no NOTIFY is of use to it."""
        if self._wanted:
            self._wanted = False
            self._changed.set()

    def closed(self) -> None:
        """This worker has got the lock."""
        self.held = self.others_hold = True
        # Closed first, then one more claim: it finds the duties that were committed without a NOTIFY.
        self._wake.set()

    def heard(self) -> None:
        """A NOTIFY came: wake now, or a little later where another worker holds the gate and starts at once.

        Not while the gate is open: a busy worker claims again anyway, and sleeps only once the gate is closed.
        """
        if not self._wanted:
            return
        if self.held or not self.others_hold:
            self._wake.set()
        elif self._following is None:
            delay = random.uniform(*FOLLOW)  # noqa: S311  (a pause, not a secret)
            self._following = asyncio.get_running_loop().call_later(delay, self._follow)

    def _follow(self) -> None:
        self._following = None
        self._wake.set()


class Gatekeeper:
    """Closes and opens the gates of one process, over one connection."""

    def __init__(self, database_url: str, log: EventLog) -> None:
        self._database_url = database_url
        self._log = log
        self._changed = asyncio.Event()
        self._gates: list[Gate] = []

    def gate(self, pipeline: str, wake: Wake) -> Gate:
        """One more gate."""
        gate = Gate(pipeline, wake, self._changed)
        self._gates.append(gate)
        return gate

    def forget(self, gate: Gate) -> None:
        """The worker of this gate has ended."""
        gate.open()
        gate.left = True

    async def run(self) -> None:
        """Until cancelled, however often the connection drops."""
        backoff = Backoff(0.1, RETRY_CAP)
        while True:
            try:
                conn = await connect(self._database_url)
                try:
                    backoff.reset()
                    await self._tend(conn)
                finally:
                    for gate in self._gates:
                        gate.held = False
                    conn.terminate()
            except Exception as error:
                report(self._log, "gate", error)
                await asyncio.sleep(backoff.next())

    async def _tend(self, conn: asyncpg.Connection) -> None:
        patience = 0.0
        while True:
            if patience != (patience := PATIENCE if len(self._gates) < 2 else PATIENCE_EACH):
                await conn.execute(f"SET lock_timeout = {int(patience * 1000)}")
            self._changed.clear()
            for gate in self._gates:
                if gate.held and gate.is_open:
                    gate.held = False
                    await conn.fetchval(sql.read("worker/open_gate.sql"), gate.pipeline)
            self._gates = [gate for gate in self._gates if not gate.left]
            for gate in [gate for gate in self._gates if not gate.held and not gate.is_open]:
                await self._ask(conn, gate)
            left = [gate for gate in self._gates if not gate.held and not gate.is_open]
            if not left:
                await prove_alive(conn, self._changed)
            elif len(self._gates) > 1 and all(gate.others_hold for gate in left):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(REST):
                        await self._changed.wait()

    async def _ask(self, conn: asyncpg.Connection, gate: Gate) -> None:
        """Ask for the lock exclusively, for a while; meanwhile writers notify."""
        try:
            async with asyncio.timeout(PATIENCE + CONNECT_TIMEOUT):
                await conn.fetchval(sql.read("worker/close_gate.sql"), gate.pipeline)
        except asyncpg.LockNotAvailableError:
            # Another sleeper has it, or a writer whose transaction is long: then no worker starts before this one.
            gate.others_hold = bool(await conn.fetchval(sql.read("worker/gate_held.sql"), gate.pipeline))
        else:
            gate.closed()


class NoGate:
    """In place of a gate where no notification can be heard: the worker polls."""

    is_open = True

    def close(self) -> None:
        pass

    def open(self) -> None:
        pass

    def came_full(self) -> None:
        pass
