"""Statuses in the table's own words: enums, numbers, several words of one meaning, words that mean nothing."""

from __future__ import annotations

import asyncpg
import pytest

from line import Ear, make_due, two_stages
from pgbaton import insights, operate
from pgbaton.errors import AttachError, JobRefused
from pgbaton.fastapi import Stages
from pgbaton.install.attach import attach
from stage_server import Call, Say, StageServer
from support.shapes import Herd, Shape, herd

TABLE = """
CREATE TABLE jobs (
    job_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id text NOT NULL DEFAULT 'acme',
    current_step varchar(20), status {status}, note text, updated_at timestamptz NOT NULL DEFAULT now()
)
"""
OTHER = {"running": "processing", "done": "completed", "failed": "error", "cancelled": "stopped"}
NUMBERS = {"running": "2", "done": "3", "failed": "-1", "cancelled": "9"}


def enum(*labels: str) -> str:
    return f"CREATE TYPE state AS ENUM ({', '.join(repr(each) for each in labels)}); "


SHAPES = {
    "an enum of other words": Shape(
        enum("queued", "processing", "completed", "error", "stopped") + TABLE.format(status="state"),
        {"statuses": OTHER},
        OTHER,
    ),
    "a domain of numbers": Shape(
        "CREATE DOMAIN state AS smallint CHECK (VALUE BETWEEN -1 AND 9); " + TABLE.format(status="state"),
        {"statuses": {name: int(word) for name, word in NUMBERS.items()}},
        NUMBERS,
    ),
    "words that only look like the engine's": Shape(
        TABLE.format(status="varchar(10) DEFAULT 'running'"),
        {"statuses": {**OTHER, "waiting": ["done", "running"]}},
        OTHER,
    ),
    "several words of one meaning": Shape(
        TABLE.format(status="text"),
        {
            "statuses": {
                "running": ["processing", "working"],
                "done": ["completed", "finished", "done"],
                "failed": ["error", "failed"],
                "cancelled": "stopped",
            },
            "channel": None,
        },
        OTHER,
    ),
}


@pytest.mark.parametrize("how", SHAPES)
async def test_a_job_goes_through_failure_retry_and_cancel_in_the_tables_own_words(database: str, how: str) -> None:
    async with herd(database, SHAPES[how]) as the:
        words = the.shape.words
        async with the.worker():
            job = await the.add()
            await the.until_state(job, "cut", "retryable")
            assert await the.row(job) == ("made", words["done"])  # rewound
            await make_due(the.db)
            await the.until_row(job, "glue", "done")
            await the.until_state(job, "glue", "completed")
        assert await the.states(job) == [("cut", "completed"), ("glue", "completed")]
        await _operators_see_the_words(the)


async def _operators_see_the_words(the: Herd) -> None:
    words, table = the.shape.words, await the.known()
    job = await the.add()
    async with the.db.acquire() as conn:
        assert (await operate.cancel(conn, table, [job], who="me")).count == 1
        assert await the.row(job) == ("cut", words["cancelled"])
        seen = await insights.job(conn, table, job)
        assert seen is not None
        assert seen.row is not None
        assert seen.explanation.code == "cancelled"
        assert seen.row.status == words["cancelled"]
        assert (await operate.rerun(conn, table, job, "glue", who="me")).count == 1
        assert await the.row(job) == ("cut", words["done"])
        assert (await the.states(job))[-1] == ("glue", "available")


async def test_a_rejected_job_is_failed_in_the_tables_word_and_can_be_retried(database: str) -> None:
    shape = SHAPES["an enum of other words"]
    async with herd(database, shape) as the:
        the.server.behaviours["/cut"] = rejects
        async with the.worker():
            job = await the.add()
            await the.until_row(job, "cut", "failed")
        async with the.db.acquire() as conn:
            table = await the.known()
            assert (await operate.retry(conn, table, [job], who="me")).count == 1
        assert await the.row(job) == ("made", "completed")


async def rejects(server: StageServer, call: Call) -> Say:
    return Say(422)


async def test_another_word_of_one_meaning_is_no_change_and_a_stranger_is_no_state(database: str) -> None:
    async with herd(database, SHAPES["several words of one meaning"]) as the:
        job = await the.add()
        duties = "SELECT count(*) FROM pgbaton.due"
        assert await the.db.fetchval(duties) == 1
        for word in ("finished", "done", "completed"):
            await the.db.execute("UPDATE jobs SET status = $1", word)
        assert await the.db.fetchval(duties) == 1
        await the.db.execute("UPDATE jobs SET current_step = 'cut', status = 'working'")
        assert await the.db.fetchval(duties) == 1  # begun
        await the.db.execute("UPDATE jobs SET status = 'finished'")
        assert await the.db.fetchval("SELECT max(stage) FROM pgbaton.due WHERE job_key = $1", job) == "glue"

    async with herd(database, SHAPES["words that only look like the engine's"]) as the:
        await the.db.execute("DELETE FROM pgbaton.due")
        await the.db.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done'), ('made', 'completed')")
        assert await the.db.fetchval(duties) == 1
        async with the.db.acquire() as conn:
            assert await operate.reconcile(conn, await the.known(), create=False) == []


async def test_the_channel_tells_the_tables_word(database: str) -> None:
    async with herd(database, SHAPES["a domain of numbers"]) as the, Ear.on(database, "job_state_changed") as ear:
        job = await the.add()
        (event,) = await ear.events()
        assert (event["job_id"], event["status"]) == (job, "3")


async def test_the_guard_begins_ends_and_refuses_in_the_tables_words(database: str) -> None:
    async with herd(database, SHAPES["a domain of numbers"]) as the:
        stages, job = Stages(the.pipeline), await the.add()
        async with stages.opened(database):
            async with stages.turn("cut", job, "acme"):
                assert await the.row(job) == ("cut", "2")
            assert await the.row(job) == ("cut", "3")
            with pytest.raises(JobRefused, match=r"the job is at \(cut, 3\); cut needs \(made, 3\)"):
                async with stages.turn("cut", job, "acme"):
                    raise AssertionError


REFUSED = {
    "an enum without it": (
        enum("processing", "completed", "error") + TABLE.format(status="state"),
        {"running": "processing", "done": "complete", "failed": "error"},
        "'status' is an enum without 'complete': ALTER TYPE state ADD VALUE 'complete' adds it; where the table has "
        "other words, pipeline.statuses names them",
    ),
    "one of several is no label": (
        enum("processing", "completed", "error") + TABLE.format(status="state"),
        {"running": ["processing", "procesing"], "done": "completed", "failed": "error"},
        "an enum without 'procesing'",
    ),
    "a number that is shown in another way": (
        TABLE.format(status="integer"),
        {"running": 1, "done": "02", "failed": 3},
        "has the type integer, which cannot hold '02'",
    ),
    "a word that is too long": (
        TABLE.format(status="varchar(8)"),
        {"running": "processing", "done": "ok", "failed": "bad"},
        "holds 8 characters, and 'processing' has 10",
    ),
    "a CHECK": (
        TABLE.format(status="text CHECK (status IN ('a', 'b'))"),
        {"running": "a", "done": "b", "failed": "c"},
        "refuses 'c': CHECK",
    ),
}


@pytest.mark.parametrize("how", REFUSED)
async def test_words_that_the_column_cannot_have_are_refused(database: str, how: str) -> None:
    ddl, statuses, sentence = REFUSED[how]
    conn = await asyncpg.connect(database)
    try:
        await conn.execute("DROP TABLE jobs; " + ddl)
        with pytest.raises(AttachError) as refused:
            await attach(conn, two_stages(statuses=statuses))
        assert sentence in str(refused.value)
        assert await conn.fetchval("SELECT count(*) FROM pgbaton.pipelines") == 0
    finally:
        await conn.close()


async def test_words_that_change_replace_the_trigger_and_the_record(database: str) -> None:
    async with herd(database, SHAPES["several words of one meaning"]) as the:
        plain = "INSERT INTO jobs (current_step, status) VALUES ('made', 'ended')"
        await the.db.execute(plain)
        assert await the.db.fetchval("SELECT count(*) FROM pgbaton.due") == 0
        async with the.db.acquire() as conn:
            await attach(conn, two_stages(statuses={"done": "ended"}))
        await the.db.execute(plain)
        assert await the.db.fetchval("SELECT count(*) FROM pgbaton.due") == 1
        assert await the.db.fetchval("SELECT statuses ->> 'done' FROM pgbaton.pipelines") == '["ended"]'
