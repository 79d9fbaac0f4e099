"""A stage that names a column for the provider's account keeps ceilings by account; tenants' tiers from a column."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from line import line, two_stages
from pgbaton import insights
from pgbaton.insights.limit_use import limits
from pgbaton.model import Dispatch
from stage_server import Call, Say, StageServer, work
from store_bench import Bench, bench


async def add(b: Bench, tenant: str, note: str | None, count: int = 1) -> None:
    await b.db.execute(
        "INSERT INTO jobs (tenant_id, note, current_step, status) "
        "SELECT $1, $2, 'made', 'done' FROM generate_series(1, $3)",
        *(tenant, note, count),
    )


async def claimed(b: Bench, limit: int = 9) -> list[Dispatch]:
    return list((await b.store.turn(b.worker, limit)).claimed)


async def test_a_429_of_one_account_holds_back_no_other(database: str) -> None:
    async with bench(database, two_stages(cut_account="note")) as b:
        await add(b, "a", "eu", 4)
        await add(b, "a", None)
        first = await claimed(b)
        assert Counter(d.account for d in first) == {"eu": 4, "": 1}
        held = await b.store.hold_back("cut", 60.0, 0.0, 1, "eu")
        assert (held.ceiling, held.fresh) == (2, True)
        for account in ("eu", "us"):
            await add(b, "a", account, 2)
        assert [d.account for d in await claimed(b)] == ["us", "us"]
        async with b.db.acquire() as conn:
            (seen,) = [one for one in await limits(conn, "craft") if one.account is not None]
        assert (seen.limit, seen.used, seen.size) == ("cut eu", 4, 2)
        assert seen.held_for is not None
        waiting = await b.db.fetchval("SELECT job_key FROM pgbaton.due LIMIT 1")
        async with b.db.acquire() as conn:
            why = await insights.explain(conn, b.table, waiting)
        assert why is not None
        assert why.sentence("en").startswith("cut (eu) answered 429: held back for")
        await b.db.execute("UPDATE pgbaton.accounts SET held_until = now()")
        assert await claimed(b) == [], "four of eu are under way, and it bears two"


async def test_an_accounts_ceiling_is_exact_for_all_tenants_that_share_it(database: str) -> None:
    async with bench(database, two_stages(cut_account="note", cut_per_tenant=3)) as b:
        await b.db.execute(
            "INSERT INTO pgbaton.accounts (pipeline, stage, account, ceiling, refused_at) VALUES ('craft', 'cut', 'eu', 4, 5)"
        )
        for tenant in ("a", "b", "c"):
            await add(b, tenant, "eu", 5)
        await add(b, "a", "us", 5)
        other = await b.another_worker()
        turns = await asyncio.gather(*(b.store.turn(w, 5) for w in (b.worker, other) * 4))
        made = [d for turn in turns for d in turn.claimed]
        assert Counter(d.account for d in made)["eu"] == 4
        assert Counter(d.row.tenant for d in made)["a"] == 3, "its limit counts its calls with every account"


async def test_an_accounts_ceiling_rises_with_good_answers_and_is_forgotten(database: str) -> None:
    async with bench(database, two_stages(cut_account="note")) as b:
        await add(b, "a", "eu", 4)
        await claimed(b)
        await b.store.hold_back("cut", None, 0.0, 1, "eu")
        assert (await b.store.limits()).learned
        await b.store.ease({("cut", "eu"): 1})
        assert await b.db.fetchval("SELECT ceiling FROM pgbaton.accounts") == 2.5
        for _ in range(3):
            await b.store.ease({("cut", "eu"): 10_000})
        assert not (await b.store.limits()).learned


async def test_a_call_keeps_its_account_while_it_waits_to_be_called_again(database: str) -> None:
    async with bench(database, two_stages(cut_account="note")) as b:
        await add(b, "a", "e\x1fu")
        (dispatch,) = await claimed(b)
        assert dispatch.account == "eu", "the character that parts tenant and account in a lane is taken out"
        await b.put(dispatch.job_key, "made", "done")
        await b.settle_with(b.store, dispatch.job_key, 500)
        await b.db.execute("UPDATE pgbaton.calls SET due_at = clock_timestamp()")
        (again,) = (await b.store.claim_waiting(b.worker, 9)).claimed
        assert (again.account, again.attempt) == ("eu", 2)


async def test_workers_learn_by_account(database: str) -> None:
    refused = 0

    async def refusing(server: StageServer, call: Call) -> Say:
        nonlocal refused
        note = await server.pool.fetchval("SELECT note FROM jobs WHERE job_id::text = $1", call.body["job_id"])
        if note == "eu" and not refused:
            refused += 1
            return Say(429, {"retry-after": "60"})
        return await work(server, call)

    async with line(database, work, cut_account="note") as craft:
        craft.server.behaviours["/cut"] = refusing
        async with craft.worker():
            await craft.db.execute("INSERT INTO jobs (note, current_step, status) VALUES ('eu', 'made', 'done')")
            async with asyncio.timeout(20):
                while not await craft.db.fetchval("SELECT count(*) FROM pgbaton.accounts WHERE account = 'eu'"):
                    await asyncio.sleep(0.02)
                await craft.db.execute("INSERT INTO jobs (note, current_step, status) VALUES ('us', 'made', 'done')")
                while not await craft.db.fetchval(
                    "SELECT count(*) FROM jobs WHERE note = 'us' AND current_step = 'glue'"
                ):
                    await asyncio.sleep(0.02)
        assert await craft.db.fetchval("SELECT held_until > now() FROM pgbaton.accounts")
        assert await craft.db.fetchval("SELECT current_step FROM jobs WHERE note = 'eu'") == "made"


async def test_a_tier_gives_its_tenants_a_weight_and_limits_and_a_tenants_own_come_before_it(database: str) -> None:
    tiers: dict[str, Any] = {"gold": {"weight": 3, "per_tenant": 4}, "trial": {"per_tenant": 1}}
    pipeline = two_stages(tier="note", tiers=tiers, cut_per_tenant=2, cut_concurrency=20)
    async with bench(database, pipeline) as b:
        for tenant, tier in (("a", "gold"), ("b", "trial"), ("c", "unheard of"), ("d", "trial")):
            await add(b, tenant, tier, 9)
        await b.db.execute("INSERT INTO pgbaton.tenants (pipeline, tenant, per_tenant) VALUES ('craft', 'd', 3)")
        assert Counter(d.row.tenant for d in await claimed(b, 4)) == {"a": 3, "b": 1}, "three in one turn"
        assert Counter(d.row.tenant for d in await claimed(b, 20)) == {"a": 1, "c": 2, "d": 3}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tier": "note"}, "tier stands alone"),
        ({"tiers": {"gold": {"weight": 2}}}, "tiers stands alone"),
        ({"tier": "note", "tiers": {"gold": {"weight": 0}}}, "greater than or equal to 1"),
        ({"tier": "note", "tiers": {"gold": {"weight": 2}}, "tenant": None}, "tier needs tenants"),
    ],
)
def test_tiers_that_cannot_be_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        two_stages(**changes)
