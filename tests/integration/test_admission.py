"""pgbaton.admit: limits that are exact when claims race, tenants that take turns, pools and rates; every claim is the
workers' own statement."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import asyncpg
import pytest

from line import two_stages
from pgbaton import Pipeline
from pgbaton.model import Dispatch
from pgbaton.model.limits import Pool
from store_bench import Bench, bench


async def add(b: Bench, tenant: str | None, count: int = 1, step: str = "made") -> None:
    await b.db.execute(
        "INSERT INTO jobs (tenant_id, current_step, status) SELECT $1, $3, 'done' FROM generate_series(1, $2)",
        tenant,
        count,
        step,
    )


async def tenants_of(b: Bench, limit: int) -> list[str]:
    """The tenants of one claim, in the order of their duties' ids (which is not that of their turns)."""
    return [d.row.tenant or "" for d in (await b.store.turn(b.worker, limit)).claimed]


async def race(b: Bench, times: int, limit: int) -> list[Dispatch]:
    """Two workers claim at once, again and again."""
    other = await b.another_worker()
    turns = await asyncio.gather(*(b.store.turn(w, limit) for w in (b.worker, other) * times))
    return [d for turn in turns for d in turn.claimed]


async def end(b: Bench, dispatch: Dispatch) -> None:
    """The stage's own commit ends the call."""
    await b.put(dispatch.job_key, dispatch.stage, "running")
    await b.put(dispatch.job_key, dispatch.stage, "done")


def with_pool(size: int, **changes: Any) -> Pipeline:
    return two_stages(pools=(Pool(name="gpu", size=size),), cut_pool="gpu", glue_pool="gpu", **changes)


# -- limits are exact -------------------------------------------------------------------------------


async def test_a_tenant_has_no_more_calls_than_its_limit_however_many_claim_at_once(database: str) -> None:
    async with bench(database, two_stages(cut_per_tenant=2)) as b:
        for tenant in ("a", "b", "c"):
            await add(b, tenant, 20)
        claimed = await race(b, 5, 3)
        assert Counter(d.row.tenant for d in claimed) == {"a": 2, "b": 2, "c": 2}
        assert (await b.store.turn(b.worker, 9)).blocked is not None, "and the worker knows that more waits"


async def test_a_tenants_end_makes_room_for_its_next_job_and_no_others(database: str) -> None:
    async with bench(database, two_stages(cut_per_tenant=1)) as b:
        await add(b, "a", 3)
        await add(b, "b", 3)
        first = {d.row.tenant: d for d in (await b.store.turn(b.worker, 9)).claimed}
        await end(b, first["a"])
        claimed = [(d.stage, d.row.tenant) for d in (await b.store.turn(b.worker, 9)).claimed]
        assert claimed == [("glue", "a")], "the turn that ends the call of cut still counts it"
        assert await tenants_of(b, 9) == ["a"]


async def test_jobs_without_a_tenant_are_a_tenant_of_their_own(database: str) -> None:
    async with bench(database, two_stages(cut_per_tenant=1)) as b:
        await b.db.execute("ALTER TABLE jobs ALTER tenant_id DROP NOT NULL")
        await add(b, None, 5)
        await add(b, "a", 5)
        await add(b, "", 1)
        assert sorted(await tenants_of(b, 20)) == ["", "a"], "an empty tenant is none"
        assert await tenants_of(b, 20) == []


async def test_a_pool_is_shared_by_stages_by_their_costs(database: str) -> None:
    async with bench(database, with_pool(5, glue_cost=2)) as b:
        await add(b, "a", 10)
        await add(b, "a", 10, step="cut")
        claimed = await race(b, 4, 2)
        costs = sum(2 if d.stage == "glue" else 1 for d in claimed)
        assert Counter(d.stage for d in claimed) == {"glue": 2}, "the last stage first"
        assert costs == 4, "the fifth place is kept for the next call of glue, which needs two"


async def test_a_pool_is_shared_by_pipelines(database: str) -> None:
    other_table = "CREATE TABLE other (LIKE jobs INCLUDING ALL)"
    async with bench(database, with_pool(3)) as b:
        await b.db.execute(other_table)
        async with bench(database, with_pool(3, name="other", table="public.other")) as o:
            await add(b, "a", 10)
            await o.db.execute("INSERT INTO other SELECT gen_random_uuid(), tenant_id, current_step, status FROM jobs")
            turns = await asyncio.gather(*(x.store.turn(x.worker, 2) for x in (b, o) * 4))
            assert sum(len(t.claimed) for t in turns) == 3


async def test_a_pool_is_kept_for_a_call_that_needs_more_than_is_free(database: str) -> None:
    async with bench(database, with_pool(2, cut_cost=2)) as b:
        await add(b, "a", 1)
        await add(b, "a", 2, step="cut")
        cheap = list((await b.store.turn(b.worker, 9)).claimed)
        assert [d.stage for d in cheap] == ["glue", "glue"], "the last stage takes the pool"
        await add(b, "a", 1, step="cut")
        await b.db.execute("DELETE FROM pgbaton.calls WHERE job_key = $1", cheap.pop().job_key)
        await b.db.execute("UPDATE pgbaton.stages SET paused_at = now() WHERE step = 'glue'")
        assert (await b.store.turn(b.worker, 9)).claimed == (), "one place is free, and cut needs two"
        await b.db.execute("UPDATE pgbaton.stages SET paused_at = NULL WHERE step = 'glue'")
        assert (await b.store.turn(b.worker, 9)).claimed == (), "the free place is kept for cut"
        await b.db.execute("DELETE FROM pgbaton.calls WHERE job_key = $1", cheap.pop().job_key)
        assert [d.stage for d in (await b.store.turn(b.worker, 9)).claimed] == ["cut"]


async def test_a_limit_lowered_below_what_runs_lets_nothing_begin_until_it_fits(database: str) -> None:
    async with bench(database, two_stages(cut_concurrency=4)) as b:
        await add(b, "a", 9)
        running = list((await b.store.turn(b.worker, 9)).claimed)
        assert len(running) == 4
        await b.db.execute("""UPDATE pgbaton.stages SET operated = '{"concurrency": 2}' WHERE step = 'cut'""")
        for left in (3, 2):
            await b.db.execute("DELETE FROM pgbaton.calls WHERE job_key = $1", running.pop().job_key)
            assert await tenants_of(b, 9) == [], f"{left} still run"
        await b.db.execute("DELETE FROM pgbaton.calls WHERE job_key = $1", running.pop().job_key)
        assert await tenants_of(b, 9) == ["a"]


async def test_the_call_of_a_worker_that_was_lost_counts_until_it_is_given_up(database: str) -> None:
    async with bench(database, two_stages(cut_per_tenant=1)) as b:
        await add(b, "a", 2)
        (lost,) = (await b.store.turn(b.worker, 9)).claimed
        await b.put(lost.job_key, "cut", "running")
        other = await b.another_worker()
        await b.db.execute("UPDATE pgbaton.workers SET ended_at = now() WHERE id = $1", b.worker)
        assert (await b.store.turn(other, 9)).claimed == (), "its stage may be at work"
        await b.resolve([lost.job_key])  # the stage has begun: it is left to it, and counts as before
        assert (await b.store.turn(other, 9)).claimed == ()
        await b.put(lost.job_key, "cut", "done")
        assert [d.stage for d in (await b.store.turn(other, 9)).claimed] == ["glue"]
        assert [d.stage for d in (await b.store.turn(other, 9)).claimed] == ["cut"]


# -- rates ------------------------------------------------------------------------------------------


async def test_a_rate_lets_a_seconds_worth_begin_at_once_and_then_pays_for_it(database: str) -> None:
    async with bench(database, two_stages(cut_rate="5/s")) as b:
        await add(b, "a", 30)
        began = await b.db.fetchval("SELECT clock_timestamp()")
        claimed = len(await race(b, 4, 3))
        took = (await b.db.fetchval("SELECT clock_timestamp()") - began).total_seconds()
        assert 5 <= claimed <= 5 + 5 * took
        while (turn := await b.store.turn(b.worker, 9)).claimed:  # a fifth of a second has passed, on a busy machine
            pass
        assert turn.blocked is not None
        assert 0 <= turn.blocked <= 0.21, "when the next may begin is known"


async def test_a_rate_of_a_tenant_holds_no_other_tenant_back(database: str) -> None:
    async with bench(database, two_stages(cut_rate_per_tenant="1/h")) as b:
        await add(b, "a", 3)
        await add(b, "b", 3)
        assert sorted(await tenants_of(b, 9)) == ["a", "b"]
        turn = await b.store.turn(b.worker, 9)
        assert (turn.claimed, turn.blocked) == ((), pytest.approx(0.25))
        await b.db.execute("UPDATE pgbaton.spent SET until = until - interval '1 h' WHERE tenant = '=a'")
        assert await tenants_of(b, 9) == ["a"]


async def test_a_claim_that_comes_to_nothing_costs_no_token(database: str) -> None:
    async with bench(database, two_stages(cut_rate="1/h")) as b:
        await add(b, "a", 1)
        await b.db.execute("UPDATE jobs SET status = 'elsewhere'")
        await b.db.execute("DELETE FROM pgbaton.due WHERE stage = ''")
        assert (await b.store.turn(b.worker, 9)).claimed == ()
        await b.db.execute("DELETE FROM pgbaton.due")
        await add(b, "a", 1)
        assert await tenants_of(b, 9) == ["a"]


# -- turns ------------------------------------------------------------------------------------------


async def one_by_one(b: Bench, times: int) -> str:
    """The tenants in the order in which a stage with one place serves them."""
    served = ""
    for _ in range(times):
        (dispatch,) = (await b.store.turn(b.worker, 9)).claimed
        served += dispatch.row.tenant or "-"
        await b.db.execute("DELETE FROM pgbaton.calls WHERE job_key = $1", dispatch.job_key)
    return served


async def test_a_single_job_behind_many_of_another_tenant_is_called_within_two_rounds(database: str) -> None:
    async with bench(database, two_stages(cut_concurrency=1)) as b:
        await add(b, "a", 10_000)
        await one_by_one(b, 3)
        await add(b, "b", 1)
        assert "b" in await one_by_one(b, 2)


async def test_tenants_take_turns_by_their_weights(database: str) -> None:
    async with bench(database, two_stages(cut_concurrency=1)) as b:
        await b.db.execute("INSERT INTO pgbaton.tenants (pipeline, tenant, weight) VALUES ('craft', 'b', 3)")
        for tenant in ("a", "b", "c"):
            await add(b, tenant, 20)
        assert await one_by_one(b, 15) == "abbbc" * 3


async def test_one_claim_of_many_places_shares_them_out_in_turns(database: str) -> None:
    async with bench(database, two_stages(cut_concurrency=12)) as b:
        await b.db.execute("INSERT INTO pgbaton.tenants (pipeline, tenant, weight) VALUES ('craft', 'b', 2)")
        await add(b, "a", 100)
        await add(b, "b", 100)
        await add(b, "c", 1)
        assert Counter(await tenants_of(b, 50)) == {"a": 4, "b": 7, "c": 1}


async def test_places_that_one_tenant_does_not_take_go_to_others(database: str) -> None:
    async with bench(database, two_stages(cut_concurrency=8, cut_per_tenant=6)) as b:
        await add(b, "a", 100)
        await add(b, "b", 1)
        assert Counter(await tenants_of(b, 50)) == {"a": 6, "b": 1}
        await add(b, "c", 5)
        assert Counter(await tenants_of(b, 50)) == {"c": 1}


async def test_a_free_tenant_is_found_behind_any_number_of_blocked_ones(database: str) -> None:
    async with bench(database, two_stages(cut_per_tenant=1)) as b:
        await b.db.execute(
            "INSERT INTO jobs (tenant_id, current_step, status) "
            "SELECT 't' || n % 900, 'made', 'done' FROM generate_series(1, 1800) AS n"
        )
        assert len((await b.store.turn(b.worker, 1000)).claimed) == 200, "as many tenants as one claim looks at"
        served = 200
        for _ in range(5):
            served += len((await b.store.turn(b.worker, 1000)).claimed)
        assert served == 900
        await add(b, "zz", 1)
        for _ in range(6):
            turn = await b.store.turn(b.worker, 1000)
            if turn.claimed:
                break
            assert turn.blocked == 0, "there is more to look at, at once"
        assert [d.row.tenant for d in turn.claimed] == ["zz"]


async def test_calls_that_wait_again_and_duties_share_a_stage(database: str) -> None:
    async with bench(database, two_stages(cut_concurrency=1)) as b:
        for _ in range(6):
            await b.job_in("waiting")
        await b.db.execute("UPDATE pgbaton.calls SET due_at = now()")
        await add(b, "b", 6)
        order = ""
        for _ in range(8):
            claimed = (await b.store.claim_waiting(b.worker, 9)).claimed
            claimed += (await b.store.turn(b.worker, 9)).claimed
            (dispatch,) = claimed
            order += "b" if dispatch.row.tenant == "b" else "w"
            await b.db.execute("DELETE FROM pgbaton.calls WHERE id = $1", dispatch.id)
        assert "www" not in order
        assert "bbb" not in order


async def test_a_paused_tenants_jobs_are_stepped_over(database: str) -> None:
    async with bench(database, two_stages(cut_concurrency=2)) as b:
        await b.db.execute("INSERT INTO pgbaton.paused_tenants (pipeline, tenant) VALUES ('craft', 'a')")
        await add(b, "a", 50)
        await add(b, "b", 1)
        assert await tenants_of(b, 9) == ["b"]


async def test_a_stage_whose_jobs_are_all_called_takes_no_turns_and_passes_no_tenants_limit(database: str) -> None:
    async with bench(database, two_stages(cut_per_tenant=3)) as b:
        await add(b, "a", 3)
        await add(b, "b", 2)
        turn = await b.store.turn(b.worker, 9)
        assert Counter(d.row.tenant for d in turn.claimed) == {"a": 3, "b": 2}
        assert (turn.blocked, turn.kept_back, turn.cut_short) == (None, frozenset(), False)
        assert await b.db.fetchval("SELECT count(*) FROM pgbaton.turns") == 0
        await add(b, "a", 1)
        await add(b, "b", 2)
        turn = await b.store.turn(b.worker, 9)
        assert Counter(d.row.tenant for d in turn.claimed) == {"b": 1}
        assert (turn.kept_back, turn.cut_short) == ({"cut"}, False)


async def test_a_claim_that_is_full_says_that_more_waits(database: str) -> None:
    async with bench(database, two_stages(cut_per_tenant=9)) as b:
        await add(b, "a", 3)
        turn = await b.store.turn(b.worker, 2)
        assert (len(turn.claimed), turn.cut_short, turn.blocked) == (2, True, None)


# -- how it is told ---------------------------------------------------------------------------------


async def test_without_limits_and_tenants_turns_nothing_is_written_for_admission(database: str) -> None:
    async with bench(database) as b:
        await add(b, "a", 5)
        assert await b.db.fetchval("SELECT count(*) FROM pgbaton.due WHERE rank IS NOT NULL") == 0
        assert len((await b.store.turn(b.worker, 9)).claimed) == 5
        assert await b.db.fetchval("SELECT count(*) FROM pgbaton.turns") == 0
        assert b.store.governed is False


async def test_two_pools_are_locked_in_one_order(database: str) -> None:
    pools = (Pool(name="a", size=50), Pool(name="b", size=50))
    async with bench(database, two_stages(pools=pools, cut_pool="b", glue_pool="a")) as b:
        await add(b, "a", 200)
        await add(b, "a", 200, step="cut")
        try:
            claimed = await race(b, 20, 5)
        except asyncpg.DeadlockDetectedError:  # pragma: no cover
            pytest.fail("two claims waited for each other")
        assert Counter(d.stage for d in claimed) == {"cut": 50, "glue": 50}


async def test_rates_that_are_paid_for_are_forgotten(database: str) -> None:
    async with bench(database, two_stages(cut_rate_per_tenant="10/s")) as b:
        await add(b, "a", 1)
        await b.store.turn(b.worker, 9)
        await b.store.prune(3600)
        assert await b.db.fetchval("SELECT count(*) FROM pgbaton.spent") == 1
        await b.db.execute("UPDATE pgbaton.spent SET until = until - interval '2 min'")
        await b.store.prune(3600)
        assert await b.db.fetchval("SELECT count(*) FROM pgbaton.spent") == 0
