"""The composition root: everything that a worker is made of, started and drained in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

from pgbaton import sql
from pgbaton.config import Settings
from pgbaton.database import report
from pgbaton.errors import ConfigError
from pgbaton.events import Event, EventLog
from pgbaton.install.checks import check_attached, unseeing_triggers
from pgbaton.model import Kind, Pipeline
from pgbaton.shard import DATABASE
from pgbaton.table import JobTable, read_table
from pgbaton.worker.dispatcher import Dispatcher
from pgbaton.worker.gate import Gate, NoGate
from pgbaton.worker.gauges import measure
from pgbaton.worker.in_flight import InFlight
from pgbaton.worker.lease import Lease
from pgbaton.worker.listener import Hearer, Listener
from pgbaton.worker.periodic import Wake, every
from pgbaton.worker.reports import Reports
from pgbaton.worker.resolver import Resolver
from pgbaton.worker.sessions import POLL_UNHEARD, Sessions
from pgbaton.worker.stage_client import StageClient
from pgbaton.worker.store import Store
from pgbaton.worker.upkeep import Upkeep
from pgbaton.worker.watch import Watch
from pgbaton.worker.webhook import Webhook

Before = Callable[[Pipeline], Coroutine[Any, Any, None]]
VERSION = version("pgbaton")
ABANDON_TIMEOUT = 10.0
"""Seconds that giving back unfinished calls may take before the lease is left to lapse instead."""


class Engine:
    """A worker for one pipeline::

        async with Engine(pipeline, settings) as engine:
            await engine.wait()

    Entering raises :class:`DatabaseError` (or one of its kinds) where the database is not ready for the
    pipeline. Once entered it outlives any absence of the database. Leaving drains: no new calls, calls under way
    are waited for up to ``settings.drain_timeout`` seconds, the rest is given back.

    ``sessions``: the process's connections, where it has workers for several pipelines; they outlive this one.
    ``before``: what to wait for before anything is claimed.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        settings: Settings,
        log: EventLog | None = None,
        *,
        sessions: Sessions | None = None,
        before: Before | None = None,
    ) -> None:
        elsewhere = {} if settings.base_url is None else {"base_url": settings.base_url}
        self._pipeline = pipeline.model_copy(update=elsewhere)
        self._settings = settings
        self._log = log or EventLog(settings.log_language)
        self._stop = asyncio.Event()
        self._started: asyncio.Future[None]
        self._main: asyncio.Task[None]
        self._listener: Listener | None = None
        self._dispatcher: Dispatcher | None = None
        self._shared = sessions
        self._before = before
        self._sessions: Sessions
        self._cut: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Engine {self._pipeline.name!r} {self._listener!r} {self._dispatcher!r}>"

    async def __aenter__(self) -> Self:
        self._started = asyncio.get_running_loop().create_future()
        self._main = asyncio.create_task(self._run(), name="pgbaton engine")
        await asyncio.wait([self._main, self._started], return_when=asyncio.FIRST_COMPLETED)
        if self._main.done():
            await self._main
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        await self._main

    @property
    def running(self) -> bool:
        """Whether the engine is at work (draining included)."""
        return not self._main.done()

    @property
    def listening(self) -> bool | None:
        """Whether notifications arrive; while not, the engine polls. None: it polls by its configuration."""
        return None if self._listener is None else self._listener.connected

    def stop(self) -> None:
        """Begin to drain; leaving the context waits for the end of it."""
        self._stop.set()

    async def wait(self) -> None:
        """Until the engine has stopped; raises the error that stopped it, if there was one."""
        await asyncio.shield(self._main)

    async def _run(self) -> None:
        DATABASE.set(self._settings.database or "")
        taken_steps(self._pipeline, self._settings.stages)  # before anything is touched
        sql.read_all()
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._stop_cutting)  # last of all
            sessions = self._shared
            if sessions is None:
                sessions = await stack.enter_async_context(Sessions(self._settings, self._log))
            self._sessions, self._listener = sessions, sessions.listener
            async with sessions.rare.acquire() as conn:
                table = await read_table(conn, self._pipeline)
                await check_attached(conn, self._pipeline, table)
                if unseeing := await unseeing_triggers(conn, self._pipeline.name):
                    self._log.error(Event.TRIGGER_MISSING, table=self._pipeline.table, triggers=", ".join(unseeing))
            client = await stack.enter_async_context(StageClient(self._pipeline, self._settings.keep_answers))
            await self._work(table, client, sessions)

    def _describer(self, store: Store) -> Callable[[int], Awaitable[None]]:
        """Writes this worker's configuration under its lease, with the stages that it takes."""
        routes = [(n.step, n.entry[0], n.path) for n in self._pipeline.in_order if n.step in store.steps]

        async def describe(worker: int) -> None:
            await store.describe(worker, VERSION, self._pipeline.base_url, routes)

        return describe

    def _poll(self) -> float:
        return self._settings.poll if self.listening else min(self._settings.poll, POLL_UNHEARD)

    async def _work(self, table: JobTable, client: StageClient, sessions: Sessions) -> None:
        settings, log, wake, name = self._settings, self._log, Wake(), self._pipeline.name
        pool, steps = sessions.rare, taken_steps(self._pipeline, settings.stages)
        upkeep_store, turns, store, lease_store = (
            Store(p, table, steps) for p in (pool, sessions.turns, sessions.rest, sessions.leases)
        )
        in_flight = InFlight(name, settings.capacity, wake)
        reports = Reports(name, log, count_tenants=settings.metrics_by_tenant)
        lease = Lease(
            name,
            lease_store,
            in_flight,
            log,
            seconds=settings.lease,
            capacity=settings.capacity,
            describe=self._describer(lease_store),
        )
        sessions.moved.append(lease.doubt)
        resolver = Resolver(store, lease, in_flight, reports)
        gate: Gate | NoGate = NoGate() if sessions.gates is None else sessions.gates.gate(name, wake)
        dispatcher = self._dispatcher = Dispatcher(
            self._pipeline, turns, store, client, lease, in_flight, resolver, reports, wake, log, gate, self._poll
        )
        upkeep = Upkeep(
            upkeep_store,
            turns,
            lease,
            resolver,
            reports,
            wake,
            log,
            retention=settings.retention,
            reconcile_every=settings.reconcile_every,
            puts_off=table.not_before is not None,
        )
        reconciles = settings.reconcile_every > 0
        webhook = None
        if settings.webhook_url is not None:
            secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None
            url, form = settings.webhook_url.get_secret_value(), settings.webhook_format
            webhook = Webhook(url, secret, form, settings.log_language, log)
        watch = Watch(pool, table, log, look_every=settings.watch_every, reconciles=reconciles, webhook=webhook)
        await lease.secure()
        stopped = asyncio.Event()
        async with self._hearing(sessions, gate, wake), asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(part.run(stopped)) for part in (upkeep, watch)]
            calling = tasks.create_task(self._call(dispatcher))
            if settings.metrics_every > 0:
                measuring = every(
                    settings.metrics_every, lambda: measure(pool, name, settings.capacity), stopped, log, "measure"
                )
                beside.append(tasks.create_task(measuring))
            self._started.set_result(None)
            await self._stop.wait()
            await self._drain(dispatcher, lease, calling)
            stopped.set()
            # A silent database keeps them in a statement, or has them connect anew; they hold nothing.
            await asyncio.wait(beside, timeout=ABANDON_TIMEOUT)
            for task in beside:
                task.cancel()
        log.info(Event.WORKER_STOPPED)

    async def _call(self, dispatcher: Dispatcher) -> None:
        if self._before is not None:
            waits = [asyncio.ensure_future(self._before(self._pipeline)), asyncio.ensure_future(self._stop.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        await dispatcher.run()

    @contextlib.asynccontextmanager
    async def _hearing(self, sessions: Sessions, gate: Gate | NoGate, wake: Wake) -> AsyncIterator[None]:
        """Be told of changes, while the block runs."""
        if sessions.listener is None or sessions.gates is None or isinstance(gate, NoGate):
            yield
            return
        ear = Hearer(self._pipeline.name, self._pipeline.channel, wake, gate.heard)
        await sessions.listener.add(ear)
        try:
            yield
        finally:
            sessions.listener.remove(ear)
            sessions.gates.forget(gate)

    def _stop_cutting(self) -> None:
        if self._cut is not None:
            self._cut.cancel()

    async def _drain(self, dispatcher: Dispatcher, lease: Lease, calling: asyncio.Task[None]) -> None:
        """Wait for calls under way, within the bound; a call that cannot be given back in time lapses with the
        lease."""
        self._log.info(Event.WORKER_DRAINING, in_flight=dispatcher.under_way)
        dispatcher.drain()
        patience = self._settings.drain_timeout + 2 * ABANDON_TIMEOUT
        self._cut = asyncio.get_running_loop().call_later(patience, self._sessions.cut)
        try:
            async with asyncio.timeout(ABANDON_TIMEOUT):
                await lease.drain()
        except Exception as error:
            report(self._log, "drain", error)
        await asyncio.wait([calling], timeout=self._settings.drain_timeout)
        try:
            async with asyncio.timeout(ABANDON_TIMEOUT):
                await dispatcher.abandon()
                await lease.give_up()
        except Exception as error:
            report(self._log, "leave", error)
        await calling


def taken_steps(pipeline: Pipeline, chosen: Sequence[str] | None) -> list[str]:
    """The stages that a worker calls: all, or the chosen ones; and the passages, which each worker carries out. Raises
    :class:`ConfigError` on a stage that there is not."""
    steps = [stage.step for stage in pipeline.stages]
    for step in chosen or ():
        if step not in steps:
            raise ConfigError(
                f"stages: the pipeline {pipeline.name!r} has no stage {step!r}; there are: {', '.join(steps)}"
            )
    return [n.step for n in pipeline.nodes if chosen is None or n.kind is not Kind.CALL or n.step in chosen]
