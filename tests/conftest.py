"""The common part of the engine's tests beside `postgres.py`: a database with a jobs table, ready to be attached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from line import JOBS
from pgbaton.install.migrate import migrate
from postgres import Cluster


async def _prepare_template(dsn: str) -> None:
    """The contents of every `database` from the beginning: a jobs table and the engine's schema, nothing attached."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(JOBS)
        await migrate(connection)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> Iterator[str]:
    """The name of the database that `database` copies; prepared once a run."""
    with asyncio.Runner() as runner:
        making = cluster.new_template(_prepare_template)
        name = runner.run(making.__aenter__())
        yield name
        runner.run(making.__aexit__(None, None, None))


@pytest.fixture
async def database(cluster: Cluster, template: str) -> AsyncIterator[str]:
    """The DSN of a database that is ready to use, this test's own."""
    async with cluster.new_database(template) as dsn:
        yield dsn
