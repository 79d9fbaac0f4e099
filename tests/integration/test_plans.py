"""The plans of what happens for every job: whenever they were made, nothing that can be long is read whole.

A session makes its plans once, perhaps while the tables are empty, and works with them when they are full. So the
sessions here are opened before or after the tables are filled, and what they then do is explained by the server itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest

from line import attached, two_stages
from pgbaton.database import STEADY_PLANS
from pgbaton.model import Pipeline, State
from pgbaton.outcome import Answer, Reply, decide
from pgbaton.table import read_table
from pgbaton.worker.store import Store

MANY = 20_000
LONG = {"dispatches", "attempts", "jobs"}
"""Tables that may be long. The inbox, ``changes``, is not: of it only the first row is ever asked for."""
MOST_BLOCKS = 300
"""Of the server's memory, that a statement for one job may touch; all of a table would be thousands."""
OK = Answer(Reply.ANSWERED, 200)
FAILED = Answer(Reply.ANSWERED, 500, error="HTTP 500")

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
INSERT INTO pgbaton.dispatches (pipeline, job_key, tenant, stage, state, attempt, available_at, settled_at)
SELECT 'craft', gen_random_uuid(), 'acme', 'cut', 'completed', 1, now() - interval '1 day', now() - interval '1 day'
  FROM generate_series(1, {MANY});
INSERT INTO pgbaton.attempts (dispatch_id, attempt, worker, finished_at, outcome)
SELECT id, 1, 'me', now(), 'completed' FROM pgbaton.dispatches WHERE settled_at < now() - interval '1 hour';
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
    """What is done for one job: by whoever writes its row, and by a worker."""

    def __init__(self, pipeline: Pipeline, writer: Session, store: Store, lease: int) -> None:
        self._pipeline, self.writer, self._store, self._lease = pipeline, writer, store, lease

    async def write(self, job: str, step: str, status: str) -> None:
        await self.writer.conn.execute(
            "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id = $1::text::uuid", job, step, status
        )

    async def take(self) -> None:
        """Every way that a job can go, one after the other."""
        new = "INSERT INTO jobs (current_step, status) VALUES ('made', 'done')"
        store = self._store
        for reach in (None, [60.0, 60.0]):
            await self.writer.conn.execute(new)
            await self.writer.conn.execute(new)
            (good,) = await store.claim(self._lease, 1)
            (bad,) = await store.claim(self._lease, 1)
            await self.write(good.job_key, "cut", "running")
            await store.look([good.id])
            await self.write(good.job_key, "cut", "done")
            _, (following,) = await store.turn(self._lease, 1, [(good, OK)], reach)
            assert (following.job_key, following.stage) == (good.job_key, "glue")
            decision = decide(self._pipeline.stage("glue"), following.row, FAILED)
            assert await store.settle([(following, decision)]) == {following.id: State.RETRYABLE}
            await self.write(bad.job_key, "cut", "running")
            await self.write(bad.job_key, "cut", "failed")
            await store.note([(bad, FAILED)])
            await store.next_due()
            await store.absorb(100)
            await store.orphans(self._lease, {(good.id, 1)}, 0, 100)
            await store.overdue(0, 100)
            await self.write(bad.job_key, "elsewhere", "by hand")
            await self.writer.conn.execute("DELETE FROM jobs WHERE job_id = $1::text::uuid", good.job_key)
        async with self.writer.conn.transaction(isolation="serializable"):
            await self.writer.conn.execute(new)
        assert await self._store.absorb(100) == 1


@pytest.mark.parametrize(
    "planned", ["while the tables were empty", "when they were full", "when one was left of many that a snapshot keeps"]
)
async def test_nothing_that_may_be_long_is_read_whole(database: str, planned: str) -> None:
    pipeline = two_stages(channel=None)
    async with (
        attached(database, pipeline) as db,
        session(database, {}) as writer,
        session(database, STEADY_PLANS) as worker,
    ):
        store = Store(worker.conn, await read_table(worker.conn, pipeline), ["cut", "glue"])
        hop = Hop(pipeline, writer, store, await store.register("me", 8, 3600))
        async with AsyncExitStack() as snapshot:
            if "snapshot" in planned:
                reader = await snapshot.enter_async_context(db.acquire())
                await snapshot.enter_async_context(reader.transaction(isolation="repeatable_read"))
                await reader.fetchval("SELECT 1")
            if planned != "while the tables were empty":
                await db.execute(FILL)
            if "snapshot" in planned:
                await db.execute("UPDATE jobs SET status = 'by hand'")
                await db.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
                assert await db.fetchval("SELECT count(*) FROM ONLY pgbaton.dispatches") == 1
            await db.execute("VACUUM ANALYZE")
            await hop.take()  # a session's first statements read the catalogs
            if planned == "while the tables were empty":
                await db.execute(FILL)
            writer.plans, worker.plans = [], []
            await hop.take()
            seen = {*writer.read(), *worker.read()}
    assert [node for node in seen if node[0].startswith("Seq Scan")] == []
    # Under a snapshot a claim without a reach steps over all that was due; by the index, and not by the table.
    most = MANY // 10 if "snapshot" in planned else MOST_BLOCKS
    assert [node for node in seen if node[2] > most] == []
    # The claim by what is due, the trigger by what is open.
    assert {"dispatches_due", "dispatches_one_open", "attempts_pkey", "jobs_pkey"} <= {index for _, index, _ in seen}


async def test_a_look_for_orphans_steps_over_nothing_that_the_living_have_claimed(database: str) -> None:
    """Under an old snapshot vacuum cannot clear that away; only what is given to nobody alive is of interest."""
    many = 4000
    pipeline = two_stages(channel=None)
    async with (
        attached(database, pipeline) as db,
        db.acquire() as reader,
        session(database, {}) as worker,
    ):
        store = Store(worker.conn, await read_table(worker.conn, pipeline), ["cut", "glue"])
        me, dead = await store.register("me", many, 3600), await store.register("dead", 1, 3600)
        async with reader.transaction(isolation="repeatable_read"):
            await reader.fetchval("SELECT 1")
            await db.execute(
                "INSERT INTO jobs (current_step, status) SELECT 'made', 'done' FROM generate_series(1, $1)", many
            )
            assert len(await store.claim(me, many - 1)) == many - 1
            (orphan,) = await store.claim(dead, 1)
            await db.execute(
                "UPDATE pgbaton.dispatches SET state = 'completed', worker = NULL, settled_at = now()"
                " WHERE worker = $1",
                me,
            )
            await db.execute("UPDATE pgbaton.workers SET expires_at = now() WHERE id = $1", dead)
            await db.execute("VACUUM ANALYZE pgbaton.dispatches")
            touched = []
            for held in (set[tuple[int, int]](), None):
                worker.plans = []
                assert [d.id for d in await store.orphans(me, held, 0, 10)] == [orphan.id]
                touched.append(next(blocks for _, index, blocks in worker.read() if index == "dispatches_running"))
        with_its_own, of_others = touched
        assert with_its_own > many / 100, "nothing was left behind that could be stepped over"
        assert of_others < 20
