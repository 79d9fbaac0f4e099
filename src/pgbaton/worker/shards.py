"""Workers in several databases in one process: a fleet for each, and none waits for another's database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from pgbaton.backoff import Backoff
from pgbaton.config import Settings
from pgbaton.database import report
from pgbaton.errors import ConfigError
from pgbaton.events import EventLog
from pgbaton.model import Pipeline
from pgbaton.worker import telemetry
from pgbaton.worker.fleet import Fleet

FIRST_RETRY, LONGEST_RETRY = 1.0, 30.0
"""Seconds, the first and the longest, until a database in which the workers could not start is tried again: they double
each time, and half of them is jitter. Half a minute is how long its operators may have to wait after they mended it."""


class Shards:
    """A :class:`Fleet` for each database of ``settings``, with connections, leases and gates of its own.

    A database that is away, not migrated or not attached is tried again, and said in the log; the others work on. Once
    started, a fleet outlives any absence of its database. Raises :class:`ConfigError`, from entering or from
    :meth:`wait`, where the pipelines cannot be worked on in any database.
    """

    def __init__(
        self, pipelines: Sequence[Pipeline], settings: Mapping[str, Settings], log: EventLog | None = None
    ) -> None:
        self._pipelines = pipelines
        self._settings = settings
        self._log = log
        self._fleets = {name: Fleet(pipelines, one, log) for name, one in settings.items()}
        self._stopping = asyncio.Event()
        self._keeping: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Whether any database has its workers: this process is of use."""
        return any(fleet.ready for fleet in self._fleets.values())

    def stop(self) -> None:
        """Begin to drain all; leaving the context waits for the end of it."""
        self._stopping.set()
        for fleet in self._fleets.values():
            fleet.stop()

    async def __aenter__(self) -> Self:
        self._keeping = [asyncio.create_task(self._keep(name)) for name in self._settings]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        await asyncio.gather(*self._keeping, return_exceptions=True)

    async def wait(self) -> None:
        """Until all have stopped. Where the configuration is wrong all drain, and it is raised."""
        try:
            await asyncio.wait(self._keeping, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self.stop()
        for kept in self._keeping:
            await kept

    async def _keep(self, name: str) -> None:
        """Have a fleet in one database until told to stop."""
        backoff = Backoff(FIRST_RETRY, LONGEST_RETRY)
        while not self._stopping.is_set():
            fleet = self._fleets[name]
            try:
                async with fleet:
                    backoff.reset()
                    telemetry.AT_WORK.labels().set(1)
                    await fleet.wait()
            except ConfigError:
                raise
            except Exception as error:
                report(self._log or EventLog(self._settings[name].log_language), "start", error)
            telemetry.AT_WORK.labels().set(0)
            if not self._stopping.is_set():
                self._fleets[name] = Fleet(self._pipelines, self._settings[name], self._log)
                await self._rest(backoff.next())

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
