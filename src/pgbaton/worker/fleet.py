"""Workers for several pipelines in one process, over the connections of one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from pgbaton.config import Settings
from pgbaton.errors import ConfigError
from pgbaton.events import EventLog
from pgbaton.model import Pipeline
from pgbaton.shard import DATABASE
from pgbaton.worker.engine import Engine
from pgbaton.worker.sessions import Sessions


class Fleet:
    """A worker for each of ``pipelines``, started and drained together; ``settings.capacity`` is that of each.

    Raises :class:`ConfigError` where two have one name. Entering raises as :class:`Engine` does; where one pipeline is
    not ready, all are drained again.
    """

    def __init__(self, pipelines: Sequence[Pipeline], settings: Settings, log: EventLog | None = None) -> None:
        log = log or EventLog(settings.log_language)
        twice = [name for name, times in Counter(p.name for p in pipelines).items() if times > 1]
        if twice:
            raise ConfigError(f"--config: the pipeline {twice[0]!r} is in two of the files")
        if settings.stages is not None and len(pipelines) > 1:
            raise ConfigError("--stages: names stages of one pipeline, and there are several --config")
        self._database = settings.database or ""
        self._sessions = Sessions(settings, log)
        self._engines = [Engine(pipeline, settings, log, sessions=self._sessions) for pipeline in pipelines]
        self._stack = contextlib.AsyncExitStack()
        self._started = False

    @property
    def ready(self) -> bool:
        """Whether all have started, are at work and hear what is written (or poll by their configuration)."""
        return self._started and all(e.running and e.listening is not False for e in self._engines)

    def stop(self) -> None:
        """Begin to drain all; leaving the context waits for the end of it."""
        for engine in self._engines:
            engine.stop()

    async def __aenter__(self) -> Self:
        DATABASE.set(self._database)  # for all tasks of it
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._sessions)
            for engine in self._engines:
                await stack.enter_async_context(engine)
                stack.callback(self.stop)  # left one after the other, but drained at once
            self._stack = stack.pop_all()
        self._started = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        await self._stack.__aexit__(kind, error, trace)

    async def wait(self) -> None:
        """Until all have stopped. Where one was stopped by an error the others drain, and it is raised."""
        waits = [asyncio.ensure_future(engine.wait()) for engine in self._engines]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self.stop()
        for waited in waits:
            await waited
