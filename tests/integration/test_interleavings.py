"""Two transactions that meet, each interleaving played out step by step: nothing stays open, nothing is stranded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from line import Line, line, until
from pgbaton import insights, operate
from pgbaton.store import Store


async def _store(conn: asyncpg.Connection) -> Store:
    return Store(conn, await insights.table_of(conn, None), ["cut", "glue"])


@asynccontextmanager
async def _kept_waiting(craft: Line, work: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    """Inside, ``work`` waits for a lock that somebody holds; what ends the block lets it go on to its end."""
    task = asyncio.create_task(work)

    async def waits() -> bool:
        assert not task.done(), "it was to wait"
        query = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return bool(await craft.db.fetchval(query))

    await until(waits, "somebody waits for a lock")
    yield
    await asyncio.wait_for(task, 10)


async def _rerun(craft: Line) -> None:
    async with craft.db.acquire() as conn:
        job = await conn.fetchval("SELECT job_id::text FROM jobs")
        await operate.rerun(conn, await insights.table_of(conn, None), job, "glue", who="m", force=True)


CANCELLING: dict[str, Callable[[Line], Coroutine[Any, Any, Any]]] = {
    "deleted": lambda craft: craft.db.execute("DELETE FROM jobs"),
    "given another key": lambda craft: craft.db.execute("UPDATE jobs SET job_id = gen_random_uuid()"),
    "truncated": lambda craft: craft.db.execute("TRUNCATE jobs"),
    "moved away": lambda craft: craft.db.execute("UPDATE jobs SET current_step = 'aside'"),
    "run again": _rerun,
}


@pytest.mark.parametrize("what", CANCELLING)
async def test_a_job_that_goes_while_it_is_being_claimed_leaves_no_attempt_open(database: str, what: str) -> None:
    """The claim has locked the dispatch; whoever cancels it waits, with a snapshot older than the claim's attempt."""
    async with line(database) as craft:
        await craft.add()
        (dispatch,) = await craft.dispatches()
        async with craft.db.acquire() as conn:
            store = await _store(conn)
            worker = await store.register("claims", 1, 60)
            claiming = conn.transaction()
            await claiming.start()
            assert [d.id for d in await store.claim(worker, 1)] == [dispatch["id"]]
            async with _kept_waiting(craft, CANCELLING[what](craft)):
                await claiming.commit()
        state = await craft.db.fetchval("SELECT state FROM pgbaton.dispatches WHERE id = $1", dispatch["id"])
        assert (state, [a["outcome"] for a in await craft.attempts()]) == ("cancelled", ["superseded"])
        assert all(a["finished_at"] for a in await craft.attempts())
