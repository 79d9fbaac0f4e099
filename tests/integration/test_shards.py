"""Several databases in one process: each is whole by itself, and one that is away disturbs no other."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from prometheus_client import generate_latest

from line import JOBS, two_stages, until
from pgbaton import Pipeline, Settings, Stage
from pgbaton.embedded import EmbeddedPostgres
from pgbaton.errors import ConfigError
from pgbaton.install.attach import attach
from pgbaton.install.migrate import migrate
from pgbaton.worker.shards import Shards
from postgres import Cluster
from stage_server import Call, Say, StageServer


@pytest.fixture(scope="module")
def south_server() -> Iterator[EmbeddedPostgres]:
    """A second server, which tests stop and start."""
    with tempfile.TemporaryDirectory(prefix="pgbaton-tests-") as folder:
        Path(folder).chmod(0o711)
        settings = {"synchronous_commit": "on"}  # it is killed: what was committed is to be there again
        with EmbeddedPostgres(Path(folder, "cluster"), settings=settings, durable=False) as server:
            yield server


class Shard:
    """One of the databases, as its application sees it."""

    def __init__(self, dsn: str, db: asyncpg.Pool) -> None:
        self.dsn, self.db = dsn, db

    async def add(self) -> str:
        made = "INSERT INTO jobs (current_step, status) VALUES ('made', 'done') RETURNING job_id"
        return str(await self.db.fetchval(made))

    async def until_done(self, job: str) -> None:
        async def done() -> bool:
            row = await self.db.fetchrow("SELECT current_step, status FROM jobs WHERE job_id = $1::text::uuid", job)
            return tuple(row) == ("glue", "done")

        await until(done, f"{job} done", 30)


@asynccontextmanager
async def shard(dsn: str, pipeline: Pipeline | None) -> AsyncIterator[Shard]:
    """A database with the jobs table; migrated and attached where a pipeline is given."""
    async with asyncpg.create_pool(dsn, min_size=0, max_size=4) as db:
        async with db.acquire() as conn:
            await conn.execute(JOBS.replace("TABLE jobs", "TABLE IF NOT EXISTS jobs"))
            if pipeline is not None:
                await migrate(conn)
                await attach(conn, pipeline)
        yield Shard(dsn, db)
        db.terminate()


@asynccontextmanager
async def two_shards(north: str, south: str) -> AsyncIterator[tuple[StageServer, dict[str, Shard], Pipeline]]:
    """Stages that ask each call in which database its job is, and the two databases."""
    shards: dict[str, Shard] = {}

    async def work(server: StageServer, call: Call) -> Say:
        move = "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id::text = $1"
        db = shards[call.headers["x-pgbaton-database"]].db
        for status in ("running", "done"):
            await db.execute(move, call.job_id, server.step(call), status)
        return Say()

    async with StageServer(north, {"/cut": "cut", "/glue": "glue"}, work) as server:
        pipeline = two_stages(server.base_url)
        async with shard(north, pipeline) as one, shard(south, pipeline) as other:
            shards |= {"north": one, "south": other}
            yield server, shards, pipeline


def settings_of(shards: dict[str, Shard]) -> dict[str, Settings]:
    quick = {"poll": 0.5, "reconnect_delay": 0.1, "lease": 2, "drain_timeout": 5, "metrics_every": 0.2}
    return {name: Settings(database_url=one.dsn, database=name, **quick) for name, one in shards.items()}  # type: ignore[arg-type]


async def test_a_database_that_is_away_disturbs_no_other(
    cluster: Cluster, template: str, south_server: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        cluster.new_database(template) as north,
        Cluster(south_server.dsn()).new_database() as south,
        two_shards(north, south) as (server, shards, pipeline),
    ):
        waiting = await shards["south"].add()
        await asyncio.to_thread(south_server.kill)
        async with Shards([pipeline], settings_of(shards)) as fleet:
            await shards["north"].until_done(await shards["north"].add())  # though the other was never there
            assert fleet.ready
            await asyncio.to_thread(south_server.start)
            await shards["south"].until_done(waiting)

            await asyncio.to_thread(south_server.kill)
            for _ in range(3):
                await shards["north"].until_done(await shards["north"].add())
            await asyncio.to_thread(south_server.start)
            late = await shards["south"].add()
            await shards["south"].until_done(late)
        called = dict.fromkeys((waiting, late), 0)
        for call in server.calls:
            if call.job_id in called:
                called[call.job_id] += 1
                assert call.headers["x-pgbaton-database"] == "south"
        assert called == {waiting: 2, late: 2}
        said = generate_latest().decode()
        for name in shards:
            succeeded = f'pgbaton_stage_calls_succeeded_total{{database="{name}",pipeline="craft",stage="cut"}}'
            assert succeeded in said
            assert f'pgbaton_database_at_work{{database="{name}"}} 0.0' in said
        for one in shards.values():
            assert await one.db.fetchval("SELECT count(*) FROM pgbaton.workers WHERE ended_at IS NULL") == 0
    events = {(getattr(r, "event", ""), getattr(r, "fields", {}).get("database")) for r in caplog.records}
    assert ("database_away", "south") in events
    assert ("database_away", "north") not in events


async def test_a_database_that_is_not_ready_yet_is_taken_when_it_is(
    cluster: Cluster, template: str, empty_database: str
) -> None:
    async with (
        cluster.new_database(template) as north,
        two_shards(north, north) as (_, shards, pipeline),
        shard(empty_database, None) as raw,
    ):
        shards["south"] = raw
        async with Shards([pipeline], settings_of(shards)):
            await shards["north"].until_done(await shards["north"].add())
            async with raw.db.acquire() as conn:
                await migrate(conn)
                await attach(conn, pipeline)
            await raw.until_done(await raw.add())


async def test_a_wrong_configuration_ends_all(cluster: Cluster, template: str) -> None:
    async with cluster.new_database(template) as north, two_shards(north, north) as (_, shards, pipeline):
        wrong = {name: one.model_copy(update={"stages": ("paint",)}) for name, one in settings_of(shards).items()}
        with pytest.raises(ConfigError, match="has no stage 'paint'"):
            async with Shards([pipeline], wrong) as fleet:
                await fleet.wait()
        same = [pipeline, two_stages(pipeline.base_url, stages=[Stage(step="x", after="made", path="/x")])]
        with pytest.raises(ConfigError, match="is in two of the files"):
            Shards(same, settings_of(shards))
