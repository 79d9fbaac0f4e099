"""Why a job waits where a limit keeps it, in one sentence; the limits as people see them; and how operators change them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from command import Done, pgbaton
from line import two_stages
from pgbaton import insights
from pgbaton.insights.limit_use import limits, limits_in_use
from store_bench import Bench, bench

GPU = [{"name": "gpu", "size": 2}]


async def why(b: Bench, job: str, language: Any = "en") -> str:
    async with b.db.acquire() as conn:
        explanation = await insights.explain(conn, b.table, job)
        assert explanation is not None
        return explanation.sentence(language)


async def crowd(b: Bench, count: int, tenant: str = "hanbit") -> list[str]:
    """So many jobs, of which as many as may are called."""
    jobs = [await b.add(tenant=tenant) for _ in range(count)]
    await b.store.turn(b.worker, 99)
    return jobs


@pytest.mark.parametrize(
    ("limits", "said", "korean"),
    [
        (
            {"cut_per_tenant": 2},
            "behind 1 of hanbit's own at cut: its limit is 2",
            "cut 단계에서 hanbit 테넌트의 동시 호출 한도(2건)가 찼습니다. 같은 테넌트의 작업이 앞에 1건 있습니다",
        ),
        (
            {"pools": GPU, "cut_pool": "gpu"},
            "the pool gpu is full: 2 of 2 taken, by 2 of cut; 1 before it",
            "풀 gpu의 빈자리가 모자랍니다: 2자리 중 2자리 사용 중(cut 2). 앞에 1건 있습니다",
        ),
        (
            {"cut_rate": "1/h", "cut_concurrency": 9},
            "the rate of cut lets the next call begin in 60 min, 2 before it",
            "cut 단계의 호출 속도 한도 때문에 다음 호출은 60분 뒤입니다. 앞에 2건 있습니다",
        ),
        (
            {"cut_rate_per_tenant": "1/h"},
            "the rate of hanbit at cut lets its next call begin in 60 min, 2 of its own before it",
            None,
        ),
    ],
)
async def test_a_limit_that_keeps_a_job_is_named_with_what_fills_it(
    database: str, limits: dict[str, Any], said: str, korean: str | None
) -> None:
    async with bench(database, two_stages(**limits)) as b:
        jobs = await crowd(b, 4)
        assert await why(b, jobs[-1]) == said
        if korean is not None:
            assert await why(b, jobs[-1], "ko") == korean


async def test_a_429_is_named_with_its_end_and_what_is_left_of_the_limit(database: str) -> None:
    async with bench(database, two_stages(cut_concurrency=8)) as b:
        jobs = await crowd(b, 10)
        held = await b.store.hold_back("cut", 130.0, 0.0, 1)
        assert (held.ceiling, held.fresh) == (4, True)
        assert await why(b, jobs[-1]) == "cut answered 429: held back for 2 min, 1 before it"
        await b.db.execute("UPDATE pgbaton.stages SET held_until = now()")
        assert await why(b, jobs[-1]) == "cut answers 429: 4 at once now, 8 configured, 1 before it"


async def test_a_burst_of_refusals_cuts_the_ceiling_once_and_answers_let_it_rise(database: str) -> None:
    async with bench(database, two_stages(cut_concurrency=40)) as b:
        await crowd(b, 40)
        assert (await b.store.hold_back("cut", None, 1.0, 1)).ceiling == 20
        again = await b.store.hold_back("cut", None, 1.0, 27)
        assert (again.ceiling, again.fresh) == (12, False), "28 of 40 were refused: it bears 12"
        await b.db.execute("DELETE FROM pgbaton.calls WHERE ctid NOT IN (SELECT ctid FROM pgbaton.calls LIMIT 12)")
        for _ in range(10):
            await b.store.ease({("cut", None): 12})
        ceiling = await b.db.fetchval("SELECT ceiling FROM pgbaton.stages WHERE step = 'cut'")
        assert 12.4 < ceiling < 12.6, "slowly, where it last refused"
        await b.db.execute("DELETE FROM pgbaton.calls")
        await b.store.ease({("cut", None): 1000})
        assert await b.db.fetchval("SELECT ceiling FROM pgbaton.stages WHERE step = 'cut'") == ceiling, (
            "it is not used up"
        )


async def test_every_limit_is_shown_with_what_fills_it(database: str) -> None:
    async with bench(database, two_stages(pools=GPU, cut_pool="gpu", cut_per_tenant=1, glue_concurrency=3)) as b:
        await crowd(b, 3)
        async with b.db.acquire() as conn:
            seen = {limit.limit: limit for limit in await limits(conn, "craft")}
        assert {name: (s.used, s.size) for name, s in seen.items()} == {
            "cut": (1, None),
            "glue": (0, 3),
            "pool gpu": (1, 2),
        }


async def test_a_limit_is_seen_with_the_tenants_that_fill_it_and_those_that_wait(database: str) -> None:
    async with bench(database, two_stages(pools=GPU, cut_pool="gpu", glue_pool="gpu", glue_concurrency=3)) as b:
        await crowd(b, 5)
        await b.db.execute("INSERT INTO jobs (current_step, status, tenant_id) VALUES ('cut', 'done', 'other')")
        async with b.db.acquire() as conn:
            use = {u.seen.limit: u for u in await limits_in_use(conn, "craft")}
        (tenant,) = {t for t, _ in use["cut"].filled_by}
        assert use["cut"].filled_by == ((tenant, 2),)
        assert use["cut"].waited_by == ((tenant, 3),)
        assert (use["glue"].filled_by, use["glue"].waited_by) == ((), (("other", 1),))
        assert use["pool gpu"].filled_by == ((tenant, 2),)
        assert use["pool gpu"].waited_by == ((tenant, 3), ("other", 1))


async def test_operators_change_limits_while_everything_runs(database: str) -> None:
    async with bench(database, two_stages(cut_concurrency=2, pools=GPU, glue_pool="gpu", glue_cost=2)) as b:
        jobs = await crowd(b, 9)
        said = await pgbaton("limit", "cut", "--concurrency", "3", "--per-tenant", "5", "--as", "kim", dsn=database)
        assert said == Done(0, "cut: concurrency 3, per_tenant 5\n", "")
        assert len((await b.store.turn(b.worker, 9)).claimed) == 1
        assert (await pgbaton("limit", "cut", "--concurrency", "none", "--as", "kim", dsn=database)).code == 0
        assert len((await b.store.turn(b.worker, 9)).claimed) == 2
        hanbit = ("limit", "--tenant", "hanbit", "--per-tenant", "6", "--weight", "2")
        assert (await pgbaton(*hanbit, dsn=database)).code == 0
        assert len((await b.store.turn(b.worker, 9)).claimed) == 1
        assert (await pgbaton("limit", "cut", "--reset", dsn=database)).out == "cut: concurrency 2\n"
        shown = json.loads((await pgbaton("limit", "--json", dsn=database)).out)
        assert [(s["limit"], s["used"], s["size"]) for s in shown] == [
            ("cut", 6, 2),
            ("glue", 0, None),
            ("pool gpu", 0, 2),
        ]
        kept = await b.db.fetch("SELECT who, action, stage, tenant FROM pgbaton.audit ORDER BY id")
        assert [tuple(k)[1:] for k in kept] == [
            ("limit", "cut", None),
            ("limit", "cut", None),
            ("limit", None, "hanbit"),
            ("limit", "cut", None),
        ]
        assert kept[0]["who"] == "kim"
        assert len(jobs) == 9


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nowhere", "--concurrency", "1"], "the pipeline 'craft' has no stage 'nowhere'"),
        (["cut", "--concurrency", "0"], "must be a whole number from 1 to 100,000, or none"),
        (["cut", "--concurrency", "many"], "must be a whole number"),
        (["cut", "--rate", "fast"], "must be a rate such as 10/s, 600/min or 1000/h"),
        (["glue", "--per-tenant", "2"], "are not kept by tenant"),
        (["--pool", "gpu", "--size", "1"], "glue could never be called: it costs 2"),
        (["--pool", "tpu", "--size", "1"], "uses a pool 'tpu'"),
        (["cut"], "say what to change"),
        (["--concurrency", "3"], "name a stage"),
        (["cut", "--pool", "gpu", "--size", "3"], "one of them"),
        (["--tenant", "a", "--concurrency", "3"], "a tenant has --per-tenant"),
    ],
)
async def test_a_limit_that_cannot_be_is_refused_and_changes_nothing(database: str, args: list[str], said: str) -> None:
    pipeline = two_stages(tenant=None, pools=GPU, glue_pool="gpu", glue_cost=2)
    async with bench(database, pipeline) as b:
        refused = await pgbaton("limit", *args, dsn=database)
        assert refused.code in (1, 2)
        assert said in " ".join(refused.err.replace("│", " ").split())
        assert await b.db.fetchval("SELECT count(*) FROM pgbaton.audit") == 0
