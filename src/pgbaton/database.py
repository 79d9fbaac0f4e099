"""Connecting to Postgres, and saying clearly what is wrong when that fails. Never shows a password."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg

from pgbaton import sql
from pgbaton.errors import DatabaseError, NotMigrated

OLDEST_POSTGRES = 140000
CONNECT_TIMEOUT = 10.0

SETTINGS = {
    "application_name": "pgbaton",
    # The protocol is written for READ COMMITTED, whatever the database's default is.
    "default_transaction_isolation": "read committed",
    # A worker that is frozen in the middle of something must not hold what others wait for.
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "10s",
}


def where(database_url: str) -> str:
    """The address in a database URL, without user and password."""
    try:
        url = urlsplit(database_url)
        return f"{url.hostname or 'localhost'}:{url.port or 5432}{url.path}"
    except ValueError:
        return "(unreadable address)"


@asynccontextmanager
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """One connection with the engine's settings, checked to be a Postgres that the engine can use.

    Raises :class:`DatabaseError` where it cannot be had.
    """
    conn = await connect(database_url)
    try:
        yield conn
    finally:
        try:
            await conn.close(timeout=5)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            conn.terminate()


async def connect(database_url: str) -> asyncpg.Connection:
    """As :func:`connection`, but the caller closes it."""
    try:
        conn = await asyncpg.connect(database_url, timeout=CONNECT_TIMEOUT, server_settings=SETTINGS)
    except (ValueError, asyncpg.InterfaceError) as error:
        raise DatabaseError(f"DATABASE_URL is not an address of a Postgres: {type(error).__name__}") from None
    except (OSError, TimeoutError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise DatabaseError(f"no Postgres answers at {where(database_url)}: {reason}") from None
    except asyncpg.PostgresError as error:
        raise DatabaseError(f"Postgres at {where(database_url)} refuses: {error}") from None
    version = conn.get_server_version()
    if version.major * 10000 < OLDEST_POSTGRES:
        await conn.close()
        raise DatabaseError(f"PostgreSQL {version.major} is too old: 14 or newer is needed")
    return conn


async def check_migrated(conn: asyncpg.Connection) -> None:
    """Raise :class:`NotMigrated` unless the schema ``pgbaton`` is as new as this engine."""
    try:
        have = await conn.fetchval(sql.read("queries/version.sql"))
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        have = 0
    except asyncpg.InsufficientPrivilegeError:
        raise DatabaseError("this role has no right on the schema pgbaton: run as its owner") from None
    need = sql.migrations()[-1][0]
    if have < need:
        raise NotMigrated(f"the schema pgbaton is at version {have}, this engine needs {need}: run pgbaton migrate")
