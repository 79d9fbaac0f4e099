"""One broadcast for a process: something changed, look again.

A connection of its own LISTENs; its notifications are coalesced and told to every viewer, at least :data:`FASTEST`
apart. Notifications are hints here too: every :data:`STEADY` seconds (:data:`UNHEARD` where no notification can arrive)
viewers are told to look again anyway, because ages grow and not every change is announced. Without viewers the page
costs the database one idle connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import asyncpg

from pgbaton import sql
from pgbaton.backoff import Backoff
from pgbaton.counted import Counted
from pgbaton.database import connect, pooled
from pgbaton.errors import DatabaseError
from pgbaton.events import Event, EventLog, describe
from pgbaton.model import WAKE_CHANNEL
from pgbaton.web.data import Source
from pgbaton.worker.periodic import Wake

FASTEST = 0.25
"""Seconds between two times that viewers are told, at least."""
STEADY = 1.0
"""Seconds after which viewers are told to look again, though no notification came: ages grow."""
UNHEARD = 2.0
"""The same where no notification can arrive: each look is then a guess."""
PROOF_EVERY = 5.0
"""Seconds between two round trips that prove the connection alive."""
MOST_VIEWERS = 500
"""Open pages of one process; each holds one connection of its browser."""


class Viewer:
    """One open page. News that it was not told yet is one flag, so a slow one costs no memory."""

    def __init__(self) -> None:
        self.wake = Wake()
        self.closed = False


class Broadcaster:
    """Tells every viewer that something changed. ``source`` is made to look again."""

    def __init__(self, listen_url: str, pipeline: str | None, source: Source, log: EventLog) -> None:
        self._listen_url = listen_url
        self._pipeline = pipeline
        self._source = source
        self._log = log
        self._viewers: set[Viewer] = set()
        self._wake = Wake()
        self.listening = False
        self.closed = False

    def __repr__(self) -> str:
        how = "listening" if self.listening else "polling"
        return (
            f"<Broadcaster {how}, {Counted(len(self._viewers)):# viewer|# viewers}{', closed' if self.closed else ''}>"
        )

    async def run(self) -> None:
        """Listen and tell until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._tell())

    def changed(self) -> None:
        """This process has made a change itself."""
        self._source.changed()
        self._wake.set()

    def close(self) -> None:
        """End every stream now and begin no new one: the server is going down."""
        self.closed = True
        for viewer in self._viewers:
            viewer.closed = True
            viewer.wake.set()

    @contextmanager
    def viewer(self) -> Iterator[Viewer | None]:
        """A place among the viewers; None where all are taken."""
        if self.closed or len(self._viewers) >= MOST_VIEWERS:
            yield None
            return
        viewer = Viewer()
        self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)

    async def _tell(self) -> None:
        while True:
            await self._wake.wait(STEADY if self.listening else UNHEARD)
            await asyncio.sleep(self._source.overview.rest)  # or they would be shown what was there before
            if self._viewers:
                await self._source.renew()
            for viewer in self._viewers:
                viewer.wake.set()
            await asyncio.sleep(FASTEST)

    async def _listen(self) -> None:
        backoff = Backoff(0.5, 10)
        while True:
            try:
                await self._listen_once(backoff)
            except (DatabaseError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                self._log.warning(Event.DATABASE_AWAY, loop="page", error=describe(error))
            finally:
                self.listening = False
            await asyncio.sleep(backoff.next())

    async def _listen_once(self, backoff: Backoff) -> None:
        conn = await connect(self._listen_url)
        ended = asyncio.Event()
        try:
            if pooled(conn):
                await asyncio.Event().wait()  # nothing is ever heard through a transaction pooler: poll
            conn.add_termination_listener(lambda _: ended.set())
            published = await conn.fetch(sql.read("read/channels.sql"), self._pipeline)
            for channel in (WAKE_CHANNEL, *(r["channel"] for r in published)):
                await conn.add_listener(channel, self._hear)
            self.listening = True
            backoff.reset()
            self.changed()
            while not ended.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(PROOF_EVERY):
                        await ended.wait()
                if not ended.is_set():
                    await conn.fetchval("SELECT 1", timeout=PROOF_EVERY)
        finally:
            conn.terminate()

    def _hear(self, _connection: asyncpg.Connection, _pid: int, _channel: str, _payload: str) -> None:
        self.changed()
