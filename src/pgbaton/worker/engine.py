"""The composition root: everything that a worker is made of, started and drained in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from types import TracebackType
from typing import Self

import asyncpg

from pgbaton.config import Settings
from pgbaton.database import check_migrated, connection, pooled, report
from pgbaton.database import pool as pool_of
from pgbaton.errors import ConfigError, DatabaseError
from pgbaton.events import Event, EventLog
from pgbaton.install.checks import check_attached, unseeing_triggers
from pgbaton.model import Kind, Pipeline
from pgbaton.table import JobTable, read_table
from pgbaton.worker.dispatcher import Dispatcher
from pgbaton.worker.gate import Gate, NoGate
from pgbaton.worker.gauges import measure
from pgbaton.worker.in_flight import InFlight
from pgbaton.worker.lease import Lease
from pgbaton.worker.listener import Listener
from pgbaton.worker.periodic import Wake, every
from pgbaton.worker.reports import Reports
from pgbaton.worker.resolver import Resolver
from pgbaton.worker.stage_client import StageClient
from pgbaton.worker.store import Store
from pgbaton.worker.upkeep import Upkeep
from pgbaton.worker.watch import Watch
from pgbaton.worker.webhook import Webhook

VERSION = version("pgbaton")
POLL_UNHEARD = 1.0
"""Seconds between two polls at most while no notification can arrive."""
ABANDON_TIMEOUT = 10.0
"""Seconds that giving back unfinished calls may take before the lease is left to lapse instead."""


class Engine:
    """A worker for one pipeline::

        async with Engine(pipeline, settings) as engine:
            await engine.wait()

    Entering raises :class:`DatabaseError` (or one of its kinds) where the database is not ready for the
    pipeline. Once entered it outlives any absence of the database. Leaving drains: no new calls, calls under way
    are waited for up to ``settings.drain_timeout`` seconds, the rest is given back.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings, log: EventLog | None = None) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._log = log or EventLog(settings.log_language)
        self._stop = asyncio.Event()
        self._started: asyncio.Future[None]
        self._main: asyncio.Task[None]
        self._listener: Listener | None = None
        self._dispatcher: Dispatcher | None = None
        self._pools: tuple[asyncpg.Pool, ...] = ()
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
        """Until the engine has stopped; raises what stopped it, if that was an error."""
        await asyncio.shield(self._main)

    async def _run(self) -> None:
        dsn = self._settings.dsn()
        taken_steps(self._pipeline, self._settings.stages)  # before anything is touched
        async with connection(dsn) as conn:
            await check_migrated(conn)
            table = await read_table(conn, self._pipeline)
            await check_attached(conn, self._pipeline, table)
            if unseeing := await unseeing_triggers(conn, self._pipeline.name):
                self._log.error(Event.TRIGGER_MISSING, table=self._pipeline.table, triggers=", ".join(unseeing))
            through_pooler = pooled(conn)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._stop_cutting)
            pool = await _opened(stack, pool_of(dsn, 1, through_pooler=through_pooler))
            turns, rest = [
                await _opened(stack, pool_of(dsn, size, through_pooler=through_pooler, steady_plans=True))
                for size in (1, 2)
            ]
            # A lease that cannot be renewed over one connection is tried over another before it lapses.
            patience = max(1.0, self._settings.lease / 3)
            lease_pool = await _opened(
                stack, pool_of(dsn, 1, through_pooler=through_pooler, query_timeout=patience, steady_plans=True)
            )
            self._pools = (pool, turns, rest, lease_pool)
            client = await stack.enter_async_context(StageClient(self._pipeline, self._settings.keep_answers))
            listen_url = await self._listen_url(through_pooler)
            await self._work(table, client, listen_url, *self._pools)

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

    def _describer(self, store: Store) -> Callable[[int], Awaitable[None]]:
        """Says under a lease what this worker runs with."""
        routes = [(stage.step, stage.after, stage.path) for stage in self._pipeline.in_order]

        async def describe(worker: int) -> None:
            await store.describe(worker, VERSION, self._pipeline.base_url, routes)

        return describe

    def _poll(self) -> float:
        return self._settings.poll if self.listening else min(self._settings.poll, POLL_UNHEARD)

    async def _work(
        self,
        table: JobTable,
        client: StageClient,
        listen_url: str | None,
        pool: asyncpg.Pool,
        turns_pool: asyncpg.Pool,
        rest_pool: asyncpg.Pool,
        lease_pool: asyncpg.Pool,
    ) -> None:
        settings, log, wake, name = self._settings, self._log, Wake(), self._pipeline.name
        steps = taken_steps(self._pipeline, settings.stages)
        upkeep_store, turns, store, lease_store = (
            Store(p, table, steps) for p in (pool, turns_pool, rest_pool, lease_pool)
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
        resolver = Resolver(store, lease, in_flight, reports)
        gate: Gate | NoGate = NoGate()
        hearing: list[Listener | Gate] = []
        if listen_url is not None:
            gate = Gate(listen_url, name, wake, log)
            self._listener = Listener(
                listen_url, name, self._pipeline.channel, wake, log, settings.reconnect_delay, gate.heard
            )
            hearing = [self._listener, gate]
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
        async with asyncio.TaskGroup() as tasks:
            listening = [tasks.create_task(part.run()) for part in hearing]
            duties = tasks.create_task(upkeep.run(stopped))
            watching = tasks.create_task(watch.run(stopped))
            calling = tasks.create_task(dispatcher.run())
            if settings.metrics_every > 0:
                tasks.create_task(every(settings.metrics_every, lambda: measure(pool, name), stopped, log, "measure"))
            self._started.set_result(None)
            await self._stop.wait()
            await self._drain(dispatcher, lease, calling)
            stopped.set()
            for task in listening:
                task.cancel()
            await duties
            await watching
        log.info(Event.WORKER_STOPPED)

    def _cut_connections(self) -> None:
        """The last resort of a shutdown: a silent database answers neither a cancellation nor a connection's close."""
        for pool in self._pools:
            pool.terminate()

    def _stop_cutting(self) -> None:
        if self._cut is not None:
            self._cut.cancel()

    async def _drain(self, dispatcher: Dispatcher, lease: Lease, calling: asyncio.Task[None]) -> None:
        """Wait for calls under way, within the bound; what cannot be given back in time lapses with the lease."""
        self._log.info(Event.WORKER_DRAINING, in_flight=dispatcher.under_way)
        dispatcher.drain()
        patience = self._settings.drain_timeout + 2 * ABANDON_TIMEOUT
        self._cut = asyncio.get_running_loop().call_later(patience, self._cut_connections)
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


async def _opened(stack: contextlib.AsyncExitStack, pool: asyncpg.Pool) -> asyncpg.Pool:
    """A pool that is closed with ``stack``; a connection that does not answer any more is no fault of the worker's."""
    await pool

    async def close() -> None:
        with contextlib.suppress(TimeoutError, OSError, asyncpg.InterfaceError, asyncpg.PostgresError):
            await pool.close()  # what it cannot close it terminates

    stack.push_async_callback(close)
    return pool
