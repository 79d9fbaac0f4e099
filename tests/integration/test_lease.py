"""The lease of a worker whose answers get lost."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from line import attached, line, two_stages
from pgbaton.events import EventLog
from pgbaton.table import read_table
from pgbaton.worker.in_flight import InFlight
from pgbaton.worker.lease import Lease
from pgbaton.worker.periodic import Wake
from pgbaton.worker.store import Store, Turn
from stage_server import Call, Say, StageServer, work


async def test_a_worker_that_did_not_hear_of_its_new_lease_keeps_its_calls_when_it_asks_again(database: str) -> None:
    pipeline = two_stages()
    async with attached(database, pipeline) as db:
        async with db.acquire() as conn:
            table = await read_table(conn, pipeline)
        store = Store(db, table, ["cut", "glue"])
        await db.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
        first, _ = await store.take_lease(None, "worker", 8, 60, [])
        (claimed,) = (await store.turn(first, 8)).claimed

        unheard, _ = await store.take_lease(first, "worker", 8, 60, [claimed.name])
        again, kept = await store.take_lease(first, "worker", 8, 60, [claimed.name])

        assert kept == {claimed.name}
        assert await db.fetchval("SELECT worker FROM pgbaton.calls") == again
        assert not await store.renew(unheard, 60, False)
        await store.give_up_lease(again)
        assert await db.fetchval("SELECT count(*) FROM pgbaton.workers WHERE ended_at IS NULL") == 0


async def test_a_worker_that_goes_ends_the_lease_that_it_did_not_hear_of(database: str) -> None:
    pipeline = two_stages()
    async with attached(database, pipeline) as db:
        async with db.acquire() as conn:
            table = await read_table(conn, pipeline)
        store = Store(db, table, ["cut", "glue"])
        first, _ = await store.take_lease(None, "worker", 8, 60, [])
        await store.take_lease(first, "worker", 8, 60, [])
        await store.give_up_lease(first)
        assert await db.fetchval("SELECT count(*) FROM pgbaton.workers WHERE ended_at IS NULL") == 0


async def test_a_worker_whose_lease_lapsed_while_it_claimed_calls_nothing_that_was_rescued(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, renew = Store.turn, Store.renew
    lapsed = asyncio.Event()

    async def noticed(store: Store, *arguments: Any) -> bool:
        renewed = await renew(store, *arguments)
        if not renewed:
            lapsed.set()
        return renewed

    async with line(database) as craft:

        async def slow(store: Store, *arguments: Any, **named: Any) -> Turn:
            found = await turn(store, *arguments, **named)
            if found.claimed and not lapsed.is_set():
                await craft.db.execute("UPDATE pgbaton.workers SET expires_at = clock_timestamp() - interval '1 s'")
                await craft.db.execute(
                    "UPDATE pgbaton.calls SET worker = NULL, due_at = clock_timestamp(), waits_for = stage"
                )
                await asyncio.wait_for(lapsed.wait(), 15)
            return found

        monkeypatch.setattr(Store, "turn", slow)
        monkeypatch.setattr(Store, "renew", noticed)
        async with craft.worker(lease=1):
            job = await craft.add()
            await craft.until_row(job, "glue", "done")
        assert [(c.path, c.attempt) for c in craft.server.calls] == [("/cut", 2), ("/glue", 1)]


async def test_a_worker_settles_an_answer_that_it_looked_at_while_its_lease_was_replaced(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, note, look, take_lease = Store.turn, Store.note, Store.look, Store.take_lease
    taken, looked = asyncio.Event(), asyncio.Event()

    async def failing(server: StageServer, call: Call) -> Say:
        return Say(500) if call.path == "/cut" and call.attempt == 1 else await work(server, call)

    async def noting(store: Store, *arguments: Any) -> Any:
        monkeypatch.setattr(Store, "turn", broken)
        await asyncio.wait_for(taken.wait(), 15)
        return await note(store, *arguments)

    async def broken(store: Store, *arguments: Any, **named: Any) -> Turn:
        monkeypatch.setattr(Store, "turn", turn)
        raise ConnectionError("the reply is lost")

    async def taking(store: Store, *arguments: Any) -> Any:
        found = await take_lease(store, *arguments)
        if arguments[0] is not None and not looked.is_set():
            taken.set()
            await asyncio.wait_for(looked.wait(), 15)
        return found

    async def looking(store: Store, *arguments: Any) -> Any:
        found = await look(store, *arguments)
        if taken.is_set():
            asyncio.get_running_loop().call_later(0.1, looked.set)
        return found

    async with line(database, failing) as craft:
        for name, patched in (("note", noting), ("look", looking), ("take_lease", taking)):
            monkeypatch.setattr(Store, name, patched)
        async with craft.worker():
            job = await craft.add()
            await craft.until_row(job, "glue", "done")
        assert [(c.path, c.attempt) for c in craft.server.calls] == [("/cut", 1), ("/cut", 2), ("/glue", 1)]


async def test_a_worker_that_the_database_was_away_from_rescues_no_call_before_all_could_come_back(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, now = two_stages(), time.monotonic()
    monkeypatch.setattr("pgbaton.worker.lease.monotonic", lambda: now)
    async with attached(database, pipeline) as db:
        async with db.acquire() as conn:
            table = await read_table(conn, pipeline)
        store = Store(db, table, ["cut", "glue"])
        in_flight = InFlight("craft", 8, Wake())
        lease = Lease("craft", store, in_flight, EventLog(), seconds=60, capacity=8)
        await lease.secure()
        assert lease.rescues
        for _ in range(4):
            now += 20
            await lease.renew()
            assert lease.rescues
        now += 50  # as long as a failover takes
        assert not lease.rescues
        await lease.renew()
        for _ in range(3):
            assert not lease.rescues
            now += 20
            await lease.renew()
        assert lease.rescues
