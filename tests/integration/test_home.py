"""A restored copy does not call what the original calls, until somebody says that it is the home now."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from line import line
from pgbaton import Engine, insights
from pgbaton.embedded import host
from pgbaton.errors import NotAtHome
from pgbaton.health import examine, of_all
from pgbaton.install.attach import attach
from postgres import Cluster


async def restore(original: str, copy: str) -> None:
    """The original's contents, by pg_dump and pg_restore."""
    programs = host.wheel() / "pginstall" / "bin"
    dumped = await asyncio.create_subprocess_exec(programs / "pg_dump", "-Fc", original, stdout=asyncio.subprocess.PIPE)
    archive, _ = await dumped.communicate()
    restored = await asyncio.create_subprocess_exec(
        programs / "pg_restore", "--no-owner", "-d", copy, stdin=asyncio.subprocess.PIPE
    )
    await restored.communicate(archive)
    assert (dumped.returncode, restored.returncode) == (0, 0)


async def test_workers_refuse_a_copy_until_attach_says_that_it_is_the_home(database: str, cluster: Cluster) -> None:
    async with line(database) as craft:
        job = await craft.add()
        async with cluster.new_database() as copy:
            await restore(database, copy)
            craft.dsn = copy
            with pytest.raises(NotAtHome, match="attached in another database"):
                async with craft.worker():
                    pass
            async with asyncpg.create_pool(copy, min_size=1, max_size=4) as db, db.acquire() as conn:
                craft.db = db
                assert "not_at_home" in {f.code for f in of_all(await examine(conn))}
                said = await insights.explain(conn, await insights.table_of(conn, None), job)
                assert said is not None
                assert (said.code, said.moves) == ("not_at_home", False)
                with pytest.raises(NotAtHome, match="--here"):
                    await attach(conn, craft.pipeline)
                assert craft.server.calls == []
                await attach(conn, craft.pipeline, here=True)
                assert "not_at_home" not in {f.code for f in of_all(await examine(conn))}
                async with craft.worker():
                    # The row is of the copy, the stage writes to the original: that it was called is all there is to see.
                    while not craft.server.calls:
                        await asyncio.sleep(0.01)


async def test_a_worker_that_finds_itself_in_a_copy_gets_no_lease_and_claims_nothing(database: str) -> None:
    async with line(database) as craft, craft.worker(lease=1):
        # As if the address led to another server from now on.
        await craft.db.execute("UPDATE pgbaton.pipelines SET home_system = home_system + 1")
        lapsed = "SELECT NOT bool_or(pgbaton.alive(w)) FROM pgbaton.workers AS w"
        while not await craft.db.fetchval(lapsed):
            await asyncio.sleep(0.05)
        await craft.add()
        await asyncio.sleep(0.7)
        assert craft.server.calls == []
        await craft.db.execute("UPDATE pgbaton.pipelines SET home_system = home_system - 1")
        while not craft.server.calls:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("limited", [False, True])
async def test_a_lease_that_was_copied_along_claims_nothing_in_the_copy(
    database: str, cluster: Cluster, limited: bool
) -> None:
    """As when the address of the database leads to a restored copy from now on."""
    async with line(database, **({"cut_rate": "100/s"} if limited else {})) as craft:
        here = await craft.store()
        worker, _ = await here.take_lease(None, "worker", 8, 60, [])
        await craft.add()
        async with cluster.new_database() as copy:
            await restore(database, copy)
            moved = await asyncpg.connect(copy)
            try:
                there = await craft.store(moved)
                for claim in (there.turn, there.claim_waiting):
                    with pytest.raises(NotAtHome, match="the pipeline craft was not attached in this database"):
                        await claim(worker, 8)
                await attach(moved, craft.pipeline, here=True)
                assert len((await there.turn(worker, 8)).claimed) == 1
            finally:
                await moved.close()
        assert len((await here.turn(worker, 8)).claimed) == 1


async def test_a_home_without_a_known_system_identifier_is_told_by_the_database_alone(database: str) -> None:
    async with line(database) as craft:
        await craft.db.execute("UPDATE pgbaton.pipelines SET home_system = NULL")
        async with craft.worker():
            pass
        await craft.db.execute("UPDATE pgbaton.pipelines SET home_database = 1")
        with pytest.raises(NotAtHome):
            async with Engine(craft.pipeline, craft.settings()):
                pass


async def test_an_idempotency_key_is_never_used_again_after_a_new_installation(database: str) -> None:
    """Its ids begin at 1 again: a provider that honours the key would answer with another job's result."""
    keys = []
    for _ in range(2):
        async with line(database) as craft:
            await craft.add()
            store = await craft.store()
            worker, _ = await store.take_lease(None, "worker", 8, 60, [])
            (claimed,) = (await store.turn(worker, 8)).claimed
            keys.append((claimed.id, claimed.idempotency_key("craft")))
            await craft.db.execute("DROP SCHEMA pgbaton CASCADE; TRUNCATE jobs")
    assert keys[0][0] == keys[1][0]
    assert keys[0][1] != keys[1][1]
