"""LISTEN on one connection of its own and wake the dispatcher; polling remains while it cannot.

A notification is a hint. The callback only counts, keeps the payload for the log and sets a flag.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable

import asyncpg

from pgbaton.backoff import Backoff
from pgbaton.database import CONNECT_TIMEOUT, connect, prove_alive
from pgbaton.events import Event, EventLog, describe
from pgbaton.model import WAKE_CHANNEL
from pgbaton.worker import telemetry
from pgbaton.worker.periodic import Wake

DELAY_CAP = 60.0
LONGEST_FIELD = 200
"""Characters of a notification's field that the log repeats."""


class Listener:
    """Listens on the pipeline's ``channel``, and for the engine's own signal, until cancelled, however often the
    connection drops. ``wake`` is set when it begins to listen, and for everything that is heard unless ``heard`` is
    to be called for that.

    ``reconnect_delay`` is the first delay in seconds; it grows with jitter up to 60 s and starts over after a
    good connection.
    """

    def __init__(
        self,
        database_url: str,
        pipeline: str,
        channel: str | None,
        wake: Wake,
        log: EventLog,
        reconnect_delay: float,
        heard: Callable[[], None] | None = None,
    ) -> None:
        self._database_url = database_url
        self._pipeline = pipeline
        self._channel = channel
        self._wake = wake
        self._wake_by_ear = heard or wake.set
        self._log = log
        self._backoff = Backoff(reconnect_delay, DELAY_CAP)
        self._heard: deque[tuple[str, int]] = deque(maxlen=1000)
        self._spoken_to = asyncio.Event()
        self._events = telemetry.EVENTS.labels(pipeline)
        self._reconnects = telemetry.RECONNECTS.labels(pipeline)
        self._gauge = telemetry.CONNECTED.labels(pipeline)
        self.connected = False

    def __repr__(self) -> str:
        return f"<Listener {self._channel!r} {'connected' if self.connected else 'disconnected'}>"

    async def run(self) -> None:
        """Connect, listen, prove alive; again and again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_log())
            while True:
                try:
                    await self._listen_once()
                except Exception as error:
                    self._log.error(Event.LISTENER_FAILED, channel=self._channel, error=describe(error))
                finally:
                    self._mark(connected=False)
                delay = self._backoff.next()
                self._log.warning(Event.LISTENER_RECONNECTING, channel=self._channel, delay=delay)
                await asyncio.sleep(delay)
                self._reconnects.inc()

    async def _listen_once(self) -> None:
        conn = await connect(self._database_url)
        ended = asyncio.Event()
        try:
            conn.add_termination_listener(lambda _: ended.set())
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await conn.add_listener(WAKE_CHANNEL, self._hear_wake)
                if self._channel is not None:
                    await conn.add_listener(self._channel, self._hear)
            self._backoff.reset()
            self._mark(connected=True)
            self._log.info(Event.LISTENER_CONNECTED, channel=self._channel)
            self._wake.set()  # LISTEN first, then drain: a duty that was committed before is found by the claim
            await prove_alive(conn, ended)
            raise ConnectionError("the connection was closed")
        finally:
            conn.terminate()

    def _hear_wake(self, _connection: asyncpg.Connection, _pid: int, _channel: str, payload: str) -> None:
        if payload == self._pipeline:
            self._wake_by_ear()

    def _hear(self, _connection: asyncpg.Connection, pid: int, _channel: str, payload: str) -> None:
        self._events.inc()
        self._heard.append((payload, pid))
        self._spoken_to.set()
        self._wake_by_ear()

    def _mark(self, *, connected: bool) -> None:
        self.connected = connected
        self._gauge.set(connected)

    async def _write_log(self) -> None:
        while True:
            await self._spoken_to.wait()
            self._spoken_to.clear()
            while self._heard:
                payload, pid = self._heard.popleft()
                if self._log.says_info:
                    # Hearsay: the process that said so is the server's word, and pg_stat_activity tells whose it is.
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
