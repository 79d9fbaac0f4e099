"""Procrastinate: a task that calls the stage and defers the next hop.

Its async API defers over its own pool, so the first hop is deferred right after the row's commit, not with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from procrastinate import App, PsycopgConnector

from benchmarks.contestants.base import POOL, Add, Caller, Contestant, after, session
from benchmarks.jobs import ADD, IN_FLIGHT, STEPS


class ProcrastinateContestant(Contestant):
    name = "procrastinate"
    label = "Procrastinate"
    package = "procrastinate"
    jobs = 450

    async def install(self, dsn: str) -> None:
        app, _ = application(dsn, None)
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    @asynccontextmanager
    async def adding(self, dsn: str) -> AsyncIterator[Add]:
        app, hop = application(dsn, None)
        async with app.open_async(), session(dsn) as db:

            async def add(keys: Sequence[str]) -> None:
                await db.execute(ADD.format("$1"), keys)
                await hop.batch_defer_async(*({"step": STEPS[0], "key": key} for key in keys))

            yield add

    async def work(self, dsn: str, url: str) -> None:
        app, _ = application(dsn, Caller(url))
        async with app.open_async():
            await app.run_worker_async(concurrency=IN_FLIGHT, install_signal_handlers=False)


def application(dsn: str, caller: Caller | None) -> tuple[App, Any]:
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=2, max_size=POOL))

    @app.task(name="hop")
    async def hop(step: str, key: str) -> None:
        assert caller
        await caller.post(step, key)
        if following := after(step):
            await hop.defer_async(step=following, key=key)

    return app, hop
