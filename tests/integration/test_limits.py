"""Limits as they are met in work: workers race, a stage counts the calls that overlap in it, and answers 429 to those that are too
many."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from contextlib import AsyncExitStack

import asyncpg
import pytest

from line import line, until
from pgbaton.errors import ConfigError
from pgbaton.health.look import look
from stage_server import Call, Say, StageServer, work


class Counting:
    """A stage that counts, by its own reckoning, how many calls overlap in it, for each tenant and in all; beyond ``most`` it
    answers 429."""

    def __init__(self, seconds: float, most: int = 10_000, retry_after: str | None = None) -> None:
        self.seconds, self.most, self.retry_after = seconds, most, retry_after
        self.now: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self.refused = 0

    async def __call__(self, server: StageServer, call: Call) -> Say:
        names = ("", call.path, call.body["tenant_id"])
        if self.now[""] >= self.most:
            self.refused += 1
            return Say(429, {"retry-after": self.retry_after} if self.retry_after else {})
        for name in names:
            self.now[name] += 1
            self.peak[name] = max(self.peak[name], self.now[name])
        try:
            await server.move(call, "running")
            await asyncio.sleep(self.seconds)
            for name in names:  # before its commit: what follows may be called from then on
                self.now[name] -= 1
            names = ()
            await server.move(call, "done")
        finally:
            for name in names:
                self.now[name] -= 1
        return Say()


async def test_no_limit_is_passed_by_the_stages_own_count_while_workers_race(database: str) -> None:
    stage = Counting(0.01)
    pools = [{"name": "gpu", "size": 5}]
    async with line(
        database, stage, pools=pools, cut_pool="gpu", glue_pool="gpu", cut_per_tenant=2, glue_concurrency=3
    ) as craft:
        for tenant in ("a", "b", "c", "d"):
            await craft.db.execute(
                "INSERT INTO jobs (tenant_id, current_step, status) SELECT $1, 'made', 'done' FROM generate_series(1, 15)",
                tenant,
            )
        async with AsyncExitStack() as workers:
            for _ in range(3):
                await workers.enter_async_context(craft.worker(poll=0.2))
            await craft.until_settled(40)
        assert stage.peak[""] <= 5
        assert stage.peak["/glue"] <= 3
        assert all(stage.peak[t] <= 5 for t in "abcd")
        assert (
            await craft.db.fetchval("SELECT count(*) FROM jobs WHERE current_step = 'glue' AND status = 'done'") == 60
        )


async def test_a_stage_that_answers_429_is_called_less_and_nobodys_attempts_are_burned(database: str) -> None:
    stage = Counting(0.03, most=6)
    async with line(database, stage, cut_concurrency=24, glue_concurrency=1000) as craft:
        craft.server.behaviours["/glue"] = work
        await craft.add_many(240)
        async with craft.worker(poll=0.2):
            await craft.until_settled(60)
        assert stage.peak[""] <= 6
        failures = await craft.db.fetchval(
            "SELECT coalesce(max(failures), 0) FROM pgbaton.history WHERE state IS NOT NULL"
        )
        assert failures == 0
        assert (
            await craft.db.fetchval("SELECT count(*) FROM jobs WHERE current_step = 'glue' AND status = 'done'") == 240
        )
        assert stage.refused < 80, "after the first burst it is asked for little more than it bears"
        learned = await craft.db.fetchrow("SELECT ceiling, lowered_at FROM pgbaton.stages WHERE step = 'cut'")
        assert learned["lowered_at"] is not None
        assert learned["ceiling"] is None or learned["ceiling"] < 24, "None: it has risen to twice what was refused"


async def test_retry_after_of_a_429_holds_back_the_stage_for_all_jobs_and_workers(database: str) -> None:
    async def refuse(server: StageServer, call: Call) -> Say:
        return Say(429, {"retry-after": "2"})

    async with line(database, refuse, cut_concurrency=1) as craft:
        await craft.add_many(10)
        async with craft.worker(poll=0.2), craft.worker(poll=0.2):
            await until(lambda: _called(craft.server, 1), "the first call")
            await until(lambda: _held(craft), "the stage is held back")
            calls = len(craft.server.calls)
            craft.server.behave = work
            await craft.until_settled(20)
        assert calls == 1, "one place, and the answer was kept before another job was claimed"
        assert [c.attempt for c in craft.server.calls if c.path == "/cut"].count(1) == 10


async def _called(server: StageServer, times: int) -> bool:
    return len(server.calls) >= times


async def _held(craft: object) -> bool:
    return bool(await craft.db.fetchval("SELECT held_until > now() FROM pgbaton.stages WHERE step = 'cut'"))  # type: ignore[attr-defined]


async def test_a_429_of_a_stage_without_a_limit_gives_it_one(database: str) -> None:
    stage = Counting(0.05, most=4)
    async with line(database, stage) as craft:
        await craft.add_many(60)
        async with craft.worker(poll=0.2):
            await craft.until_settled(60)
        ceiling, counted = await craft.db.fetchrow("SELECT ceiling, governed FROM pgbaton.stages WHERE step = 'cut'")
        assert ceiling is None or ceiling < 60
        assert counted == (ceiling is not None)


async def test_workers_take_the_stages_that_they_are_told_to(database: str) -> None:
    async with line(database, cut_delay=0.1) as craft:  # passages are carried out by every worker
        job = await craft.add()
        async with craft.worker(stages=("cut",)):
            await craft.until_row(job, "cut", "done")
            assert [c.path for c in craft.server.calls] == ["/cut"]
            assert await craft.db.fetchval("SELECT stages FROM pgbaton.workers WHERE ended_at IS NULL") == [
                "made.done",
                "cut",
            ]
            await until(lambda: _untaken(craft.db, ["glue"]), "the doctor names the stage that no worker takes")
        async with craft.worker(stages=("glue",)):
            await craft.until_row(job, "glue", "done")
        async with craft.worker(stages=("cut",)), craft.worker(stages=("glue",)):
            await until(lambda: _untaken(craft.db, []), "both are taken")


async def _untaken(db: asyncpg.Pool, stages: list[str]) -> bool:
    async with db.acquire() as conn:
        found = (await look(conn, "craft")).findings
        told = await conn.fetchval("SELECT count(*) FROM pgbaton.workers WHERE ended_at IS NULL AND routes IS NULL")
    return told == 0 and [f.values["stage"] for f in found if f.code == "stage_unknown"] == stages


async def test_a_stage_that_there_is_not_is_refused_before_anything_is_touched(database: str) -> None:
    async with line(database) as craft:
        with pytest.raises(ConfigError, match="no stage 'glew'; there are: cut, glue"):
            async with craft.worker(stages=("cut", "glew")):
                pass
        with contextlib.suppress(AssertionError):
            assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.workers") == 0
