"""A server that scenes run on, one after the other; durable, so that a crash may not lose what was committed."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import asyncpg

from chaos.plan import Plan
from pgbaton import hosts
from pgbaton.embedded import EmbeddedPostgres
from support.home import forget_home

USER = "app"
MAX_CONNECTIONS = 100
"""Places of the server. The families need up to 75 beside the line: two stages with 8 each, six workers with 7 each, a stage
server with 16, a hand for each of what it does; with fewer, a slow machine's pools fill the server and no hand gets in."""

TABLES = """
CREATE TABLE jobs (
    job_id       uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id    varchar(255) NOT NULL DEFAULT 'acme',
    current_step varchar(255),
    status       varchar(50),
    note         text,
    updated_at   timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 12);  -- updates stay on their page: no conflict between users' own transactions in SERIALIZABLE
CREATE TABLE effects (
    id      bigint GENERATED ALWAYS AS IDENTITY,
    job_id  uuid NOT NULL,
    step    text NOT NULL,
    attempt integer NOT NULL,
    key     text NOT NULL
);
CREATE INDEX ON effects (job_id);
-- The oracle's own memory: who moved which job from where to where.
CREATE TABLE moves (
    id      bigint GENERATED ALWAYS AS IDENTITY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    who     text NOT NULL DEFAULT current_setting('application_name'),
    job_id  uuid NOT NULL,
    source  text,
    target  text
);
CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO moves (job_id, source, target)
    VALUES (coalesce(NEW.job_id, OLD.job_id), OLD.current_step || ' ' || OLD.status,
            NEW.current_step || ' ' || NEW.status);
    RETURN NULL;
END
$$;
CREATE TRIGGER a_move AFTER INSERT OR DELETE OR UPDATE OF current_step, status ON jobs
    FOR EACH ROW EXECUTE FUNCTION remember();
"""


async def attach_template(folder: Path, dsn: str) -> None:
    """Make the database that each scene's is a copy of. Its pipeline's file is written into ``folder``."""
    db = await hosts.connect(dsn)
    try:
        await db.execute(TABLES)
    finally:
        await db.close()
    pipeline = folder / "pipeline.toml"
    pipeline.write_text(Plan().pipeline(0, 9))
    for command in (["migrate"], ["attach", "--config", str(pipeline)]):
        program = str(Path(sys.executable).with_name("pgbaton"))
        command = [program, *command, "--database-url", dsn]
        await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
    await forget_home(dsn)


class Cluster:
    """A context manager. ``stop`` and ``kill`` are crashes; ``take_complaints`` tells what the server's log held."""

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        tuned = {"max_connections": str(MAX_CONNECTIONS), "shared_buffers": "64MB", "autovacuum_naptime": "5s"}
        tuned["track_commit_timestamp"] = "on"
        self._server = EmbeddedPostgres(folder, settings={**tuned, **(settings or {})}, durable=True)
        self.folder = folder
        self._lock = asyncio.Lock()
        self._read_to = 0
        self._complaints: list[str] = []

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._server.start)
        async with self.admin() as db:
            if not await db.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", USER):
                await db.execute(f"CREATE ROLE {USER} LOGIN PASSWORD '{USER}'")
                await db.execute(f"CREATE DATABASE chaos_template OWNER {USER}")
        await attach_template(self.folder.parent, self.dsn("chaos_template"))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._read_log()
        await asyncio.shield(asyncio.to_thread(self._server.stop))

    @property
    def port(self) -> int:
        return self._server.port

    def dsn(self, database: str, port: int | None = None) -> str:
        return f"postgresql://{USER}:{USER}@127.0.0.1:{port or self.port}/{database}"

    @asynccontextmanager
    async def admin(self, database: str = "postgres") -> AsyncIterator[asyncpg.Connection]:
        url = urlsplit(self._server.dsn())._replace(path=f"/{database}").geturl()
        db = await asyncpg.connect(url, timeout=10, command_timeout=60, server_settings={"application_name": "oracle"})
        try:
            yield db
        finally:
            db.terminate()

    async def new_database(self) -> str:
        name = f"chaos_{secrets.token_hex(4)}"
        async with self.admin() as db:
            await db.execute(f"CREATE DATABASE {name} OWNER {USER} TEMPLATE chaos_template STRATEGY file_copy")
        return name

    async def drop_database(self, name: str) -> None:
        await self.ensure_running()
        async with self.admin() as db:
            await db.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def stop(self, mode: str = "immediate") -> None:
        """``immediate``: no goodbye to anybody, a recovery at the next start. ``kill``: SIGKILL for every process."""
        async with self._lock:
            self._read_log()
            if mode == "kill":
                await asyncio.to_thread(self._server.kill)
            else:
                await asyncio.to_thread(self._server.stop, mode)

    async def ensure_running(self) -> None:
        async with self._lock:
            if not self._server.running:
                self._read_log()
                self._read_to = 0
                await asyncio.to_thread(self._server.start)

    def _read_log(self) -> None:
        """The log is emptied at each start; what must never be in it is kept."""
        log = self._server.data_dir / "server.log"
        if log.exists():
            with log.open("rb") as file:
                file.seek(self._read_to)
                lines = file.read().decode(errors="replace").splitlines()
                self._read_to = file.tell()
            for number, line in enumerate(lines):
                if "deadlock detected" in line or "PANIC" in line:
                    self._complaints.append("\n      ".join(lines[number : number + 8]))

    def take_complaints(self) -> list[str]:
        """Deadlocks and panics in the server's log since this was last asked."""
        self._read_log()
        taken, self._complaints = self._complaints, []
        return taken
