"""The plans of what happens for every job: whenever they were made, nothing that can be long is read whole.

A session makes its plans once, perhaps while the tables are empty, and works with them when they are full. So the
sessions here are opened before or after the tables are filled, and what they then do is explained by the server itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from line import attached, two_stages
from pgbaton import Pipeline, Stage
from pgbaton.database import STEADY_PLANS
from pgbaton.decision.verdict import resolve
from pgbaton.table import read_table
from pgbaton.worker.store import Move, Store
from store_bench import said

MANY = 100_000
LONG = {"due", "calls", "history", "jobs"}
"""Tables that may be long."""
MOST_BLOCKS = 500
"""Of the server's memory, that a statement for one job may touch; all of a table would be thousands."""

EXPLAIN = {
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
}

FILL = f"""
INSERT INTO jobs (current_step, status) SELECT 'made', 'done' FROM generate_series(1, {MANY});
INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, tenant, run, attempt, worker, created_at, started_at, due_at,
                           waits_for, deadline)
SELECT 'craft', gen_random_uuid(), -n, 'cut', 'made', 'acme', -n, 1, 1, now(), now(),
       CASE n % 2 WHEN 0 THEN now() + interval '1 hour' END, CASE n % 2 WHEN 0 THEN 'cut' END,
       CASE n % 2 WHEN 1 THEN now() + interval '1 hour' END
  FROM generate_series(1, {MANY // 5}) AS n;
INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, run, worker, outcome, state, created_at,
                             started_at, ended_at)
SELECT -n, 1, true, 'craft', gen_random_uuid(), 'acme', 'cut', -n, 1, 'completed', 'completed', now() - interval '1 day',
       now() - interval '1 day', now() - interval '1 day'
  FROM generate_series(1, {MANY}) AS n;
"""


class Session:
    """A connection whose every statement, those inside of functions, too, leaves its plan behind."""

    def __init__(self, conn: asyncpg.Connection) -> None:
        self.conn = conn
        self.plans: list[dict[str, Any]] = []
        conn.add_log_listener(self._hear)

    def _hear(self, _conn: asyncpg.Connection, said: Any) -> None:
        _, _, plan = said.message.partition("plan:\n")
        if plan:
            self.plans.append(json.loads(plan))

    def read(self) -> Iterator[tuple[str, str, int]]:
        """How each table that may be long was read since the last time, by which index, and how many blocks of memory
        the statement touched in all."""
        plans, self.plans = self.plans, []
        for plan in plans:
            if re.match("(INSERT INTO|UPDATE|DELETE FROM) jobs", plan["Query Text"]):
                continue  # the user's own
            blocks = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
            for node in _nodes(plan["Plan"]):
                if node.get("Actual Loops") == 0:
                    continue
                if node.get("Relation Name") in LONG and node["Node Type"] != "ModifyTable":
                    yield f"{node['Node Type']} on {node['Relation Name']}", node.get("Index Name", ""), blocks
                elif node["Node Type"] == "Bitmap Index Scan":
                    yield node["Node Type"], node["Index Name"], blocks


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


@asynccontextmanager
async def session(dsn: str, settings: dict[str, str]) -> AsyncIterator[Session]:
    conn = await asyncpg.connect(dsn, server_settings=settings)
    try:
        await conn.execute("LOAD 'auto_explain'")
        for name, value in EXPLAIN.items():
            await conn.execute(f"SET {name} = {value}")
        yield Session(conn)
    finally:
        await conn.close()


class Hop:
    """All that a writer and a worker do for one job, on every way that it can go."""

    def __init__(self, pipeline: Pipeline, writer: Session, store: Store, lease: int) -> None:
        self._stages = {stage.step: stage for stage in pipeline.stages}
        self.writer, self._store, self._lease = writer, store, lease

    async def write(self, job: str, step: str, status: str) -> None:
        await self.writer.conn.execute(
            "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id = $1::text::uuid", job, step, status
        )

    async def new(self) -> tuple[str, int]:
        """A job at the end of the backlog; its key, and the id of its duty."""
        job = await self.writer.conn.fetchval(
            "INSERT INTO jobs (current_step, status) VALUES ('made', 'done') RETURNING job_id::text"
        )
        return job, await self.writer.conn.fetchval("SELECT max(id) FROM pgbaton.due WHERE job_key = $1", job)

    async def settle(self, job: str, status: int) -> None:
        (found,) = await self._store.look([job])
        verdict = resolve(found, self._stages.__getitem__, said(status))
        assert job in await self._store.settle([(verdict, said(status))], self._stages)

    async def take(self) -> None:
        store, lease = self._store, self._lease
        good, since = await self.new()
        (claimed,) = (await store.turn(lease, 1, since={"cut": since})).claimed
        assert claimed.job_key == good
        assert await store.prepare(lease, [Move(claimed, ("made", "done"), ("cut", "running"))]) == {good}
        await self.write(good, "cut", "done")
        (following,) = (await store.turn(lease, 1, [(claimed, said(200))])).claimed
        assert (following.job_key, following.stage) == (good, "glue")
        await self.settle(good, 500)
        await self.writer.conn.execute(
            "UPDATE pgbaton.calls SET due_at = now() WHERE pipeline = 'craft' AND job_key = $1", good
        )
        (again,) = (await store.claim_waiting(lease, 1)).claimed
        assert (again.job_key, again.attempt) == (good, 2)
        await self.write(good, "glue", "done")
        assert (await store.turn(lease, 0, [(again, said(200))])).ended == {again.id}
        await store.note([(again, said(200))])
        bad, since = await self.new()
        (claimed,) = (await store.turn(lease, 1, since={"cut": since})).claimed
        await self.write(bad, "cut", "running")
        await self.settle(bad, 202)
        await self.write(bad, "elsewhere", "by hand")
        assert (await store.turn(lease, 0)).others == {bad}
        await self.settle(bad, 0)
        assert len((await store.turn(lease, 8)).claimed) in (0, 8), "of the backlog, where there is one"
        await store.next_due()
        await store.prune(30 * 86400)
        await self.writer.conn.execute("DELETE FROM jobs WHERE job_id = $1::text::uuid", good)


@pytest.mark.parametrize("planned", ["while the tables were empty", "when they were full"])
async def test_a_workers_statements_for_a_job_read_few_blocks_whenever_they_were_planned(
    database: str, planned: str
) -> None:
    pipeline = two_stages(channel=None)
    async with (
        attached(database, pipeline) as db,
        session(database, {}) as writer,
        session(database, STEADY_PLANS) as worker,
    ):
        store = Store(worker.conn, await read_table(worker.conn, pipeline), ["cut", "glue"])
        lease, _ = await store.take_lease(None, "me", 8, 3600, [])
        hop = Hop(pipeline, writer, store, lease)
        if planned != "while the tables were empty":
            await db.execute(FILL)
        await db.execute("VACUUM ANALYZE")
        await hop.take()  # a session's first statements read the catalogs
        if planned == "while the tables were empty":
            await db.execute(FILL)
        writer.plans, worker.plans = [], []
        await hop.take()
        seen = {*writer.read(), *worker.read()}
    assert [node for node in seen if node[0].startswith("Seq Scan")] == []
    assert [node for node in seen if node[2] > MOST_BLOCKS] == []
    assert {"due_of_stage", "due_of_job", "calls_pkey", "calls_waiting", "history_attempts", "jobs_pkey"} <= {
        index for _, index, _ in seen
    }


async def test_a_claim_under_an_old_snapshot_steps_over_taken_duties_only_where_it_looks_at_everything(
    database: str,
) -> None:
    """VACUUM may not clear away what the snapshot might see: a claim that begins where the last ones had come does not
    step over it."""
    pipeline = two_stages(channel=None)
    async with attached(database, pipeline) as db, db.acquire() as reader, session(database, STEADY_PLANS) as worker:
        store = Store(worker.conn, await read_table(worker.conn, pipeline), ["cut", "glue"])
        lease, _ = await store.take_lease(None, "me", 8, 3600, [])
        async with reader.transaction(isolation="repeatable_read"):
            await reader.fetchval("SELECT 1")
            await db.execute(
                "INSERT INTO pgbaton.due (pipeline, stage, job_key, step, status) "
                "SELECT 'craft', 'cut', gen_random_uuid(), 'made', 'done' FROM generate_series(1, 20000)"
            )
            await db.execute("DELETE FROM pgbaton.due")
            await db.execute("VACUUM ANALYZE pgbaton.due")
            touched = []
            for since in ({}, {"": 20_000, "cut": 20_000, "glue": 20_000}):
                await db.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
                worker.plans = []
                assert len((await store.turn(lease, 8, since=since)).claimed) == 1
                touched.append(max(blocks for _, _, blocks in worker.read()))
    everything, recent = touched
    assert recent < MOST_BLOCKS
    assert everything > 1.5 * recent, "nothing was left behind that could be stepped over"


async def test_a_call_is_updated_in_place_from_hop_to_hop(database: str) -> None:
    """HOT: no index is written. Of a stage without a limit; the index of slots is written for the others."""
    steps = ["s0", "s1", "s2", "s3", "s4", "s5", "s6"]
    stages = [Stage(step=step, after=after, path="/x") for after, step in pairwise(steps)]
    pipeline = two_stages(channel=None, stages=stages)
    async with attached(database, pipeline) as db, session(database, STEADY_PLANS) as worker:
        store = Store(worker.conn, await read_table(worker.conn, pipeline), steps[1:])
        lease, _ = await store.take_lease(None, "me", 8, 3600, [])
        await db.execute("INSERT INTO jobs (current_step, status) SELECT 's0', 'done' FROM generate_series(1, 300)")
        for step in steps[1:]:
            claimed = 0
            while brought := len((await store.turn(lease, 16)).claimed):
                claimed += brought
            assert claimed == 300
            await db.execute("UPDATE jobs SET current_step = $1", step)
        await worker.conn.execute("SELECT pg_stat_force_next_flush()")
        await worker.conn.execute("SELECT 1")
        counts = await db.fetchrow("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'calls'")
    assert counts["n_tup_upd"] >= 300 * (len(stages) - 1)
    assert counts["n_tup_hot_upd"] >= 0.99 * counts["n_tup_upd"]
