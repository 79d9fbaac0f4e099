"""Workers for several pipelines in one process, over the connections of one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from pgbaton.config import Settings
from pgbaton.errors import ConfigError
from pgbaton.events import EventLog
from pgbaton.model import Pipeline
from pgbaton.shard import DATABASE
from pgbaton.worker.engine import Before, Engine
from pgbaton.worker.sessions import Sessions


class Fleet:
    """A worker for each of ``pipelines``, started and drained together; ``settings.capacity`` is that of each, and
    ``settings.stages`` names stages of any of them. ``before``: what each waits for before it claims.

    Raises :class:`ConfigError` where two have one name, and on a stage that none or more than one of them has. Entering
    raises as :class:`Engine` does; where one pipeline is not ready, all are drained again.
    """

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        settings: Settings,
        log: EventLog | None = None,
        *,
        before: Before | None = None,
    ) -> None:
        log = log or EventLog(settings.log_language)
        twice = [name for name, times in Counter(p.name for p in pipelines).items() if times > 1]
        if twice:
            raise ConfigError(f"--config: the pipeline {twice[0]!r} is in two of the files")
        self._database = settings.database or ""
        self._sessions = Sessions(settings, log)
        self._engines = [
            Engine(pipeline, settings.model_copy(update={"stages": taken}), log, sessions=self._sessions, before=before)
            for pipeline, taken in zip(pipelines, _shared_out(pipelines, settings.stages), strict=True)
        ]
        self._stack = contextlib.AsyncExitStack()
        self._started = False

    @property
    def running(self) -> bool:
        """Whether all have started and are at work."""
        return self._started and all(e.running for e in self._engines)

    @property
    def listening(self) -> bool:
        """Whether all hear of changes (or poll by their configuration)."""
        return all(e.listening is not False for e in self._engines)

    @property
    def ready(self) -> bool:
        """Whether all are at work and hear of changes."""
        return self.running and self.listening

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


def _shared_out(pipelines: Sequence[Pipeline], chosen: Sequence[str] | None) -> list[list[str] | None]:
    """Which of the ``chosen`` stages each pipeline's worker calls; None: all of its own."""
    if chosen is None or len(pipelines) == 1:
        return [None if chosen is None else list(chosen) for _ in pipelines]
    having = {step: [p.name for p in pipelines if any(s.step == step for s in p.stages)] for step in chosen}
    for step, names in having.items():
        if not names:
            raise ConfigError(f"--stages: none of the pipelines {_and(p.name for p in pipelines)} has a stage {step!r}")
        if len(names) > 1:
            raise ConfigError(
                f"--stages: the pipelines {_and(names)} each have a stage {step!r}: give them a process each"
            )
    return [[step for step in chosen if having[step] == [p.name]] for p in pipelines]


def _and(names: Iterable[str]) -> str:
    return " and ".join(map(repr, names))
