"""The guard makes an endpoint a stage: it begins, lets the stage work, and ends, each by compare-and-set."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar, get_type_hints

import asyncpg
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from starlette.types import Message

from pgbaton import hosts
from pgbaton.database import STAGE_POOLER_OPTIONS, connection, is_refusal, is_stale, pooled, refusal_words
from pgbaton.errors import JobRefused
from pgbaton.fastapi.problems import PROBLEMS, StageFailed
from pgbaton.key import key_of
from pgbaton.model import DONE, FAILED, Pipeline, Stage
from pgbaton.table import JobTable, read_table

MOST_BODY = 65_536
"""Bytes; a call of the engine has two texts of at most 1,000 characters."""
CLOSE_TIMEOUT = 10.0
"""Seconds that the end of the stages' connections may take."""


class TableRefuses(StageFailed):
    """The user's table refuses the state that ends the stage, by a constraint or a trigger of its own."""


P = ParamSpec("P")
T = TypeVar("T")
Reader = Callable[Concatenate[asyncpg.Connection, "Turn", P], Awaitable[T]]


KeyParts = Annotated[list[Annotated[StrictStr, Field(max_length=1000)]], Field(min_length=2, max_length=8)]


class JobRequest(BaseModel):
    """The body of a call to a stage; the key of several columns is a list of their values."""

    model_config = ConfigDict(extra="ignore")

    job_id: Annotated[StrictStr, Field(min_length=1, max_length=1000)] | KeyParts
    tenant_id: StrictStr | None = Field(max_length=1000)


class BoundedRoute(APIRoute):
    """A route that reads no more of a body than :data:`MOST_BODY`, and answers 413 to one that is longer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            read = 0

            async def receive() -> Message:
                nonlocal read
                message = await request.receive()
                read += len(message.get("body", b""))
                if read > MOST_BODY:
                    raise HTTPException(413, f"the body is longer than {MOST_BODY:,} bytes")
                return message

            return await handle(Request(request.scope, receive))

        return bounded


class Turn:
    """One stage working on one job. ``job`` is the row as it was when the stage began."""

    def __init__(self, pool: asyncpg.Pool, stage: Stage, job_id: str, job: Mapping[str, Any]) -> None:
        self.stage = stage
        self.job_id = job_id
        self.job = job
        self._pool = pool
        self.ending = DONE
        self._saves: list[Callable[[asyncpg.Connection], Awaitable[object]]] = []

    async def read(self, query: Reader[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read now, on a connection that goes back at once: nothing is open while the stage works."""
        async with self._pool.acquire() as db:
            return await query(db, self, *args, **kwargs)

    def save(self, write: Reader[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Write in the transaction that ends the stage: either both are committed or neither. Where a column got
        another type while the stage worked, that transaction is rolled back and made once more, and ``write`` with
        it."""
        self._saves.append(lambda db: write(db, self, *args, **kwargs))

    def ends(self, word: str) -> None:
        """End the stage with ``word`` in place of done: a status of your own from which a route leads on. Raises
        ``ValueError`` where none does: the job would stay there."""
        if word not in self.stage.ends:
            known = ", ".join(sorted(self.stage.ends))
            raise ValueError(
                f"nothing leads on from ({self.stage.step}, {word}): add a stage or a route with "
                f'after = "{self.stage.step}", status = "{word}", or end with one of: {known}'
            )
        self.ending = word

    async def _write_all(self, db: asyncpg.Connection) -> None:
        for save in self._saves:
            await save(db)


class Stages:
    """The stage endpoints of an application, each behind the guard. ``router`` holds them at the pipeline's paths."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.router = APIRouter(tags=["stages"], route_class=BoundedRoute)
        self._pool: asyncpg.Pool | None = None
        self._table: JobTable
        self._dsn = ""

    @asynccontextmanager
    async def opened(self, dsn: str, pool_size: int = 10) -> AsyncIterator[asyncpg.Pool]:
        """Hold the pool that the stages use; raises :class:`DatabaseError` where the table does not fit."""
        async with connection(dsn) as conn:
            self._table, self._dsn = await read_table(conn, self.pipeline), dsn
            # Prepared statements do not survive a transaction pooler, whose next statement may reach another server.
            options = STAGE_POOLER_OPTIONS if pooled(conn) else {}
        opening = asyncpg.create_pool(
            dsn, connect=hosts.connect, min_size=1, max_size=pool_size, command_timeout=60, **options
        )
        async with opening as pool:
            self._pool = pool
            yield pool
            # A database that says nothing any more must not keep the application from ending.
            cut = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, pool.terminate)
            await pool.close()
            cut.cancel()

    @property
    def pool(self) -> asyncpg.Pool:
        """The stages' pool, while :meth:`opened`."""
        if self._pool is None:
            raise RuntimeError("Stages.opened() has not been entered: is lifespan(stages, …) the app's lifespan?")
        return self._pool

    def post(self, step: str) -> Callable[[Callable[[Turn], Awaitable[T]]], Callable[[Turn], Awaitable[T]]]:
        """Make a coroutine function the endpoint of ``step``; its result is the answer's body."""
        stage = self.pipeline.stage(step)

        def register(work: Callable[[Turn], Awaitable[T]]) -> Callable[[Turn], Awaitable[T]]:
            async def endpoint(body: JobRequest) -> T:
                async with self.turn(step, key_of(body.job_id), body.tenant_id) as turn:
                    return await work(turn)

            # FastAPI reads the response model from here; resolved, for its names belong to the stage's module.
            endpoint.__annotations__["return"] = get_type_hints(work).get("return")
            endpoint.__name__ = work.__name__
            endpoint.__doc__ = work.__doc__
            self.router.add_api_route(stage.path, endpoint, methods=["POST"], responses=PROBLEMS)
            return work

        return register

    @asynccontextmanager
    async def turn(self, step: str, job_id: str, tenant_id: str | None) -> AsyncIterator[Turn]:
        """Begin ``step`` for a job, and end it when the block does. A key of several columns is the
        text of a JSON array.

        Raises :class:`JobRefused` (404, 409, 422) where it may not begin, or where the row moved meanwhile.
        """
        stage = self.pipeline.stage(step)
        turn = Turn(self.pool, stage, job_id, await self._begin(stage, job_id, tenant_id))
        try:
            yield turn
            await self._as_it_is(lambda db: self._end(db, turn))
        except JobRefused:
            raise
        except (Exception, asyncio.CancelledError):  # cancelled: the server ends before its stages do
            with contextlib.suppress(TableRefuses):  # the engine finds the row as it is, and says so
                await self._as_it_is(lambda db: self._put(db, turn, FAILED))
            raise

    async def _end(self, db: asyncpg.Connection, turn: Turn) -> None:
        written = False
        try:
            async with db.transaction():
                await turn._write_all(db)
                if not await self._put(db, turn, turn.ending):
                    raise JobRefused(409, "Job moved on", "the job's row was changed while the stage worked")
                written = True
        except asyncpg.PostgresError as error:
            if not written or not is_refusal(error):
                raise
            # A deferred constraint is asked at the commit, and its error has the row's contents, too.
            raise TableRefuses(f"the database refuses the commit: {refusal_words(error)}") from None

    async def _put(self, db: asyncpg.Connection, turn: Turn, status: str) -> bool:
        """End the step so; False: the row has moved. Raises :class:`TableRefuses`, without the row's contents, which
        the database's own error has."""
        step = turn.stage.step
        try:
            return bool(await db.fetchval(self._table.query("guard/end"), turn.job_id, step, status))
        except asyncpg.PostgresError as error:
            if not is_refusal(error):
                raise
            word = self.pipeline.statuses.word(status)
            raise TableRefuses(f"the table refuses ({step!r}, {word!r}): {refusal_words(error)}") from None

    async def _as_it_is(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """``work`` on a connection; where the table has changed since it was read, once more for the table as it is."""
        async with self.pool.acquire() as db:
            try:
                return await work(db)
            except asyncpg.PostgresError as error:
                if not is_stale(error):
                    raise
                async with connection(self._dsn) as conn:  # the stages' own look names up in schemas of others
                    now = await read_table(conn, self.pipeline)  # says it where a column is gone
                if now == self._table:
                    raise
                self._table = now
                return await work(db)

    async def _begin(self, stage: Stage, job_id: str, tenant_id: str | None) -> Mapping[str, Any]:
        tenant = tenant_id if self.pipeline.tenant else None
        if self.pipeline.tenant and tenant is None:
            raise JobRefused(422, "Invalid request", "tenant_id: must not be null")
        try:
            job, row = await self._as_it_is(lambda db: self._beginning(db, stage, job_id, tenant))
        except asyncpg.DataError:
            raise JobRefused(422, "Invalid request", "job_id: not a key that this table can have") from None
        if job is not None:
            return dict(job)
        if row is None or (tenant is not None and row["tenant"] != tenant):
            raise JobRefused(404, "Unknown job", "there is no such job")
        raise JobRefused(
            409,
            "Job not ready",
            f"the job is at ({row['step']}, {row['word']}); "
            f"{stage.step} needs ({stage.entry[0]}, {self.pipeline.statuses.word(stage.entry[1])})",
        )

    async def _beginning(
        self, db: asyncpg.Connection, stage: Stage, job_id: str, tenant: str | None
    ) -> tuple[asyncpg.Record | None, asyncpg.Record | None]:
        """The row that the stage began on, or where the row is instead."""
        job = await db.fetchrow(self._table.query("guard/begin"), job_id, tenant, *stage.entry, stage.step)
        return job, None if job is not None else await db.fetchrow(self._table.query("guard/look"), job_id)
