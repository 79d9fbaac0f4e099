"""The common ground of all contestants: one Postgres, tuned identically for all, and a fresh database for every run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Self

import asyncpg

from benchmarks.jobs import TABLE
from benchmarks.processes import Child
from pgbaton.embedded import EmbeddedPostgres

SETTINGS = {
    "max_connections": "400",
    "shared_buffers": "512MB",
    # No checkpoint by time or size may fall into one contestant's run and not into another's.
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
}
"""Over those of pgbaton.embedded; fsync and synchronous_commit stay on."""


class Ground:
    """A server in a temporary folder. ``folder`` also holds the logs of child processes."""

    def __init__(self, server: EmbeddedPostgres, folder: Path) -> None:
        self._server = server
        self._numbers = count()
        self._templates: dict[str, str] = {}
        self.folder = folder

    @property
    def postmaster(self) -> int:
        return self._server.pid

    @property
    def programs(self) -> Path:
        """Where pgbench is."""
        return self._server.bin_dir

    def dsn(self, database: str = "postgres") -> str:
        return self._server.dsn(database)

    def log(self) -> Path:
        """A new file for what a child says."""
        return self.folder / f"child-{next(self._numbers)}.log"

    async def template(self, name: str) -> str:
        """The database that ``name`` is installed in, made when first asked for."""
        if name not in self._templates:
            database = f"template_{name.replace('-', '_')}"
            await self.execute(f"CREATE DATABASE {database}")
            db = await asyncpg.connect(self.dsn(database))
            await db.execute(TABLE)
            await db.close()
            await Child.finished(self.log(), "child", "install", name, self.dsn(database))
            self._templates[name] = database
        return self._templates[name]

    @asynccontextmanager
    async def database(self, name: str) -> AsyncIterator[str]:
        """The DSN of a fresh copy of that contestant's database; dropped afterwards."""
        template = await self.template(name)
        database = f"run_{next(self._numbers)}"
        await self.execute(f"CREATE DATABASE {database} TEMPLATE {template}")
        try:
            yield self.dsn(database)
        finally:
            await self.execute(f"DROP DATABASE {database} WITH (FORCE)")

    async def execute(self, statement: str) -> None:
        db = await asyncpg.connect(self.dsn())
        try:
            await db.execute(statement)
        finally:
            await db.close()

    async def show(self, name: str) -> str:
        db = await asyncpg.connect(self.dsn())
        try:
            return str(await db.fetchval("SELECT current_setting($1)", name))
        finally:
            await db.close()

    @classmethod
    @asynccontextmanager
    async def prepared(cls, settings: Mapping[str, str] | None = None) -> AsyncIterator[Self]:
        folder = Path(tempfile.mkdtemp(prefix="pgbaton-bench-"))
        folder.chmod(0o711)  # as root, the server runs as another user
        try:
            server = EmbeddedPostgres(folder / "cluster", settings={**SETTINGS, **(settings or {})})
            async with server:
                yield cls(server, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
