"""A turn beside calls that other transactions have locked."""

from __future__ import annotations

import asyncio

from line import attached, two_stages
from pgbaton.table import read_table
from pgbaton.worker.store import Store


async def test_a_turn_does_not_wait_for_a_call_that_another_transaction_is_changing(database: str) -> None:
    pipeline = two_stages()
    async with attached(database, pipeline) as db:
        async with db.acquire() as conn:
            table = await read_table(conn, pipeline)
        store = Store(db, table, ["cut", "glue"])
        worker, _ = await store.take_lease(None, "worker", 8, 60, [])
        job = str(await db.fetchval("INSERT INTO jobs (current_step, status) VALUES ('made', 'done') RETURNING job_id"))
        await store.turn(worker, 8)
        await db.execute("UPDATE jobs SET current_step = 'cut', status = 'done'")

        async with db.acquire() as other, other.transaction():
            await other.execute("UPDATE pgbaton.calls SET worker = worker")
            turn = await asyncio.wait_for(store.turn(worker, 8), 5)
            assert (turn.claimed, turn.others) == ((), {job})

        assert [d.stage for d in (await store.turn(worker, 8)).claimed] == ["glue"]
