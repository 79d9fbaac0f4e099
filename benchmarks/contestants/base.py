"""A contestant: how its tables are made, how jobs get to it, and its engine."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import ClassVar

import asyncpg
from pyreqwest.client import Client, ClientBuilder

from benchmarks.jobs import ADD, HOPS, STEPS, TENANT

Add = Callable[[Sequence[str]], Awaitable[None]]
"""Puts jobs with these keys into the table and hands them to the engine, in one transaction where its API has a way.
Returns when that is committed."""

POOL = 20
"""Connections that an engine with a pool may have at most; all have some to spare with it."""


class Contestant(ABC):
    """``jobs``: how many make a run of three to six seconds here. ``waiting``: its engine finds jobs that were there
    before it was. ``gap``: seconds between two jobs of a trickle, at random, so that nobody's polling keeps step."""

    name: ClassVar[str]
    label: ClassVar[str]
    package: ClassVar[str | None] = None
    jobs: ClassVar[int] = 2000
    gap: ClassVar[tuple[float, float]] = (0.1, 0.2)
    waiting: ClassVar[bool] = True

    async def install(self, dsn: str) -> None:  # noqa: B027  some need nothing
        """Make its own tables in a database that has the jobs table."""

    @asynccontextmanager
    async def adding(self, dsn: str) -> AsyncIterator[Add]:
        """The way that jobs come in."""
        async with session(dsn) as db:
            add = ADD.format("$1")

            async def rows(keys: Sequence[str]) -> None:
                await db.execute(add, keys)

            yield rows

    async def follow(self, caller: Caller, key: str) -> None:  # noqa: B027  only who has no engine
        """Follow a job after it was added, as its client would."""

    @abstractmethod
    async def work(self, dsn: str, url: str) -> None:
        """Be the engine, until this process is ended; the stages are at ``url``."""


def after(step: str) -> str | None:
    """The step of the next hop; None after the last."""
    at = STEPS.index(step) + 1
    return STEPS[at] if at < HOPS else None


@asynccontextmanager
async def session(dsn: str, settings: Mapping[str, str] | None = None) -> AsyncIterator[asyncpg.Connection]:
    db = await asyncpg.connect(dsn, server_settings=dict(settings or {}))
    try:
        yield db
    finally:
        await db.close()


class Caller:
    """POSTs a job to a stage. The HTTP client of every contestant but the naive one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = client()

    async def post(self, step: str, job: str) -> None:
        """Raises where the answer is not a success."""
        body = json.dumps({"job_id": job, "tenant_id": TENANT}).encode()
        request = self._client.post(f"{self._url}/{step}").header("content-type", "application/json").body_bytes(body)
        response = await request.build().send()
        await response.bytes()


def client() -> Client:
    return ClientBuilder().no_proxy().timeout(timedelta(seconds=60)).error_for_status(True).build()
