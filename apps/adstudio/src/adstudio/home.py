"""The database: how it is prepared, and one of the application's own where there is no other."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from adstudio.pipeline import ad_creative, ad_variants
from pgbaton import attach, connection, migrate
from pgbaton.embedded import EmbeddedError, EmbeddedPostgres
from pgbaton.errors import DatabaseError

STAGES_ROLE = "adstudio"
ADDRESS = "database-url"
"""The file in a home's folder that tells its address; for its owner alone."""


@dataclass(frozen=True)
class Home:
    """Two addresses of one database: the engine's, and the one of the role that the stages use."""

    database_url: str
    stages_url: str


@asynccontextmanager
async def embedded_home(folder: Path, *, durable: bool) -> AsyncIterator[Home]:
    """Start the embedded Postgres in ``folder`` and prepare it; stop it in the end.

    ``durable`` false: for a database that may be lost. Raises :class:`EmbeddedError` where the folder is of no
    use.
    """
    async with AsyncExitStack() as stack:
        postgres = EmbeddedPostgres(folder / "postgres", durable=durable)
        if not durable:  # wherever it was put
            stack.callback(lambda: shutil.rmtree(postgres.data_dir, ignore_errors=True))
        try:
            await stack.enter_async_context(postgres)
        except OSError as error:
            raise EmbeddedError(f"{error.filename or folder}: {error.strerror or error}") from None
        await prepare(postgres.dsn())
        _write_address(folder, postgres.dsn())
        yield Home(postgres.dsn(), await _stages_url(postgres.dsn()))


async def prepare(database_url: str) -> None:
    """Make the application's tables, and attach the engine to them. Safe to repeat, and beside running workers.

    Raises :class:`DatabaseError` where that cannot be.
    """
    async with connection(database_url) as conn:
        try:
            async with conn.transaction():
                # The engine's connections have no schema of users in their search_path.
                await conn.execute("SET LOCAL search_path = public")
                await conn.execute(_sql("schema"))
        except asyncpg.PostgresError as error:
            raise DatabaseError(f"the application's tables cannot be made: {error}") from None
        try:
            await migrate(conn)
        except asyncpg.InsufficientPrivilegeError as error:
            raise DatabaseError(f"the schema pgbaton cannot be made: {error}") from None
        for pipeline in (ad_creative(), ad_variants()):
            await attach(conn, pipeline)


async def _stages_url(database_url: str) -> str:
    """The address of the stages' own role, with a fresh password: it has no right on the engine's schema."""
    password = secrets.token_urlsafe(24)
    async with connection(database_url) as conn:
        await conn.execute(_sql("stages_role"))
        # ALTER ROLE takes no parameters; the password is made of URL-safe characters only.
        await conn.execute(f"ALTER ROLE {STAGES_ROLE} LOGIN PASSWORD '{password}'")
    address = urlsplit(database_url)
    return address._replace(netloc=f"{STAGES_ROLE}:{password}@{address.hostname}:{address.port}").geturl()


def _write_address(folder: Path, database_url: str) -> None:
    address = folder / ADDRESS
    address.touch(mode=0o600)
    address.write_text(f"{database_url}\n", encoding="ascii")


def _sql(name: str) -> str:
    return files("adstudio").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
