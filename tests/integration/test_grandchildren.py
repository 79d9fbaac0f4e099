"""Children of children: the last grandchild's commit moves its parent, and that moves the grandparent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg

from graph_line import graph, stage
from line import Line, until
from pgbaton import Engine, Pipeline
from pgbaton.decision.outcome import Answer
from pgbaton.decision.verdict import Verdict, resolve, wants_count
from pgbaton.install.attach import attach
from pgbaton.model import Passage
from pgbaton.table import read_table
from pgbaton.worker.store import Store
from stage_server import Call, Say, StageServer, work

TABLES = """
CREATE TABLE variants (id int PRIMARY KEY, job uuid NOT NULL, step text NOT NULL, status text NOT NULL);
CREATE INDEX ON variants (job);
CREATE TABLE strokes (id int PRIMARY KEY, variant int NOT NULL, step text NOT NULL, status text NOT NULL);
CREATE INDEX ON strokes (variant);
CREATE TABLE moves (id bigint GENERATED ALWAYS AS IDENTITY, key text, at text);
CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.moves (key, at)
    VALUES (coalesce(to_jsonb(NEW) ->> 'job_id', to_jsonb(NEW) ->> 'id'),
            coalesce(to_jsonb(NEW) ->> 'current_step', to_jsonb(NEW) ->> 'step') || ' ' || NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER remember AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION remember();
CREATE TRIGGER remember AFTER UPDATE ON variants FOR EACH ROW EXECUTE FUNCTION remember();
"""


def gather(children: str, done: str) -> dict[str, object]:
    ends = {"to": [children, "done"], "then": [children, "failed"]}
    return {"at": [children, "waiting"], "children": children, "done": [done, "done"], **ends}


class Generations(Line):
    """Jobs gather variants, which gather strokes."""

    variants: Pipeline

    async def dies(self, pipeline: Pipeline, key: str, *, writes: bool) -> Any:
        """A worker takes what there is of the job, decides it and dies: before its verdict is written, or just after.
        Returns how it would write it later."""
        async with self.db.acquire() as conn:
            store = Store(self.db, await read_table(conn, pipeline), [node.step for node in pipeline.nodes])
        worker, _ = await store.take_lease(None, "dying", 8, 60, [])
        turn = await store.turn(worker, 8)
        assert key in turn.others
        stages = await store.stages()
        verdict = await decided(store, stages, key)
        if writes:
            assert await store.settle([(verdict, None)], stages)
        await store.give_up_lease(worker)
        return lambda: store.settle([(verdict, None)], stages)

    async def moves(self, key: str) -> list[str]:
        return [r["at"] for r in await self.db.fetch("SELECT at FROM moves WHERE key = $1 ORDER BY id", key)]

    async def at_draw(self, variant: int) -> bool:
        return bool(
            await self.db.fetchval("SELECT (step, status) = ('draw', 'done') FROM variants WHERE id = $1", variant)
        )

    async def are_counted(self, count: int) -> bool:
        counted = "SELECT count(*) FROM pgbaton.calls WHERE missing IS NOT NULL"
        return bool(await self.db.fetchval(counted) == count)


async def decided(store: Store, stages: Any, key: str, answer: Answer | None = None) -> Verdict:
    (job,) = await store.look([key])
    assert job.call is not None
    node = stages[job.call.stage]
    assert isinstance(node, Passage)
    assert wants_count(job, node, claimed=False)
    verdict = resolve(replace(job, children=(await store.children(node, [key])).get(key)), stages.__getitem__, answer)
    assert verdict.target == (job.call.stage, "done")
    return verdict


@asynccontextmanager
async def generations(dsn: str) -> AsyncIterator[Generations]:
    async def draws(server: StageServer, call: Call) -> Say:
        if call.path == "/publish":
            return await work(server, call)
        await server.pool.execute("UPDATE variants SET step = 'draw', status = 'done' WHERE id = $1", int(call.job_id))
        return Say()

    async with (
        StageServer(dsn, {"/publish": "publish"}, draws) as server,
        asyncpg.create_pool(dsn, min_size=1, max_size=8) as db,
    ):
        other = {"key": "id", "step": "step", "status": "status", "base_url": server.base_url}
        strokes = Pipeline.model_validate(
            {"name": "strokes", "table": "public.strokes", "stage": [stage("paint", "planned")], **other}
            | {"parent": {"pipeline": "variants", "key": "variant"}}
        )
        variants = Pipeline.model_validate(
            {"name": "variants", "table": "public.variants", "stage": [stage("draw", "strokes")], **other}
            | {"parent": {"pipeline": "craft", "key": "job"}, "gather": [gather("strokes", "paint")]}
        )
        jobs = graph([stage("publish", "variants")], server.base_url, gather=[gather("variants", "draw")])
        await db.execute(TABLES)
        async with db.acquire() as conn:
            for pipeline in (strokes, variants, jobs):
                await attach(conn, pipeline)
        found = Generations(dsn, server, jobs, db)
        found.variants = variants
        yield found


async def test_the_last_grandchild_moves_all_up_once_though_workers_die_between(database: str) -> None:
    async with generations(database) as f:
        job = await f.add("variants", "waiting")
        await f.db.execute(
            "INSERT INTO variants SELECT n, $1::text::uuid, 'strokes', 'waiting' FROM generate_series(1, 2) n", job
        )
        await f.db.execute("INSERT INTO strokes SELECT n, 1 + n % 2, 'paint', 'running' FROM generate_series(1, 4) n")
        async with f.worker(poll=60), Engine(f.variants, f.settings(poll=60)):
            await until(lambda: f.are_counted(3), "all three were counted")
            await f.db.execute("UPDATE strokes SET status = 'done' WHERE variant = 1")
            await until(lambda: f.at_draw(1), "the first variant is drawn")
            await until(lambda: f.are_counted(2), "and the job goes on waiting for the second")
        await f.db.execute("UPDATE strokes SET status = 'done' WHERE variant = 2")
        late = await f.dies(f.variants, "2", writes=False)
        await f.dies(f.variants, "2", writes=True)
        assert await late() == {}
        async with Engine(f.variants, f.settings(poll=60)):
            await until(lambda: f.at_draw(2), "the second variant is drawn")
        assert await f.row(job) == ("variants", "waiting")
        late = await f.dies(f.pipeline, job, writes=False)
        await f.dies(f.pipeline, job, writes=True)
        assert await late() == {}
        async with f.worker(poll=60), Engine(f.variants, f.settings(poll=60)):
            await f.until_row(job, "publish", "done")
        assert await f.moves("1") == await f.moves("2") == ["strokes done", "draw done"]
        assert await f.moves(job) == ["variants done", "publish running", "publish done"]
        assert [(c.path, c.job_id) for c in f.server.calls] == [("/draw", "1"), ("/draw", "2"), ("/publish", job)]
