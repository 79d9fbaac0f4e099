"""Old and new side by side: workers of the version before go on while the schema is upgraded under them.

``compat/schema_N`` holds the statements of a worker made for version N of the schema, letter for letter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest

from line import JOBS, line, until
from pgbaton import insights, operate, sql
from pgbaton.worker.engine import Engine
from pgbaton.errors import NotMigrated
from pgbaton.install.migrate import migrate
from pgbaton.model import Dispatch
from pgbaton.outcome import Answer, Reply
from pgbaton.worker.store import Store
from pgbaton.table import JobTable

COMPAT = Path(__file__).parents[1] / "compat"
OLD_ATTACH = (COMPAT / "attach.sql").read_text()
OLD_VERSIONS = [1, 2]


class OldTable(JobTable):
    """The table as a worker of an older version addresses it."""

    version = 1

    def query(self, name: str) -> str:
        return sql.render((COMPAT / f"schema_{self.version}" / f"{name}.sql").read_text(), self.parts())


class OldTable2(OldTable):
    version = 2


class OldStore(Store):
    """When there was a statement to claim and another to note, which had no fifth column to write yet."""

    async def claim(self, worker: int, limit: int) -> list[Dispatch]:
        rows = await self._fetch("claim", self._pipeline, worker, self.steps, limit)
        return [Dispatch.of(row) for row in rows]

    async def note(self, answers: Sequence[tuple[Dispatch, Answer]]) -> dict[int, Dispatch]:
        rows = await self._fetch(
            "note",
            [d.id for d, _ in answers],
            [d.attempt for d, _ in answers],
            [a.status for _, a in answers],
            [a.error for _, a in answers],
        )
        return {row["id"]: Dispatch.of(row) for row in rows}


def old_store(pool: asyncpg.Pool, version: int) -> Store:
    table = {1: OldTable, 2: OldTable2}[version](
        "craft", "public", "jobs", "job_id", "tenant_id", "current_step", "status", "uuid", "varchar", "varchar", True
    )
    return OldStore(pool, table, ["cut", "glue"])


async def _migrate_to(dsn: str, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    every = sql.migrations()
    with monkeypatch.context() as patch:
        patch.setattr(sql, "migrations", lambda: every[:version])
        conn = await asyncpg.connect(dsn)
        await migrate(conn)
        await conn.close()


@pytest.mark.parametrize("version", OLD_VERSIONS)
async def test_a_worker_of_an_older_version_works_on_the_new_schema(database: str, version: int) -> None:
    async with line(database) as craft:
        job = await craft.add()
        store = old_store(craft.db, version)
        worker = await store.register("old", 4, 15)
        assert await store.renew(worker, 15, False)
        (claimed,) = await store.claim(worker, 4)
        assert (claimed.job_key, claimed.stage, claimed.attempt) == (job, "cut", 1)
        await craft.put(job, "cut", "running")
        await craft.put(job, "cut", "done")
        seen = await store.note([(claimed, Answer(Reply.ANSWERED, 200))])
        assert seen[claimed.id].state == "completed"
        assert [d.stage for d in await store.claim(worker, 4)] == ["glue"]
        orphans = store._table.query("orphans")
        assert len(await craft.db.fetch(orphans, "craft", ["cut", "glue"], worker, [], 0, 10)) == 1
        assert await store.overdue(0, 10) == []
        await store.prune(60)
        await store.leave(worker)
        async with craft.worker():  # a new worker takes over what the old one left
            await craft.until_row(job, "glue", "done")


async def test_a_new_worker_refuses_the_schema_of_the_version_before_and_touches_nothing(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncpg.create_pool(empty_database, min_size=1) as pool:
        await pool.execute(JOBS)
        await _migrate_to(empty_database, 1, monkeypatch)
        async with _unattached(empty_database) as craft:
            await pool.execute(OLD_ATTACH)
            job = await craft.add()
            with pytest.raises(NotMigrated, match="run pgbaton migrate"):
                async with Engine(craft.pipeline, craft.settings()):
                    pass
            assert await craft.states(job) == [("cut", "available")]
            await _migrate_to(empty_database, len(sql.migrations()), monkeypatch)
            async with craft.worker():
                await craft.until_row(job, "glue", "done")


def _unattached(dsn: str):
    return line(dsn, prepare=False)


@pytest.mark.parametrize("version", OLD_VERSIONS)
async def test_an_older_worker_leaves_a_paused_tenant_alone(database: str, version: int) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        await craft.add_many(5)
        table = await insights.table_of(conn, None)
        await operate.pause_tenant(conn, table, "acme", who="m")
        await craft.add_many(5)
        store = old_store(craft.db, version)
        worker = await store.register("old", 4, 15)
        assert await store.claim(worker, 4) == []
        assert (
            await conn.fetchval("SELECT count(*) FROM pgbaton.dispatches WHERE available_at = pgbaton.parked()") == 10
        )
        await operate.resume_tenant(conn, table, "acme", who="m")
        assert len(await store.claim(worker, 4)) == 4


@pytest.mark.parametrize("version", OLD_VERSIONS)
async def test_the_schema_is_upgraded_under_jobs_that_move(
    empty_database: str, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    async with asyncpg.create_pool(empty_database, min_size=1) as pool:
        await pool.execute(JOBS)
        await _migrate_to(empty_database, version, monkeypatch)
        async with _unattached(empty_database) as craft:
            await pool.execute(OLD_ATTACH)
            store = old_store(craft.db, version)
            worker = await store.register("old", 4, 60)
            stop = asyncio.Event()

            async def carry(claimed: Dispatch) -> None:
                for status in ("running", "done"):
                    await craft.put(claimed.job_key, claimed.stage, status)
                await store.note([(claimed, Answer(Reply.ANSWERED, 200))])

            async def old_worker() -> None:
                while not stop.is_set():
                    await asyncio.gather(*(carry(d) for d in await store.claim(worker, 4)))
                    await asyncio.sleep(0.001)

            working = asyncio.create_task(old_worker())
            await craft.add_many(200)
            await until(lambda: _ended(craft, 20), "some jobs done")
            await _migrate_to(empty_database, len(sql.migrations()), monkeypatch)
            await until(lambda: _working(working, craft, 200), "all jobs done", 60)
            stop.set()
            await working
            assert await craft.db.fetchval("SELECT max(attempt) FROM pgbaton.dispatches") == 1
            await craft.until_settled()


async def _working(worker: asyncio.Task[None], craft, count: int) -> bool:
    if worker.done():
        await worker  # a stage's transaction, or a statement of the old worker, was aborted by the upgrade
    return await _ended(craft, count)


async def _ended(craft, count: int) -> bool:
    query = "SELECT count(*) >= $1 FROM jobs WHERE (current_step, status) = ('glue', 'done')"
    return await craft.db.fetchval(query, count)
