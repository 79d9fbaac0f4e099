"""The composition root: everything that a worker is made of, started and drained in order."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

import asyncpg

from pgbaton import telemetry
from pgbaton.attach import check_attached, read_table, unseeing_triggers
from pgbaton.config import Settings
from pgbaton.database import check_migrated, connection, pooled
from pgbaton.database import pool as pool_of
from pgbaton.dispatcher import Dispatcher
from pgbaton.errors import DatabaseError
from pgbaton.events import Event, EventLog, describe
from pgbaton.gate import Gate
from pgbaton.insights.counts import stages_now
from pgbaton.listener import Listener
from pgbaton.loops import Wake, every
from pgbaton.model import Pipeline
from pgbaton.stage_client import StageClient
from pgbaton.store import Store
from pgbaton.table import JobTable
from pgbaton.worker import Worker

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
        async with connection(dsn) as conn:
            await check_migrated(conn)
            table = await read_table(conn, self._pipeline)
            await check_attached(conn, self._pipeline, table)
            if unseeing := await unseeing_triggers(conn, self._pipeline.name):
                self._log.error(Event.TRIGGER_MISSING, table=self._pipeline.table, triggers=", ".join(unseeing))
            through_pooler = pooled(conn)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._stop_cutting)
            pool = await stack.enter_async_context(pool_of(dsn, 2, through_pooler=through_pooler))
            hot_pool = await stack.enter_async_context(
                pool_of(dsn, 2, through_pooler=through_pooler, steady_plans=True)
            )
            # A lease that cannot be renewed over one connection is tried over another before it lapses.
            patience = max(1.0, self._settings.lease / 3)
            lease_pool = await stack.enter_async_context(
                pool_of(dsn, 1, through_pooler=through_pooler, query_timeout=patience, steady_plans=True)
            )
            self._pools = (pool, hot_pool, lease_pool)
            client = await stack.enter_async_context(StageClient(self._pipeline, self._settings.keep_answers))
            listen_url = await self._listen_url(through_pooler)
            await self._work(table, pool, hot_pool, lease_pool, client, listen_url)

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

    def _poll(self) -> float:
        return self._settings.poll if self.listening else min(self._settings.poll, POLL_UNHEARD)

    async def _work(
        self,
        table: JobTable,
        pool: asyncpg.Pool,
        hot_pool: asyncpg.Pool,
        lease_pool: asyncpg.Pool,
        client: StageClient,
        listen_url: str | None,
    ) -> None:
        settings, log, wake = self._settings, self._log, Wake()
        steps = [stage.step for stage in self._pipeline.stages]
        store = Store(pool, table, steps)
        gate = Gate(listen_url, self._pipeline.name, wake, log) if listen_url is not None else None
        dispatcher = self._dispatcher = Dispatcher(
            self._pipeline,
            Store(hot_pool, table, steps),
            client,
            wake,
            log,
            capacity=settings.capacity,
            poll=self._poll,
            gate=gate,
            count_tenants=settings.metrics_by_tenant,
        )
        worker = Worker(
            self._pipeline,
            store,
            Store(lease_pool, table, steps),
            dispatcher,
            wake,
            log,
            capacity=settings.capacity,
            lease=settings.lease,
            retention=settings.retention,
            reconcile_every=settings.reconcile_every,
        )
        if listen_url is not None and gate is not None:
            self._listener = Listener(
                listen_url,
                self._pipeline.name,
                self._pipeline.channel,
                wake,
                log,
                settings.reconnect_delay,
                gate.heard,
            )
        await worker.renew()
        stopped = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            hearing = [tasks.create_task(part.run()) for part in (self._listener, gate) if part is not None]
            duties = tasks.create_task(worker.run(stopped))
            calling = tasks.create_task(dispatcher.run())
            if settings.metrics_every > 0:
                tasks.create_task(every(settings.metrics_every, lambda: self._measure(pool), stopped, log, "measure"))
            self._started.set_result(None)
            await self._stop.wait()
            await self._drain(dispatcher, worker, calling)
            stopped.set()
            for task in hearing:
                task.cancel()
            await duties
        log.info(Event.WORKER_STOPPED)

    async def _measure(self, pool: asyncpg.Pool) -> None:
        """Refresh the gauges that only the database can tell."""
        name = self._pipeline.name
        async with pool.acquire() as conn:
            stages = await stages_now(conn, name)
        for s in stages:
            counts = {
                "available": s.waiting,
                "running": s.running,
                "retryable": s.retrying,
                "parked": s.parked,
                "dead": s.dead,
            }
            for state, count in counts.items():
                telemetry.DISPATCHES.labels(name, s.stage, state).set(count)
            telemetry.OLDEST_READY.labels(name, s.stage).set(s.oldest_wait or 0.0)
            telemetry.CIRCUIT.labels(name, s.stage).set({"closed": 0, "half-open": 1, "open": 2}[s.circuit.state])
            telemetry.PAUSED.labels(name, s.stage).set(s.paused)

    def _cut_connections(self) -> None:
        """The last resort of a shutdown: from a database that says nothing any more not even a cancellation or a
        connection's close comes back."""
        for pool in self._pools:
            pool.terminate()

    def _stop_cutting(self) -> None:
        if self._cut is not None:
            self._cut.cancel()

    async def _drain(self, dispatcher: Dispatcher, worker: Worker, calling: asyncio.Task[None]) -> None:
        """Wait for calls under way, within the bound; what cannot be given back in time lapses with the lease."""
        self._log.info(Event.WORKER_DRAINING, in_flight=len(dispatcher.held))
        dispatcher.drain()
        patience = self._settings.drain_timeout + 2 * ABANDON_TIMEOUT
        self._cut = asyncio.get_running_loop().call_later(patience, self._cut_connections)
        try:
            async with asyncio.timeout(ABANDON_TIMEOUT):
                await worker.drain()
        except Exception as error:
            self._log.warning(Event.DATABASE_AWAY, loop="drain", error=describe(error))
        await asyncio.wait([calling], timeout=self._settings.drain_timeout)
        try:
            async with asyncio.timeout(ABANDON_TIMEOUT):
                await dispatcher.abandon()
                await worker.leave()
        except Exception as error:
            self._log.warning(Event.DATABASE_AWAY, loop="leave", error=describe(error))
        await calling
