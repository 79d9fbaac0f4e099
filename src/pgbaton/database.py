"""Connecting to Postgres, and saying clearly why that fails. Never shows a password."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar
from urllib.parse import urlsplit

import asyncpg

from pgbaton import hosts, sql
from pgbaton.errors import AttachError, DatabaseError, LeaseLost, NotAtHome, NotMigrated, PgbatonError
from pgbaton.events import Event, EventLog, describe, words_of

OLDEST_POSTGRES = 140000
"""``server_version_num`` of the oldest Postgres that the tests run against."""
CONNECT_TIMEOUT = 10.0
"""Seconds that a connection may take; a server that starts up or is busy answers sooner."""
PROOF_EVERY = 3.0
"""Seconds between two round trips that prove a connection alive, and how long one may take."""
QUERY_TIMEOUT = 15.0
"""Seconds; longer than the wait for a lock, so that only a database that says nothing is given up."""

SETTINGS = {
    "application_name": "pgbaton",
    # The protocol is written for READ COMMITTED, not for the database's default.
    "default_transaction_isolation": "read committed",
    # A row that a policy hides would look like a job that is gone: better an error than a cancelled dispatch.
    "row_security": "off",
    # A worker that is frozen in a transaction must not hold locks that others wait for.
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "10s",
    # A limit that a role or database has for people would end the engine's turns or its listener, again and again; its
    # statements have timeouts of their own (QUERY_TIMEOUT).
    "statement_timeout": "0",
    "idle_session_timeout": "0",
}

SAFE_PATH = """
SELECT pg_catalog.set_config('pgbaton.search_path', pg_catalog.current_setting('search_path'), false),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false)
"""
"""The engine's statements find no function, operator or type in a schema that other roles may write to. The path that
the role has otherwise is kept for the triggers of the user's table (``settle.sql``, ``prepare.sql``)."""

_SAFE_PATH_ONCE = SAFE_PATH.rstrip().replace("false", "true")
"""The same for one transaction."""

STEADY_PLANS = {
    # A dispatcher makes many look-ups by key. A plan is made once a session, perhaps while the tables are empty
    # or their statistics are old: it must be the one for full tables. Without sorting, rows that are asked for in the
    # order of an index is read by that index.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}


UNREADABLE = "(unreadable address)"


def where(database_url: str) -> str:
    """The address in a database URL, without user and password."""
    try:
        url = urlsplit(database_url)
        if "@" in f"{url.path}{url.query}{url.fragment}" or url.netloc.count("@") > 1:
            return UNREADABLE  # a password with a "/", "#" or "@" that is not encoded
        named = ",".join(f"{host}:{port}" for host, port in hosts.addresses(database_url))
        return f"{named or 'localhost:5432'}{url.path}"
    except ValueError:
        return UNREADABLE


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
    """As :func:`connection`, but the caller closes it. ``pooled(conn)`` tells whether a pooler is in the path."""
    try:
        conn = await _open(database_url)
    except (ValueError, OverflowError, asyncpg.InterfaceError) as error:
        raise DatabaseError(f"DATABASE_URL is not an address of a Postgres: {type(error).__name__}") from None
    except (OSError, TimeoutError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise DatabaseError(f"no Postgres answers at {where(database_url)}: {reason}") from None
    except asyncpg.PostgresError as error:
        address = where(database_url)
        # An address that is read wrongly makes a part of the password the name of the database, which the message says.
        said = type(error).__name__ if address == UNREADABLE else words_of(error)
        raise DatabaseError(f"Postgres at {address} refuses: {said}") from None
    version = conn.get_server_version()
    if version.major * 10000 < OLDEST_POSTGRES:
        await conn.close()
        raise DatabaseError(f"PostgreSQL {version.major} is too old: 14 or newer is needed")
    return conn


def pooled(conn: asyncpg.Connection) -> bool:
    """Whether a transaction pooler (PgBouncer) is between this connection and Postgres."""
    return type(conn) is ThroughPooler  # to isinstance() every asyncpg connection is an instance of every kind


async def prove_alive(conn: asyncpg.Connection, until: asyncio.Event) -> None:
    """Wait ``until`` something happens; meanwhile a round trip every few seconds proves the connection alive. Raises
    where one does not come back."""
    while not until.is_set():
        try:
            async with asyncio.timeout(PROOF_EVERY):
                await until.wait()
        except TimeoutError:
            async with asyncio.timeout(PROOF_EVERY):
                await conn.fetchval("SELECT 1")


class Impatient(asyncpg.Connection):
    """A connection that ends with a query that was not answered in time: a server that does not answer does not answer
    a cancellation either, and the driver would wait for that as long again. It ends, too, where it leads to a standby,
    which takes no writes: the next one may lead to the primary."""

    async def fetch(self, query: str, *args: Any, **options: Any) -> list[asyncpg.Record]:
        with self._ended_when_useless():
            return list(await super().fetch(query, *args, **options))

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> asyncpg.Record | None:
        with self._ended_when_useless():
            return await super().fetchrow(query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        with self._ended_when_useless():
            return await super().fetchval(query, *args, **options)

    async def execute(self, query: str, *args: Any, **options: Any) -> str:
        with self._ended_when_useless():  # a transaction begins and ends by it, too
            return str(await super().execute(query, *args, **options))

    def is_in_transaction(self) -> bool:
        """False once it has ended, when the driver has nothing left to ask."""
        return not self.is_closed() and bool(super().is_in_transaction())

    @contextmanager
    def _ended_when_useless(self) -> Iterator[None]:
        try:
            yield
        except (TimeoutError, asyncpg.ReadOnlySQLTransactionError):
            self.terminate()
            raise
        except AttributeError as error:
            # The driver has let go of its protocol where a connection breaks between two of its steps.
            if not self.is_closed():
                raise
            raise asyncpg.ConnectionDoesNotExistError("the connection broke") from error


class ThroughPooler(Impatient):
    """A connection whose every statement is a transaction of its own.

    Behind a transaction pooler the parse and the execution of one statement may reach two different servers,
    where an unnamed statement is another session's; a transaction keeps them together.
    """

    opening: ClassVar[str | None] = _SAFE_PATH_ONCE
    """The statement that every transaction begins with."""

    async def fetch(self, query: str, *args: Any, **options: Any) -> list[asyncpg.Record]:
        async with self._one_transaction():
            return list(await super().fetch(query, *args, **options))

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> asyncpg.Record | None:
        async with self._one_transaction():
            return await super().fetchrow(query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        async with self._one_transaction():
            return await super().fetchval(query, *args, **options)

    async def execute(self, query: str, *args: Any, **options: Any) -> str:
        if not args:  # one message, and so one server; BEGIN and COMMIT come here, too
            return str(await super().execute(query, **options))
        async with self._one_transaction():
            return str(await super().execute(query, *args, **options))

    @asynccontextmanager
    async def _one_transaction(self) -> AsyncIterator[None]:
        if self.is_in_transaction():
            yield
        else:
            async with self.transaction(isolation="read_committed"):
                if self.opening is not None:
                    await self.execute(self.opening)
                yield


class SteadyThroughPooler(ThroughPooler):
    """The same for a dispatcher's statements, see :data:`STEADY_PLANS`: a pooler passes on no settings of a session."""

    opening = ", ".join(
        (
            _SAFE_PATH_ONCE,
            *(f"pg_catalog.set_config('{name}', '{value}', true)" for name, value in STEADY_PLANS.items()),
        )
    )


class StageThroughPooler(ThroughPooler):
    """The same for the stages of an application, whose statements have the search_path that they expect."""

    opening = None


def pool(
    database_url: str,
    size: int,
    *,
    through_pooler: bool,
    query_timeout: float | None = None,
    steady_plans: bool = False,
    ended: Callable[[object], None] | None = None,
) -> asyncpg.Pool:
    """A pool of at most ``size`` connections with the engine's settings; use as an async context manager.

    ``steady_plans``: for a dispatcher's statements, see :data:`STEADY_PLANS`. ``ended`` is called when a
    connection has ended, before there is another.
    """
    if through_pooler:
        options = _STEADY_POOLER_OPTIONS if steady_plans else _POOLER_OPTIONS
    else:
        options = _STEADY_OPTIONS if steady_plans else _DIRECT_OPTIONS

    async def keep(_connection: asyncpg.Connection) -> None:
        """No statement of ours changes the session, so there is nothing to reset (and no round trip for it)."""

    async def begin(conn: asyncpg.Connection) -> None:
        if not through_pooler:  # there, every transaction does it
            await conn.execute(SAFE_PATH)
        if ended is not None:
            conn.add_termination_listener(ended)

    return asyncpg.create_pool(
        database_url,
        connect=hosts.connect,
        min_size=1,
        max_size=size,
        command_timeout=query_timeout or QUERY_TIMEOUT,
        timeout=CONNECT_TIMEOUT,
        init=begin,
        reset=keep,
        **options,
    )


_DIRECT_OPTIONS: dict[str, Any] = {"server_settings": SETTINGS, "connection_class": Impatient}
_STEADY_OPTIONS: dict[str, Any] = {**_DIRECT_OPTIONS, "server_settings": SETTINGS | STEADY_PLANS}
# A pooler passes on no settings, and prepared statements do not survive it.
_POOLER_OPTIONS: dict[str, Any] = {"statement_cache_size": 0, "connection_class": ThroughPooler}
_STEADY_POOLER_OPTIONS: dict[str, Any] = {**_POOLER_OPTIONS, "connection_class": SteadyThroughPooler}
STAGE_POOLER_OPTIONS: dict[str, Any] = {**_POOLER_OPTIONS, "connection_class": StageThroughPooler}


async def _open(database_url: str) -> asyncpg.Connection:
    """A direct connection where there is one, else one through the pooler."""
    try:
        conn = await hosts.connect(database_url, timeout=CONNECT_TIMEOUT, **_DIRECT_OPTIONS)
    except asyncpg.ProtocolViolationError as error:
        if "startup parameter" not in str(error):
            raise
    else:
        # If the server is silent, cancelling hangs too; terminate the connection instead.
        cut = asyncio.get_running_loop().call_later(CONNECT_TIMEOUT, conn.terminate)
        try:
            transaction = conn.transaction()
            await transaction.start()
            pid = await conn.fetchval("SELECT pg_backend_pid()")
            await transaction.rollback()
            if pid == conn.get_server_pid():  # a pooler makes up the process id that it greets with
                await conn.execute(SAFE_PATH)
                return conn
            await conn.close()
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            conn.terminate()
            raise ConnectionError from error
        except BaseException:
            conn.terminate()
            raise
        finally:
            cut.cancel()
    return await hosts.connect(database_url, timeout=CONNECT_TIMEOUT, **_POOLER_OPTIONS)


NONE_LEFT = (errno.EMFILE, errno.ENFILE)
"""No file descriptor: by the process's own limit, and by the machine's."""
_CONNECTION_BROKE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the driver lost a connection while it was at work on it
    asyncpg.OperatorInterventionError,  # shutdown, crash, a statement or session that was ended
)
_CONNECTION_LOST = (
    *_CONNECTION_BROKE,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby: the address leads to the primary later
    DatabaseError,
)


_TRANSIENT = (
    asyncpg.TransactionRollbackError,  # a deadlock, a serialization failure
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.InsufficientPrivilegeError,  # of the whole statement, not of a row
    asyncpg.UndefinedObjectError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
)


def is_refusal(error: asyncpg.PostgresError) -> bool:
    """Whether the user's table refuses a row (a constraint, a type's limits, a trigger that raises), rather than the
    server a statement, or for now."""
    return not isinstance(error, (*_CONNECTION_LOST, *_TRANSIENT)) and not is_stale(error)


_NO_LONGER_FITS = (
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,  # no operator for these types
    asyncpg.DatatypeMismatchError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.FeatureNotSupportedError,  # "cached plan must not change result type"
)


def is_stale(error: asyncpg.PostgresError) -> bool:
    """Whether the statement does not fit the user's table any more: a column or the table has another name or type. The
    same error from inside a function has a context, and is that function's."""
    return isinstance(error, _NO_LONGER_FITS) and not error.context


def ailment(error: Exception) -> str | None:
    """The code of the finding that a worker tells of which meets this and cannot do its work until a person mends it: a
    right that is missing, a statement that does not fit, a full disk, a fault of the engine, no file descriptor. None:
    it passes by itself, or the doctor finds it in another way."""
    if isinstance(error, OSError) and error.errno in NONE_LEFT:
        return "no_descriptors"
    passes = (*_CONNECTION_BROKE, asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError)
    return None if isinstance(error, (*passes, PgbatonError)) else "worker_refused"


def refusal_words(error: asyncpg.PostgresError) -> str:
    """The database's own words, at most 200 characters, without the row's contents (which it tells in the detail)."""
    named = f" ({error.constraint_name})" if getattr(error, "constraint_name", None) else ""
    return (words_of(error) or type(error).__name__) + named


def report(log: EventLog, loop: str, error: Exception) -> None:
    """Say in the log why a round of ``loop`` stopped: the database is away, it refuses a statement, or this is a
    fault."""
    if isinstance(error, LeaseLost):
        log.warning(Event.LEASE_LOST, loop=loop)
    elif isinstance(error, NotAtHome):
        log.error(Event.NOT_AT_HOME, loop=loop)
    elif isinstance(error, AttachError):
        log.error(Event.TABLE_CHANGED, loop=loop, error=str(error))
    elif isinstance(error, asyncpg.PostgresError) and is_stale(error):
        log.error(Event.TABLE_CHANGED, loop=loop, error=describe(error))
    elif ailment(error) == "no_descriptors":
        log.error(Event.NO_DESCRIPTORS, loop=loop, error=describe(error))
    elif isinstance(error, _CONNECTION_LOST):
        log.warning(Event.DATABASE_AWAY, loop=loop, error=describe(error))
    elif isinstance(error, asyncpg.PostgresError):
        log.error(Event.STATEMENT_REFUSED, loop=loop, error=describe(error))
    else:
        log.fault(Event.WORKER_FAULT, error, loop=loop)


async def check_migrated(conn: asyncpg.Connection) -> None:
    """Raise :class:`NotMigrated` unless the schema ``pgbaton`` is as new as this engine."""
    try:
        have = await conn.fetchval(sql.read("install/version.sql"))
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        have = 0
    except asyncpg.InsufficientPrivilegeError:
        raise DatabaseError(
            "this role has no right on the schema pgbaton: run as its owner, or grant what docs/deployment.md lists"
        ) from None
    need = sql.migrations()[-1][0]
    if have < need:
        raise NotMigrated(f"the schema pgbaton is at version {have}, this engine needs {need}: run pgbaton migrate")
