"""Plots over time: each dispatch is counted once, by whichever worker, and what is read does not grow with the history."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from line import Line, line
from pgbaton import insights
from pgbaton.insights.trends import quantiles
from pgbaton.sql import read

# $1 how many, $2 hours ago, $3 tenant, $4 state, $5 seconds waited, $6 seconds worked.
ENDED = """
INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, run, outcome, state, created_at,
                             started_at, ended_at)
SELECT nextval('ended'), 1, true, 'craft', 'job ' || i, $3, CASE i % 2 WHEN 0 THEN 'cut' ELSE 'glue' END, 1, 'completed', $4,
       at - make_interval(secs => $5::float8 + $6::float8), at - make_interval(secs => $6::float8), at
  FROM generate_series(1, $1::integer) AS i,
       (SELECT date_bin('1 hour', now(), '2000-01-01Z') + interval '1 s' - make_interval(hours => $2::integer) AS at) AS t
"""


async def filled(craft: Line) -> None:
    await craft.db.execute("CREATE SEQUENCE ended")
    for hours in (0, 1, 2, 5, 30):
        await craft.db.execute(ENDED, 10, hours, "acme", "completed", 4.0, 2.0)
        await craft.db.execute(ENDED, 4, hours, "hanbit", "dead", 1.0, 1.0)


async def counted(conn: asyncpg.Connection, span: str = "day", tenant: str | None = None) -> dict[str, tuple[int, int]]:
    seen = await insights.trends(conn, "craft", span, tenant)
    return {t.name: (sum(b.completed for b in t.bins), sum(b.dead for b in t.bins)) for t in seen.stages}


async def test_the_same_is_seen_before_and_after_hours_are_rolled_up(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        await filled(craft)
        before = await insights.trends(conn, "craft", "week")
        assert await counted(conn) == {"cut": (20, 8), "glue": (20, 8)}
        store = await craft.store()
        await store.begin_roll_up()
        while await store.roll_up():
            pass
        after = await insights.trends(conn, "craft", "week")
        assert after == before
        assert [t.name for t in after.tenants] == ["acme", "hanbit"]
        assert await counted(conn) == {"cut": (20, 8), "glue": (20, 8)}
        assert await counted(conn, "month", "hanbit") == {"cut": (0, 10), "glue": (0, 10)}
        rolled = "SELECT sum(completed + dead) FROM pgbaton.throughput WHERE kind = $1"
        assert await conn.fetchval(rolled, "all") in (42, 56)  # an hour is over two minutes late
        assert await conn.fetchval(rolled, "one") == await conn.fetchval(rolled, "all")


async def test_two_workers_at_once_count_each_dispatch_once(database: str) -> None:
    async with line(database) as craft:
        await filled(craft)
        stores = [await craft.store() for _ in range(3)]
        await asyncio.gather(*(store.begin_roll_up() for store in stores))
        for _ in range(8):
            await asyncio.gather(*(store.roll_up() for store in stores))
        assert await craft.db.fetchval("SELECT sum(completed + dead) FROM pgbaton.throughput WHERE kind = 'all'") in (
            42,
            56,
        )
        assert not await stores[0].roll_up()


async def test_the_small_tenants_are_kept_together(database: str) -> None:
    async with line(database) as craft:
        await craft.db.execute("CREATE SEQUENCE ended")
        for n in range(60):
            await craft.db.execute(ENDED, 2 if n < 50 else 1, 3, f"tenant {n:02}", "completed", 1.0, 1.0)
        store = await craft.store()
        await store.begin_roll_up()
        while await store.roll_up():
            pass
        kinds = await craft.db.fetch(
            "SELECT kind, count(DISTINCT tenant), sum(completed) FROM pgbaton.throughput GROUP BY 1"
        )
        assert {r["kind"]: (r["count"], r["sum"]) for r in kinds} == {
            "all": (1, 110),
            "one": (50, 100),
            "rest": (1, 10),
        }


async def test_a_worker_rolls_up_by_itself(database: str) -> None:
    async with line(database) as craft:
        await filled(craft)
        async with craft.worker():
            rolled = "SELECT count(*) FROM pgbaton.throughput WHERE kind = 'all'"
            async with asyncio.timeout(10):
                while await craft.db.fetchval(rolled) < 6:  # of 8: the last hour may not be over
                    await asyncio.sleep(0.05)


def test_quantiles_of_classes_are_within_a_fifth() -> None:
    for seconds in (0.004, 0.25, 3.0, 70.0):
        import math

        bucket = math.floor(2 * math.log2(seconds * 1000))
        seen = quantiles({bucket: 10})
        assert seen.p50 is not None
        assert 0.8 < seen.p50 / seconds < 1.25
    assert quantiles({}).p50 is None
    assert quantiles({2: 96, 30: 4}).p95 == quantiles({2: 1}).p50


async def rolled_up(craft: Line) -> None:
    store = await craft.store()
    await store.begin_roll_up()
    while await store.roll_up():
        pass


async def test_the_usual_time_is_the_middle_of_the_hours(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        await craft.db.execute("CREATE SEQUENCE ended")
        for hours, seconds in ((3, 2.0), (4, 2.0), (5, 90.0)):  # one bad hour does not make that the usual
            await craft.db.execute(ENDED, 40, hours, "acme", "completed", 1.0, seconds)
        await craft.db.execute(ENDED, 40, 24 * 8, "acme", "completed", 1.0, 600.0)  # longer ago than a week
        await craft.db.execute(ENDED, 40, 2, "acme", "dead", 1.0, 900.0)  # tells nothing of what a call takes
        assert await conn.fetch(read("read/usual.sql"), "craft") == []
        await rolled_up(craft)
        usual = {r["stage"]: r for r in await conn.fetch(read("read/usual.sql"), "craft")}
        assert {stage: r["calls"] for stage, r in usual.items()} == {"cut": 60, "glue": 60}
        assert 0.8 < usual["cut"]["p50"] / 2.0 < 1.25
        assert 0.8 < usual["cut"]["p95"] / 2.0 < 1.25


async def test_this_week_stands_against_the_one_before(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        await filled(craft)
        assert [t.before for t in (await insights.trends(conn, "craft", "week")).stages] == [None, None]
        await craft.db.execute(ENDED, 30, 24 * 8, "acme", "completed", 1.0, 0.5)
        await rolled_up(craft)
        seen = await insights.trends(conn, "craft", "week")
        cut = next(t for t in seen.stages if t.name == "cut")
        assert cut.whole is not None
        assert cut.before is not None
        assert (cut.whole.completed, cut.whole.dead) == (25, 10)
        assert (cut.before.completed, cut.before.dead) == (15, 0)
        assert cut.before.work.p50 is not None
        assert cut.whole.work.p50 is not None
        assert cut.before.work.p50 < 0.7 < 1.5 < cut.whole.work.p50
        assert sum(one.completed for one in cut.bins) == 25  # the week before is in no bin
        assert all(t.before is None for t in (await insights.trends(conn, "craft", "quarter")).stages)  # not kept


async def test_marks_tell_when_something_else_ran(database: str) -> None:
    deployed = """INSERT INTO pgbaton.deployments (pipeline, at, what, was, is_now)
                  SELECT 'craft', now() - make_interval(hours => $1::integer), 'version', $2, $3"""
    async with line(database) as craft, craft.db.acquire() as conn:
        for hours, was, now in ((40, None, "1"), (30, "1", "2"), (2, "2", "3")):
            await conn.execute(deployed, hours, was, now)
        day, week = [await insights.trends(conn, "craft", span) for span in ("day", "week")]
        assert [(m.what, m.was, m.is_now) for m in day.marks] == [("version", "2", "3")]
        assert [m.is_now for m in week.marks] == ["2", "3"]  # the first was no change


async def test_a_tenant_sees_its_share_and_when_its_last_job_is_called(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        await craft.add_many(30)
        await conn.execute("UPDATE pgbaton.due SET tenant = 'hanbit' WHERE id % 3 = 1")
        first = (await insights.tenant_standing(conn, "craft", "hanbit", {"cut": 60.0}) or ())[0]
        assert (first.stage, first.next, first.theirs, first.before) == ("cut", 30, 10, 27)
        assert (first.share, first.last_in) == (10 / 30, 28.0)
        none = (await insights.tenant_standing(conn, "craft", "nobody", {"cut": 60.0}) or ())[0]
        assert (none.theirs, none.before, none.last_in) == (0, None, None)


async def test_a_tenant_in_the_middle_of_a_long_line_is_said_not_to_be_known(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgbaton.insights.tenant.CAP", 5)
    monkeypatch.setattr("pgbaton.insights.tenant.COUNTED", 10)
    async with line(database) as craft, craft.db.acquire() as conn:
        await craft.add_many(30)
        order = "SELECT id, row_number() OVER (ORDER BY id) AS n FROM pgbaton.due"
        for nth, expected in (((3,), (1, 2, True)), ((10,), (0, None, True)), ((3, 29), (1, 10, False))):
            await conn.execute(
                f"UPDATE pgbaton.due AS d SET tenant = CASE WHEN o.n = ANY ($1::bigint[]) THEN 'hanbit' ELSE 'acme' END "
                f"FROM ({order}) AS o WHERE o.id = d.id",
                list(nth),
            )
            first = (await insights.tenant_standing(conn, "craft", "hanbit", {"cut": 60.0}) or ())[0]
            assert (first.theirs, first.before, first.unseen) == expected
            assert (first.last_in is None) is first.unseen
