"""A database URL with several hosts: a primary, its standby, and what is no use or frozen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from pgbaton import Settings, database, hosts
from pgbaton.embedded import EmbeddedPostgres, host
from pgbaton.errors import DatabaseError
from pgbaton.events import EventLog
from pgbaton.install.migrate import migrate
from pgbaton.worker.sessions import Sessions


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://u:p@one/x", [("one", 5432)]),
        ("postgresql://u:p@one:1,two:2/x?target_session_attrs=read-write", [("one", 1), ("two", 2)]),
        ("postgresql://u:p@one,two/x?port=1,2", [("one", 1), ("two", 2)]),
        ("postgresql://u:p@/x?host=one,two&port=7", [("one", 7), ("two", 7)]),
        ("postgresql://u:p@[::1]:1,[::2]/x", [("::1", 1), ("::2", 5432)]),
        ("postgresql:///x?host=/run/a,/run/b", [("/run/a", 5432), ("/run/b", 5432)]),
        ("postgresql:///x", []),
    ],
)
def test_the_hosts_of_a_url_are_read_as_postgres_reads_them(url: str, found: list[tuple[str, int]]) -> None:
    assert hosts.addresses(url) == found


def test_an_address_with_several_hosts_is_shown_without_its_password() -> None:
    assert database.where("postgresql://me:secret@one:1,two/x?target_session_attrs=any") == "one:1,two:5432/x"


REPLICATES = {"wal_level": "replica", "max_wal_senders": "4"}


class Pair:
    """A primary and its hot standby, which waits for WAL that never comes."""

    def __init__(self, primary: EmbeddedPostgres, standby: EmbeddedPostgres) -> None:
        self.primary, self.standby = primary, standby

    @property
    def url(self) -> str:
        """Of both; the primary first."""
        user = urlsplit(self.primary.dsn())
        named = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://{user.username}:{user.password}@{named}/postgres"

    async def promote(self) -> None:
        conn = await asyncpg.connect(self.standby.dsn())
        try:
            assert await conn.fetchval("SELECT pg_promote()")
        finally:
            await conn.close()


@pytest.fixture(scope="module")
def origin() -> Iterator[Path]:
    """The folder of a server that was stopped in good order: primary and standby begin as copies of it."""
    with tempfile.TemporaryDirectory(prefix="pgbaton-hosts-") as name:
        Path(name).chmod(0o711)  # as root, the server runs as another user
        with EmbeddedPostgres(Path(name, "origin"), settings=REPLICATES, durable=False) as server:
            asyncio.run(_migrated(server.dsn()))
            folder = server.data_dir
        yield folder


async def _migrated(dsn: str) -> None:
    async with database.connection(dsn) as conn:
        await migrate(conn)


def _copy(origin: Path, to: Path) -> EmbeddedPostgres:
    shutil.copytree(origin, to, symlinks=True, ignore=shutil.ignore_patterns("port", "lock"))
    if host.is_root():
        for path in (to / "pgdata", *(to / "pgdata").rglob("*")):
            os.chown(path, *host.server_ids())
    return EmbeddedPostgres(to, settings=REPLICATES, durable=False)


@pytest.fixture
def pair(origin: Path) -> Iterator[Pair]:
    folder = origin.parent / secrets.token_hex(4)
    folder.mkdir(mode=0o711)
    primary, standby = _copy(origin, folder / "one"), _copy(origin, folder / "two")
    signal_file = folder / "two/pgdata/standby.signal"
    signal_file.touch()
    if host.is_root():
        os.chown(signal_file, *host.server_ids())
    with primary, standby:
        yield Pair(primary, standby)
    shutil.rmtree(folder)


async def port_of(conn: asyncpg.Connection) -> int:
    port: int = await conn.fetchval("SELECT inet_server_port()")
    return port


async def test_the_primary_is_found_among_its_hosts_and_its_successor_after_it(pair: Pair) -> None:
    async with database.pool(pair.url, 1, through_pooler=False) as pool:
        async with pool.acquire() as conn:
            assert await port_of(conn) == pair.primary.port
        pair.primary.kill()
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            async with pool.acquire() as conn:
                await port_of(conn)
        await pair.promote()
        async with pool.acquire() as conn:
            assert await port_of(conn) == pair.standby.port


async def test_a_frozen_primary_keeps_no_process_from_its_successor(pair: Pair) -> None:
    async with database.connection(pair.url) as conn:
        assert await port_of(conn) == pair.primary.port
    pids = [pair.primary.pid, *host.children(pair.primary.pid)]
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        await pair.promote()
        async with database.connection(pair.url) as conn:
            assert await port_of(conn) == pair.standby.port
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # a session's server process that was about to end
                os.kill(pid, signal.SIGCONT)


async def test_of_two_primaries_the_newer_timeline_is_taken_and_sessions_with_the_old_one_are_ended(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a slow machine the new primary answers later than the grace allows, or the guard finds it before this test looks.
    monkeypatch.setattr(hosts, "GRACE", hosts.PATIENCE)
    monkeypatch.setattr(hosts, "LOOK_AROUND_EVERY", 3600.0)
    cluster = hosts.hosts_of(pair.url)
    assert cluster is not None
    async with database.connection(pair.url) as old:
        assert not await cluster.look_around()
        assert await port_of(old) == pair.primary.port
        await pair.promote()
        assert await cluster.look_around()
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            await port_of(old)
        async with database.connection(pair.url) as new:
            assert await port_of(new) == pair.standby.port
        assert not await cluster.look_around()


async def test_where_no_host_takes_writes_it_is_said_what_each_of_them_is(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "PATIENCE", 1.0)
    pair.primary.kill()
    with pytest.raises(DatabaseError, match=rf"none takes writes .*127\.0\.0\.1:{pair.standby.port} is a standby"):
        async with database.connection(pair.url):
            pass


async def test_a_session_that_leads_to_a_standby_ends_with_the_first_write_that_it_refuses(pair: Pair) -> None:
    async with database.connection(pair.standby.dsn()) as conn:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError) as refused:
            await conn.execute("CREATE TABLE anything ()")
        assert conn.is_closed()
        assert not database.is_refusal(refused.value)  # no word of the user's table about a row


async def test_a_lease_is_in_doubt_once_the_session_for_turns_has_ended(pair: Pair) -> None:
    told = asyncio.Event()
    async with Sessions(Settings(database_url=SecretStr(pair.url)), EventLog()) as sessions:
        sessions.moved.append(told.set)
        assert await sessions.turns.fetchval("SELECT 1") == 1
        assert not told.is_set()
        pair.primary.kill()
        await asyncio.wait_for(told.wait(), 5)
