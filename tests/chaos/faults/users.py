"""Faults that users of the table make: rows moved and deleted, locks held, big updates, strict isolation, operators."""

from __future__ import annotations

import asyncio
import signal
import uuid

import asyncpg

from chaos.faults.fault import fault, only_feed
from chaos.plan import LINE
from chaos.scene import Scene
from pgbaton import insights
from pgbaton.insights import CAP, JobFilter
from pgbaton.operate import bulk

SOME = "SELECT job_id::text FROM jobs WHERE status <> 'archived' ORDER BY md5(job_id::text || $1) LIMIT $2"


async def _some_jobs(db: asyncpg.Connection, scene: Scene, count: int) -> list[str]:
    return [r[0] for r in await db.fetch(SOME, str(scene.dice.random()), count)]


@fault(recovery=16)
async def rows_deleted(scene: Scene) -> None:
    """Rows are deleted in the middle of a step, some are inserted again under the same key."""
    async with scene.session() as db:
        async for _ in scene.rounds(0.1, 0.3):
            jobs = await _some_jobs(db, scene, 4)
            gone, back = jobs[:2], jobs[2:]
            scene.excluded.update(gone)
            await db.execute("DELETE FROM jobs WHERE job_id = ANY ($1::text[]::uuid[])", jobs)
            await asyncio.sleep(scene.dice.choice((0, 0.05, 0.2)))
            await db.execute(
                "INSERT INTO jobs (job_id, current_step, status) "
                "SELECT id, 'made', 'done' FROM unnest($1::text[]::uuid[]) id",
                back,
            )


@fault(recovery=16)
async def rows_moved(scene: Scene) -> None:
    """Rows are moved by hand in the middle of a step: back to the start, ahead, aside and in again."""
    async with scene.session() as db:
        aside: list[str] = []
        move = "UPDATE jobs SET current_step = $2, status = $3 WHERE job_id = ANY ($1::text[]::uuid[])"
        async for _ in scene.rounds(0.05, 0.2):
            jobs = await _some_jobs(db, scene, 6)
            await db.execute(move, jobs[:2], "made", "done")
            await db.execute(move, jobs[2:4], scene.dice.choice(list(LINE.values())), "done")
            await db.execute(move, jobs[4:], "aside", "archived")
            await db.execute(move, aside, scene.dice.choice(list(LINE)), "done")
            aside = jobs[4:]
        await db.execute(move, aside, "made", "done")


async def rewind_rows(db: asyncpg.Connection, scene: Scene, count: int) -> None:
    """Put rows that a stage works on, or that it has left, back to where it was called from."""
    steps = ", ".join(f"('{step}', '{after}')" for step, after in LINE.items())
    await db.execute(
        f"UPDATE jobs SET current_step = route.after, status = 'done' FROM (VALUES {steps}) AS route (step, after) "
        "WHERE job_id = ANY ($1::text[]::uuid[]) AND current_step = route.step",
        await _some_jobs(db, scene, count),
    )


@fault(workers=3, stages=3, recovery=20, work=(0.0, 0.6))
async def rows_rewound_under_fire(scene: Scene) -> None:
    """Rows are put back to the stage that works on them while workers, stages and their sessions are killed."""
    async with scene.session() as db:
        async for _ in scene.rounds(0.05, 0.2):
            await rewind_rows(db, scene, 8)
            if scene.dice.random() < 0.2:
                scene.one_of(scene.children).signal(signal.SIGKILL)
            elif scene.dice.random() < 0.2:
                await scene.terminate_backends("pgbaton", share=0.5)


@fault(workers=3, recovery=16)
async def rows_replaced_under_fire(scene: Scene) -> None:
    """Rows are deleted and inserted again under the same key in one transaction, at any step, while workers are
    killed."""
    async with scene.session() as db:
        async for _ in scene.rounds(0.05, 0.2):
            jobs = await _some_jobs(db, scene, 4)
            async with db.transaction():
                await db.execute("DELETE FROM jobs WHERE job_id = ANY ($1::text[]::uuid[])", jobs)
                await db.execute(
                    "INSERT INTO jobs (job_id, current_step, status) "
                    "SELECT id, $2, 'done' FROM unnest($1::text[]::uuid[]) id",
                    *(jobs, scene.dice.choice(list(LINE.values()))),
                )
            if scene.dice.random() < 0.15:
                scene.one_of(scene.workers).signal(signal.SIGKILL)


@fault(recovery=16)
async def table_truncated(scene: Scene) -> None:
    """The table is truncated in the middle of everything, and filled again with the same keys."""
    async with scene.session() as db:
        async for _ in scene.rounds(1, 1.5):
            async with db.transaction():
                await db.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
                jobs = [r[0] for r in await db.fetch("SELECT job_id::text FROM jobs")]
                # TRUNCATE tells no row trigger, not even that of the oracle's memory.
                await db.execute(
                    "INSERT INTO moves (job_id, source) SELECT id, 'truncated' FROM unnest($1::text[]::uuid[]) id", jobs
                )
                await db.execute("TRUNCATE jobs")
                await db.execute(
                    "INSERT INTO jobs (job_id, current_step, status) "
                    "SELECT id, 'made', 'done' FROM unnest($1::text[]::uuid[]) id",
                    jobs,
                )


@fault(workers=3, rate=20, recovery=25)
async def every_row_rewound(scene: Scene) -> None:
    """Every job there is goes back to the start in one UPDATE that stays open for a while, wherever it was."""
    async with scene.session() as db:
        async for _ in scene.rounds(0.5, 1):
            async with db.transaction():
                await db.execute("UPDATE jobs SET current_step = 'made', status = 'done' WHERE status <> 'archived'")
                await asyncio.sleep(scene.dice.uniform(0, 0.5))


@fault(isolation="serializable", recovery=16, workers=3)
async def users_in_strict_isolation(scene: Scene) -> None:
    """Rows are moved by hand in REPEATABLE READ and SERIALIZABLE, some with an old snapshot, beside strict stages."""
    async with scene.session() as db:
        async for _ in scene.rounds(0.05, 0.15):
            jobs = await _some_jobs(db, scene, 3)
            isolation = scene.dice.choice(("repeatable_read", "serializable"))
            try:
                async with db.transaction(isolation=isolation):
                    await db.fetchval("SELECT 1 FROM jobs WHERE job_id = $1::text::uuid", jobs[0] if jobs else None)
                    await asyncio.sleep(scene.dice.choice((0, 0, 0.1)))
                    for job in sorted(jobs):
                        await db.execute(
                            "UPDATE jobs SET current_step = $2, status = 'done' WHERE job_id = $1::text::uuid",
                            *(job, scene.dice.choice(list(LINE.values()))),
                        )
            except asyncpg.SerializationError as error:
                # Stages move the same rows. A line of the engine's in the way of it would be named.
                if "pgbaton." in (getattr(error, "context", None) or ""):
                    _aborted(scene, "a move by hand", error)


@fault(seconds=14, rate=10, recovery=30)
async def bulk_update(scene: Scene) -> None:
    """50,000 rows enter the pipeline in one transaction that stays open, and leave it in another."""
    async with scene.session() as db:
        keys = [str(uuid.UUID(int=scene.dice.getrandbits(128), version=4)) for _ in range(50_000)]
        scene.excluded.update(keys)
        await db.execute(
            "INSERT INTO jobs (job_id, current_step, status, note) "
            "SELECT id, 'aside', 'archived', 'bulk' FROM unnest($1::text[]::uuid[]) id",
            keys,
        )
        async with db.transaction():
            await db.execute("UPDATE jobs SET current_step = 'made', status = 'done' WHERE note = 'bulk'")
            await asyncio.sleep(1)
        await asyncio.sleep(1.5)
        await db.execute("UPDATE jobs SET current_step = 'aside', status = 'archived' WHERE note = 'bulk'")
    await only_feed(scene)


HOLDING = (
    ("SELECT FROM jobs", "FOR UPDATE"),
    ("SELECT FROM jobs", "FOR SHARE"),
    ("UPDATE jobs SET note = 'held'", ""),
    ("UPDATE jobs SET current_step = 'aside', status = 'archived'", ""),  # rolled back, with all that it caused
)


@fault(seconds=8, recovery=16)
async def rows_held(scene: Scene) -> None:
    """A session that is idle in its transaction holds the rows of many jobs for seconds."""
    async with scene.session() as db:
        async for _ in scene.rounds(0.2, 0.4):
            transaction = db.transaction()
            await transaction.start()
            jobs = await _some_jobs(db, scene, 40)
            how = scene.dice.choice(HOLDING)
            await db.execute(f"{how[0]} WHERE job_id = ANY ($1::text[]::uuid[]) {how[1]}", jobs)
            await asyncio.sleep(scene.dice.uniform(0.5, 2))
            await transaction.rollback()


@fault(seconds=8, recovery=16)
async def table_locked(scene: Scene) -> None:
    """A session takes ACCESS EXCLUSIVE on the table for seconds, as a migration does."""
    async with scene.session() as db:
        async for _ in scene.rounds(0.5, 1):
            async with db.transaction():
                await db.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
                await asyncio.sleep(scene.dice.uniform(1, 3))


@fault(isolation="repeatable_read", recovery=16)
async def stages_in_repeatable_read(scene: Scene) -> None:
    """Stages write in REPEATABLE READ: pgbaton never aborts them."""
    await only_feed(scene)
    scene.expect.no_repeats()


@fault(isolation="serializable", recovery=16)
async def stages_in_serializable(scene: Scene) -> None:
    """Stages and inserts are SERIALIZABLE: pgbaton never aborts them."""
    await only_feed(scene)
    scene.expect.no_repeats()


@fault(isolation="repeatable_read", tricks={"accept": 0.3, "throw": 0.05, "error": 0.1}, recovery=20, workers=3)
async def strict_stages_in_trouble(scene: Scene) -> None:
    """REPEATABLE READ with early answers, failures, and rescues of what a killed worker left while a stage works."""
    async for _ in scene.rounds(0.3, 0.6):
        scene.one_of(scene.workers).signal(signal.SIGKILL)


@fault(tricks={"error": 0.4}, rate=40, recovery=25)
async def operators_retry(scene: Scene) -> None:
    """Operators hasten every retry, over and over, while bulk updates move the same jobs in any order."""
    stop = asyncio.Event()

    async def retry() -> None:
        async with scene.session("oracle") as db:
            table = await insights.table_of(db, None)
            while not stop.is_set():
                await bulk.act_on_matching(db, table, JobFilter(table.pipeline), "retry", CAP + 1, who="the operator")
                await asyncio.sleep(0.01)

    async def move() -> None:
        async with scene.session() as db:
            while not stop.is_set():
                async with db.transaction():
                    for job in await _some_jobs(db, scene, 40):
                        await db.execute(
                            "UPDATE jobs SET current_step = 'made', status = 'done' WHERE job_id = $1::text::uuid", job
                        )
                await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(retry())
        tasks.create_task(_telling(scene, "a bulk update", move()))
        await only_feed(scene)
        stop.set()


@fault(seconds=8, recovery=16)
async def operators_at_work(scene: Scene) -> None:
    """Pause, resume, attach with other limits, migrate, doctor and status, under load and all the time."""
    changed = scene.config(1, timeout=scene.plan.timeout + 1, concurrency=20)
    commands = (
        ("pause",),
        ("resume",),
        ("attach", "--config", str(changed)),
        ("migrate",),
        ("pause", "--stage", "fold"),
        ("resume", "--stage", "fold"),
        ("attach", "--config", str(scene.config(1))),
        ("status",),
    )
    done = 0
    async for _ in scene.rounds(0, 0.2):
        await scene.pgbaton(*commands[done % len(commands)])
        done += 1
    await scene.pgbaton("resume")
    await scene.pgbaton("resume", "--stage", "fold")
    await scene.pgbaton("attach", "--config", str(scene.config(1)))
    scene.expect.no_repeats()


@fault(concurrency=3, workers=3, recovery=16, work=(0.0, 0.03))
async def limits_under_kill(scene: Scene) -> None:
    """A stage's limit for the whole fleet holds, and frees its places, while workers' sessions are terminated."""
    async for _ in scene.rounds(0.2, 0.5):
        await scene.terminate_backends("pgbaton", share=0.3)


@fault(per_tenant=3, pool=7, call_rate="200/s", workers=3, recovery=25, work=(0.0, 0.03))
async def all_limits_under_kill(scene: Scene) -> None:
    """Limits of a tenant, a pool and a rate hold while workers are killed, frozen and cut off."""
    async for _ in scene.rounds(0.3, 0.7):
        await scene.terminate_backends("pgbaton", share=0.3)
        victim = scene.one_of(scene.workers)
        if scene.dice.random() < 0.5:
            victim.signal(signal.SIGKILL)
        else:
            victim.freeze(scene.plan.lease + 2)


async def _telling(scene: Scene, doing: str, work: object) -> None:
    """Note how a user's transaction was aborted."""
    try:
        await work  # type: ignore[misc]
    except asyncpg.PostgresError as error:
        _aborted(scene, doing, error)


def _aborted(scene: Scene, doing: str, error: asyncpg.PostgresError) -> None:
    where = getattr(error, "context", None)
    scene.note(
        "aborted", job="", step="", attempt=0, doing=doing, sqlstate=error.sqlstate, error=str(error), context=where
    )


REFUSE = """
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    dice float8 := random();
BEGIN
    IF dice < 0.15 THEN RAISE check_violation USING MESSAGE = 'not this time', CONSTRAINT = 'refuse';
    ELSIF dice < 0.3 THEN RETURN NULL; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON jobs FOR EACH ROW
    WHEN (current_setting('application_name') LIKE 'pgbaton%') EXECUTE FUNCTION refuse()
"""
STRANDED = f"""
UPDATE jobs SET current_step = route.after, status = 'done'
  FROM (VALUES {", ".join(f"('{step}', '{after}')" for step, after in LINE.items())}) AS route (step, after)
 WHERE current_step = route.step AND status IN ('running', 'failed')
   AND NOT EXISTS (SELECT FROM pgbaton.dispatches AS d WHERE d.job_key = job_id::text AND d.settled_at IS NULL)
RETURNING 1
"""


@fault(tricks={"error": 0.15, "mark_failed": 0.15, "throw": 0.1}, recovery=16)
async def table_refuses_at_random(scene: Scene) -> None:
    """The table refuses a third of what pgbaton writes, or keeps the row as it was: only those jobs are dead. A person
    puts them back."""
    async with scene.session() as db:
        await db.execute(REFUSE)
        try:
            await only_feed(scene)
        finally:
            await db.execute("DROP TRIGGER refuse ON jobs")
        refused = await db.fetchval("SELECT count(*) FROM pgbaton.history WHERE outcome = 'refused'")
        scene.note("refused", count=refused)
        if not refused:
            scene.expect.violations.append("the fault did not happen: no row was refused")
        await asyncio.sleep(1)  # what was being written when it ended
        put_back = len(await db.fetch(STRANDED))
        scene.note("put_back", count=put_back)
