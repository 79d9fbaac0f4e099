"""A database of the application's own: the embedded Postgres, with schema, trigger and a role for the stages."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from adstudio.pipeline import ad_creative
from pgbaton.attach import attach
from pgbaton.database import connection
from pgbaton.embedded import EmbeddedPostgres
from pgbaton.migrate import migrate

STAGES_ROLE = "adstudio"


@dataclass(frozen=True)
class Home:
    """Two addresses of one database: the engine's, and the one of the role that the stages use."""

    database_url: str
    stages_url: str


@asynccontextmanager
async def embedded_home(folder: Path, *, durable: bool) -> AsyncIterator[Home]:
    """Start the embedded Postgres in ``folder`` and prepare it; stop it in the end.

    ``durable`` false: for a database that nobody will miss.
    """
    async with EmbeddedPostgres(folder, durable=durable) as server:
        yield await prepare(server.dsn())


async def prepare(database_url: str) -> Home:
    """Apply the schema, the engine and the trigger, and give the stages' role a fresh password. Safe to repeat."""
    password = secrets.token_urlsafe(24)
    async with connection(database_url) as conn:
        await conn.execute(files("adstudio").joinpath("sql", "schema.sql").read_text(encoding="utf-8"))
        await migrate(conn)
        await attach(conn, ad_creative())
        grants = files("adstudio").joinpath("sql", "stages_role.sql").read_text(encoding="utf-8")
        await conn.execute(grants)
        # ALTER ROLE takes no parameters; the password is made of URL-safe characters only.
        await conn.execute(f"ALTER ROLE {STAGES_ROLE} LOGIN PASSWORD '{password}'")
    address = urlsplit(database_url)
    stages = address._replace(netloc=f"{STAGES_ROLE}:{password}@{address.hostname}:{address.port}")
    return Home(database_url, stages.geturl())
