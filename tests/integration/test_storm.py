"""Workers and users at once, for real: no statement raises, no row is lost, and no two calls of a job overlap."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import asyncpg

from line import attached, two_stages
from pgbaton.decision.outcome import Answer, Reply
from pgbaton.decision.verdict import resolve
from pgbaton.errors import LeaseLost
from pgbaton.table import read_table
from pgbaton.worker.store import Store

JOBS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(4)]
ROWS = [("made", "done"), ("cut", "running"), ("cut", "failed"), ("cut", "done"), ("glue", "done"), ("aside", "done")]
MOVES = 60


async def test_workers_and_users_at_once_meet_no_error_lose_no_job_and_call_none_twice(database: str) -> None:
    pipeline = two_stages(channel=None, cut_attempts=3, glue_attempts=3, glue_concurrency=2)
    stages = {stage.step: stage for stage in pipeline.stages}
    done: Counter[str] = Counter()
    async with attached(database, pipeline) as db, asyncpg.create_pool(database, min_size=6, max_size=6) as pool:
        async with db.acquire() as conn:
            table = await read_table(conn, pipeline)
        store = Store(pool, table, stages)
        for job in JOBS:
            await db.execute("INSERT INTO jobs (job_id, current_step, status) VALUES ($1, 'made', 'done')", job)
        users = 3

        async def user(seed: int) -> None:
            nonlocal users
            dice = random.Random(seed)
            for _ in range(MOVES):
                step, status = dice.choice(ROWS)
                async with db.acquire() as conn, conn.transaction():
                    for job in sorted(dice.sample(JOBS, dice.choice([1, 1, 2]))):
                        await conn.execute(
                            "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id = $1", job, step, status
                        )
                await asyncio.sleep(dice.random() * 0.02)
            users -= 1

        async def worker(seed: int) -> None:
            dice = random.Random(seed)
            lease, _ = await store.take_lease(None, f"w{seed}", 10, 60, [])
            while users:
                try:
                    turn = await store.turn(lease, 10, calling=dice.random() < 0.9)
                    waiting = await store.claim_waiting(lease, 10)
                except LeaseLost:
                    lease, _ = await store.take_lease(lease, f"w{seed}", 10, 60, [])
                    continue
                answers = {
                    d.job_key: Answer(Reply.ANSWERED, dice.choice([200, 202, 409, 422, 500]))
                    for d in (*turn.claimed, *waiting.claimed)
                    if dice.random() < 0.9
                }
                done["claims"] += len(turn.claimed) + len(waiting.claimed)
                keys = {*answers, *turn.others, *waiting.others, *await store.lost("", 10)}
                verdicts = []
                for job in await store.look(keys):
                    mine = job.call is not None and job.call.worker == lease and job.call.standing.value == "held"
                    answer = answers.get(job.key) if mine else None
                    verdicts.append((resolve(job, stages.__getitem__, answer), answer))
                done["settled"] += len(await store.settle(verdicts, stages)) if verdicts else 0
                if dice.random() < 0.05:
                    await store.give_up_lease(lease)
                await db.execute("UPDATE pgbaton.calls SET due_at = clock_timestamp() WHERE due_at IS NOT NULL")

        async with asyncio.TaskGroup() as tasks:
            for seed in range(3):
                tasks.create_task(worker(seed))
                tasks.create_task(user(10 + seed))
        assert done["claims"]
        assert done["settled"]
        assert (await store.unreconciled(None, 100)).missing == ()
        overlaps = await db.fetch(
            "SELECT a.job_key, a.id, b.id FROM pgbaton.history a JOIN pgbaton.history b USING (job_key) "
            "WHERE a.called AND b.called AND (a.id, a.attempt) < (b.id, b.attempt) "
            "AND a.started_at < b.ended_at AND b.started_at < a.ended_at"
        )
        assert overlaps == []
