"""A scene: a database with jobs, workers and stages as processes, and what may be done to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import asyncpg

from chaos.cluster import Cluster
from chaos.expectations import Expectations, slowness
from chaos.journal import Journal, read
from chaos.oracle import BROKEN_AT_ANY_TIME, broken
from chaos.plan import LAST, LINE, Plan
from chaos.processes import Child, python
from chaos.stage import StageConfig
from chaos.tcp_proxy import Proxy
from pgbaton import hosts

AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""Errors that a driver raises, also outside its own tree, where the database is not there."""


class Scene:
    """Use as an async context manager; ``attack`` is what a fault does to it while jobs are fed."""

    def __init__(self, name: str, plan: Plan, seed: str, cluster: Cluster, folder: Path) -> None:
        self.name, self.plan, self.cluster, self.folder = name, plan, cluster, folder
        self.seed = f"{seed}:{name}"
        self.dice = random.Random(self.seed)
        self.journal = Journal(folder, "scene")
        self.acknowledged: set[str] = set()
        self.excluded: set[str] = set()
        self.expect = Expectations(plan)
        self.recovered_in: float | None = None
        self.attacking = False
        self.began = time.monotonic()
        self.calmed = self.began
        self.inner_calls = 0
        self._background: list[asyncio.Task[None]] = []
        self._beside: list[asyncio.Task[None]] = []
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.database = await self.cluster.new_database()
        self._port_holder = _reserve_port()
        self.port: int = self._port_holder.getsockname()[1]
        self.proxy = await self._stack.enter_async_context(Proxy(self.cluster.port, random.Random(self.seed)))
        inner = await asyncio.start_server(self._called_inside, "127.0.0.1", 0)
        self._stack.callback(inner.close)
        self.inner_port = inner.sockets[0].getsockname()[1]
        self.stages = [self._stage(number) for number in range(1, self.plan.stages + 1)]
        self.workers = [self._worker(number) for number in range(1, self.plan.workers + 1)]
        try:
            await self._attach()
            for child in self.children:
                child.start()
                self._background.append(asyncio.create_task(child.keep_running()))
            self._background.append(asyncio.create_task(self._watch_clock()))
            await self._until_ready()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for child in self.children:
            child.end()
        await self._stack.aclose()
        self._port_holder.close()
        self.journal.close()
        await self.cluster.drop_database(self.database)

    @property
    def children(self) -> list[Child]:
        return [*self.stages, *self.workers]

    @property
    def dsn(self) -> str:
        """As the user of the table, straight to the server."""
        return self.cluster.dsn(self.database)

    def _dsn_for(self, proxied: bool) -> str:
        return self.cluster.dsn(self.database, self.proxy.port) if proxied else self.dsn

    def _stage(self, number: int) -> Child:
        def command(who: str) -> list[str]:
            config = StageConfig(
                port=self.port,
                dsn=self._dsn_for(self.plan.stages_proxied),
                folder=str(self.folder),
                who=who,
                steps=LINE,
                seed=self.seed,
                work=self.plan.work,
                isolation=self.plan.isolation,
                tricks=dict(self.plan.tricks),
                trick_attempts=self.plan.trick_attempts,
                slow=self.plan.timeout + 1,
                inner_url=f"http://127.0.0.1:{self.inner_port}",
                patient=self.plan.patient,
            )
            return python("chaos.stage_process", json.dumps(asdict(config)))

        return Child(f"stage-{number}", command, {}, self.folder, self.journal, self.dice, self.plan.frozen)

    def _worker(self, number: int) -> Child:
        def command(who: str) -> list[str]:
            arguments = ["run", *(f"--config={self.config(number, name)}" for name in self.plan.names)]
            if not self.plan.injected or number > self.plan.faulty or Path(self.folder, "calm").exists():
                return [str(Path(sys.executable).with_name("pgbaton")), *arguments]
            faults = {"who": who, "folder": str(self.folder), "seed": self.seed, "faults": dict(self.plan.injected)}
            return python("chaos.faulty_worker", json.dumps(faults), *arguments)

        dsn = self.cluster.dsn(self.database, self.proxy.port) if self.plan.proxied else self.dsn
        return Child(
            f"worker-{number}", command, {"DATABASE_URL": dsn}, self.folder, self.journal, self.dice, self.plan.frozen
        )

    def config(self, worker: int, name: str = "chaos", **changes: Any) -> Path:
        """The file of one worker's pipeline, also of another plan."""
        file = self.folder / f"{name}-{worker}{'-changed' if changes else ''}.toml"
        file.write_text(replace(self.plan, **changes).pipeline(worker, self.port, name))
        return file

    async def pgbaton(self, *arguments: str) -> str:
        """Run the command as an operator would; its exit code may be anything, its output is returned."""
        program = str(Path(sys.executable).with_name("pgbaton"))
        process = await asyncio.create_subprocess_exec(
            program, *arguments, "--database-url", self.dsn, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said, _ = await process.communicate()
        return said.decode()

    async def _attach(self) -> None:
        """Where the plan differs from the one that every database begins with."""
        if self.plan.routes == Plan().routes:
            return
        for name in self.plan.names:
            said = await self.pgbaton("attach", "--config", str(self.config(1, name)))
            if "\nattached " not in f"\n{said}":  # behind the plan
                raise RuntimeError(f"attach failed: {said}")

    async def _until_ready(self) -> None:
        """Every stage listens, every worker holds its lease."""
        query = "SELECT count(*) FROM pgbaton.workers WHERE ended_at IS NULL AND expires_at > now()"
        async with asyncio.timeout(120):  # no time is promised for a start
            while sum(entry.event == "ready" for entry in read(self.folder)) < len(self.stages):
                await asyncio.sleep(0.02)
            while await self.value(query) < len(self.workers) * len(self.plan.names):
                await asyncio.sleep(0.05)

    async def _called_inside(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.inner_calls += 1
        writer.close()

    # The scene's own acts.

    async def play(self, attack: Callable[[Scene], Awaitable[None]]) -> None:
        """Feed and attack, then calm down and wait for the last job."""
        self.began = time.monotonic()
        self.attacking = True
        feeding = asyncio.create_task(self._feed())
        watching = asyncio.create_task(self._watch_invariants())
        try:
            await attack(self)
            await feeding
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            self.attacking = False
        await self.calm()
        await self._until_all_done()
        await self._until_at_rest()
        for task in (watching, *self._beside):
            task.cancel()
        await asyncio.gather(watching, *self._beside, return_exceptions=True)
        await self._drain_workers()

    async def calm(self) -> None:
        """The end of the fault: everything works again from here on."""
        Path(self.folder, "calm").touch()
        self.proxy.calm()
        await self.cluster.ensure_running()
        for child in self.children:
            child.signal(signal.SIGCONT)
        self.journal.write("calm")
        self.calmed = time.monotonic()

    async def _feed(self) -> None:
        """Insert jobs at the plan's rate; an id whose insert was not acknowledged may exist or not."""
        due = 0.0
        while self._feeds(passed := time.monotonic() - self.began):
            due = passed * self.plan.rate
            count = int(due) - self._fed
            if count > 0:
                with contextlib.suppress(*AWAY):
                    await self.add(count)
            await asyncio.sleep(0.05)

    def _feeds(self, passed: float) -> bool:
        return passed < self.plan.seconds

    _fed = 0

    async def add(self, count: int, open_for: float = 0.0) -> list[str]:
        """Insert jobs that are due, in a transaction that stays open for so many seconds; returns their ids."""
        ids = [str(uuid.UUID(int=self.dice.getrandbits(128), version=4)) for _ in range(count)]
        self._fed += count
        async with self.session() as db, db.transaction(isolation=self.plan.isolation):
            await db.execute(
                "INSERT INTO jobs (job_id, tenant_id, current_step, status) "
                "SELECT id, 't' || get_byte(uuid_send(id), 0) % 3, 'made', 'done' FROM unnest($1::text[]::uuid[]) id",
                ids,
            )
            await asyncio.sleep(open_for)
        self.note("added", jobs=ids)
        self.acknowledged.update(ids)
        return ids

    async def _until_all_done(self) -> None:
        """At most ``recovery`` seconds; as much longer as the machine, busy with other things, is slower."""
        query = """SELECT count(*) FROM jobs WHERE (current_step, status) <> ($1, 'done')
                      AND NOT EXISTS (SELECT FROM unnest($2::text[]::uuid[]) excluded WHERE excluded = job_id)"""
        while True:
            async with self.session("oracle") as db:
                late = await db.fetchval(query, LAST, list(self.excluded))
            waited = time.monotonic() - self.calmed
            if not late:
                self.recovered_in = waited
                return
            if waited > self.plan.recovery * self.expect.slowness:
                self.expect.violations.append(f"{late} jobs are not at the end {waited:.0f} s after the fault")
                return
            await asyncio.sleep(0.05)

    async def _until_at_rest(self) -> None:
        """Nothing is due and no call stands, of any job: those that were deleted or moved away, too."""
        limit = (self.plan.timeout + 2) * self.expect.slowness
        began = time.monotonic()
        while rest := await self.value(
            "SELECT (SELECT count(*) FROM pgbaton.due) + (SELECT count(*) FROM pgbaton.calls)"
        ):
            if time.monotonic() - began > limit:
                self.expect.violations.append(
                    f"{rest} duties and calls are left {limit:.0f} s after the last job's end"
                )
                return
            await asyncio.sleep(0.05)

    async def _drain_workers(self) -> None:
        seconds = self.plan.drain + 25  # as long as a drain may take where the database says nothing any more
        codes = await asyncio.gather(*(worker.drained(seconds) for worker in self.workers))
        for worker, code in zip(self.workers, codes, strict=True):
            if code != 0 and (code is None or worker.at_work):
                how = "did not end" if code is None else f"ended with {code}"
                self.expect.violations.append(f"{worker.who} {how} within {seconds:g} s of SIGTERM")

    async def _watch_clock(self) -> None:
        """How long the machine keeps even this process waiting, at worst, and how slow it is for the others."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.05)
            self.expect.stalled = max(self.expect.stalled, time.monotonic() - before - 0.05)
            if running := [child.pid for child in self.children if child.running]:
                self.expect.slowness = slowness(running)

    async def _watch_invariants(self) -> None:
        while True:
            await asyncio.sleep(0.7)
            with contextlib.suppress(*AWAY):
                self.expect.violations += await broken(self, BROKEN_AT_ANY_TIME)

    # The acts of faults.

    async def rounds(self, low: float, high: float) -> AsyncIterator[None]:
        """Again and again while jobs are fed, with a pause of ``low`` to ``high`` seconds before each round."""
        while True:
            pause = self.dice.uniform(low, high)
            if time.monotonic() - self.began + pause > self.plan.seconds:
                await asyncio.sleep(max(0.0, self.plan.seconds - (time.monotonic() - self.began)))
                return
            await asyncio.sleep(pause)
            yield

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on with it until every job is at the end."""
        self._beside.append(asyncio.create_task(work))

    def note(self, event: str, **fields: object) -> None:
        self.journal.write(event, **fields)

    @contextlib.contextmanager
    def cut_off(self) -> Iterator[None]:
        """While inside, any worker may lose its lease through no fault of its own."""
        self.note("cut_off")
        try:
            yield
        finally:
            self.note("restored")

    @asynccontextmanager
    async def session(self, who: str = "hand") -> AsyncIterator[asyncpg.Connection]:
        """A connection as the table's user."""
        db = await hosts.connect(self.dsn, timeout=10, command_timeout=120, server_settings={"application_name": who})
        try:
            yield db
        finally:
            db.terminate()

    async def value(self, query: str, *arguments: Any) -> Any:
        async with self.session("oracle") as db:
            return await db.fetchval(query, *arguments)

    async def terminate_backends(self, like: str = "%", share: float = 1.0) -> int:
        """Terminate sessions whose application name fits, each with the chance ``share``."""
        async with self.cluster.admin() as db:
            pids = await db.fetch(
                "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE $2 "
                "AND application_name NOT IN ('oracle', 'hand') AND backend_type = 'client backend' ORDER BY pid",
                self.database,
                like,
            )
            chosen = [r["pid"] for r in pids if self.dice.random() < share]
            await db.fetch("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) pid", chosen)
        self.note("terminated", sessions=len(chosen), like=like)
        return len(chosen)

    def one_of(self, children: list[Child]) -> Child:
        return self.dice.choice(children)


def _reserve_port() -> socket.socket:
    """A port that stays ours while stages come and go: bound, not listened on."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind(("127.0.0.1", 0))
    return holder
