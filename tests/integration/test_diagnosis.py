"""The diagnosis finds what is broken, and says what mends it."""

from __future__ import annotations

import asyncio
import re

import asyncpg
import pytest

from line import Line, line, until
from pgbaton.health import WORDS, Finding, examine, of_all
from pgbaton.install.attach import attach

CALLED = (
    "INSERT INTO pgbaton.workers (pipeline, name, capacity, expires_at) VALUES ('craft', 'w', 1, "
    "now() + interval '1 h');"
    "INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, run, attempt, worker, created_at, started_at) "
    "SELECT 'craft', coalesce((SELECT job_key FROM pgbaton.due LIMIT 1), "
    "(SELECT job_id::text FROM jobs LIMIT 1), gen_random_uuid()::text), "
    "       1, 'cut', 'made', 1, 1, (SELECT max(id) FROM pgbaton.workers), now(), now();"
    "DELETE FROM pgbaton.due;"
)
"""The job's duty is a call that a worker holds."""


async def _found(craft: Line, *, invariants: bool = False) -> list[Finding]:
    conn = await asyncpg.connect(craft.dsn)
    try:
        return of_all(await examine(conn, invariants=invariants))
    finally:
        await conn.close()


async def _names(craft: Line, *, invariants: bool = False) -> set[str]:
    found = await _found(craft, invariants=invariants)
    for finding in found:
        for language in ("ko", "en"):
            assert "{" not in finding.sentence(language) + finding.remedy(language)  # type: ignore[arg-type]
    return {f.code for f in found}


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
        ("DROP INDEX pgbaton.due_of_stage", "index_missing"),
        ("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')", "no_worker"),
        ("UPDATE pgbaton.stages SET paused_at = now() WHERE step = 'cut'", "paused_stage"),
        ("UPDATE pgbaton.stages SET strikes = 3 WHERE step = 'cut'", "circuit_open"),
        (
            "INSERT INTO pgbaton.due (pipeline, stage, job_key, created_at) VALUES ('craft', '', 'x', "
            "now() - interval '1 h')",
            "looks_wait",
        ),
        (
            "INSERT INTO pgbaton.workers (pipeline, name, capacity, renewed_at, expires_at) VALUES "
            "('craft', 'lives', 1, now(), now() + interval '1 h'), ('craft', 'lost', 1, now() - interval '2 s', "
            "now() - interval '1 s');"
            "INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, run, attempt, worker, created_at, "
            "started_at) "
            "SELECT 'craft', 'x', 1, 'cut', 'made', 1, 1, id, now(), now() FROM pgbaton.workers WHERE name = 'lost'",
            "lost_worker",
        ),
        (
            "INSERT INTO jobs (current_step, status) VALUES ('made', 'done');"
            "UPDATE pgbaton.stages SET routed = false WHERE step = 'cut'",
            "stage_unrouted",
        ),
        ("DELETE FROM pgbaton.migrations", "not_migrated"),
    ],
)
async def test_damage_is_found(database: str, damage: str, finding: str) -> None:
    async with line(database) as craft:
        await craft.db.execute(damage)
        assert finding in await _names(craft)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM pgbaton.due",
        "ALTER TABLE jobs DISABLE TRIGGER ALL; DELETE FROM pgbaton.due; UPDATE jobs SET status = 'by hand';" + CALLED,
        "ALTER TABLE jobs DISABLE TRIGGER ALL; DELETE FROM pgbaton.due; DELETE FROM jobs;" + CALLED,
        CALLED + "UPDATE pgbaton.calls SET started_at = NULL",
        CALLED + "DELETE FROM pgbaton.workers",
        CALLED + "INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, stage, run, outcome, state, "
        "created_at) "
        "SELECT id, 1, true, pipeline, job_key, stage, id, 'completed', 'completed', now() FROM pgbaton.calls",
        CALLED + "UPDATE pgbaton.calls SET due_at = now(), waits_for = 'cut'",
        "INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, stage, run, outcome, created_at, "
        "started_at, ended_at) "
        "SELECT 1, a, true, 'craft', 'x', 'cut', 1, 'failed', now(), now(), "
        "now() + interval '1 s' FROM generate_series(1, 2) AS a",
    ],
)
async def test_a_broken_invariant_is_found(database: str, damage: str) -> None:
    async with line(database) as craft:
        await craft.add()
        assert "invariant_broken" not in await _names(craft, invariants=True)
        await craft.db.execute(damage)
        assert "invariant_broken" in await _names(craft, invariants=True)


async def test_a_database_that_accepts_no_writes_is_the_cause_and_not_that_no_worker_renews(database: str) -> None:
    async with line(database) as craft:
        await craft.add()
        name = await craft.db.fetchval("SELECT current_database()")
        await craft.db.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        assert [(f.code, f.level) for f in await _found(craft)] == [("read_only", "bad")]


async def test_a_session_that_locks_the_table_is_named_with_its_id(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as holder, holder.transaction():
        await holder.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        waiting = asyncio.create_task(craft.add())
        try:
            await until(lambda: _named(craft, holder.get_server_pid()), "the lock is a finding")
        finally:
            waiting.cancel()


async def _named(craft: Line, pid: int) -> bool:
    return any(f.code == "locked" and f.values["pid"] == pid for f in await _found(craft))


def test_every_finding_has_a_sentence_and_a_remedy_in_both_languages() -> None:
    for code, words in WORDS.items():
        for korean, english in (words.said, words.why):
            assert korean != english, code
            assert set(re.findall(r"{(\w+)", korean)) == set(re.findall(r"{(\w+)", english)), code


async def test_attaching_again_mends_the_trigger(database: str) -> None:
    async with line(database) as craft:
        await craft.db.execute("ALTER TABLE jobs DISABLE TRIGGER ALL; DROP TRIGGER job_state_insert_trigger ON jobs")
        async with craft.db.acquire() as conn:
            await attach(conn, craft.pipeline)
        assert {f.code for f in await _found(craft)} == {"no_worker"}
