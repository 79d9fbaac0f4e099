"""The engine's own schema: created once however many sessions try, upgraded beside workers that are at work."""

from __future__ import annotations

import asyncio
import re
from importlib.resources import files
from pathlib import Path

import asyncpg
import pytest

from line import line, until
from pgbaton import sql
from pgbaton.database import check_migrated
from pgbaton.errors import DatabaseError, NotMigrated
from pgbaton.install.migrate import migrate


async def migrated(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        await migrate(conn)
    finally:
        await conn.close()


@pytest.fixture
async def db(empty_database: str):
    conn = await asyncpg.connect(empty_database)
    yield conn
    await conn.close()


def up_to(monkeypatch: pytest.MonkeyPatch, *steps: tuple[int, str, str]) -> None:
    """Let the engine have just these migrations."""
    monkeypatch.setattr(sql, "migrations", lambda: steps)


async def traces(db: asyncpg.Connection) -> list[asyncpg.Record]:
    """Every object of the schema, and what tells whether it was rewritten."""
    return list(
        await db.fetch(
            "SELECT 'r' AS what, oid, xmin::text FROM pg_class WHERE relnamespace = 'pgbaton'::regnamespace UNION ALL "
            "SELECT 'f', oid, xmin::text FROM pg_proc WHERE pronamespace = 'pgbaton'::regnamespace UNION ALL "
            "SELECT 'n', oid, xmin::text FROM pg_namespace WHERE nspname = 'pgbaton' UNION ALL "
            "SELECT 'm', version::oid, xmin::text FROM pgbaton.migrations ORDER BY 1, 2"
        )
    )


async def test_twenty_at_once_make_one_schema(empty_database: str, db: asyncpg.Connection) -> None:
    await asyncio.gather(*(migrated(empty_database) for _ in range(20)))
    applied = [
        r["version"] for r in await db.fetch("SELECT version FROM pgbaton.migrations ORDER BY applied_at, version")
    ]
    assert applied == list(range(1, len(sql.migrations()) + 1))
    await check_migrated(db)


async def test_to_migrate_again_changes_nothing_at_all(db: asyncpg.Connection) -> None:
    await migrate(db)
    before = await traces(db)
    assert len(before) > 20
    await migrate(db)
    assert await traces(db) == before


async def test_to_migrate_again_waits_for_no_transaction(db: asyncpg.Connection, empty_database: str) -> None:
    await migrate(db)
    busy = await asyncpg.connect(empty_database)
    async with busy.transaction():
        for row in await busy.fetch(
            "SELECT oid::regclass AS t FROM pg_class WHERE relkind = 'r' AND relnamespace = 'pgbaton'::regnamespace"
        ):
            await busy.execute(f"LOCK TABLE {row['t']} IN ROW EXCLUSIVE MODE")
        async with asyncio.timeout(5):
            await migrate(db)
    await busy.close()


async def test_beside_a_worker_at_work_nothing_stops_and_nothing_fails(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with line(database) as craft, craft.worker(), craft.worker():
        for _ in range(5):
            await craft.add_many(20)
            await asyncio.gather(migrated(database), migrated(database))
        query = "SELECT count(*) = 100 FROM jobs WHERE (current_step, status) = ('glue', 'done')"
        await until(lambda: craft.db.fetchval(query), "100 jobs done", 30)
        assert len(craft.server.calls) == 200
    assert [r.getMessage() for r in caplog.records if r.levelname != "INFO"] == []


NEXT = (
    2,
    "next",
    "ALTER TABLE pgbaton.stages ADD COLUMN next integer; ALTER TABLE pgbaton.due ADD COLUMN next integer",
)


async def test_an_upgrade_waits_for_open_transactions_and_aborts_none(
    empty_database: str, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that has read one table of ours and then wants another, while an upgrade wants both."""
    await migrate(db)
    up_to(monkeypatch, *sql.migrations(), NEXT)
    user = await asyncpg.connect(empty_database)
    async with user.transaction():
        await user.execute("LOCK TABLE pgbaton.stages IN ROW SHARE MODE")
        upgrading = asyncio.create_task(migrated(empty_database))
        waits = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'pgbaton.stages'::regclass"
        await until(lambda: db.fetchval(waits), "the upgrade waits for the user")
        for table in ("due", "calls", "history", "workers"):
            await user.execute(f"LOCK TABLE pgbaton.{table} IN ROW EXCLUSIVE MODE")
        assert not upgrading.done()
    await upgrading
    await check_migrated(db)
    await user.close()


async def test_an_upgrade_keeps_what_is_open_and_what_has_ended(
    db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(db)
    await db.execute(
        "INSERT INTO pgbaton.due (pipeline, stage, job_key) VALUES ('p', 's', 'k'); "
        "INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, stage, run, outcome, state, created_at) "
        "VALUES (0, 1, true, 'p', 'k', 's', 0, 'completed', 'completed', now())"
    )
    before = await db.fetch("SELECT * FROM pgbaton.dispatches ORDER BY id")
    up_to(monkeypatch, *sql.migrations(), NEXT)
    with pytest.raises(NotMigrated, match="at version 1, this engine needs 2: run pgbaton"):
        await check_migrated(db)
    await migrate(db)
    await check_migrated(db)
    assert await db.fetch("SELECT * FROM pgbaton.dispatches ORDER BY id") == before
    assert len(before) == 2


async def test_functions_and_views_are_replaced_where_they_differ_from_the_protocol(db: asyncpg.Connection) -> None:
    await migrate(db)
    installed = "SELECT md5(prosrc) FROM pg_proc WHERE proname = 'room' AND pronamespace = 'pgbaton'::regnamespace"
    before = await db.fetchval(installed)
    await db.execute(
        "CREATE OR REPLACE FUNCTION pgbaton.parked() RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE "
        "AS $$ SELECT now() $$; COMMENT ON SCHEMA pgbaton IS 'pgbaton protocol of another release'"
    )
    await migrate(db)
    assert await db.fetchval(installed) == before
    assert await db.fetchval("SELECT pgbaton.parked() > now() + interval '1000 years'")
    assert "pgbaton protocol" in await db.fetchval("SELECT obj_description('pgbaton'::regnamespace, 'pg_namespace')")


async def test_a_migration_that_fails_leaves_nothing_and_the_session_usable(
    db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(db)
    before = await traces(db)
    with monkeypatch.context() as broken:
        version = len(sql.migrations()) + 1
        up_to(broken, *sql.migrations(), (version, "broken", "CREATE TABLE pgbaton.half (a int); SELECT 1 / 0"))
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrate(db)
    assert not db.is_in_transaction()
    assert await traces(db) == before
    await migrate(db)


async def test_an_empty_database_and_an_older_schema_are_told_apart_from_a_newer_one(db: asyncpg.Connection) -> None:
    with pytest.raises(NotMigrated, match=r"at version 0, this engine needs [0-9]+: run pgbaton migrate"):
        await check_migrated(db)
    await migrate(db)
    await db.execute("INSERT INTO pgbaton.migrations VALUES (9000, 'from_the_future')")
    await check_migrated(db)


async def test_a_role_that_may_not_is_told_so(db: asyncpg.Connection, empty_database: str) -> None:
    role = "pgbaton_test_" + empty_database[-12:]
    try:
        await db.execute(f"CREATE ROLE {role}")
    except asyncpg.InsufficientPrivilegeError:
        pytest.skip("the test server's user cannot make roles")
    try:
        await db.execute(f"SET ROLE {role}")
        with pytest.raises(DatabaseError, match=r"no right to create or change the schema pgbaton: .+"):
            await migrate(db)
        await db.execute("RESET ROLE")
        await migrate(db)
        await db.execute(f"SET ROLE {role}")
        with pytest.raises(DatabaseError, match="no right on the schema pgbaton: run as its owner"):
            await check_migrated(db)
    finally:
        await db.execute(f"RESET ROLE; DROP ROLE {role}")


async def test_no_role_but_the_owner_may_call_the_engines_functions(db: asyncpg.Connection) -> None:
    await migrate(db)
    for_all = await db.fetch(
        "SELECT p.oid::regprocedure::text AS name "
        "  FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a "
        " WHERE pronamespace = 'pgbaton'::regnamespace AND a.grantee = 0"
    )
    assert for_all == []


def test_migrations_are_numbered_without_a_gap_and_hold_no_transaction_statements() -> None:
    folder = Path(str(files("pgbaton.sql").joinpath("tables")))
    names = sorted(f.name for f in folder.iterdir())
    assert all(re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", name) for name in names)
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    for file in folder.iterdir():
        assert not re.search(r"^\s*(BEGIN|COMMIT|ROLLBACK|START TRANSACTION)\s*;", file.read_text(), re.M | re.I)
        assert "$migration$" not in file.read_text()
