"""Priority and not-before: columns of the user's that say which job is sooner, and before when a job is not called."""

from __future__ import annotations

import asyncpg
import pytest

from line import JOBS, line, two_stages, until
from pgbaton.errors import AttachError
from pgbaton.install.attach import attach
from pgbaton.install.script import attach_sql
from store_bench import Bench, bench

COLUMNS = "ALTER TABLE jobs ADD priority smallint, ADD start_at timestamptz"
INSERT = (
    "INSERT INTO jobs (current_step, status, tenant_id, priority, start_at) "
    "VALUES ('made', 'done', $1, $2, now() + make_interval(secs => $3)) RETURNING job_id::text"
)


@pytest.fixture
async def wider(database: str) -> str:
    connection = await asyncpg.connect(database)
    await connection.execute(COLUMNS)
    await connection.close()
    return database


async def add(b: Bench, priority: int | None, tenant: str = "a") -> str:
    return str(await b.db.fetchval(INSERT, tenant, priority, None))


async def one_by_one(b: Bench, times: int) -> list[str]:
    served = []
    for _ in range(times):
        (dispatch,) = (await b.store.turn(b.worker, 1)).claimed
        served.append(dispatch.job_key)
        await b.db.execute("DELETE FROM pgbaton.calls WHERE job_key = $1", dispatch.job_key)
    return served


async def test_a_smaller_number_is_sooner_and_age_decides_among_equals(wider: str) -> None:
    async with bench(wider, two_stages(priority="priority")) as b:
        jobs = {
            name: await add(b, p) for name, p in (("low", 5), ("none", None), ("zero", 0), ("high", -1), ("more", 5))
        }
        assert await one_by_one(b, 5) == [jobs[n] for n in ("high", "none", "zero", "low", "more")]


async def test_a_job_that_has_waited_is_passed_by_none_that_comes_later(wider: str) -> None:
    async with bench(wider, two_stages(priority="priority")) as b:
        old = await add(b, 3)
        await b.db.execute("UPDATE pgbaton.due SET rank = rank - interval '16 min'")  # it came a quarter of an hour ago
        await add(b, 0)
        assert await one_by_one(b, 1) == [old]


async def test_a_priority_is_among_a_tenants_own_jobs(wider: str) -> None:
    async with bench(wider, two_stages(priority="priority", cut_concurrency=5)) as b:
        for _ in range(4):
            await add(b, -100, "loud")
        quiet = await add(b, 100, "quiet")
        assert quiet in await one_by_one(b, 2)


async def test_numbers_beyond_any_bound_make_no_transaction_fail(wider: str) -> None:
    async with bench(wider, two_stages(priority="priority")) as b:
        await b.db.execute("ALTER TABLE jobs ALTER priority TYPE bigint")
        far, near = await add(b, 2**62), await add(b, -(2**62))
        assert await one_by_one(b, 2) == [near, far]


async def test_a_job_is_not_called_before_its_time_and_soon_after_it(wider: str) -> None:
    async with line(wider, not_before="start_at") as craft, craft.worker():
        async with craft.db.acquire() as conn:
            later = str(await conn.fetchval(INSERT, "a", None, 2.0))
            never = str(await conn.fetchval(INSERT, "a", None, 3600.0))
            at_once = str(await conn.fetchval(INSERT, "a", None, -5.0))
        await craft.until_row(at_once, "glue", "done")
        await until(lambda: _waits(craft.db, 2), "both wait as calls")
        assert (await craft.row(later))[0] == "made"
        await craft.until_row(later, "glue", "done")
        due, called = await craft.db.fetchrow(
            "SELECT j.start_at, h.started_at FROM jobs AS j JOIN pgbaton.history AS h ON h.job_key = j.job_id::text "
            "WHERE j.job_id = $1::text::uuid AND h.stage = 'cut' AND h.called",
            later,
        )
        assert called >= due
        assert await craft.row(never) == ("made", "done")


async def _waits(db: asyncpg.Pool, count: int) -> bool:
    query = "SELECT count(*) FROM pgbaton.calls WHERE due_at IS NOT NULL AND attempt = 0"
    return bool(await db.fetchval(query) == count)


async def test_a_duty_that_is_reconciled_has_its_place_in_the_order(wider: str) -> None:
    async with bench(wider, two_stages(priority="priority", not_before="start_at")) as b:
        job, later = await add(b, 3), str(await b.db.fetchval(INSERT, "a", 0, 3600.0))
        await b.db.execute("DELETE FROM pgbaton.due")
        assert len(await b.store.reconcile([job, later])) == 2
        assert await one_by_one(b, 1) == [job]
        assert (await b.store.turn(b.worker, 9)).claimed == ()
        assert await b.store.put_off(10) == (1, [])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"priority": "note"}, "pipeline.priority: the column 'note' has the type text, and must be a whole number"),
        ({"not_before": "note"}, "pipeline.not_before: the column 'note' has the type text, and must be timestamptz"),
        ({"priority": "rank"}, "pipeline.priority: the table 'public.jobs' has no column 'rank'"),
    ],
)
async def test_a_column_of_another_type_is_refused_before_anything_is_changed(
    database: str, columns: dict[str, str], said: str
) -> None:
    connection = await asyncpg.connect(database)
    try:
        with pytest.raises(AttachError, match=said.replace("(", r"\(")):
            await attach(connection, two_stages(**columns))
        assert await connection.fetchval("SELECT count(*) FROM pgbaton.pipelines") == 0
    finally:
        await connection.close()
    assert "job_id" in JOBS


async def test_a_routes_delay_and_a_columns_time_are_both_kept_under_a_limit(wider: str) -> None:
    async with line(wider, not_before="start_at", cut_delay=1, cut_per_tenant=1) as craft, craft.worker():
        async with craft.db.acquire() as conn:
            later = str(await conn.fetchval(INSERT, "a", None, 3.0))
            at_once = str(await conn.fetchval(INSERT, "a", None, -5.0))
        await craft.until_row(at_once, "glue", "done")
        await craft.until_row(later, "glue", "done")
        waited = await craft.db.fetch(
            "SELECT j.job_id::text AS job, h.started_at >= j.start_at AS in_time, j.created, h.started_at "
            "FROM (SELECT *, (SELECT min(b.created_at) FROM pgbaton.history AS b WHERE b.job_key = n.job_id::text) AS created "
            "        FROM jobs AS n) AS j JOIN pgbaton.history AS h ON h.job_key = j.job_id::text "
            "WHERE h.stage = 'cut' AND h.called"
        )
        assert {row["job"] for row in waited} == {later, at_once}
        assert all(row["in_time"] for row in waited)
        assert all((row["started_at"] - row["created"]).total_seconds() >= 1 for row in waited)


def test_a_pipeline_that_orders_and_limits_nothing_has_a_trigger_that_knows_no_ranks() -> None:
    plain, limited = (attach_sql(p) for p in (two_stages(), two_stages(cut_per_tenant=1)))
    said = "INSERT INTO pgbaton.due (pipeline, stage, job_key, tenant, step, status"
    assert f"{said})" in plain
    assert f"{said}, rank)" not in plain
    assert f"{said}, rank)" in limited
