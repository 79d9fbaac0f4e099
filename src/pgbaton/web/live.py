"""One broadcast for a process: something changed, look again.

A connection of its own LISTENs; what it hears is coalesced and told to every viewer at most :data:`FASTEST` apart.
Notifications are hints here too: every :data:`STEADY` seconds (:data:`UNHEARD` where nothing can be heard) viewers
are told to look again anyway, because ages grow and not every change is announced. Nothing is told to nobody:
without viewers the page costs the database one idle connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import asyncpg
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pgbaton import sql
from pgbaton.backoff import Backoff
from pgbaton.database import connect, pooled
from pgbaton.errors import DatabaseError
from pgbaton.events import Event, EventLog, describe
from pgbaton.loops import Wake
from pgbaton.model import WAKE_CHANNEL
from pgbaton.web.source import Source

FASTEST = 0.25
STEADY = 1.0
UNHEARD = 2.0
PROOF_EVERY = 5.0
SLOW = 10.0
"""Seconds that a viewer may take to accept a few bytes; a slower one is dropped (and will come back)."""
LONGEST = 25.0
"""Seconds after which a stream ends and the browser opens the next: no server waits longer for a page to close."""
MOST_VIEWERS = 500


class Viewer:
    """One open page. What it was not told yet is one flag, so a slow one costs no memory."""

    def __init__(self) -> None:
        self.wake = Wake()
        self.closed = False


class Broadcaster:
    """Tells every viewer that something changed. What ``source`` shares is made to look again."""

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
        return f"<Broadcaster {how}, {len(self._viewers)} viewers{', closed' if self.closed else ''}>"

    async def run(self) -> None:
        """Listen and tell until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._tell())

    def changed(self) -> None:
        """Somebody in this process knows of a change."""
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
            published = await conn.fetch(sql.read("queries/channels.sql"), self._pipeline)
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


class Stream(Response):
    """The server-sent events of one viewer: ``changed``, and nothing else; no data of anybody's is in it."""

    def __init__(self, broadcaster: Broadcaster) -> None:
        super().__init__(media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._broadcaster = broadcaster

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._broadcaster.viewer() as viewer:
            if viewer is None:
                await Response(status_code=503, headers={"Retry-After": "5"})(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            talking = asyncio.create_task(self._talk(viewer, send))
            leaving = asyncio.create_task(_until_gone(receive))
            try:
                await asyncio.wait([talking, leaving], timeout=LONGEST, return_when=asyncio.FIRST_COMPLETED)
                slow = talking.done() and isinstance(talking.exception(), TimeoutError)
            finally:
                for task in (talking, leaving):
                    task.cancel()
                await asyncio.gather(talking, leaving, return_exceptions=True)
            if not slow and not (leaving.done() and not leaving.cancelled()):
                with suppress(TimeoutError, OSError):
                    async with asyncio.timeout(SLOW):
                        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _talk(self, viewer: Viewer, send: Send) -> None:
        message = b"retry: 1000\n\n"
        while True:
            async with asyncio.timeout(SLOW):
                await send({"type": "http.response.body", "body": message, "more_body": True})
            while not await viewer.wake.wait(LONGEST):
                pass
            if viewer.closed:
                return
            message = b"event: changed\ndata:\n\n"


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
