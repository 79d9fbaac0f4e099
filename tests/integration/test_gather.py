"""A parent that gathers its children: rows of another table, with a pipeline of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from graph_line import graph, stage
from line import Line, until
from pgbaton import Engine, Pipeline, Settings, insights
from pgbaton.decision.outcome import Answer, Reply
from pgbaton.decision.verdict import resolve
from pgbaton.errors import AttachError, ConfigError
from pgbaton.install.attach import attach
from pgbaton.model import Passage
from pgbaton.table import read_table
from pgbaton.worker.store import Store
from stage_server import Call, Say, StageServer, work

VARIANTS = """
CREATE TABLE variants (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job    uuid NOT NULL,
    step   text NOT NULL,
    status text NOT NULL
);
CREATE INDEX ON variants (job);
"""
GATHER = {
    "at": ["variants", "waiting"],
    "children": "variants",
    "done": ["draw", "done"],
    "to": ["variants", "done"],
    "then": ["variants", "failed"],
}


def children(base_url: str = "http://127.0.0.1:9", **rest: Any) -> Pipeline:
    return Pipeline.model_validate(
        {
            "name": "variants",
            "table": "public.variants",
            "key": "id",
            "step": "step",
            "status": "status",
            "base_url": base_url,
            "stage": [stage("draw", "planned", **rest)],
            "parent": {"pipeline": "craft", "key": "job"},
        }
    )


class Family(Line):
    """Parents on the jobs table, children on variants."""

    variants: Pipeline

    async def born(self, job: str, *ends: tuple[str, str]) -> list[int]:
        return [
            await self.db.fetchval(
                "INSERT INTO variants (job, step, status) VALUES ($1::text::uuid, $2, $3) RETURNING id", job, *end
            )
            for end in ends
        ]

    async def ends(self, child: int, step: str = "draw", status: str = "done") -> None:
        await self.db.execute("UPDATE variants SET step = $2, status = $3 WHERE id = $1", child, step, status)

    async def gathering(self, *ends: tuple[str, str]) -> tuple[str, list[int]]:
        """A parent that enters the state once none of its children is missing."""
        job = await self.add("else", "where")
        kids = await self.born(job, *ends)
        await self.put(job, "variants", "waiting")
        return job, kids

    async def counted(self, job: str) -> None:
        counted = "SELECT missing IS NOT NULL FROM pgbaton.calls WHERE pipeline = 'craft' AND job_key = $1"
        await until(lambda: self.db.fetchval(counted, job), "its children were counted")


@asynccontextmanager
async def family(
    dsn: str, *, behave: Any = work, child: dict[str, Any] | None = None, **gather: Any
) -> AsyncIterator[Family]:
    async with StageServer(dsn, {"/publish": "publish", "/draw": "draw"}, behave) as server:
        parents = graph(
            [stage("publish", "variants")],
            server.base_url,
            route=[{"after": "made", "to": ["variants", "waiting"]}] if gather.pop("routed", False) else [],
            gather=[GATHER | gather],
        )
        async with asyncpg.create_pool(dsn, min_size=1, max_size=8) as db:
            async with db.acquire() as conn:
                await conn.execute(VARIANTS)
                kids = children(server.base_url, **(child or {}))
                await attach(conn, kids)
                await attach(conn, parents)
            found = Family(dsn, server, parents, db)
            found.variants = kids
            yield found


PLANNED, DONE, FAILED = ("planned", "done"), ("draw", "done"), ("draw", "failed")


async def test_the_last_childs_commit_moves_the_parent_with_any_writer(database: str) -> None:
    async with family(database) as f, f.worker(poll=60):
        job, kids = await f.gathering(("draw", "running"), ("draw", "running"))
        await f.ends(kids[0])
        await f.counted(job)
        assert await f.row(job) == ("variants", "waiting")
        await f.ends(kids[1])
        await f.until_row(job, "publish", "done", 5)
        assert [c.job_id for c in f.server.calls] == [job]


@pytest.mark.parametrize(
    ("need", "failed", "ends", "goes"),
    [
        ("all", "fail", [DONE, FAILED], "failed"),
        ("all", "ignore", [DONE, FAILED], "done"),
        ("all", "ignore", [FAILED, FAILED], "failed"),
        ("all", "fail", [], "done"),
        ("any", "ignore", [FAILED, DONE, ("draw", "running")], "done"),
        (2, "ignore", [DONE, FAILED, DONE], "done"),
        (2, "ignore", [DONE, FAILED, FAILED], "failed"),
        (3, "ignore", [DONE, DONE], "failed"),
    ],
)
async def test_a_parent_goes_by_how_many_of_its_children_are_where(
    database: str, need: object, failed: str, ends: list[tuple[str, str]], goes: str
) -> None:
    async with family(database, need=need, failed=failed) as f:
        job, _ = await f.gathering(*ends)
        async with f.worker():
            await f.until_row(job, *(("publish", "done") if goes == "done" else ("variants", "failed")))


async def test_the_parents_detail_counts_its_children_before_during_and_after(database: str) -> None:
    async with family(database) as f, f.db.acquire() as conn:
        table = await insights.table_of(conn, "craft")
        lonely = await f.add("else", "where")
        seen = await insights.job(conn, table, lonely)
        assert seen is not None
        assert seen.children == ()
        job, kids = await f.gathering(DONE, DONE, ("draw", "running"))
        async with f.worker():
            await f.counted(job)
            seen = await insights.job(conn, table, job)
            assert seen is not None
            assert [tuple(asdict(c).values()) for c in seen.children] == [("variants", 3, 2, 2, str(kids[2]))]
            why = await insights.explain(conn, table, job)
            assert why is not None
            assert why.sentence() == f"waits for 1 of 3 children: {kids[2]} has not ended; 2 done"
            await f.ends(kids[2], *PLANNED)
            why = await insights.explain(conn, table, job)
            assert why is not None
            assert f"{kids[2]} is waiting for draw; 2 done" in why.sentence()
            assert f"{kids[2]}(draw 호출을 기다리는 중). 완료 2건" in why.sentence("ko")
            await f.ends(kids[2])
            await f.until_row(job, "publish", "done")
        seen = await insights.job(conn, table, job)
        assert seen is not None
        assert [tuple(asdict(c).values()) for c in seen.children] == [("variants", 3, 3, 3, None)]


async def test_children_run_their_own_pipeline_and_their_death_is_told(database: str) -> None:
    async def draws(server: StageServer, call: Call) -> Say:
        if call.path == "/draw" and call.job_id == "2":
            return Say(422)
        await server.pool.execute(
            "UPDATE variants SET step = 'draw', status = 'done' WHERE id = $1", int(call.job_id)
        ) if call.path == "/draw" else await work(server, call)
        return Say()

    async with family(database, behave=draws, failed="ignore") as f, f.worker():
        job, _ = await f.gathering(PLANNED, PLANNED, PLANNED)
        async with Engine(f.variants, f.settings()):
            await f.until_row(job, "publish", "done")
        ended = await f.db.fetchrow("SELECT outcome, error FROM pgbaton.history WHERE stage = 'variants'")
        assert tuple(ended) == ("gathered", "children at (draw, done): 2 of 3, 1 ended elsewhere")


async def test_two_last_children_that_commit_at_once_move_the_parent_once(database: str) -> None:
    async with family(database) as f, f.worker(), f.worker():
        kids = dict([await f.gathering(("draw", "running"), ("draw", "running")) for _ in range(20)])
        jobs = list(kids)

        async def end(child: int) -> None:
            async with f.db.acquire() as conn, conn.transaction():
                await conn.execute("UPDATE variants SET step = 'draw', status = 'done' WHERE id = $1", child)
                await asyncio.sleep(0.01)

        for job in jobs:
            await asyncio.gather(*(end(child) for child in kids[job]))
        for job in jobs:
            await f.until_row(job, "publish", "done")
        assert sorted(c.job_id for c in f.server.calls) == sorted(jobs)


async def test_a_child_that_is_deleted_is_not_waited_for(database: str) -> None:
    async with family(database) as f, f.worker():
        job, kids = await f.gathering(DONE, ("draw", "running"))
        await f.counted(job)
        await f.db.execute("DELETE FROM variants WHERE id = $1", kids[1])
        await f.db.execute("UPDATE pgbaton.calls SET deadline = now()")  # as after its next tick
        await f.until_row(job, "publish", "done")


async def test_a_parent_that_was_moved_by_hand_is_left_where_it_is(database: str) -> None:
    async with family(database) as f, f.worker(), Engine(f.variants, f.settings()):
        job, kids = await f.gathering(("draw", "running"))
        await f.counted(job)
        await f.put(job, "variants", "withdrawn")
        await f.ends(kids[0])
        await f.until_settled()
        assert await f.row(job) == ("variants", "withdrawn")
        assert await f.states(job) == [("variants", "cancelled")]


async def test_a_child_that_runs_again_after_its_parent_went_on_moves_it_no_more(database: str) -> None:
    async with family(database) as f, f.worker(), Engine(f.variants, f.settings()):
        job, (child,) = await f.gathering(DONE)
        await f.until_row(job, "publish", "done")
        await f.ends(child, "draw", "running")
        await f.ends(child)
        await f.until_settled()
        assert await f.row(job) == ("publish", "done")
        assert len(f.server.calls) == 1


async def test_ten_thousand_children_are_not_counted_for_each_of_them(database: str) -> None:
    async with family(database) as f, f.worker():
        job = await f.add("else", "where")
        await f.db.execute(
            "INSERT INTO variants (job, step, status) "
            "SELECT $1::text::uuid, 'draw', 'running' FROM generate_series(1, 10000)",
            job,
        )
        await f.put(job, "variants", "waiting")
        await f.counted(job)
        for tenth in range(10):
            await f.db.execute("UPDATE variants SET status = 'done' WHERE id % 10 = $1", tenth)
        await f.until_row(job, "publish", "done")


async def test_a_worker_that_rests_between_many_children_misses_neither_the_last_nor_other_jobs(database: str) -> None:
    async with family(database) as f, f.worker(poll=60):
        job = await f.add("else", "where")
        await f.db.execute(
            "INSERT INTO variants (job, step, status) "
            "SELECT $1::text::uuid, 'draw', 'running' FROM generate_series(1, 3000)",
            job,
        )
        await f.put(job, "variants", "waiting")
        await f.counted(job)
        for end in (1, 1500, 2999):
            await f.db.execute("UPDATE variants SET status = 'done' WHERE id <= $1 AND status = 'running'", end)
            other, _ = await f.gathering(DONE)
            await f.until_row(other, "publish", "done", 5)
        assert await f.row(job) == ("variants", "waiting")
        await f.ends(3000)
        await f.until_row(job, "publish", "done", 5)
        assert [c.job_id for c in f.server.calls].count(job) == 1


async def test_a_child_table_without_an_index_on_its_parent_is_refused(database: str) -> None:
    async with asyncpg.create_pool(database, min_size=1) as db, db.acquire() as conn:
        await conn.execute(VARIANTS.replace("CREATE INDEX ON variants (job);", ""))
        with pytest.raises(
            AttachError, match=r'no index .* begins with .job.*CREATE INDEX ON "public"."variants" \("job"\)'
        ):
            await attach(conn, children())
        with pytest.raises(AttachError, match="has no column 'jobb'"):
            await attach(
                conn, children().model_copy(update={"parent": children().parent.model_copy(update={"key": "jobb"})})
            )


@pytest.mark.parametrize("put_back", [True, False])
async def test_children_that_were_counted_before_a_parent_was_put_back_do_not_move_it(
    database: str, put_back: bool
) -> None:
    """A worker counts; a person takes the parent away, adds a child and puts it back; then the worker writes."""
    async with family(database) as f:
        async with f.db.acquire() as conn:
            store = Store(f.db, await read_table(conn, f.pipeline), ["variants", "publish"])
        worker, _ = await store.take_lease(None, "worker", 8, 60, [])
        job = await f.add("else", "where")
        await f.born(job, DONE)
        await store.turn(worker, 8)  # takes the child's look
        await f.put(job, "variants", "waiting")
        assert len((await store.turn(worker, 8)).claimed) == 1
        (seen,) = await store.look([job])
        stages = await store.stages()
        node = stages["variants"]
        assert isinstance(node, Passage)
        counted = replace(seen, children=(await store.children(node, [job]))[job])
        verdict = resolve(counted, stages.__getitem__, Answer(Reply.ANSWERED))
        assert verdict.target == ("variants", "done")
        if put_back:
            await f.put(job, "variants", "paused")
            await f.born(job, ("draw", "running"))
            await f.put(job, "variants", "waiting")
        written = await store.settle([(verdict, None)], stages)
        assert bool(written) is not put_back
        assert await f.row(job) == ("variants", "waiting" if put_back else "done")


async def test_a_command_without_a_pipeline_means_the_one_that_is_nobodys_child(database: str) -> None:
    async with family(database) as f, f.db.acquire() as conn:
        assert (await insights.table_of(conn, None)).pipeline == "craft"
        assert (await insights.table_of(conn, "variants")).pipeline == "variants"
        await attach(conn, children().model_copy(update={"name": "alone", "table": "public.variants", "parent": None}))
        with pytest.raises(ConfigError, match="name one with --pipeline: alone, craft, variants"):
            await insights.table_of(conn, None)


async def test_a_gather_that_counts_at_a_step_which_no_child_comes_to_is_refused(database: str) -> None:
    async with family(database) as f, f.db.acquire() as conn:
        misspelt = graph([stage("publish", "variants")], gather=[GATHER | {"done": ["drow", "done"]}])
        with pytest.raises(
            AttachError, match=r"no row of 'variants' comes to \(drow, done\); its steps are: draw, planned"
        ):
            await attach(conn, misspelt)


async def test_a_parent_whose_key_has_several_columns_gathers_its_own(database: str) -> None:
    async def answers(_: StageServer, __: Call) -> Say:
        return Say()

    async with StageServer(database, {}, answers) as server, asyncpg.create_pool(database) as db:
        await db.execute("""
            CREATE TABLE shops (tenant text, day date, step text NOT NULL, status text, PRIMARY KEY (tenant, day));
            CREATE TABLE sales (id int PRIMARY KEY, shop text, on_day date, step text NOT NULL, status text NOT NULL);
        """)
        named = {"key": ["tenant", "day"], "step": "step", "status": "status", "base_url": server.base_url}
        shops = Pipeline.model_validate(
            {"name": "craft", "table": "public.shops", "gather": [GATHER], **named}
            | {"stage": [stage("publish", "variants", advance="engine")]}
        )
        sales = {"name": "variants", "table": "public.sales", "stage": [stage("draw", "planned")]}
        sales |= named | {"key": "id", "parent": {"pipeline": "craft", "key": ["shop", "on_day"]}}
        async with db.acquire() as conn:
            await attach(conn, shops)
            for key, said in (
                (
                    ["shop", "on_day"],
                    'begins with \'shop, on_day\': .*CREATE INDEX ON "public"."sales" \\("shop", "on_day"\\)',
                ),
                (
                    "shop",
                    "names 1 of the columns of public.sales, and the key of the pipeline 'craft' has 2: tenant, day",
                ),
                (["shop", "off_day"], "has no column 'off_day'"),
            ):
                refused = Pipeline.model_validate(sales | {"parent": {"pipeline": "craft", "key": key}})
                with pytest.raises(AttachError, match=said):
                    await attach(conn, refused)
            await conn.execute("CREATE INDEX ON sales (on_day, shop)")
            await attach(conn, Pipeline.model_validate(sales))
        # One at another's day, one without a parent, and one of which half a parent is known: these have no parent's key.
        await db.execute("""
            INSERT INTO shops VALUES ('a', '2026-01-01', 'variants', 'waiting');
            INSERT INTO shops VALUES ('a', '2026-01-02', 'variants', 'waiting');
            INSERT INTO sales VALUES (1, 'a', '2026-01-01', 'draw', 'running');
            INSERT INTO sales VALUES (2, 'a', '2026-01-02', 'draw', 'running');
            INSERT INTO sales VALUES (3, NULL, NULL, 'draw', 'running'), (4, 'a', NULL, 'draw', 'running');
        """)
        settings = Settings(database_url=SecretStr(database), poll=60)
        async with Engine(shops, settings):
            await db.execute("UPDATE sales SET status = 'done' WHERE id <> 2")
            moved = "SELECT day::text FROM shops WHERE (step, status) = ('publish', 'done')"
            await until(lambda: db.fetchval(moved), "the first day's children have ended")
            assert [r["day"] for r in await db.fetch(moved)] == ["2026-01-01"]
            await db.execute("UPDATE sales SET status = 'done' WHERE id = 2")
            both = f"SELECT count(*) = 2 FROM ({moved}) AS gone"
            await until(lambda: db.fetchval(both), "the second, too")
            # Of children with half a parent there is no look at all: the parents' worker has taken all that there was.
            taken = "SELECT NOT EXISTS (SELECT FROM pgbaton.due WHERE pipeline = 'craft')"
            await until(lambda: db.fetchval(taken), "nothing is left to look at")
            asked = "SELECT array_agg(DISTINCT job_key) FROM pgbaton.history WHERE pipeline = 'craft'"
            assert set(await db.fetchval(asked)) == {'["a", "2026-01-01"]', '["a", "2026-01-02"]'}
