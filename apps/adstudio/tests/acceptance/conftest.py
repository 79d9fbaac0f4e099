"""A database as the operator makes it, and app-yh on it: both once for each module."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from app_process import App, Jobs, serving

from pgbaton.embedded import host
from postgres import Cluster

INIT = Path(__file__).parents[4] / "db" / "init"


async def _apply_init(dsn: str) -> None:
    """As the database container does, and the operator: psql, with the files in the order of their names."""
    psql = host.wheel() / "pginstall" / "bin" / "psql"
    for script in sorted(INIT.glob("*.sql")):
        command = [psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={script}", dsn]
        variables = os.environ | {"PGOPTIONS": "--client-min-messages=warning"}
        await asyncio.to_thread(subprocess.run, command, check=True, env=variables)


@pytest.fixture(scope="session")
def app_template(cluster: Cluster) -> Iterator[str]:
    """The name of a database on which db/init was applied."""
    with asyncio.Runner() as runner:
        making = cluster.new_template(_apply_init)
        yield runner.run(making.__aenter__())
        runner.run(making.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def app_database(cluster: Cluster, app_template: str) -> Iterator[str]:
    """The DSN of this module's database."""
    with asyncio.Runner() as runner:
        making = cluster.new_database(app_template)
        yield runner.run(making.__aenter__())
        runner.run(making.__aexit__(None, None, None))


@pytest.fixture
async def own_database(cluster: Cluster, app_template: str) -> AsyncIterator[str]:
    """The DSN of a test's own database."""
    async with cluster.new_database(app_template) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def app(app_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """app-yh with its worker, as it comes."""
    with serving(tmp_path_factory.mktemp("app"), app_database) as running:
        yield running


@pytest.fixture
async def jobs(app_database: str) -> AsyncIterator[Jobs]:
    """The table of this module's database."""
    db = await asyncpg.connect(app_database)
    try:
        yield Jobs(db)
    finally:
        await db.close()
