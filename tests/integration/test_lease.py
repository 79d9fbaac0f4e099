"""The lease of a worker whose answers get lost."""

from __future__ import annotations

from line import attached, two_stages
from pgbaton.table import read_table
from pgbaton.worker.store import Store


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
