"""The doctor finds what is broken, and says what mends it."""

from __future__ import annotations

import asyncpg
import pytest

from line import Line, line
from pgbaton.install.attach import attach
from pgbaton.doctor import examine


async def _names(craft: Line, *, invariants: bool = False) -> set[str]:
    conn = await asyncpg.connect(craft.dsn)
    try:
        return {f.name for f in await examine(conn, invariants=invariants)}
    finally:
        await conn.close()


async def test_nothing_is_wrong_with_a_healthy_line(database: str) -> None:
    async with line(database) as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "glue", "done")
        assert await _names(craft, invariants=True) == set()


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("DROP TRIGGER job_state_change_trigger ON jobs", "trigger_missing"),
        ("ALTER TABLE jobs DISABLE TRIGGER job_state_change_trigger", "trigger_disabled"),
        (
            "CREATE OR REPLACE FUNCTION notify_job_state_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
            "AS 'BEGIN RETURN NULL; END'",
            "trigger_drifted",
        ),
        (
            "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_notify(''job_state_changed'', NEW.job_id::text); RETURN NULL; END';"
            "CREATE TRIGGER shout AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION shout()",
            "trigger_doubled",
        ),
        ("DROP INDEX pgbaton.dispatches_due", "index_missing"),
        ("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')", "no_worker"),
        ("UPDATE pgbaton.stages SET paused_at = now() WHERE step = 'cut'", "paused"),
        ("UPDATE pgbaton.stages SET strikes = 3 WHERE step = 'cut'", "circuit_open"),
        (
            "INSERT INTO pgbaton.changes (pipeline, job_key, changed_at) VALUES ('craft', 'x', now() - interval '1 h')",
            "inbox_waits",
        ),
        (
            "INSERT INTO jobs (current_step, status) VALUES ('made', 'done');"
            "INSERT INTO pgbaton.workers (pipeline, name, capacity, expires_at) "
            "VALUES ('craft', 'w', 1, now() + interval '1 h');"
            "SELECT pgbaton.claim('craft', 1, '{cut}', 1);"
            "UPDATE pgbaton.workers SET expires_at = now() - interval '1 h'",
            "orphaned_lease",
        ),
        ("DELETE FROM pgbaton.migrations WHERE version > 2", "not_migrated"),
    ],
)
async def test_damage_is_found(database: str, damage: str, finding: str) -> None:
    async with line(database) as craft:
        await craft.db.execute(damage)
        assert finding in await _names(craft)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE pgbaton.dispatches SET state = 'completed', settled_at = now()",
        "ALTER TABLE jobs DISABLE TRIGGER ALL; UPDATE jobs SET current_step = 'elsewhere'",
        "ALTER TABLE jobs DISABLE TRIGGER ALL; DELETE FROM jobs",
        "UPDATE pgbaton.dispatches SET state = 'running'",
        "INSERT INTO pgbaton.attempts (dispatch_id, attempt, worker) SELECT id, 5, 'w' FROM pgbaton.dispatches",
        "ALTER TABLE pgbaton.dispatches DISABLE TRIGGER ALL;"
        "UPDATE pgbaton.dispatches SET state = 'dead', settled_at = now(); UPDATE jobs SET status = 'by hand'",
        "DROP INDEX pgbaton.dispatches_one_open;"
        "INSERT INTO pgbaton.dispatches (pipeline, job_key, stage) "
        "SELECT pipeline, job_key, stage FROM pgbaton.dispatches",
    ],
)
async def test_a_broken_invariant_is_found(database: str, damage: str) -> None:
    async with line(database) as craft:
        await craft.add()
        assert "invariant_broken" not in await _names(craft, invariants=True)
        await craft.db.execute(damage)
        assert "invariant_broken" in await _names(craft, invariants=True)


async def test_attaching_again_mends_the_trigger(database: str) -> None:
    async with line(database) as craft:
        await craft.db.execute("ALTER TABLE jobs DISABLE TRIGGER ALL; DROP TRIGGER job_state_truncate_trigger ON jobs")
        async with craft.db.acquire() as conn:
            await attach(conn, craft.pipeline)
        assert await _names(craft) == set()
