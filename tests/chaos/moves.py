"""A pipeline whose database is restored, copied or upgraded while jobs are under way: ``make drills``.

Each drill leaves jobs in every state, stops the workers in the hard way, moves the database as the manuals of Postgres
say, runs the one command that docs/failover.md names, and asks: do rows and duties agree (``doctor --invariants``), and
does every job reach its end?
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pwd
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg

from line import JOBS, Line, line, until
from pgbaton.embedded import host
from pgbaton.embedded.folder import DataFolder
from stage_server import Call, Say, StageServer

COUNT = 300
WITHIN = 60.0
SHORT = {"cut_timeout": 5, "glue_timeout": 5}
"""Seconds until a stage that worked when the database was moved is called again."""
CONFIG = """[pipeline]
name = "craft"
table = "public.jobs"
key = "job_id"
tenant = "tenant_id"
step = "current_step"
status = "status"
channel = "job_state_changed"
base_url = "{base_url}"
[[pipeline.stage]]
step = "cut"
after = "made"
path = "/cut"
timeout = 5
[[pipeline.stage]]
step = "glue"
after = "cut"
path = "/glue"
timeout = 5
"""


class Server:
    """A Postgres of certain programs, run by the user of Debian's packages."""

    def __init__(self, programs: Path, data: Path) -> None:
        self.programs, self.data = programs, data
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    @property
    def version(self) -> str:
        return self.run("postgres", "--version").split()[2]

    def dsn(self, database: str = "mine") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def make(self, *more: str) -> None:
        common = ["-U", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        self.run("initdb", "-D", str(self.data), *common, *more)

    def start(self, **settings: str) -> None:
        options = {"port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.data)}
        words = " ".join(f"-c {name}='{value}'" for name, value in {**options, "fsync": "off", **settings}.items())
        log = str(self.data.parent / f"{self.data.name}.log")
        self.run("pg_ctl", "-D", str(self.data), "-l", log, "-o", words, "-w", "start")

    def stop(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.run("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "stop")

    def run(self, program: str, *arguments: str) -> str:
        """As the server's user, in a folder of its own; raises with what was said where it fails."""
        done = subprocess.run(
            [
                "setpriv",
                "--reuid=postgres",
                "--regid=postgres",
                "--init-groups",
                str(self.programs / program),
                *arguments,
            ],
            cwd=self.data.parent,
            env={"PATH": os.defpath, "LC_ALL": "C", "HOME": str(self.data.parent)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program not in ("pg_ctl",) else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program} {' '.join(arguments)}: {done.stdout}")
        return done.stdout or ""


class Move:
    """The database that a drill moves: ``old`` with the database ``mine``, jobs of all kinds in it, workers gone."""

    def __init__(self, folder: Path, old: Path, new: Path) -> None:
        self.folder = folder
        self.old, self.new_programs = Server(old, folder / "old"), new
        self.config = folder / "pipeline.toml"
        self.servers = [self.old]

    def server(self, programs: Path, name: str) -> Server:
        self.servers.append(Server(programs, self.folder / name))
        return self.servers[-1]

    def pgbaton(self, dsn: str, *arguments: str) -> str:
        """A command, which must succeed; printed as an operator would type it."""
        print(f"    pgbaton {' '.join(arguments)}".replace(str(self.folder), ""), flush=True)
        program = str(Path(sys.executable).with_name("pgbaton"))
        command = [program, *arguments, "--database-url", dsn]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode > (
            arguments[0] in ("takeover", "doctor")
        ):  # there was none to take over; something was found
            raise RuntimeError(f"pgbaton {' '.join(arguments)}: {done.stdout}")
        return done.stdout

    def _healthy(self, dsn: str) -> None:
        found = {finding["code"] for finding in json.loads(self.pgbaton(dsn, "doctor", "--invariants", "--json"))}
        if found & {"invariant_broken", "not_at_home"}:
            raise RuntimeError(f"the doctor finds {', '.join(sorted(found))}")

    async def begin(self, **settings: str) -> None:
        """A server with the pipeline, and jobs that wait, are called, are worked on, and have ended."""
        self.old.make()
        self.old.start(**settings)
        async with _connected(self.old.dsn("postgres")) as db:
            await db.execute("CREATE DATABASE mine")
        async with _connected(self.old.dsn()) as db:
            await db.execute(JOBS)
        self.config.write_text(CONFIG.format(base_url="http://127.0.0.1:9"))
        self.pgbaton(self.old.dsn(), "migrate")
        self.pgbaton(self.old.dsn(), "attach", "--config", str(self.config))
        async with line(self.old.dsn(), _slow, prepare=False, **SHORT) as craft, craft.worker(drain_timeout=0):
            await craft.add_many(COUNT)
            await until(lambda: _at_least(craft, COUNT // 3), "a third of the jobs at their end", WITHIN)

    async def end(self, server: Server, database: str = "mine") -> str:
        """Rows and duties agree, and a worker brings every job to its end."""
        self._healthy(server.dsn(database))
        async with line(server.dsn(database), _slow, prepare=False, **SHORT) as craft:
            states = dict(
                await craft.db.fetch("SELECT current_step || ' ' || status, count(*)::int FROM jobs GROUP BY 1")
            )
            count = sum(states.values())
            began = time.monotonic()
            async with craft.worker(lease=3):
                await until(lambda: _at_least(craft, count), "every job at its end", WITHIN)
                await craft.until_settled(WITHIN)
            took = time.monotonic() - began
        self._healthy(server.dsn(database))
        found = ", ".join(f"{number} at {state}" for state, number in sorted(states.items()))
        return f"{count} jobs ({found}): all at their end after {took:.0f} s"


async def dumped_and_restored(move: Move) -> str:
    """pg_dump and pg_restore into another database."""
    await move.begin()
    async with _connected(move.old.dsn("postgres")) as db:
        await db.execute("CREATE DATABASE copy")
    move.old.run("pg_dump", "-Fc", "-f", "dump", move.old.dsn())
    move.old.run("pg_restore", "-d", move.old.dsn("copy"), "dump")
    move.pgbaton(move.old.dsn("copy"), "attach", "--config", str(move.config), "--here")
    return await move.end(move.old, "copy")


async def restored_to_a_point_in_time(move: Move) -> str:
    """A base backup and archived WAL, up to a restore point in the midst of the work."""
    archive = move.folder / "archive"
    archive.mkdir()
    _give(archive)
    keep = f"test ! -f {archive}/%f && cp %p {archive}/%f"
    await move.begin(wal_level="replica", archive_mode="on", archive_command=keep.replace("'", ""))
    backup = move.server(move.old.programs, "backup")
    move.old.run("pg_basebackup", "-d", move.old.dsn("postgres"), "-D", str(backup.data), "-c", "fast", "-X", "none")
    async with line(move.old.dsn(), _slow, prepare=False, **SHORT) as craft, craft.worker(drain_timeout=0):
        await until(lambda: _at_least(craft, COUNT // 2), "half of the jobs at their end", WITHIN)
        await craft.db.execute("SELECT pg_create_restore_point('midst')")
        await until(lambda: _at_least(craft, COUNT), "every job at its end", WITHIN)
        await craft.db.execute("SELECT pg_switch_wal()")
    move.old.stop()
    (backup.data / "recovery.signal").touch()
    _give(backup.data / "recovery.signal")
    fetch = f"cp {archive}/%f %p"
    backup.start(restore_command=fetch, recovery_target_name="midst", recovery_target_action="promote")
    async with _connected(backup.dsn()) as db:
        while await db.fetchval("SELECT pg_is_in_recovery()"):
            await asyncio.sleep(0.05)
    return await move.end(backup)


async def upgraded(move: Move) -> str:
    """pg_upgrade to the new major version."""
    await move.begin()
    move.old.stop()
    new = move.server(move.new_programs, "new")
    new.make("--no-data-checksums")
    new.run(
        "pg_upgrade", "-b", str(move.old.programs), "-B", str(new.programs), "-d", str(move.old.data), "-D", str(new.data),
        "-U", "postgres", "-s", str(move.folder),
    )  # fmt: skip
    new.start()
    new.run("vacuumdb", "--all", "--analyze-in-stages", "--maintenance-db", new.dsn("postgres"))
    move.pgbaton(new.dsn(), "attach", "--config", str(move.config), "--here")
    return await move.end(new)


async def upgraded_by_logical_replication(move: Move) -> str:
    """The user's table is replicated to a server of the new major version; the engine's tables are made anew there."""
    await move.begin(wal_level="logical")
    new = move.server(move.new_programs, "new")
    new.make()
    new.start()
    async with _connected(new.dsn("postgres")) as db:
        await db.execute("CREATE DATABASE mine")
    async with _connected(move.old.dsn()) as old, _connected(new.dsn()) as db:
        await old.execute("CREATE PUBLICATION away FOR TABLE jobs")
        await db.execute(JOBS)
        await db.execute(f"CREATE SUBSCRIPTION here CONNECTION '{move.old.dsn()}' PUBLICATION away")
        await old.execute("INSERT INTO jobs (current_step, status) SELECT 'made', 'done' FROM generate_series(1, 20)")
        # From here on no writer and no worker is at the old one.
        wanted = await old.fetch("SELECT job_id, current_step, status FROM jobs ORDER BY job_id")
        while wanted != await db.fetch("SELECT job_id, current_step, status FROM jobs ORDER BY job_id"):
            await asyncio.sleep(0.1)
        await db.execute("DROP SUBSCRIPTION here")
    move.pgbaton(new.dsn(), "migrate")
    move.pgbaton(new.dsn(), "attach", "--config", str(move.config), "--backfill", "--rate", "1000/s")
    move.pgbaton(new.dsn(), "takeover", "--all")
    return await move.end(new)


DRILLS: tuple[Callable[[Move], Awaitable[str]], ...] = (
    dumped_and_restored,
    restored_to_a_point_in_time,
    upgraded,
    upgraded_by_logical_replication,
)


async def _slow(server: StageServer, call: Call) -> Say:
    """A stage that works for a while, so that some jobs are in its hands whenever the database is moved."""
    await server.move(call, "running")
    await asyncio.sleep(random.uniform(0, 0.4))
    await server.move(call, "done")
    return Say()


async def _at_least(craft: Line, count: int) -> bool:
    query = "SELECT count(*) FROM jobs WHERE (current_step, status) = ('glue', 'done')"
    return bool(await craft.db.fetchval(query) >= count)


class _connected:
    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def __aenter__(self) -> asyncpg.Connection:
        self._conn = await asyncpg.connect(self._dsn)
        return self._conn

    async def __aexit__(self, *_: object) -> None:
        await self._conn.close()


def _give(path: Path) -> None:
    user = pwd.getpwnam("postgres")
    os.chown(path, user.pw_uid, user.pw_gid)


def _programs(folder: Path) -> tuple[Path, Path] | str:
    """Of Debian's server, and of the one that the tests bring along; or why there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_upgrade"), key=lambda path: int(path.parts[-3]))
    if not found or os.geteuid() != 0 or not shutil.which("setpriv"):
        return "it needs root and a PostgreSQL server; apt install postgresql util-linux"
    embedded = DataFolder(folder / "embedded", durable=False)
    host.make_folder(embedded.path)
    return found[0].parent, embedded.programs()


async def _run(folder: Path, programs: tuple[Path, Path]) -> int:
    failed = 0
    for drill in [drill for drill in DRILLS if drill.__name__ in (sys.argv[1:] or [drill.__name__])]:
        print(f"{drill.__name__.replace('_', ' ')}: {(drill.__doc__ or '').strip()}", flush=True)
        place = folder / secrets.token_hex(4)
        place.mkdir()
        _give(place)
        move = Move(place, *programs)
        try:
            print(f"    {await drill(move)}", flush=True)
        except Exception as error:
            failed += 1
            print(f"    FAILED: {type(error).__name__}: {error}", flush=True)
        finally:
            for server in move.servers:
                server.stop()
    return failed


def main() -> int:
    logging.basicConfig(level=logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="pgbaton-drills-"))
    folder.chmod(0o755)  # the servers run as another user
    try:
        programs = _programs(folder)
        if isinstance(programs, str):
            print(f"make drills cannot be run here: {programs}", file=sys.stderr)
            return 2
        old, new = (Server(path, folder / "x").version for path in programs)
        print(f"PostgreSQL {old} and {new}")
        return 1 if asyncio.run(_run(folder, programs)) else 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
