"""Detach finds triggers and function by attach's own record, also where the table has another name by now."""

from __future__ import annotations

import asyncpg
import pytest

from line import attached, two_stages
from pgbaton import Stage
from pgbaton.errors import AttachError
from pgbaton.install.attach import attach, detach

LEFT = """
SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'job\\_state\\_%')
       + (SELECT count(*) FROM pg_proc WHERE prosrc LIKE '%INSERT INTO pgbaton.due%' AND prorettype = 'trigger'::regtype)
       + (SELECT count(*) FROM pgbaton.pipelines)
"""
MOVES = {
    "renamed": "ALTER TABLE jobs RENAME TO orders",
    "in another schema": "CREATE SCHEMA shop; ALTER TABLE jobs SET SCHEMA shop",
    "dropped": "DROP TABLE jobs",
    "renamed, and another has its name": "ALTER TABLE jobs RENAME TO orders; CREATE TABLE jobs (LIKE orders INCLUDING ALL)",
}


@pytest.mark.parametrize("how", MOVES)
async def test_the_file_with_the_old_name_detaches_a_table_that_was_moved(database: str, how: str) -> None:
    async with attached(database) as db:
        await db.execute(MOVES[how])
        async with db.acquire() as conn:
            await detach(conn, two_stages())
            assert await conn.fetchval(LEFT) == 0


async def test_a_trigger_of_the_users_own_that_has_taken_the_name_stays(database: str) -> None:
    async with attached(database) as db:
        await db.execute(
            "DROP TRIGGER job_state_insert_trigger ON jobs;"
            "CREATE TRIGGER job_state_insert_trigger BEFORE UPDATE ON jobs FOR EACH ROW"
            " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        )
        async with db.acquire() as conn:
            await detach(conn, two_stages())
            names = (
                "SELECT array_agg(tgname::text) FROM pg_trigger WHERE tgrelid = 'jobs'::regclass AND NOT tgisinternal"
            )
            assert await conn.fetchval(names) == ["job_state_insert_trigger"]


async def test_a_function_that_a_renamed_tables_trigger_still_calls_is_not_taken_over(database: str) -> None:
    """The second table would get the function of the first, and the first's rows would be the second's jobs."""
    second = two_stages(name="second", stages=[Stage(step="pack", after="made", path="/pack")])
    async with attached(database) as db:
        await db.execute(MOVES["renamed, and another has its name"])
        async with db.acquire() as conn:
            with pytest.raises(AttachError, match=r"is called by the trigger .* on public\.orders: .*pgbaton attach"):
                await attach(conn, second)
            await attach(conn, two_stages(table="public.orders"))
            await attach(conn, second)
            await _add(conn, "orders")
            await _add(conn, "jobs")
            duties = await conn.fetch("SELECT pipeline, stage FROM pgbaton.due ORDER BY id")
            assert [tuple(r) for r in duties] == [("craft", "cut"), ("second", "pack")]
            await detach(conn, second)
            await _add(conn, "orders")
            assert await conn.fetchval("SELECT count(*) FROM pgbaton.due WHERE pipeline = 'craft'") == 2


async def _add(conn: asyncpg.Connection, table: str) -> None:
    await conn.execute(f"INSERT INTO {table} (current_step, status) VALUES ('made', 'done')")
