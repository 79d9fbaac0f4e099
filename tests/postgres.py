"""A real Postgres for every test that touches SQL: one server a run, one fresh database a test.

The server comes from the wheel (`pgbaton.embedded`) unless TEST_DATABASE_URL names another; that one's
user needs CREATEDB, and nothing but databases named `pgbaton_test_…` is touched there.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from pgbaton.embedded import EmbeddedPostgres
from support.home import forget_home

MEMORY = Path("/dev/shm")  # noqa: S108 (a folder of its own is made in it)
"""Files in memory, on Linux: a database is copied there in 9 ms of processor time, and on a disk in 30."""
MEMORY_NEEDED = 2 * 1024**3
"""Bytes that must be free there: several servers, and a database of 300,000 dispatches."""


def _folder_in_memory() -> Path | None:
    """None: the usual folder for temporary files."""
    roomy = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED
    return MEMORY if roomy else None


@dataclass(frozen=True)
class Cluster:
    """A server on which databases can be made."""

    url: str

    def dsn(self, database: str) -> str:
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{database}"))

    @asynccontextmanager
    async def new_database(self, template: str = "template1") -> AsyncIterator[str]:
        """The DSN of a database that lives as long as the block, a copy of `template`."""
        name = f"pgbaton_test_{secrets.token_hex(6)}"
        await self._copy(template, name)
        try:
            yield self.dsn(name)
        finally:
            await self._drop(name)

    @asynccontextmanager
    async def new_template(self, prepare: Callable[[str], Awaitable[None]]) -> AsyncIterator[str]:
        """The *name* of a database that `prepare` (given its DSN) has filled."""
        async with self.new_database() as dsn:
            await prepare(dsn)
            await forget_home(dsn)
            yield urlsplit(dsn).path.removeprefix("/")

    async def _copy(self, template: str, name: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            # Copying files takes half the time of a WAL-logged copy, the default from 15 on; 14 knows no other.
            files = " STRATEGY file_copy" if connection.get_server_version().major > 14 else ""
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}{files}")
        finally:
            await connection.close()

    async def _drop(self, name: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            # FORCE alone sleeps 100 ms when a test leaves a session behind.
            sessions = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1"
            while await connection.fetchval(sessions, name):
                await asyncio.sleep(0.002)
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield Cluster(url)
        return
    with tempfile.TemporaryDirectory(prefix="pgbaton-tests-", dir=_folder_in_memory()) as folder:
        Path(folder).chmod(0o711)  # as root, the server runs as another user
        # One round of hashing a password: 4,096 take a connecting test 1 ms of processor time, some 15,000 times.
        settings = {"max_connections": "200", "scram_iterations": "1"}
        embedded = EmbeddedPostgres(Path(folder, "cluster"), settings=settings, durable=False)
        with pytest.MonkeyPatch.context() as variables, embedded as server:
            # It has no certificate: asking whether it has takes a client 1 ms of 4 at the beginning of each session.
            variables.setenv("PGSSLMODE", "disable")
            asyncio.run(_hash_again(server.dsn()))
            yield Cluster(server.dsn())


async def _hash_again(dsn: str) -> None:
    """Give the user the same password, hashed as the server is set."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"ALTER ROLE postgres PASSWORD '{urlsplit(dsn).password}'")
    finally:
        await connection.close()


@pytest.fixture
async def empty_database(cluster: Cluster) -> AsyncIterator[str]:
    """The DSN of a database with nothing in it."""
    async with cluster.new_database() as dsn:
        yield dsn
