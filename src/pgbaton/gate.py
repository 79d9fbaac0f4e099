"""The gate: who sleeps says so, and only then a writer has to wake somebody.

A NOTIFY costs every writer dearly (all of a server's commits that notify wait for one another), and a worker that has
enough to do needs none. The gate of a pipeline is one advisory lock, with no flag that could go stale:

- a worker whose claim came back short closes the gate: it asks for the lock alone. Once it has it, it claims once
  more, and then it sleeps;
- the trigger tries to share the lock until its commit (``pgbaton.nobody_sleeps``). If it can, no worker sleeps, and
  none can fall asleep before this commit is there to be claimed: no NOTIFY. If it cannot, be it that somebody only
  waits for the lock, it notifies;
- a worker that has enough to do, or whose hands are full, opens the gate. A dead one's lock frees itself.

Of several sleepers one holds the gate and starts at once when something is heard; the others follow a little later,
lest all of them claim the same job. docs/reliability.md says how this is checked.
"""

from __future__ import annotations

import asyncio
import random

import asyncpg

from pgbaton import sql
from pgbaton.backoff import Backoff
from pgbaton.database import CONNECT_TIMEOUT, PROOF_EVERY, connect, prove_alive
from pgbaton.events import Event, EventLog, describe
from pgbaton.loops import RETRY_CAP, Wake

PATIENCE = 5.0
"""Seconds that one request waits. A request that waits keeps vacuum from what died after it began."""
FULL_TURNS = 3
"""So many full claims in a row are enough to do."""
FOLLOW = (0.05, 0.15)
"""Seconds, from and to: when a worker that does not hold the gate follows the one that does."""


class Gate:
    """The gate as one worker sees it; ``wake`` is set once it is closed, and by :meth:`heard`.

    Until :meth:`run` runs, and whenever the database is away, it is not held, and nothing is lost by it: everybody
    polls.
    """

    def __init__(self, database_url: str, pipeline: str, wake: Wake, log: EventLog) -> None:
        self._database_url = database_url
        self._pipeline = pipeline
        self._wake = wake
        self._log = log
        self._closing = Wake()
        self._opening = asyncio.Event()
        self._full_turns = 0
        self._wanted = False
        self._others_hold = True
        self._following: asyncio.TimerHandle | None = None
        self.held = False

    def __repr__(self) -> str:
        return f"<Gate {'held' if self.held else 'wanted' if self._wanted else 'open'}>"

    @property
    def is_open(self) -> bool:
        """Whether this worker has enough to do and does not listen for more."""
        return not self._wanted

    def close(self) -> None:
        """The last claim came back short: nobody may write unheard from now on."""
        self._full_turns = 0
        if not self._wanted:
            self._wanted = True
            self._opening.clear()
            self._closing.set()

    def came_full(self) -> None:
        """A claim brought as much as it could; after some of these nobody needs to wake us."""
        self._full_turns += 1
        if self._full_turns >= FULL_TURNS:
            self.open()

    def open(self) -> None:
        """Nobody needs to wake us: there is enough to do, or nothing that we could take on."""
        self._wanted = False
        self._opening.set()

    def heard(self) -> None:
        """Something was notified: wake now, or a little later where another worker is the one to start at once.

        Not while the gate is open: whoever has enough to do claims again anyway, and sleeps only once it is closed.
        """
        if not self._wanted:
            return
        if self.held or not self._others_hold:
            self._wake.set()
        elif self._following is None:
            delay = random.uniform(*FOLLOW)  # noqa: S311  (nobody is to be surprised by it)
            self._following = asyncio.get_running_loop().call_later(delay, self._follow)

    def _follow(self) -> None:
        self._following = None
        self._wake.set()

    async def run(self) -> None:
        """Close and open the gate as it is wanted, until cancelled, however often the connection drops."""
        backoff = Backoff(0.1, RETRY_CAP)
        while True:
            try:
                conn = await connect(self._database_url)
                try:
                    await conn.execute(f"SET lock_timeout = {int(PATIENCE * 1000)}")
                    backoff.reset()
                    await self._tend(conn)
                finally:
                    self.held = False
                    conn.terminate()
            except Exception as error:
                self._log.warning(Event.DATABASE_AWAY, loop="gate", error=describe(error))
                await asyncio.sleep(backoff.next())

    async def _tend(self, conn: asyncpg.Connection) -> None:
        while True:
            while not self._wanted:
                await self._closing.wait(PROOF_EVERY)
            if not await self._ask(conn):
                continue
            self.held = self._others_hold = True
            self._wake.set()  # closed first, then one more claim: what was written unheard is found by it
            while self._wanted:
                await prove_alive(conn, self._opening)
            self.held = False
            await conn.fetchval(sql.read("queries/open_gate.sql"), self._pipeline)

    async def _ask(self, conn: asyncpg.Connection) -> bool:
        """Ask for the lock alone, for a while; while we do, whoever writes notifies."""
        try:
            async with asyncio.timeout(PATIENCE + CONNECT_TIMEOUT):
                await conn.fetchval(sql.read("queries/close_gate.sql"), self._pipeline)
        except asyncpg.LockNotAvailableError:
            # Another sleeper has it, or only a writer whose transaction is long: then nobody starts before us.
            self._others_hold = bool(await conn.fetchval(sql.read("queries/gate_held.sql"), self._pipeline))
            return False
        return True
