"""The routes that a platform asks: alive without a database, ready with one, and what is counted."""

from __future__ import annotations

import asyncio
import importlib
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI

from app_server import Site, served
from line import Line, line, two_stages, until
from pgbaton import Settings, operate
from pgbaton.errors import AttachError
from pgbaton.fastapi import Stages, guard, health, lifespan
from pgbaton.health import look
from proxy import Proxy
from stage_server import Call, Say, StageServer, work

lifespan_module = importlib.import_module("pgbaton.fastapi.lifespan")  # its name in the package is the function's


@asynccontextmanager
async def asked(craft: Line, dsn: str, *, engine: bool) -> AsyncIterator[Site]:
    """An application with the health routes, whose database is at `dsn`."""
    settings = Settings(database_url=dsn, poll=0.5, reconnect_delay=0.1, drain_timeout=1)  # type: ignore[arg-type]
    app = FastAPI(lifespan=lifespan(Stages(craft.pipeline), settings, engine=engine))
    app.include_router(health)
    async with served(app) as site:
        yield site


async def test_alive_and_ready_are_told_apart_when_the_database_goes_and_comes(database: str) -> None:
    async with line(database) as craft, Proxy(database) as proxy, asked(craft, proxy.dsn, engine=True) as site:

        async def ready(wanted: bool) -> bool:
            reply = await site.get("/readyz")
            assert reply.status == (200 if reply.json["status"] == "ready" else 503)
            return (reply.status == 200) is wanted

        await until(lambda: ready(True), "ready")
        reply = await site.get("/readyz")
        said = reply.json | {"findings": None}
        assert said == {"status": "ready", "database": True, "engine": True, "listener": True, "findings": None}
        await proxy.refuse()
        await until(lambda: ready(False), "not ready")
        alive = await site.get("/healthz")
        assert (alive.status, alive.json) == (200, {"status": "alive"})

        async def known() -> bool:
            reply = await site.get("/readyz")
            is_down = {"status": "not ready", "database": False, "engine": True, "listener": False, "findings": None}
            return reply.json == is_down

        await until(known, "the listener's loss noticed")
        await proxy.serve_again()
        await until(lambda: ready(True), "ready again")


async def test_without_an_engine_only_the_database_is_asked_for(database: str) -> None:
    async with line(database) as craft, asked(craft, database, engine=False) as site:
        reply = await site.get("/readyz")
        assert reply.json | {"findings": None} == {"status": "ready", "database": True, "findings": None}


async def test_ready_says_what_is_found_with_the_doctors_codes_and_no_values(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifespan_module, "LOOK_EVERY", 0.0)
    async with line(database) as craft, asked(craft, database, engine=False) as site:
        await craft.add("cut", "done")
        async with craft.db.acquire() as conn:
            await operate.pause(conn, "craft", "glue", who="kim")
            codes = [f.code for f in (await look(conn, "craft")).findings]
        assert {"no_worker", "paused_stage"} <= set(codes)
        reply = await site.get("/readyz")
        assert reply.status == 200  # another process would find the same: none is taken out for it
        assert sorted(f["code"] for f in reply.json["findings"]) == sorted(codes)
        assert {"code": "paused_stage", "level": "note", "stage": "glue"} in reply.json["findings"]
        assert all(set(f) <= {"code", "level", "stage"} for f in reply.json["findings"])


async def test_a_database_that_says_nothing_is_not_waited_for(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "CLOSE_TIMEOUT", 0.2)
    monkeypatch.setattr(lifespan_module, "READY_TIMEOUT", 0.2)
    async with line(database) as craft, Proxy(database) as proxy:
        async with asked(craft, proxy.dsn, engine=False) as site:
            assert (await site.get("/readyz")).status == 200
            proxy.swallow()
            async with asyncio.timeout(5):
                reply = await site.get("/readyz")
            assert (reply.status, reply.json["database"]) == (503, False)
            assert (await site.get("/healthz")).status == 200
            ending = time.monotonic()
        assert time.monotonic() - ending < 5, "the application did not end"


def count(metrics: str, name: str, **labels: str) -> float:
    """A metric's value; 0 where it has not been counted yet. An empty label, as that of the only database, is none."""
    for said in metrics.splitlines():
        if found := re.fullmatch(rf"{name}(?:\{{(.*)\}})? ([0-9.e+-]+)", said):
            has = dict(re.findall(r'(\w+)="([^"]+)"', found[1] or ""))
            if has == labels:
                return float(found[2])
    return 0


async def test_the_calls_of_a_worker_are_counted(database: str) -> None:
    async def fail_once(server: StageServer, call: Call) -> Say:
        return Say(429, {"retry-after": "0"}) if call.attempt == 1 else await work(server, call)

    name = "counted_here"
    async with line(database, fail_once, name=name) as craft, asked(craft, database, engine=True) as site:
        await until(lambda: _listening(site), "the listener connected")
        job = await craft.add()
        await craft.until_row(job, "glue", "done")
        await craft.until_settled()

        async def counted() -> bool:
            said = (await site.get("/metrics")).text
            return count(said, "pgbaton_stage_calls_succeeded_total", pipeline=name, stage="glue") == 1

        await until(counted, "the last call counted")
        reply = await site.get("/metrics")
        assert reply.kind.startswith("text/plain")
        for stage in ("cut", "glue"):
            labels = {"pipeline": name, "stage": stage}
            assert count(reply.text, "pgbaton_stage_calls_started_total", **labels) == 2
            assert count(reply.text, "pgbaton_stage_calls_succeeded_total", **labels) == 1
            assert count(reply.text, "pgbaton_stage_calls_failed_total", **labels, outcome="deferred") == 1
            assert count(reply.text, "pgbaton_stage_call_seconds_count", **labels) == 2
        assert count(reply.text, "pgbaton_events_received_total", pipeline=name) == 5
        assert count(reply.text, "pgbaton_listener_connected", pipeline=name) == 1
        assert count(reply.text, "pgbaton_calls_in_flight", pipeline=name) == 0
        assert job not in reply.text
        assert "acme" not in reply.text, "a tenant among the labels"


async def _listening(site: Site) -> bool:
    return bool((await site.get("/readyz")).json["listener"])


async def test_rescues_and_reconnections_are_counted(database: str) -> None:
    name = "counted_there"
    async with line(database, name=name) as craft:
        await craft.add()
        store = await craft.store()
        lost, _ = await store.take_lease(None, "lost", 1, 60, [])
        assert len((await store.turn(lost, 1)).claimed) == 1
        await store.give_up_lease(lost)
        async with asked(craft, database, engine=True) as site:
            await until(lambda: _listening(site), "the listener connected")
            await craft.db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE query LIKE 'LISTEN%' AND datname = current_database()"
            )

            async def counted() -> bool:
                said = (await site.get("/metrics")).text
                return (
                    count(said, "pgbaton_dispatches_rescued_total", pipeline=name) == 1
                    and count(said, "pgbaton_listener_reconnects_total", pipeline=name) == 1
                )

            await until(counted, "both counted")


async def test_an_application_whose_table_does_not_fit_does_not_start(database: str) -> None:
    stages = Stages(two_stages(table="nowhere"))
    app = FastAPI(lifespan=lifespan(stages, Settings(database_url=database), engine=False))  # type: ignore[arg-type]
    with pytest.raises(AttachError, match=r"there is no table 'public.nowhere'"):
        async with app.router.lifespan_context(app):
            pass
