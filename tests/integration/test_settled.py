"""What is settled is in a table of its own, whoever settled it, and nothing is lost or twofold on the way there."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from line import line
from pgbaton import sql
from pgbaton.install.migrate import migrate

SETTLED_ANEW = {"state", "settled_at", "worker", "deadline"}
"""Columns that a settlement changes."""


async def _open(db: asyncpg.Pool) -> list[dict[str, Any]]:
    return [dict(row) for row in await db.fetch("SELECT * FROM ONLY pgbaton.dispatches ORDER BY id")]


async def _settled(db: asyncpg.Pool) -> list[dict[str, Any]]:
    return [dict(row) for row in await db.fetch("SELECT * FROM pgbaton.settled ORDER BY id")]


def _kept(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in SETTLED_ANEW}


@pytest.mark.parametrize(
    ("how", "state"),
    [
        ("UPDATE jobs SET current_step = 'cut', status = 'done'", "completed"),
        ("UPDATE jobs SET status = 'by hand'", "cancelled"),
        ("UPDATE jobs SET current_step = 'cut', status = 'failed'", "dead"),
        ("DELETE FROM jobs", "cancelled"),
        ("TRUNCATE jobs", "cancelled"),
        ("UPDATE pgbaton.dispatches SET state = 'completed', worker = NULL, settled_at = now()", "completed"),
    ],
)
async def test_a_dispatch_is_moved_with_all_that_was_known_of_it(database: str, how: str, state: str) -> None:
    async with line(database) as craft:
        await craft.add()
        await craft.db.execute("UPDATE pgbaton.dispatches SET failures = 4, attempt = 7")
        (before,) = await _open(craft.db)
        await craft.db.execute(how)
        (after,) = await _settled(craft.db)
        assert after["state"] == state
        assert after["settled_at"] > before["created_at"]
        assert after["worker"] is None
        assert _kept(after) == _kept(before) | ({"failures": 5} if state == "dead" else {})
        assert all(row["settled_at"] is None for row in await _open(craft.db))
        seen = await craft.db.fetch("SELECT id FROM pgbaton.dispatches WHERE id = $1", before["id"])
        assert len(seen) == 1


async def test_a_settled_one_that_is_written_down_by_hand_is_history_at_once(database: str) -> None:
    async with line(database) as craft:
        await craft.db.execute(
            "INSERT INTO pgbaton.dispatches (pipeline, job_key, stage, state, settled_at) "
            "SELECT 'craft', 'k' || n, 'cut', 'dead', now() FROM generate_series(1, 5) AS n"
        )
        assert await _open(craft.db) == []
        assert [row["job_key"] for row in await _settled(craft.db)] == ["k1", "k2", "k3", "k4", "k5"]


async def test_two_who_settle_one_dispatch_settle_it_once(database: str) -> None:
    """The stage's commit and a worker's settlement meet: the second finds it gone, and writes no second history."""
    by_hand = "UPDATE pgbaton.dispatches SET state = 'dead', settled_at = now() WHERE settled_at IS NULL"
    for first, second in (
        ("UPDATE jobs SET current_step = 'glue', status = 'done'", by_hand),
        (by_hand, "UPDATE jobs SET current_step = 'glue', status = 'done'"),
    ):
        async with line(database) as craft, craft.db.acquire() as one, craft.db.acquire() as other:
            await craft.add()
            await craft.db.execute("UPDATE jobs SET current_step = 'cut', status = 'done'")
            await craft.db.execute("DELETE FROM pgbaton.settled")
            transaction = one.transaction()
            await transaction.start()
            await one.execute(first)
            waiting = asyncio.create_task(other.execute(second))
            await asyncio.sleep(0.1)
            await transaction.commit()
            await waiting
            assert len(await _settled(craft.db)) == 1
            assert await _open(craft.db) == []
            await craft.db.execute("TRUNCATE jobs, pgbaton.dispatches")


async def test_an_upgrade_moves_what_was_settled_and_asks_for_no_new_grants(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = await asyncpg.connect(empty_database)
    role = "pgbaton_settled_" + empty_database[-12:]
    everything = sql.migrations()
    try:
        with monkeypatch.context() as old:
            old.setattr(sql, "migrations", lambda: everything[:7])
            await migrate(db)
        await db.execute(f"CREATE ROLE {role}")
        await db.execute(f"GRANT SELECT, DELETE ON pgbaton.dispatches TO {role}")
        await db.execute(
            "INSERT INTO pgbaton.dispatches (pipeline, job_key, stage, state, settled_at) "
            "SELECT 'p', 'k' || n % 3, 's', CASE WHEN n > 27 THEN 'available' ELSE 'completed' END, "
            "       CASE WHEN n <= 27 THEN now() END FROM generate_series(1, 30) AS n"
        )
        before = await db.fetch("SELECT * FROM pgbaton.dispatches ORDER BY id")
        await migrate(db)
        assert await db.fetch("SELECT * FROM pgbaton.dispatches ORDER BY id") == before
        assert await db.fetchval("SELECT count(*) FROM pgbaton.settled") == 27
        assert await db.fetchval("SELECT count(*) FROM ONLY pgbaton.dispatches") == 3
        rights = await db.fetch(
            "SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p "
            "WHERE has_table_privilege($1, 'pgbaton.settled', p)",
            role,
        )
        assert [r["p"] for r in rights] == ["SELECT", "DELETE"]
        await db.execute(
            "INSERT INTO pgbaton.dispatches (pipeline, job_key, stage) VALUES ('p', 'next', 's')"
        )  # ids go on
        assert await db.fetchval("SELECT max(id) FROM pgbaton.dispatches") == 31
    finally:
        await db.execute(f"DROP SCHEMA IF EXISTS pgbaton CASCADE; DROP ROLE IF EXISTS {role}")
        await db.close()
