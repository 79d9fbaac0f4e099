"""Several pipelines on one table: each has its own triggers, duties and end; what one writes the other sees."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from line import attached, line, two_stages, until
from pgbaton import Engine, Pipeline, Stage
from pgbaton.errors import AttachError, ConfigError
from pgbaton.health.checks import checks
from pgbaton.install.attach import attach, detach, planned
from pgbaton.install.migrate import migrate
from pgbaton.install.names import TRIGGERS
from pgbaton.install.script import pipeline_sql
from pgbaton.worker.fleet import Fleet

TRIGGER_NAMES = "SELECT tgname FROM pg_trigger WHERE tgrelid = 'jobs'::regclass AND NOT tgisinternal ORDER BY tgname"
OF_SHIP = [f"{name}_ship" for name in TRIGGERS]


def ship(base_url: str = "http://127.0.0.1:9", after: str = "glue", name: str = "ship") -> Pipeline:
    """glue → pack, on the table and columns of craft."""
    return two_stages(base_url, name=name, channel=None, stages=[Stage(step="pack", after=after, path="/pack")])


async def triggers(db: asyncpg.Pool) -> list[str]:
    return [r["tgname"] for r in await db.fetch(TRIGGER_NAMES)]


async def beside(db: asyncpg.Pool, pipeline: Pipeline) -> None:
    async with db.acquire() as conn:
        await migrate(conn)
        await attach(conn, pipeline, past="now")


async def without(db: asyncpg.Pool, pipeline: Pipeline) -> None:
    async with db.acquire() as conn:
        await detach(conn, pipeline)


async def duties(db: asyncpg.Pool) -> list[tuple[Any, ...]]:
    rows = await db.fetch("SELECT pipeline, stage FROM pgbaton.dispatches WHERE settled_at IS NULL ORDER BY 1, 2")
    return [tuple(r) for r in rows]


async def add(db: asyncpg.Pool, step: str) -> None:
    await db.execute("INSERT INTO jobs (current_step, status) VALUES ($1, 'done')", step)


async def test_each_pipeline_has_triggers_of_its_own_and_detach_removes_no_others(database: str) -> None:
    async with attached(database) as db:
        await beside(db, ship())
        assert await triggers(db) == sorted([*TRIGGERS, *OF_SHIP])
        await add(db, "made")
        await add(db, "glue")
        assert await duties(db) == [("craft", "cut"), ("ship", "pack")]

        await without(db, two_stages())
        assert await triggers(db) == OF_SHIP
        assert await duties(db) == [("ship", "pack")]
        await add(db, "made")
        await add(db, "glue")
        assert await duties(db) == [("ship", "pack")] * 2

        await without(db, two_stages())  # of a pipeline that is not there: still not the other's
        await beside(db, ship())  # keeps the names that it has
        assert await triggers(db) == OF_SHIP
        await beside(db, two_stages())  # and the usual ones are free again
        assert await triggers(db) == sorted([*TRIGGERS, *OF_SHIP])
        await without(db, ship())
        assert await triggers(db) == list(TRIGGERS)
        functions = await db.fetchval("SELECT count(*) FROM pg_proc WHERE proname LIKE 'notify\\_%\\_change'")
        assert functions == 1


async def test_one_change_leaves_a_duty_for_each_pipeline_whose_route_fits(database: str) -> None:
    async with attached(database) as db:
        await beside(db, ship(after="cut"))
        await add(db, "cut")
        assert await duties(db) == [("craft", "glue"), ("ship", "pack")]


async def test_nothing_is_found_wrong_and_nothing_changes_the_second_time(database: str) -> None:
    async with attached(database) as db:
        await beside(db, ship())
        async with db.acquire() as conn:
            assert await checks(conn) == []
            for pipeline in (two_stages(), ship()):
                assert (await planned(conn, pipeline)).as_json()["nothing_changes"]
        await db.execute("ALTER TABLE jobs DISABLE TRIGGER job_state_insert_trigger_ship")
        async with db.acquire() as conn:
            found = [(f.code, f.pipeline, f.values["trigger"]) for f in await checks(conn)]
        assert found == [("trigger_disabled", "ship", "job_state_insert_trigger_ship")]


async def test_the_plain_script_of_a_second_pipeline_says_that_it_is_one(database: str) -> None:
    async with attached(database) as db:
        with pytest.raises(asyncpg.PostgresError, match="has the pipeline craft already: pgbaton sql --beside"):
            await db.execute(pipeline_sql(ship()))
        await db.execute("ROLLBACK")
        for _ in range(2):
            await db.execute(pipeline_sql(ship(), beside=True))
        assert await triggers(db) == sorted([*TRIGGERS, *OF_SHIP])
        with pytest.raises(asyncpg.PostgresError, match="craft has triggers of other names"):
            await db.execute(pipeline_sql(two_stages(), beside=True))


async def test_a_name_that_postgres_would_cut_is_not_cut(database: str) -> None:
    names = ["ship" + "x" * 40 + last for last in "ab"]
    async with attached(database) as db:
        for name in names:
            await beside(db, ship(name=name))
        await add(db, "glue")
        assert await duties(db) == [(name, "pack") for name in names]
        assert len(await triggers(db)) == 6


async def test_a_job_goes_from_one_pipeline_into_the_other(database: str) -> None:
    async with line(database) as craft:
        craft.server.steps["/pack"] = "pack"
        then = ship(craft.server.base_url)
        await beside(craft.db, then)
        async with craft.worker(), Engine(then, craft.settings()):
            job = await craft.add()
            await craft.until_row(job, "pack", "done")
            await craft.until_settled()
        assert [call.path for call in craft.server.calls] == ["/cut", "/glue", "/pack"]
        ended = await craft.db.fetch("SELECT pipeline, stage, state FROM pgbaton.dispatches ORDER BY id")
        assert [tuple(r) for r in ended] == [
            ("craft", "cut", "completed"),
            ("craft", "glue", "completed"),
            ("ship", "pack", "completed"),
        ]


async def test_two_pipelines_drive_columns_of_their_own_of_the_same_rows(database: str) -> None:
    async with attached(database) as db:
        await db.execute("ALTER TABLE jobs ADD mail_step text, ADD mail_status text")
        await beside(db, two_stages(name="mail", channel=None, step="mail_step", status="mail_status"))
        await db.execute(
            "INSERT INTO jobs (current_step, status, mail_step, mail_status) VALUES ('made', 'done', 'cut', 'done')"
        )
        assert await duties(db) == [("craft", "cut"), ("mail", "glue")]
        await db.execute("UPDATE jobs SET mail_status = 'x'")

        async def looked() -> bool:
            return bool(
                await db.fetchval("SELECT count(*) = 1 FROM pgbaton.due WHERE stage = '' AND pipeline = 'mail'")
            )

        await until(looked, "a look of mail's alone")
        assert await db.fetchval("SELECT count(*) FROM pgbaton.due WHERE pipeline = 'craft'") == 1


SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pgbaton'"


def chain(base_url: str, length: int) -> list[Pipeline]:
    """Pipelines of one stage each, one behind the other: p0 from made to s0, p1 from s0 to s1."""
    steps = ["made", *(f"s{n}" for n in range(length))]
    return [
        two_stages(
            base_url,
            name=f"p{n}",
            channel="job_state_changed" if n == 0 else None,
            stages=[Stage(step=steps[n + 1], after=steps[n], path=f"/{n}")],
        )
        for n in range(length)
    ]


async def test_one_process_for_several_pipelines_has_the_connections_of_one(database: str) -> None:
    async with line(database, prepare=False) as craft:
        pipelines = chain(craft.server.base_url, 6)
        craft.server.steps |= {f"/{n}": f"s{n}" for n in range(6)}
        for pipeline in pipelines:
            await beside(craft.db, pipeline)
        settings = craft.settings(poll=60, watch_every=0)  # nothing moves but by a wake-up
        most = {}
        for count in (1, 6):
            async with Fleet(pipelines[:count], settings) as fleet:

                async def ready(fleet: Fleet = fleet) -> bool:
                    return fleet.ready

                await until(ready, "it listens")
                seen = []
                for _ in range(3):
                    job = await craft.add()
                    await craft.until_row(job, f"s{count - 1}", "done")
                    seen.append(await craft.db.fetchval(SESSIONS))
                most[count] = max(seen)
        assert max(most.values()) <= 7, most  # 7 where two verdicts are written at once; six processes have 36 to 42
        assert len(craft.server.calls) == 6 * 6


async def test_workers_of_one_process_drain_together_and_leave_no_lease(database: str) -> None:
    async with line(database, prepare=False) as craft:
        pipelines = chain(craft.server.base_url, 3)
        for pipeline in pipelines:
            await beside(craft.db, pipeline)
        async with Fleet(pipelines, craft.settings()):
            leases = "SELECT count(*) FROM pgbaton.workers WHERE ended_at IS NULL"
            assert await craft.db.fetchval(leases) == 3
        assert await craft.db.fetchval(leases) == 0
        with pytest.raises(ConfigError, match="'p0' is in two of the files"):
            Fleet([pipelines[0], pipelines[0]], craft.settings())
        with pytest.raises(AttachError, match="'ship' is not attached"):
            async with Fleet([pipelines[0], ship()], craft.settings()):
                pass
        assert await craft.db.fetchval(leases) == 0


async def test_a_process_for_several_pipelines_calls_the_stages_that_are_named_of_any_of_them(database: str) -> None:
    async with line(database) as craft:
        craft.server.steps["/pack"] = "pack"
        then = ship(craft.server.base_url)
        await beside(craft.db, then)
        both = [craft.pipeline, then]
        for unclear, match in (
            ("nail", "none of the pipelines 'craft' and 'ship' has a stage 'nail'"),
            ("cut", "the pipelines 'craft' and 'twin' each have a stage 'cut'"),
        ):
            with pytest.raises(ConfigError, match=match):
                Fleet(
                    [craft.pipeline, then if unclear == "nail" else two_stages(name="twin")],
                    craft.settings(stages=unclear),
                )
        async with Fleet(both, craft.settings(stages="cut,pack")):
            waits, packed = await craft.add(), await craft.add("glue", "done")
            await craft.until_row(packed, "pack", "done")
            await craft.until_row(waits, "cut", "done")
            assert await craft.states(waits) == [("cut", "completed"), ("glue", "available")]
        async with Fleet(both, craft.settings(stages="glue")):
            await craft.until_row(waits, "glue", "done")
            await craft.until_state(waits, "pack", "available")
        assert sorted(call.path for call in craft.server.calls) == ["/cut", "/glue", "/pack"]
