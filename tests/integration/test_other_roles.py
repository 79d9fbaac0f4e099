"""Attacks on the engine by roles that share the database: one that may create things in `public`, as every role may on
PostgreSQL 14 and in databases that were upgraded from it; one that holds the engine's locks; one that notifies lies."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from command import pgbaton
from line import Line, line, two_stages, until
from pgbaton import health, insights, operate
from pgbaton.database import check_migrated, connection
from pgbaton.errors import AttachError, LockNotHad
from pgbaton.fastapi import Stages
from pgbaton.insights import JobFilter
from pgbaton.install.attach import attach
from pgbaton.install.checks import check_attached
from pgbaton.install.migrate import migrate
from pgbaton.install.script import pipeline_sql
from pgbaton.table import read_table

SQL = Path(operate.__file__).parent / "sql"
TYPES = "text, varchar, bigint, integer, timestamptz, text[], regclass, regnamespace, jsonb, double precision"
OPERATORS = "= <> < > <= >= || + - * ~~ @> &&"


@asynccontextmanager
async def another_role(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A session of a role that has nothing but what PUBLIC has."""
    name, password = f"mallory_{secrets.token_hex(4)}", secrets.token_hex(8)
    owner = await asyncpg.connect(dsn)
    try:
        await owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    except asyncpg.InsufficientPrivilegeError:
        await owner.close()
        pytest.skip("the test server's user cannot make roles")
    url = urlsplit(dsn)
    session = await asyncpg.connect(url._replace(netloc=f"{name}:{password}@{url.hostname}:{url.port}").geturl())
    try:
        yield session
    finally:
        await session.close()
        await owner.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
        await owner.close()


def names_that_the_engine_calls() -> list[str]:
    """Every function's name in the engine's SQL."""
    text = "\n".join(path.read_text() for path in SQL.rglob("*.sql"))
    return sorted(set(re.findall(r"\b([a-z_]+)\(", text)))


TRAPS = """
CREATE TABLE public.caught (name text, app text);
GRANT INSERT, SELECT, DELETE ON public.caught TO PUBLIC;
DO $do$
DECLARE
    types constant text[] := string_to_array($types$%(types)s$types$, ', ');
    body constant text := $b$ RETURNS %%s LANGUAGE plpgsql AS $fn$ BEGIN
        INSERT INTO public.caught VALUES (%%L, pg_catalog.current_setting('application_name')); RETURN NULL; END $fn$ $b$;
    called text; one text; other text;
BEGIN
    FOREACH one IN ARRAY types LOOP
        FOREACH other IN ARRAY types LOOP
            EXECUTE format('CREATE FUNCTION public.trap_(%%s, %%s)' || body, one, other, 'boolean', 'operator');
            FOREACH called IN ARRAY string_to_array('%(operators)s', ' ') LOOP
                EXECUTE format('CREATE OPERATOR public.%%s (LEFTARG = %%s, RIGHTARG = %%s, FUNCTION = public.trap_)',
                               called, one, other);
            END LOOP;
        END LOOP;
    END LOOP;
    FOR called IN SELECT DISTINCT p.proname FROM pg_proc AS p
                   WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY ($names$%(names)s$names$::text[])
    LOOP
        FOREACH one IN ARRAY types LOOP
            EXECUTE format('CREATE FUNCTION public.%%I(%%s)' || body, called, one, 'text', called);
            FOREACH other IN ARRAY types LOOP
                EXECUTE format('CREATE FUNCTION public.%%I(%%s, %%s)' || body, called, one, other, 'text', called);
            END LOOP;
        END LOOP;
    END LOOP;
END
$do$;
"""


async def set_traps(mallory: asyncpg.Connection) -> None:
    """In `public`: a function of every name that the engine calls, and operators, for pairs of types for which they fit
    better than Postgres' own."""
    names = "{" + ",".join(names_that_the_engine_calls()) + "}"
    await mallory.execute(TRAPS % {"types": TYPES, "operators": OPERATORS, "names": names})


async def test_a_function_that_a_role_puts_into_public_is_never_called(database: str) -> None:
    async with line(database, cut_advance="engine") as craft, another_role(database) as mallory:
        await craft.db.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")  # as PostgreSQL 14 has it
        await craft.db.execute("ALTER TABLE jobs ADD code varchar(40) UNIQUE DEFAULT md5(random()::text)")
        await set_traps(mallory)
        assert await craft.db.fetchval("SELECT 'made' = current_step FROM jobs LIMIT 1") is None
        await craft.db.fetch("SELECT FROM jobs WHERE current_step = 'made'::varchar")
        job = await craft.add()
        await craft.db.fetch("SELECT FROM jobs WHERE current_step = 'made'::varchar")
        assert await _caught(craft) == {("operator", "")}  # they do work: an ordinary session falls into one

        async with connection(database) as conn:
            await migrate(conn)
            await attach(conn, craft.pipeline)
        plain = await asyncpg.connect(database)
        await plain.execute(pipeline_sql(craft.pipeline))  # as psql would
        await plain.close()
        assert await _caught(craft) == set()
        async with craft.worker():
            await until(lambda: _called(craft, job), "the second stage is called")
        await _everything_that_people_do(craft, database)
        assert {app for _, app in await _caught(craft)} <= {""}  # the stage's own session
        await _guarded(craft, database)
        assert await _caught(craft) == set()


async def _caught(craft: Line) -> set[tuple[str, str]]:
    """The catches since the last look, with the application of each session."""
    return {(r["name"], r["app"]) for r in await craft.db.fetch("DELETE FROM caught RETURNING name, app")}


async def _called(craft: Line, job: str) -> bool:
    return any(call.job_id == job and call.path == "/glue" for call in craft.server.calls)


async def _everything_that_people_do(craft: Line, dsn: str) -> None:
    job = await craft.add()
    for words in (
        ("status",),
        ("jobs", "--tenant", "acme", "--state", "available", "--error", "x"),
        ("dead",),
        ("audit",),
        ("show", job),
        ("explain", job),
        ("doctor", "--invariants"),
        ("reconcile",),
        ("pause", "--tenant", "acme"),
        ("resume", "--tenant", "acme"),
        ("pause",),
        ("resume",),
        ("cancel", job),
        ("rerun", job, "--from", "cut"),
        ("retry", "--all", "--yes"),
    ):
        done = await pgbaton(*words, dsn=dsn)
        assert done.code in (0, 1, 3), (words, done)
        assert "refused" not in done.err, (words, done)
    async with connection(dsn) as conn:
        await insights.overview(conn, "craft")
        await health.examine(conn, invariants=True)
        await insights.list_jobs(conn, JobFilter(error="x", job_prefix="1", latest=True))


async def _guarded(craft: Line, dsn: str) -> None:
    """The guard's statements run in the application's sessions, whose path has `public` in it."""
    stages = Stages(two_stages(craft.server.base_url, key="code"))
    job = await craft.add()
    rows = await craft.db.fetch("SELECT job_id, code FROM jobs")
    (code,) = [r["code"] for r in rows if str(r["job_id"]) == job]
    await _caught(craft)
    async with stages.opened(dsn), stages.turn("cut", code, "acme"):
        pass


# -- locks ------------------------------------------------------------------------------------------


async def test_no_lock_of_another_role_keeps_migrate_and_attach_waiting(database: str) -> None:
    """Advisory locks are anybody's: installing takes locks on tables instead, which only roles with rights on them can."""
    async with another_role(database) as mallory, connection(database) as conn:
        for key in ("7239450211", "72394502"):
            await mallory.execute(f"SELECT pg_advisory_lock({key})")
        async with asyncio.timeout(5):
            await migrate(conn)
            await attach(conn, two_stages())
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await mallory.execute("BEGIN; LOCK TABLE pgbaton.migrations IN ACCESS SHARE MODE")


async def test_the_session_that_keeps_attach_waiting_is_named(database: str) -> None:
    async with another_role(database) as mallory, connection(database) as conn:
        role = await mallory.fetchval("SELECT current_user::text")
        await conn.execute(f"GRANT SELECT, UPDATE ON public.jobs TO {role}")
        await mallory.execute("SET application_name = 'monthly report'; BEGIN; UPDATE public.jobs SET note = 'x'")
        with pytest.raises(LockNotHad) as busy:
            await attach(conn, two_stages())
        pid = mallory.get_server_pid()
        named = rf"locked by process {pid} \(role {role}, 'monthly report', idle in transaction for \d+ s\)"
        assert re.search(named, str(busy.value)), busy.value
        await mallory.execute("ROLLBACK")
        await attach(conn, two_stages())


async def test_the_session_that_keeps_migrate_waiting_is_named(database: str) -> None:
    async with connection(database) as holder, connection(database) as conn:
        await conn.execute("SET lock_timeout = '100ms'")
        async with holder.transaction():
            await holder.execute("LOCK TABLE pgbaton.migrations IN SHARE UPDATE EXCLUSIVE MODE")
            with pytest.raises(LockNotHad, match=rf"locked by process {holder.get_server_pid()} \(role .*pgbaton"):
                await migrate(conn)
        await migrate(conn)


async def test_many_migrate_an_empty_database_at_once(empty_database: str) -> None:
    async def once() -> None:
        async with connection(empty_database) as conn:
            await migrate(conn)

    await asyncio.gather(*(once() for _ in range(6)))
    async with connection(empty_database) as conn:
        await check_migrated(conn)


@pytest.mark.parametrize("lock", ["pg_advisory_lock", "pg_advisory_lock_shared"])
async def test_a_role_that_holds_the_gate_keeps_no_job_from_moving(database: str, lock: str) -> None:
    """Held exclusively: every change notifies, which costs and harms nothing. Shared: workers hear nothing, and poll."""
    async with another_role(database) as mallory, line(database) as craft:
        await mallory.execute(f"SELECT {lock}(72394502, hashtext('craft'))")
        async with craft.worker(poll=0.5):
            await craft.until_row(await craft.add(), "glue", "done")


async def test_a_lie_on_the_channel_is_told_as_hearsay(database: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "pgbaton")
    async with another_role(database) as mallory, line(database) as craft, craft.worker() as engine:
        await until(lambda: _listening(engine), "the worker listens")
        pid = mallory.get_server_pid()
        lie = (
            '{"job_id": "7\\n2026-01-01 ERROR pgbaton event=worker_fault \\u001b[31m", "status": "' + "x" * 7000 + '"}'
        )
        await mallory.execute("SELECT pg_notify('job_state_changed', $1)", lie)
        await until(lambda: _said(caplog, f"notified_by={pid}"), "the line")
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.due") == 0
    (said,) = [r.getMessage() for r in caplog.records if f"notified_by={pid}" in r.getMessage()]
    assert said.startswith("job state change received event=job_state_changed ")
    assert "\n" not in said
    assert "\x1b" not in said
    assert len(said) < 700


async def _listening(engine: object) -> bool:
    return bool(getattr(engine, "listening", False))


async def _said(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return words in caplog.text


async def test_a_worker_whose_role_a_policy_may_hide_rows_from_does_not_start(database: str) -> None:
    """It took a lease, was refused by every turn, and took the next one, without end."""
    async with line(database) as craft, another_role(database) as session, craft.db.acquire() as conn:
        name = await session.fetchval("SELECT current_user")
        await conn.execute(
            f"GRANT USAGE ON SCHEMA pgbaton TO {name}; GRANT SELECT ON ALL TABLES IN SCHEMA pgbaton TO {name};"
            f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pgbaton TO {name}; GRANT SELECT, UPDATE ON jobs TO {name};"
            f"ALTER TABLE jobs ENABLE ROW LEVEL SECURITY; CREATE POLICY rows ON jobs TO {name} USING (true)"
        )
        table = await read_table(conn, craft.pipeline)
        await check_attached(conn, craft.pipeline, table)
        with pytest.raises(AttachError, match="ALTER ROLE … BYPASSRLS"):
            await check_attached(session, craft.pipeline, table)
