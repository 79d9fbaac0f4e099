"""The connections of one process, shared by the workers in it, one for each pipeline.

Seven at most, however many pipelines: one for the claims, two for verdicts, one for leases, one for rare statements,
one to LISTEN, one for the gates.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

import asyncpg

from pgbaton.config import Settings
from pgbaton.database import check_migrated, connection, pooled
from pgbaton.database import pool as pool_of
from pgbaton.errors import DatabaseError
from pgbaton.events import Event, EventLog
from pgbaton.worker.gate import Gatekeeper
from pgbaton.worker.listener import Listener

POLL_UNHEARD = 1.0
"""Seconds between two polls at most while no notification can arrive."""


class Sessions:
    """Open from entering to leaving. ``rare``: for statements that are made now and then; ``turns``: for claims, so
    that none waits for a slow statement; ``rest``: for verdicts; ``leases``: for leases. ``listener`` and ``gates``:
    None where no notification can be heard.

    Entering raises :class:`DatabaseError` where the database is not ready.
    """

    rare: asyncpg.Pool
    turns: asyncpg.Pool
    rest: asyncpg.Pool
    leases: asyncpg.Pool
    listener: Listener | None = None
    gates: Gatekeeper | None = None

    moved: list[Callable[[], None]]
    """Called when a session for turns has ended. The next may be with another server, whose newest commits are lost
    after a failover, ids among them: a lease that was taken before may be another worker's there."""

    def __init__(self, settings: Settings, log: EventLog) -> None:
        self._settings = settings
        self._log = log
        self._stack = contextlib.AsyncExitStack()
        self.moved = []

    async def __aenter__(self) -> Self:
        dsn = self._settings.dsn()
        async with connection(dsn) as conn:
            await check_migrated(conn)
            through_pooler = pooled(conn)
        async with contextlib.AsyncExitStack() as stack:
            self.rare = await _opened(stack, pool_of(dsn, 1, through_pooler=through_pooler))
            self.turns, self.rest = [
                await _opened(stack, pool_of(dsn, size, through_pooler=through_pooler, steady_plans=True, ended=ended))
                for size, ended in ((1, self._tell), (2, None))
            ]
            # A lease that cannot be renewed over one connection is tried over another before it lapses.
            patience = max(1.0, self._settings.lease / 3)
            self.leases = await _opened(
                stack, pool_of(dsn, 1, through_pooler=through_pooler, query_timeout=patience, steady_plans=True)
            )
            url = await self._listen_url(through_pooler)
            if url is not None:
                self.listener = Listener(url, (), self._log, self._settings.reconnect_delay)
                self.gates = Gatekeeper(url, self._log)
                for part in (self.listener, self.gates):
                    stack.push_async_callback(_ended, asyncio.create_task(part.run()))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _tell(self, _session: object) -> None:
        for tell in self.moved:
            tell()

    def cut(self) -> None:
        """The last resort of a shutdown: a silent database answers neither a cancellation nor a connection's close."""
        for pool in (self.rare, self.turns, self.rest, self.leases):
            pool.terminate()

    async def _listen_url(self, through_pooler: bool) -> str | None:
        """Where to LISTEN; None where only a transaction pooler is reached, through which nothing is ever heard."""
        url = self._settings.listen_dsn()
        if url is not None:
            with contextlib.suppress(DatabaseError):  # not there just now: the listener will try again and say so
                async with connection(url) as conn:
                    through_pooler = pooled(conn)
        if through_pooler:
            self._log.warning(Event.POOLER_IN_PATH, poll=min(self._settings.poll, POLL_UNHEARD))
            return None
        return url or self._settings.dsn()


async def _opened(stack: contextlib.AsyncExitStack, pool: asyncpg.Pool) -> asyncpg.Pool:
    """A pool that is closed with ``stack``; a connection that does not answer any more is no fault of the worker's."""
    await pool

    async def close() -> None:
        with contextlib.suppress(TimeoutError, OSError, asyncpg.InterfaceError, asyncpg.PostgresError):
            await pool.close()  # a connection that it cannot close it terminates

    stack.push_async_callback(close)
    return pool


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
