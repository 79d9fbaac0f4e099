"""The engine's own schema: forward only, safe to run many times, at once, and beside running workers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import asyncpg

from pgbaton import sql
from pgbaton.errors import DatabaseError, LockNotHad
from pgbaton.install.holders import holders

LOCK = "LOCK TABLE pgbaton.migrations IN SHARE UPDATE EXCLUSIVE MODE"
"""The lock that the engine's DDL is done under, one at a time. An advisory lock any role could hold; this one, only
roles with rights on the engine's tables. Readers of the version do not wait for it."""


def migrate_sql() -> str:
    """The script that creates or upgrades the schema: plain SQL, idempotent, one transaction."""
    steps = (
        sql.render(sql.read("install/migration.sql"), {"version": str(version), "name": name, "sql": text})
        for version, name, text in sql.migrations()
    )
    parts_of_it = ("limits.sql", "admission.sql", "wanted.sql", "protocol.sql")
    protocol = "".join(map(sql.read, parts_of_it))  # the last takes rights from all functions
    parts = {
        "lock": LOCK,
        "migrations": "".join(steps),
        "protocol": protocol,
        "protocol_md5": hashlib.md5(protocol.encode(), usedforsecurity=False).hexdigest(),
    }
    return sql.render(sql.read("install/migrate.sql"), parts)


@dataclass(frozen=True, slots=True)
class Migrated:
    """The schema's version before (0: there was none) and after; ``replaced``: its functions were another version's."""

    was: int
    now: int
    replaced: bool


async def migrate(conn: asyncpg.Connection) -> Migrated:
    """Create or upgrade the schema ``pgbaton``. Raises :class:`DatabaseError` where that is refused, and
    :class:`LockNotHad` where a long transaction keeps its tables busy."""
    try:
        was = await _installed(conn)
        await conn.execute(migrate_sql())
        now = await _installed(conn)
        return Migrated(was[0], now[0], was[1] != now[1])
    except asyncpg.LockNotAvailableError:
        await conn.execute("ROLLBACK")
        raise LockNotHad(
            f"the tables of the schema pgbaton are busy: {await holders(conn)}. Nothing was changed; try again"
        ) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseError(
            f"no right to create or change the schema pgbaton: {error}. Its owner changes it; to create it, "
            "the database's owner or a superuser gives this role the right: GRANT CREATE ON DATABASE … TO …"
        ) from None
    finally:
        if conn.is_in_transaction():
            await conn.execute("ROLLBACK")


async def _installed(conn: asyncpg.Connection) -> tuple[int, str | None]:
    """The schema's version, and the sign of its functions; (0, None): it is not there."""
    if await conn.fetchval("SELECT to_regclass('pgbaton.migrations') IS NULL"):
        return 0, None
    version = await conn.fetchval(sql.read("install/version.sql"))
    return version, await conn.fetchval("SELECT obj_description('pgbaton'::regnamespace, 'pg_namespace')")
