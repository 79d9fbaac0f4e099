"""Keys that are several columns, tables that are partitioned by one of them, keys of every plain type."""

from __future__ import annotations

import json

import asyncpg
import pytest

from line import make_due, two_stages
from pgbaton import insights, operate
from pgbaton.errors import AttachError, JobRefused
from pgbaton.fastapi import Stages
from pgbaton.install.attach import attach
from pgbaton.operate import jobs
from support.shapes import Herd, Shape, herd

COMPOSITE = """
CREATE TABLE jobs (
    tenant_id text NOT NULL DEFAULT 'a "b" ㄱ', id bigint NOT NULL DEFAULT 9007199254740993,
    current_step text, status text, updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (id, tenant_id)
)
"""
BY_MONTH = """
CREATE TABLE jobs (
    id uuid NOT NULL DEFAULT gen_random_uuid(), created_at timestamptz NOT NULL DEFAULT '2026-11-05 01:02:03.25+09',
    current_step text, status text, tenant_id text DEFAULT 'acme', PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
CREATE TABLE jobs_11 PARTITION OF jobs FOR VALUES FROM ('2026-11-01') TO ('2026-12-01');
CREATE TABLE jobs_rest PARTITION OF jobs DEFAULT
"""
EVERY = """
CREATE TABLE jobs (
    day date NOT NULL DEFAULT '2026-11-28', made timestamp NOT NULL DEFAULT '2026-11-28 10:11:12', size numeric NOT NULL DEFAULT 2.50,
    low smallint NOT NULL DEFAULT -3, name varchar(9) NOT NULL DEFAULT E'x\\ny', flag boolean NOT NULL DEFAULT true,
    current_step text, status text, tenant_id text DEFAULT 'acme', PRIMARY KEY (day, made, size, low, name, flag)
)
"""
SHAPES = {
    "two columns, one the tenant": Shape(
        COMPOSITE, {"key": ["tenant_id", "id"]}, key="json_build_array(tenant_id, id::text)::text"
    ),
    "partitioned by month": Shape(
        BY_MONTH,
        {"key": ["id", "created_at"]},
        key="json_build_array(id::text, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.FF2\"Z\"'))::text",
    ),
    "every plain type": Shape(
        EVERY,
        {"key": ["day", "made", "size", "low", "name", "flag"]},
        key="json_build_array(to_char(day, 'YYYY-MM-DD'), to_char(made, 'YYYY-MM-DD\"T\"HH24:MI:SS'), size::text, low::text,"
        " name, flag::text)::text",
    ),
}
KEYS = {
    "two columns, one the tenant": ['a "b" ㄱ', "9007199254740993"],
    "partitioned by month": [..., "2026-11-04T16:02:03.25Z"],
    "every plain type": ["2026-11-28", "2026-11-28T10:11:12", "2.50", "-3", "x\ny", "true"],
}


@pytest.mark.parametrize("how", SHAPES)
async def test_a_job_of_several_key_columns_goes_the_whole_way(database: str, how: str) -> None:
    async with herd(database, SHAPES[how]) as the:
        # Sessions write times as they like: the key is the same.
        job = await the.add(TimeZone="'Asia/Seoul'", DateStyle="'German, DMY'")
        sent = [there if here is ... else here for here, there in zip(KEYS[how], json.loads(job), strict=True)]
        assert await the.db.fetchval("SELECT job_key FROM pgbaton.due") == job == json.dumps(sent, ensure_ascii=False)
        async with the.worker():
            await the.until_state(job, "cut", "retryable")
            assert await the.row(job) == ("made", "done")
            await make_due(the.db)
            await the.until_row(job, "glue", "done")
            await the.until_state(job, "glue", "completed")
        assert [call.body["job_id"] for call in the.server.calls] == [sent] * 3
        await _operators_find_it(the, job)


async def _operators_find_it(the: Herd, job: str) -> None:
    table = await the.known()
    async with the.db.acquire() as conn:
        typed = json.dumps(json.loads(job), separators=(",", ":"))
        seen = await insights.job(conn, table, typed)
        assert seen is not None
        assert (seen.key, seen.explanation.code) == (job, "done")
        assert (await operate.rerun(conn, table, typed, "cut", who="me")).count == 1
        assert (await operate.cancel(conn, table, [typed], who="me")).count == 1
        assert await the.row(job) == ("cut", "cancelled")
        assert await operate.reconcile(conn, table, create=False) == []
        await the.put(job, "made", "done", unseen=True)
        assert await operate.reconcile(conn, table, create=True) == [(job, "cut")]


async def test_reconcile_walks_a_table_of_several_key_columns_page_by_page(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "RECONCILE_PAGE", 3)
    async with herd(database, SHAPES["two columns, one the tenant"]) as the:
        await the.db.execute(
            "INSERT INTO jobs (tenant_id, id, current_step, status) SELECT t, n, 'made', 'done' "
            "FROM unnest(ARRAY['x', 'y']) t, generate_series(1, 5) n"
        )
        await the.db.execute("DELETE FROM pgbaton.due")
        async with the.db.acquire() as conn:
            found = await operate.reconcile(conn, await the.known(), create=True)
        assert found == [(f'["{t}", "{n}"]', "cut") for n in range(1, 6) for t in "xy"]


async def test_the_guard_takes_the_parts_of_a_key(database: str) -> None:
    async with herd(database, SHAPES["partitioned by month"]) as the:
        stages, job = Stages(the.pipeline), await the.add()
        async with stages.opened(database):
            async with stages.turn("cut", job, "acme"):
                assert await the.row(job) == ("cut", "running")
            assert await the.row(job) == ("cut", "done")
            with pytest.raises(JobRefused, match="not a key that this table can have"):
                async with stages.turn("cut", "no array", "acme"):
                    raise AssertionError


REFUSED = {
    "not unique together": (
        COMPOSITE,
        ["tenant_id", "updated_at"],
        "are not unique together: a primary key or a unique index",
    ),
    "a part alone": (COMPOSITE, "id", 'its primary key is key = ["id", "tenant_id"]'),
    "bytes": (
        "CREATE TABLE jobs (id bytea PRIMARY KEY, tenant_id text, current_step text, status text)",
        "id",
        "written in",
    ),
    "a date alone": (
        "CREATE TABLE jobs (id date PRIMARY KEY, tenant_id text, current_step text, status text)",
        "id",
        "several ways",
    ),
}


@pytest.mark.parametrize("how", REFUSED)
async def test_a_key_that_does_not_tell_jobs_apart_in_one_spelling_is_refused(database: str, how: str) -> None:
    ddl, key, sentence = REFUSED[how]
    conn = await asyncpg.connect(database)
    try:
        await conn.execute("DROP TABLE jobs; " + ddl)
        with pytest.raises(AttachError) as refused:
            await attach(conn, two_stages(key=key))
        assert sentence in str(refused.value)
    finally:
        await conn.close()
