"""pgbaton.calls_wanted: how many calls should be under way, so how many workers there should be; asked while none runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from line import two_stages
from pgbaton.errors import ConfigError
from pgbaton.insights.wanted import StageWanted, Wanted, wanted
from pgbaton.model.limits import Pool
from store_bench import Bench, bench


async def ask(b: Bench, stages: tuple[str, ...] | None = None, capacity: int = 10, within: float = 60) -> Wanted:
    async with b.db.acquire() as conn:
        return await wanted(conn, "craft", stages, capacity, within)


async def of(b: Bench, stage: str, **asked: Any) -> StageWanted:
    """The stage as the answer has it; all 0 where it is not in there."""
    found = {s.stage: s for s in (await ask(b, **asked)).stages}
    return found.get(stage, StageWanted(stage, 0, 0, 0.0, 0, None))


async def add(b: Bench, count: int, tenant: str | None = "acme") -> None:
    await b.db.execute(
        "INSERT INTO jobs (tenant_id, current_step, status) SELECT $1, 'made', 'done' FROM generate_series(1, $2)",
        tenant,
        count,
    )


async def took(b: Bench, seconds: float, stage: str = "cut") -> None:
    """Some calls of the stage have ended, after so many seconds each."""
    await b.db.execute(
        "INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, stage, run, outcome, state, created_at, started_at, ended_at) "
        "SELECT -i, 1, true, 'craft', 'old' || i, $2, -i, 'completed', 'completed', now(), now() - make_interval(secs => $1), now() "
        "  FROM generate_series(1, 3) AS i",
        seconds,
        stage,
    )


async def no_worker(b: Bench) -> None:
    await b.store.give_up_lease(b.worker)


async def test_waiting_jobs_and_the_time_of_calls_say_how_many_workers(database: str) -> None:
    async with bench(database) as b:
        assert (await ask(b)).workers == 0
        await add(b, 100)
        cut = await of(b, "cut")
        assert (cut.waiting, cut.calls) == (100, 100), "nothing has ended yet: a call may take its whole timeout"
        await took(b, 6)
        assert (await of(b, "cut")).calls == 10, "100 calls of 6 s, begun within 60 s"
        assert (await ask(b, capacity=4)).workers == 3
        assert (await of(b, "cut", within=6)).calls == 100
        assert (await ask(b, ("glue",))).workers == 0, "those are another group's workers"


async def test_short_calls_count_for_what_a_worker_can_begin(database: str) -> None:
    async with bench(database) as b:
        await took(b, 0.001)
        await add(b, 3000)
        assert (await ask(b, capacity=64, within=1)).workers == 3, "1,000 a second each"


@pytest.mark.parametrize(
    ("limits", "calls", "kept_by"),
    [
        ({"cut_concurrency": 3}, 3, "concurrency"),
        ({"cut_rate": "1/s"}, 6, "rate"),
        ({"cut_per_tenant": 2}, 4, "tenants"),
        ({"cut_pool": "gpu", "cut_cost": 2, "pools": (Pool(name="gpu", size=5),)}, 2, "pool"),
        ({"cut_concurrency": 300}, 50, None),
    ],
)
async def test_no_more_are_wanted_than_limits_let_be_called(
    database: str, limits: dict[str, Any], calls: int, kept_by: str | None
) -> None:
    async with bench(database, two_stages(**limits)) as b:
        await took(b, 6)
        await add(b, 400, "a")
        await add(b, 100, "b")
        cut = await of(b, "cut")
        assert (cut.waiting, cut.calls, cut.kept_by) == (500, calls, kept_by)


async def test_stages_of_one_pool_do_not_ask_for_the_same_places(database: str) -> None:
    pipeline = two_stages(pools=(Pool(name="gpu", size=5),), cut_pool="gpu", glue_pool="gpu")
    async with bench(database, pipeline) as b:
        await add(b, 10)
        await b.db.execute("INSERT INTO jobs (current_step, status) SELECT 'cut', 'done' FROM generate_series(1, 3)")
        assert {s.stage: s.calls for s in (await ask(b)).stages} == {"glue": 3, "cut": 2}


async def test_a_paused_stage_asks_for_no_worker_and_one_that_is_down_for_one(database: str) -> None:
    async with bench(database) as b:
        await add(b, 50)
        await b.db.execute(
            "UPDATE pgbaton.stages SET open_until = now() + interval '1 min', strikes = 1 WHERE step = 'cut'"
        )
        assert ((await of(b, "cut")).calls, (await of(b, "cut")).kept_by) == (1, "down")
        await b.db.execute("UPDATE pgbaton.stages SET paused_at = now() WHERE step = 'cut'")
        assert ((await of(b, "cut")).calls, (await of(b, "cut")).kept_by) == (0, "paused")


async def test_a_worker_that_holds_calls_is_wanted_until_they_have_ended(database: str) -> None:
    async with bench(database) as b:
        await add(b, 4)
        await b.store.turn(b.worker, 4)
        await b.store.renew(b.worker, 60, False, {"cut": 4})
        cut = await of(b, "cut")
        assert (cut.waiting, cut.under_way, cut.calls) == (0, 4, 4)
        # It dies. Another one is wanted to rescue them; once that is done, what it had said counts no more.
        await b.let_lapse(b.worker)
        assert (await ask(b)).workers == 1
        await b.db.execute(
            "UPDATE pgbaton.workers SET renewed_at = now() - interval '61 s', expires_at = now() - interval '61 s'"
        )
        await b.store.prune(30 * 86400)
        assert (await ask(b)).workers == 0


async def test_only_what_is_due_soon_wakes_anybody(database: str) -> None:
    async with bench(database) as b:
        job = await b.job_in("waiting")
        await b.db.execute("UPDATE pgbaton.calls SET due_at = now() + interval '1 h' WHERE job_key = $1", job)
        assert (await ask(b)).workers == 0
        await b.db.execute("UPDATE pgbaton.calls SET due_at = now() + interval '10 s' WHERE job_key = $1", job)
        assert (await ask(b)).workers == 1
        await b.db.execute("DELETE FROM pgbaton.calls")
        await b.add_duty(job)
        await b.db.execute("UPDATE pgbaton.due SET not_before = now() + interval '1 h'")
        assert (await ask(b)).workers == 0
        await b.db.execute("UPDATE pgbaton.due SET not_before = now() + interval '10 s'")
        assert (await ask(b)).workers == 1


async def look(b: Bench) -> None:
    """A job in a call leaves its state for one that no route knows."""
    await b.put((await b.claimed()).job_key, "aside", "done")
    await b.db.execute("DELETE FROM pgbaton.calls")


async def overdue(b: Bench) -> None:
    job = await b.job_in("left")
    await b.db.execute("UPDATE pgbaton.calls SET deadline = now() - interval '1 s' WHERE job_key = $1", job)


async def resumed(b: Bench) -> None:
    await b.job_in("parked")
    await b.db.execute("INSERT INTO pgbaton.paused_tenants VALUES ('craft', 'acme', now(), now())")


@pytest.mark.parametrize("left", [look, overdue, resumed])
async def test_work_of_any_worker_wakes_one_where_none_is_alive(database: str, left: Any) -> None:
    async with bench(database) as b:
        await left(b)
        assert (await ask(b)).workers == 0, "the one that is alive will see to it"
        await no_worker(b)
        assert [(s.stage, s.calls) for s in (await ask(b, ("glue",))).stages] == [("", 1)]


@pytest.mark.parametrize(("limits", "most"), [({}, 600), ({"cut_per_tenant": 50}, 15_000)])
async def test_the_number_costs_no_more_when_much_waits(database: str, limits: dict[str, Any], most: int) -> None:
    """``most``: pages read. 10,000 duties lie on 200 of them; those of one tenant are apart, and each is a page and its way through an index."""
    async with bench(database, two_stages(**limits)) as b:
        await took(b, 60)
        await b.db.execute(
            "INSERT INTO pgbaton.due (pipeline, stage, job_key, tenant, step, status, rank) "
            "SELECT 'craft', 'cut', i::text, 't' || i % 1000, 'made', 'done', now() FROM generate_series(1, 150000) AS i"
        )
        await b.db.execute("VACUUM ANALYZE pgbaton.due")
        plan = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT pgbaton.workers_wanted('craft', NULL, 64, 60)"
        await b.db.fetchval(plan)
        top = json.loads(await b.db.fetchval(plan))[0]["Plan"]
        assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < most
        assert (await of(b, "cut")).waiting == pytest.approx(150_000, rel=0.1), "estimated"


async def test_a_copy_of_the_database_wants_no_worker(database: str) -> None:
    async with bench(database) as b:
        await add(b, 5)
        await b.db.execute("UPDATE pgbaton.pipelines SET home_database = 1")
        assert await ask(b) == Wanted(0, 10, 60, ())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"stages": ("cutt",)}, "the pipeline craft has no stage cutt; there are: cut, glue"),
        ({"capacity": 0}, "one call at once at least"),
        ({"within": 0}, "within 1 to 86400 seconds"),
    ],
)
async def test_a_question_that_cannot_be_is_refused_with_a_sentence(
    database: str, asked: dict[str, Any], said: str
) -> None:
    async with bench(database) as b:
        with pytest.raises(ConfigError, match=said):
            await ask(b, **asked)
        async with b.db.acquire() as conn:
            with pytest.raises(ConfigError, match="no pipeline nothing in this database; there are: craft"):
                await wanted(conn, "nothing", None, 8)
