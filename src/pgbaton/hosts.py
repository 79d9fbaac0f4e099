"""The primary among several hosts: a database URL may name the servers of one cluster, ``host1:5432,host2:5432``.

All hosts are asked at once, and of the primaries that answer, the one with the newest timeline is taken; further
connections go straight there. A driver that tries hosts in their order waits at a frozen one until its time is over,
and is content with an old primary that still answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from weakref import WeakKeyDictionary

import asyncpg

PATIENCE = 8.0
"""Seconds for which a primary is searched, and for which a host is waited for: a busy one may be slow to answer."""
GRACE = 0.3
"""Seconds for which the others are waited for, once a primary has answered: one of them may be its successor."""
KNOWN_PATIENCE = 2.0
"""Seconds that the known primary has for a new connection, before all are asked: it may be frozen."""
LOOK_AROUND_EVERY = 10.0
"""Seconds between two looks at whether the primary is still the newest: an old one that nothing has fenced off answers
as ever, and only the other hosts can tell. A look costs a process one connection to each host."""
ASK_AGAIN = 0.5
"""Seconds until a host that takes no writes is asked again, in one search."""
CLOSE_TIMEOUT = 1.0
"""Seconds that a connection may take to close; then it is cut, for its server may be frozen."""

TIMELINE = """
SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL
            ELSE pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) END
"""

_NOT_HAD = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.TargetServerAttributeNotMatched,
)

Address = tuple[str, int]


class NoPrimary(ConnectionError):
    """None of the hosts takes writes. ``strerror`` says of each host why."""


def addresses(database_url: str) -> list[Address]:
    """The hosts that a database URL names, with their ports; none where the driver's own rules say which it is. Raises
    :class:`ValueError` on a port that is none."""
    url = urlsplit(database_url)
    said = {name: values[-1] for name, values in parse_qs(url.query).items()}
    hosts = unquote(url.netloc.rpartition("@")[2]) or said.get("host", "")
    ports = (said.get("port") or os.environ.get("PGPORT") or "5432").split(",")
    found = []
    for number, host in enumerate(filter(None, hosts.split(","))):
        name, colon, port = host.rpartition(":")
        if not colon or port.endswith("]"):
            name, port = host, ports[number % len(ports)]
        found.append((name.strip("[]"), int(port)))
    return found


async def timeline_of(conn: asyncpg.Connection) -> int | None:
    """The timeline that this server writes; None for a standby, and where a server of another make does not tell. A
    failover begins a new one."""
    try:
        name = await conn.fetchval(TIMELINE)
    except asyncpg.PostgresError:
        return None
    return None if name is None else int(name, 16)


async def connect(database_url: str, **options: Any) -> asyncpg.Connection:
    """As :func:`asyncpg.connect`; where the URL names several hosts, to the primary among them.

    Raises as that, and :class:`NoPrimary`.
    """
    hosts = hosts_of(database_url)
    try:
        return await (asyncpg.connect(database_url, **options) if hosts is None else hosts.connect(**options))
    except asyncpg.TargetServerAttributeNotMatched:
        raise NoPrimary(0, "it is a standby, and target_session_attrs asks for another") from None


def hosts_of(database_url: str) -> Hosts | None:
    """The hosts of that URL, as this process knows them; None where it names one at most."""
    if database_url not in _known:
        found = addresses(database_url)
        _known[database_url] = Hosts(database_url, found) if len(found) > 1 else None
    return _known[database_url]


@dataclass(frozen=True, slots=True)
class Primary:
    """``timeline``: 0 where the server does not tell."""

    address: Address
    timeline: int


class Hosts:
    """The servers of one cluster, as one process sees them."""

    def __init__(self, database_url: str, found: list[Address]) -> None:
        self._url = database_url
        self._addresses = found
        self._primary: Primary | None = None
        self._searching: asyncio.Task[Primary] | None = None
        self._guarding: asyncio.Task[None] | None = None
        self._open: WeakKeyDictionary[asyncpg.Connection, Primary] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<Hosts {', '.join(f'{host}:{port}' for host, port in self._addresses)}, primary {self._primary}>"

    async def connect(self, **options: Any) -> asyncpg.Connection:
        """A connection to the primary."""
        if (known := self._primary) is not None:
            with contextlib.suppress(*_NOT_HAD):
                return await self._join(known, options, KNOWN_PATIENCE)
            if self._primary == known:
                self._primary = None
        return await self._join(await self._search(), options, PATIENCE)

    async def look_around(self) -> bool:
        """Ask all hosts; where another is the primary of a newer timeline, end every connection of this process to the
        old one, which still answers. Whether that was so."""
        known = self._primary
        if known is None:
            return False
        with contextlib.suppress(*_NOT_HAD):
            self._primary = await self._search()
        newest = self._primary
        if newest is None or newest.timeline <= known.timeline:
            self._primary = known
            return False
        for conn, primary in list(self._open.items()):
            if primary.timeline < newest.timeline:
                conn.terminate()
        return True

    async def _join(self, primary: Primary, options: dict[str, Any], patience: float) -> asyncpg.Connection:
        host, port = primary.address
        wanted = {**options, "timeout": min(patience, options.get("timeout") or patience)}
        conn = await asyncpg.connect(self._url, host=host, port=port, target_session_attrs="read-write", **wanted)
        self._open[conn] = primary
        loop = asyncio.get_running_loop()
        if self._guarding is None or self._guarding.done() or self._guarding.get_loop() is not loop:
            self._guarding = loop.create_task(self._guard())
        return conn

    async def _guard(self) -> None:
        """Look around as long as there are connections."""
        while any(not conn.is_closed() for conn in list(self._open)):
            await asyncio.sleep(LOOK_AROUND_EVERY)
            await self.look_around()

    async def _search(self) -> Primary:
        """One search at a time, whose result is everybody's: a failover must not meet a crowd of questions."""
        searching, loop = self._searching, asyncio.get_running_loop()
        if searching is None or searching.done() or searching.get_loop() is not loop:
            searching = self._searching = loop.create_task(self._find())
            searching.add_done_callback(lambda task: task.cancelled() or task.exception())  # all may have left
        found = self._primary = await asyncio.shield(searching)
        return found

    async def _find(self) -> Primary:
        said = dict.fromkeys(self._addresses, "silent")
        asking = {asyncio.create_task(self._ask(address, said)) for address in self._addresses}
        found: list[Primary] = []
        try:
            async with asyncio.timeout(PATIENCE):
                pending = set(asking)
                while pending:
                    done, pending = await asyncio.wait(
                        pending, timeout=GRACE if found else None, return_when=asyncio.FIRST_COMPLETED
                    )
                    found += [primary for task in done if (primary := task.result()) is not None]
                    others = [said[address] for address in self._addresses if said[address] != "primary"]
                    if not done or (found and "silent" not in others):
                        break
        except TimeoutError:
            pass
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        if not found:
            words = ", ".join(f"{host}:{port} is {what}" for (host, port), what in said.items())
            raise NoPrimary(0, f"none takes writes ({words})")
        return max(found, key=lambda primary: primary.timeline)

    async def _ask(self, address: Address, said: dict[Address, str]) -> Primary | None:
        """Ask one host again and again, until it is a primary, or refuses this user or database, which asking does not
        change. Meanwhile ``said`` has its latest answer."""
        host, port = address
        while True:
            try:
                conn = await asyncpg.connect(
                    self._url, host=host, port=port, target_session_attrs="any", timeout=PATIENCE
                )
            except asyncpg.CannotConnectNowError:
                said[address] = "starting or stopping"
            except (OSError, TimeoutError) as error:
                said[address] = getattr(error, "strerror", None) or type(error).__name__
            except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
                said[address] = type(error).__name__
                return None
            except asyncpg.PostgresError as error:
                said[address] = type(error).__name__
            else:
                try:
                    standby = await conn.fetchval("SELECT pg_catalog.pg_is_in_recovery()", timeout=PATIENCE)
                    timeline = None if standby else await timeline_of(conn)
                    said[address] = "a standby" if standby else "primary"
                    await conn.close(timeout=CLOSE_TIMEOUT)
                    if not standby:
                        return Primary(address, timeline or 0)
                except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    said[address] = type(error).__name__
                finally:
                    conn.terminate()
            await asyncio.sleep(ASK_AGAIN)


_known: dict[str, Hosts | None] = {}
