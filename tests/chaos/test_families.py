"""Fan-in, bounded loops and approvals under kill -9 and cut sessions, judged by what the rows did and by the journal.

Each parent has three children; once all have ended it is judged, and rejected as often as its number says: up to two rounds
lead back, a third rejection ends it. One that is accepted waits for approval by a plain UPDATE. Two worker processes a pipeline
are killed and started again, and sessions of workers are terminated, all the time that jobs come.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import asyncpg
import pytest

from line import until
from pgbaton.config import load_pipeline
from pgbaton.install.attach import attach
from stage_server import Call, Say, StageServer

ROUNDS = 2
ATTACK = 6.0
"""Seconds that jobs come and workers die."""
PATIENCE = 40.0
"""Seconds after that in which each job has to come to its end: a few leases and timeouts on a busy machine."""
TABLES = """
CREATE TABLE parents (id bigint PRIMARY KEY, rejections int NOT NULL, current text NOT NULL, status text NOT NULL);
CREATE TABLE kids (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent bigint NOT NULL, current text NOT NULL,
                   status text NOT NULL);
CREATE INDEX ON kids (parent);
CREATE TABLE moves (id bigint GENERATED ALWAYS AS IDENTITY, who text DEFAULT current_setting('application_name'),
                    parent bigint, source text, target text, missing int);
CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO moves (parent, source, target, missing)
    VALUES (NEW.id, OLD.current || ' ' || OLD.status, NEW.current || ' ' || NEW.status,
            (SELECT count(*) FROM kids WHERE parent = NEW.id AND (current, status) <> ('draw', 'done')));
    RETURN NULL;
END $$;
CREATE TRIGGER remember AFTER UPDATE OF current, status ON parents FOR EACH ROW EXECUTE FUNCTION remember();
"""
HEAD = """
[pipeline]
name = "{name}"
table = "public.{name}"
key = "id"
step = "current"
status = "status"
base_url = "{url}"
"""
WORKER = """
[worker]
lease = 3
poll = 1
reconnect_delay = 0.5
"""
KIDS = """
parent = { pipeline = "parents", key = "parent" }
[[pipeline.stage]]
step = "draw"
after = "planned"
path = "/draw"
timeout = 4
attempts = 50
"""
PARENTS = """
[[pipeline.gather]]
at = ["kids", "waiting"]
children = "kids"
done = ["draw", "done"]
to = ["kids", "done"]
then = ["kids", "failed"]
[[pipeline.stage]]
step = "judge"
after = "kids"
path = "/judge"
timeout = 4
attempts = 50
[[pipeline.route]]
after = "judge"
status = "rejected"
to = "judge"
rounds = 2
then = ["judge", "given_up"]
[[pipeline.route]]
after = "judge"
to = ["review", "waiting"]
[[pipeline.wait]]
at = ["review", "waiting"]
choices = { approve = ["review", "approved"] }
[[pipeline.stage]]
step = "publish"
after = "review"
status = "approved"
path = "/publish"
timeout = 4
attempts = 50
"""
STEPS = {
    "/draw": ("kids", "draw", "planned done"),
    "/judge": ("parents", "judge", "kids done"),
    "/publish": ("parents", "publish", "review approved"),
}


async def guarded(server: StageServer, call: Call) -> Say:
    """A stage that begins and ends by compare-and-set, and judges by how often it has rejected the job."""
    table, step, entry = STEPS[call.path]
    put = f"UPDATE {table} SET current = $2, status = $3 WHERE id = $1 AND current || ' ' || status = $4"
    key = int(call.job_id)
    if await server.pool.execute(put, key, step, "running", entry) != "UPDATE 1":
        return Say(409)
    await asyncio.sleep(random.uniform(0, 0.1))
    said = "done"
    if step == "judge":
        rejected = "SELECT count(*) FROM moves WHERE parent = $1 AND target = 'judge rejected'"
        wanted = await server.pool.fetchval("SELECT rejections FROM parents WHERE id = $1", key)
        said = "rejected" if await server.pool.fetchval(rejected, key) < wanted else "done"
    ended = await server.pool.execute(put, key, step, said, f"{step} running")
    return Say(200 if ended == "UPDATE 1" else 409)


class Workers:
    """Worker processes that are killed, and started again at once."""

    def __init__(self, configs: list[Path], dsn: str) -> None:
        self._commands = [[str(Path(sys.executable).with_name("pgbaton")), "run", "--config", str(c)] for c in configs]
        self._environment = os.environ | {"DATABASE_URL": dsn}
        self._running = [self._start(n) for n in range(len(configs))]
        self.killed = 0

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(self._commands[number], env=self._environment, stdout=quiet, stderr=quiet)

    def kill_one(self, dice: random.Random) -> None:
        number = dice.randrange(len(self._running))
        self._running[number].send_signal(signal.SIGKILL)
        self._running[number].wait()
        self._running[number] = self._start(number)
        self.killed += 1

    def end(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


async def approve(db: asyncpg.Pool) -> None:
    """As somebody's script would; every job that waits, again and again."""
    while True:
        await db.execute("UPDATE parents SET status = 'approved' WHERE (current, status) = ('review', 'waiting')")
        await asyncio.sleep(0.2)


@pytest.mark.timeout(120)
async def test_families_loops_and_approvals_survive_an_attack(database: str, tmp_path: Path) -> None:
    dice = random.Random(14)
    files = {"kids": tmp_path / "kids.toml", "parents": tmp_path / "parents.toml"}
    async with (
        StageServer(database, {}, guarded) as server,
        asyncpg.create_pool(database, min_size=2, max_size=6, server_settings={"application_name": "test"}) as db,
    ):
        await db.execute(TABLES)
        for name, rest in (("kids", KIDS), ("parents", PARENTS)):
            files[name].write_text(HEAD.format(name=name, url=server.base_url) + rest + WORKER)
            async with db.acquire() as conn:
                await attach(conn, load_pipeline(files[name]))
        workers = Workers([files["kids"], files["parents"]] * 2, database)
        approving = asyncio.create_task(approve(db))
        try:
            jobs = await attack(db, workers, dice)
            ends = (
                "SELECT NOT EXISTS (SELECT FROM parents WHERE (current, status) NOT IN "
                "(('publish', 'done'), ('judge', 'given_up'))) "
                "AND NOT EXISTS (SELECT FROM pgbaton.calls) AND NOT EXISTS (SELECT FROM pgbaton.due)"
            )
            await until(lambda: db.fetchval(ends), "every job is at its end", PATIENCE)
        finally:
            approving.cancel()
            workers.end()
        assert workers.killed > 3
        await judge(db, jobs)


async def attack(db: asyncpg.Pool, workers: Workers, dice: random.Random) -> int:
    """Jobs come while workers die and lose their sessions; how many came."""
    until_then, job = time.monotonic() + ATTACK, 0
    kill_at = cut_at = time.monotonic() + 1.5  # a worker needs its time to come up
    while time.monotonic() < until_then:
        job += 1
        async with db.acquire() as conn, conn.transaction():
            await conn.execute("INSERT INTO parents VALUES ($1, $2, 'kids', 'waiting')", job, job % (ROUNDS + 2))
            await conn.execute(
                "INSERT INTO kids (parent, current, status) SELECT $1, 'planned', 'done' FROM generate_series(1, 3)",
                job,
            )
        if time.monotonic() > kill_at:
            workers.kill_one(dice)
            kill_at = time.monotonic() + dice.uniform(0.5, 1.5)
        if time.monotonic() > cut_at:
            await db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name LIKE 'pgbaton%' AND random() < 0.5"
            )
            cut_at = time.monotonic() + dice.uniform(0.7, 2.0)
        await asyncio.sleep(0.1)
    return job


async def judge(db: asyncpg.Pool, jobs: int) -> None:
    """What the rows did, by the tests' own trigger, and what the journal says of it."""
    ways: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for move in await db.fetch("SELECT * FROM moves ORDER BY id"):
        if move["source"] == "kids waiting":
            assert (move["target"], move["missing"]) == ("kids done", 0), "it went on with a child missing"
        ways[move["parent"]].append((move["source"], move["target"]))
    outcomes: dict[tuple[int, str], int] = defaultdict(int)
    for ended in await db.fetch("SELECT job_key, outcome FROM pgbaton.history WHERE pipeline = 'parents'"):
        outcomes[int(ended["job_key"]), ended["outcome"]] += 1
    assert len(ways) == jobs
    for job, moves in ways.items():
        wanted = job % (ROUNDS + 2)
        assert moves.count(("kids waiting", "kids done")) == 1
        assert moves.count(("judge rejected", "kids done")) == min(wanted, ROUNDS)
        assert moves.count(("judge rejected", "judge given_up")) == (wanted > ROUNDS)
        assert moves.count(("review waiting", "review approved")) == (wanted <= ROUNDS)
        assert outcomes[job, "gathered"] == 1
        assert outcomes[job, "exhausted"] == (wanted > ROUNDS)
        assert outcomes[job, "decided"] <= (wanted <= ROUNDS)  # none where it was approved before a worker came by
    taken = await db.fetch("SELECT job_key, taken FROM pgbaton.rounds")
    assert {int(r["job_key"]): r["taken"] for r in taken} == {
        job: min(job % (ROUNDS + 2), ROUNDS) for job in ways if job % (ROUNDS + 2)
    }
