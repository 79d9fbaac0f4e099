"""LISTEN on one connection of its own and wake the dispatcher; polling remains while it cannot.

A notification is a hint. The callback only counts, keeps the payload for the log and sets a flag.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg

from pgbaton.backoff import Backoff
from pgbaton.database import CONNECT_TIMEOUT, connect, prove_alive
from pgbaton.events import Event, EventLog, describe
from pgbaton.model import WAKE_CHANNEL
from pgbaton.worker import telemetry
from pgbaton.worker.periodic import Wake

DELAY_CAP = 60.0
"""Seconds between two tries to connect, at most; until then workers poll."""
LONGEST_FIELD = 200
"""Characters of a notification's field that the log repeats."""


@dataclass(eq=False, slots=True)
class Hearer:
    """One pipeline that is to be told. ``wake`` is set when the listener begins to listen, and for each notification on
    ``channel`` or by the engine's own signal for the pipeline; ``heard``, where given, is called in its place."""

    pipeline: str
    channel: str | None
    wake: Wake
    heard: Callable[[], None] | None = None

    def hear(self) -> None:
        (self.heard or self.wake.set)()


class Listener:
    """Listens for the pipelines of one process, over one connection, until cancelled, however often that drops.

    ``reconnect_delay`` is the first delay in seconds; it grows with jitter up to 60 s and starts over after a
    good connection.
    """

    def __init__(self, database_url: str, ears: Sequence[Hearer], log: EventLog, reconnect_delay: float) -> None:
        self._database_url = database_url
        self._ears: list[Hearer] = []
        self._log = log
        self._backoff = Backoff(reconnect_delay, DELAY_CAP)
        self._heard: deque[tuple[str, int]] = deque(maxlen=1000)
        self._spoken_to = asyncio.Event()
        self._conn: asyncpg.Connection | None = None
        self.connected = False
        for ear in ears:
            self._take(ear)

    def _take(self, ear: Hearer) -> None:
        self._ears.append(ear)
        for counter in (telemetry.EVENTS, telemetry.RECONNECTS):
            counter.labels(ear.pipeline)  # 0 until there is one
        telemetry.CONNECTED.labels(ear.pipeline).set(self.connected)

    async def add(self, ear: Hearer) -> None:
        """Listen for one more pipeline."""
        self._take(ear)
        conn = self._conn  # another, or none, by the time that this one fails
        if conn is not None and ear.channel is not None:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    await conn.add_listener(ear.channel, self._hear)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                conn.terminate()  # the next connection listens to all
        ear.wake.set()

    def remove(self, ear: Hearer) -> None:
        """The worker of this pipeline has ended."""
        self._ears.remove(ear)

    @property
    def _channels(self) -> list[str]:
        return list(dict.fromkeys(ear.channel for ear in self._ears if ear.channel is not None))

    @property
    def _named(self) -> str | None:
        return ", ".join(self._channels) or None

    def __repr__(self) -> str:
        return f"<Listener {self._named!r} {'connected' if self.connected else 'disconnected'}>"

    async def run(self) -> None:
        """Connect, listen, prove alive; again and again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_log())
            while True:
                try:
                    await self._listen_once()
                except Exception as error:
                    self._log.error(Event.LISTENER_FAILED, channel=self._named, error=describe(error))
                finally:
                    self._mark(connected=False)
                delay = self._backoff.next()
                self._log.warning(Event.LISTENER_RECONNECTING, channel=self._named, delay=delay)
                await asyncio.sleep(delay)
                for ear in self._ears:
                    telemetry.RECONNECTS.labels(ear.pipeline).inc()

    async def _listen_once(self) -> None:
        conn = await connect(self._database_url)
        ended = asyncio.Event()
        try:
            conn.add_termination_listener(lambda _: ended.set())
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await conn.add_listener(WAKE_CHANNEL, self._hear_wake)
                listened: set[str] = set()
                while missing := [channel for channel in self._channels if channel not in listened]:
                    await conn.add_listener(missing[0], self._hear)  # meanwhile another pipeline may have come
                    listened.add(missing[0])
            self._conn = conn
            self._backoff.reset()
            self._mark(connected=True)
            self._log.info(Event.LISTENER_CONNECTED, channel=self._named)
            for ear in self._ears:  # LISTEN first, then drain: a duty that was committed before is found by the claim
                ear.wake.set()
            await prove_alive(conn, ended)
            raise ConnectionError("the connection was closed")
        finally:
            self._conn = None
            conn.terminate()

    def _hear_wake(self, _connection: asyncpg.Connection, _pid: int, _channel: str, payload: str) -> None:
        for ear in self._ears:
            if ear.pipeline == payload:
                ear.hear()

    def _hear(self, _connection: asyncpg.Connection, pid: int, channel: str, payload: str) -> None:
        self._heard.append((payload, pid))
        self._spoken_to.set()
        for ear in self._ears:
            if ear.channel == channel:
                telemetry.EVENTS.labels(ear.pipeline).inc()
                ear.hear()

    def _mark(self, *, connected: bool) -> None:
        self.connected = connected
        for ear in self._ears:
            telemetry.CONNECTED.labels(ear.pipeline).set(connected)

    async def _write_log(self) -> None:
        while True:
            await self._spoken_to.wait()
            self._spoken_to.clear()
            while self._heard:
                payload, pid = self._heard.popleft()
                if self._log.says_info:
                    # Any role may send such a payload: the process id is the server's word, and pg_stat_activity tells
                    # its role.
                    self._log.info(Event.JOB_CHANGED, **event_fields(payload), notified_by=pid)
            await asyncio.sleep(0)


def event_fields(payload: str) -> dict[str, object]:
    """The known fields of an event's payload; any role may NOTIFY, so everything else is left out."""
    try:
        event = json.loads(payload)
    except (ValueError, RecursionError):
        return {"payload": "unreadable"}
    if not isinstance(event, dict):
        return {"payload": "unreadable"}
    names = ("job_id", "tenant_id", "current_step", "status")
    return {name: event[name][:LONGEST_FIELD] for name in names if isinstance(event.get(name), str)}
