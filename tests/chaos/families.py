"""Parents that gather children, go back a bounded number of times and wait for a person: what faults are played on, and
how it is judged.

Each parent has three children; once all have ended it is judged, and rejected as often as its number says: up to two
rounds lead back, a third rejection ends it. One that is accepted waits for approval by a plain UPDATE. Of some parents a
hand ends the last two children at once, in two transactions; of some it deletes a child; some it moves aside while they gather.
Judged by what a trigger of the tests' own saw the rows do, and by the journal's history.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import asyncpg

from pgbaton.config import load_pipeline
from pgbaton.install.attach import attach
from stage_server import Call, Say, StageServer

ROUNDS = 2
AWAY = OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError
"""Errors that a session may raise while its server is killed."""
TABLES = """
CREATE TABLE parents (id bigint PRIMARY KEY, rejections int NOT NULL, current text NOT NULL, status text NOT NULL);
CREATE TABLE kids (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent bigint NOT NULL, current text NOT NULL,
                   status text NOT NULL);
CREATE INDEX ON kids (parent);
CREATE TABLE parents_moves (id bigint GENERATED ALWAYS AS IDENTITY, parent bigint, source text, target text, missing int);
CREATE FUNCTION remember_parent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.parents_moves (parent, source, target, missing)
    VALUES (NEW.id, OLD.current || ' ' || OLD.status, NEW.current || ' ' || NEW.status,
            (SELECT count(*) FROM public.kids WHERE parent = NEW.id AND (current, status) <> ('draw', 'done')));
    RETURN NULL;
END $$;
CREATE TRIGGER remember_parent AFTER UPDATE OF current, status ON parents FOR EACH ROW EXECUTE FUNCTION remember_parent();
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
ENDS = "('publish', 'done'), ('judge', 'given_up'), ('aside', 'by_hand')"
LEFT = f"""
SELECT (SELECT count(*) FROM parents WHERE (current, status) NOT IN ({ENDS}))
     + (SELECT count(*) FROM pgbaton.calls WHERE pipeline IN ('kids', 'parents'))
     + (SELECT count(*) FROM pgbaton.due WHERE pipeline IN ('kids', 'parents'))
"""


async def guarded(server: StageServer, call: Call) -> Say:
    """A stage that begins and ends by compare-and-set, and judges by how often it has rejected the job."""
    table, step, entry = STEPS[call.path]
    put = f"UPDATE {table} SET current = $2, status = $3 WHERE id = $1 AND current || ' ' || status = $4"
    key = int(call.job_id)
    try:
        if await server.pool.execute(put, key, step, "running", entry) != "UPDATE 1":
            return Say(409)
        await asyncio.sleep(random.uniform(0, 0.1))
        said = "done"
        if step == "judge":
            rejected = "SELECT count(*) FROM parents_moves WHERE parent = $1 AND target = 'judge rejected'"
            wanted = await server.pool.fetchval("SELECT rejections FROM parents WHERE id = $1", key)
            said = "rejected" if await server.pool.fetchval(rejected, key) < wanted else "done"
        ended = await server.pool.execute(put, key, step, said, f"{step} running")
    except AWAY:
        return Say(500)
    return Say(200 if ended == "UPDATE 1" else 409)


class Families:
    """Families in the database at ``dsn``, with two worker processes for each of their pipelines."""

    def __init__(self, dsn: str, folder: Path, dice: random.Random) -> None:
        self._dsn, self._folder, self._dice = dsn, folder, dice
        self._born = 0
        self.killed = 0
        self._stack = contextlib.AsyncExitStack()
        self._running: list[subprocess.Popen[bytes]] = []
        self._commands: list[list[str]] = []

    async def __aenter__(self) -> Self:
        server = await self._stack.enter_async_context(StageServer(self._dsn, {}, guarded))
        async with self.session() as db:
            await db.execute(TABLES)
            for name, rest in (("kids", KIDS), ("parents", PARENTS)):
                file = self._folder / f"{name}.toml"
                file.write_text(HEAD.format(name=name, url=server.base_url) + rest + WORKER)
                await attach(db, load_pipeline(file))
                program = str(Path(sys.executable).with_name("pgbaton"))
                self._commands += [[program, "run", "--config", str(file)]] * 2
        self._running = [self._start(number) for number in range(len(self._commands))]
        approving = asyncio.create_task(self._approve())
        self._stack.callback(approving.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
            process.wait()
        await self._stack.aclose()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the families' own; none of the engine's sessions."""
        named = {"application_name": "hand"}
        db = await asyncpg.connect(self._dsn, timeout=10, command_timeout=30, server_settings=named)
        try:
            yield db
        finally:
            db.terminate()

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        environment = os.environ | {"DATABASE_URL": self._dsn}
        with (self._folder / f"families-{number + 1}.log").open("ab") as log:
            return subprocess.Popen(self._commands[number], env=environment, stdout=log, stderr=log)

    def kill_a_worker(self) -> None:
        """SIGKILL, and another in its place; a worker that ended as Postgres was away is replaced, too."""
        number = self._dice.randrange(len(self._running))
        self._running[number].send_signal(signal.SIGKILL)
        self._running[number].wait()
        self.killed += 1
        self.keep_running()

    def keep_running(self) -> None:
        """Start those again that have ended."""
        for number, process in enumerate(self._running):
            if process.poll() is not None:
                self._running[number] = self._start(number)

    async def come(self, *, hands: bool) -> None:
        """One more family. ``hands``: a person's, too, are at work on some of them."""
        self._born += 1
        job, fate = self._born, self._born % 6 if hands else 0
        kids = [("draw", "running")] * 2 if fate == 1 else [("planned", "done")] * 3
        with contextlib.suppress(*AWAY):
            async with self.session() as db:
                async with db.transaction():
                    await db.execute("INSERT INTO parents VALUES ($1, $2, 'kids', 'waiting')", job, job % (ROUNDS + 2))
                    insert = "INSERT INTO kids (parent, current, status) VALUES ($1, $2, $3)"
                    await db.executemany(insert, [(job, *at) for at in kids])
                if fate == 1:
                    await self._end_both(db, job)
                elif fate == 3:
                    await db.execute("DELETE FROM kids WHERE id = (SELECT max(id) FROM kids WHERE parent = $1)", job)
                elif fate == 5:
                    await asyncio.sleep(self._dice.uniform(0, 0.3))
                    moved = (
                        "UPDATE parents SET (current, status) = ('aside', 'by_hand') WHERE id = $1 AND current = 'kids'"
                    )
                    await db.execute(f"{moved} AND status = 'waiting'", job)

    async def _end_both(self, db: asyncpg.Connection, parent: int) -> None:
        """The last two children, each in a transaction of its own, committed at once."""
        ids = [r["id"] for r in await db.fetch("SELECT id FROM kids WHERE parent = $1", parent)]
        async with self.session() as other:
            both = [s.transaction() for s in (db, other)]
            for session, transaction, kid in zip((db, other), both, ids, strict=True):
                await transaction.start()
                await session.execute("UPDATE kids SET status = 'done' WHERE id = $1", kid)
            await asyncio.gather(*(transaction.commit() for transaction in both))

    async def end_what_hands_hold(self) -> None:
        """Children that no stage works on: a crash came between their birth and their end."""
        async with self.session() as db:
            stuck = "SELECT parent FROM kids GROUP BY parent HAVING count(*) = 2"
            await db.execute(f"UPDATE kids SET status = 'done' WHERE status = 'running' AND parent IN ({stuck})")

    async def _approve(self) -> None:
        """As somebody's script would; every job that waits, again and again."""
        while True:
            with contextlib.suppress(*AWAY):
                async with self.session() as db:
                    await db.execute(
                        "UPDATE parents SET status = 'approved' WHERE (current, status) = ('review', 'waiting')"
                    )
            await asyncio.sleep(0.2)

    async def left(self) -> int:
        """Parents that are not at an end, calls, duties and looks."""
        try:
            async with self.session() as db:
                return int(await db.fetchval(LEFT))
        except AWAY:
            return -1

    async def broken(self) -> list[str]:
        """Parents that did not end as they should have, once nothing is left."""
        found: list[str] = []
        async with self.session() as db:
            rows = {r["id"]: r for r in await db.fetch("SELECT * FROM parents")}
            moves = await db.fetch("SELECT * FROM parents_moves ORDER BY id")
            ended = await db.fetch("SELECT job_key, outcome FROM pgbaton.history WHERE pipeline = 'parents'")
            taken = {int(r["job_key"]): r["taken"] for r in await db.fetch("SELECT job_key, taken FROM pgbaton.rounds")}
        ways: dict[int, list[tuple[str, str]]] = defaultdict(list)
        for move in moves:
            if move["source"] == "kids waiting" and move["target"] != "aside by_hand" and move["missing"]:
                found.append(f"parent {move['parent']} went on with {move['missing']} children missing")
            ways[move["parent"]].append((move["source"], move["target"]))
        outcomes: dict[tuple[int, str], int] = defaultdict(int)
        for one in ended:
            outcomes[int(one["job_key"]), one["outcome"]] += 1
        for job, row in rows.items():
            wanted, aside = row["rejections"], row["current"] == "aside"
            should = {
                "gathered": not aside,
                "went back": 0 if aside else min(wanted, ROUNDS),
                "given up": not aside and wanted > ROUNDS,
                "approved": not aside and wanted <= ROUNDS,
                "gathered, by the journal": not aside,
                "given up, by the journal": not aside and wanted > ROUNDS,
                "rounds": 0 if aside else min(wanted, ROUNDS),
            }
            did = {
                "gathered": ways[job].count(("kids waiting", "kids done")),
                "went back": ways[job].count(("judge rejected", "kids done")),
                "given up": ways[job].count(("judge rejected", "judge given_up")),
                "approved": ways[job].count(("review waiting", "review approved")),
                "gathered, by the journal": outcomes[job, "gathered"],
                "given up, by the journal": outcomes[job, "exhausted"],
                "rounds": taken.get(job, 0),
            }
            found += [
                f"parent {job}: {what} {did[what]} times, not {should[what]:d}"
                for what in did
                if did[what] != should[what]
            ]
            if aside and len(ways[job]) != 1:
                found.append(f"parent {job} was moved after it had been moved aside: {ways[job]}")
        return found if rows else ["no family was born"]
