"""A Patroni cluster that scenes run on; in place of the attack's single server."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import asyncpg

from chaos.cluster import USER, attach_template
from chaos.failover.machines import LOOP_WAIT, PORT, RETRY, TTL, Machine, Network, binaries, run
from chaos.scene import AWAY
from pgbaton import hosts

PARAMETERS = {
    "max_connections": 100,
    "shared_buffers": "64MB",
    "autovacuum_naptime": "5s",
    "track_commit_timestamp": "on",
    "wal_log_hints": "on",
    "wal_keep_size": "256MB",
    "max_wal_senders": 8,
    "wal_sender_timeout": "5s",
    "wal_receiver_timeout": "5s",
}
SETTLED_WITHIN = 90.0
"""Seconds for a machine that was away to rewind, and to follow."""
REWOUND_WITHIN = 20.0
"""Seconds; after that its data is copied from the leader anew (patronictl reinit)."""


class PatroniCluster:
    """A context manager. ``synchronous``: a commit waits for one standby."""

    def __init__(self, folder: Path, *, synchronous: bool) -> None:
        self.folder, self.synchronous = folder, synchronous
        self._passwords = {"postgres": secrets.token_hex(12), "replicator": secrets.token_hex(12)}
        self._stack = contextlib.ExitStack()
        self.port = PORT

    async def __aenter__(self) -> Self:
        self.folder.mkdir(mode=0o755)
        self.network = self._stack.enter_context(Network(self.folder))
        try:
            for machine in self.machines:
                machine.prepare(self._config(machine))
            for machine in self.machines:
                machine.start(self._members)
            await self.settled()
            async with self.admin() as db:
                await db.execute(f"CREATE ROLE {USER} LOGIN PASSWORD '{USER}'")
                await db.execute(f"CREATE DATABASE chaos_template OWNER {USER}")
            await attach_template(self.folder, self.dsn("chaos_template"))
        except BaseException:
            self._stack.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def machines(self) -> list[Machine]:
        return self.network.machines

    @property
    def _members(self) -> str:
        return ",".join(f"{m.name}=http://{m.address}:2380" for m in self.machines)

    def _config(self, machine: Machine) -> dict[str, Any]:
        programs = binaries()
        assert programs
        postgres, replicator = ({"username": name, "password": word} for name, word in self._passwords.items())
        dynamic = {
            "ttl": TTL,
            "loop_wait": LOOP_WAIT,
            "retry_timeout": RETRY,
            "maximum_lag_on_failover": 1 << 30,
            "primary_start_timeout": 0,
            "synchronous_mode": self.synchronous,
            "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": PARAMETERS},
        }
        return {
            "scope": self.network.name,
            "name": machine.name,
            "restapi": {"listen": f"{machine.address}:8008", "connect_address": f"{machine.address}:8008"},
            "etcd3": {"hosts": [f"{m.address}:2379" for m in self.machines]},
            "bootstrap": {"dcs": dynamic, "initdb": [{"encoding": "UTF8"}, {"locale": "C"}]},
            "postgresql": {
                "listen": f"{machine.address}:{PORT}",
                "connect_address": f"{machine.address}:{PORT}",
                "data_dir": str(machine.folder / "data"),
                "bin_dir": str(programs),
                "pgpass": str(machine.folder / "pgpass"),
                "authentication": {"superuser": postgres, "replication": replicator},
                "parameters": {"unix_socket_directories": str(machine.folder)},
                "pg_hba": ["host all all all scram-sha-256", "host replication replicator all scram-sha-256"],
            },
        }

    def dsn(self, database: str, port: int | None = None) -> str:
        return self._url(USER, USER, database)

    def _url(self, user: str, password: str, database: str, machine: Machine | None = None) -> str:
        named = ",".join(f"{m.address}:{PORT}" for m in ([machine] if machine else self.machines))
        return f"postgresql://{user}:{password}@{named}/{database}?target_session_attrs=read-write"

    @asynccontextmanager
    async def admin(self, database: str = "postgres") -> AsyncIterator[asyncpg.Connection]:
        url = self._url("postgres", self._passwords["postgres"], database)
        settings = {"application_name": "oracle"}
        db = await hosts.connect(url, timeout=10, command_timeout=60, server_settings=settings)
        try:
            yield db
        finally:
            db.terminate()

    async def new_database(self) -> str:
        name = f"chaos_{secrets.token_hex(4)}"
        async with self.admin() as db:
            await db.execute(f"CREATE DATABASE {name} OWNER {USER} TEMPLATE chaos_template STRATEGY wal_log")
        return name

    async def drop_database(self, name: str) -> None:
        async with self.admin() as db:
            await db.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    # The acts of drills.

    def leader(self) -> Machine | None:
        """By what the machines' Patronis say."""
        for machine in self.machines:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://{machine.address}:8008/leader", timeout=1),
            ):
                return machine
        return None

    async def until_leader(self) -> Machine:
        async with asyncio.timeout(SETTLED_WITHIN):
            while (leader := await asyncio.to_thread(self.leader)) is None:
                await asyncio.sleep(0.1)
        return leader

    async def settled(self) -> None:
        """Two standbys stream from the leader, and with synchronous replication one of them is waited for."""
        began, made_anew = time.monotonic(), False
        async with asyncio.timeout(SETTLED_WITHIN):
            while True:
                with contextlib.suppress(*AWAY):
                    await self.until_leader()
                    async with self.admin() as db:
                        rows = await db.fetch(
                            "SELECT application_name, sync_state FROM pg_stat_replication WHERE state = 'streaming'"
                        )
                    if len(rows) == 2 and sum(row["sync_state"] == "sync" for row in rows) == self.synchronous:
                        return
                    if time.monotonic() - began > REWOUND_WITHIN and not made_anew:
                        made_anew = True  # as an operator would: pg_rewind does not always see that it is needed
                        await self._make_anew({row["application_name"] for row in rows})
                await asyncio.sleep(0.3)

    async def _make_anew(self, streaming: set[str]) -> None:
        leader = await self.until_leader()
        for machine in self.machines:
            if machine is not leader and machine.name not in streaming:
                asked = ["reinit", self.network.name, machine.name, "--force"]
                await asyncio.to_thread(run, "patronictl", "-c", str(leader.folder / "patroni.yml"), *asked)

    async def ensure_running(self) -> None:
        """Every machine is on, in the network and going; a leader takes writes."""
        for machine in self.machines:
            machine.heal()
            machine.signal(signal.SIGCONT)
            if not machine.runs:
                machine.start(self._members)
        async with asyncio.timeout(SETTLED_WITHIN):
            while True:
                with contextlib.suppress(*AWAY):
                    async with self.admin() as db:
                        await db.execute("CREATE TEMP TABLE written ()")
                        return
                await asyncio.sleep(0.1)

    async def until_writable(self, database: str, other_than: Machine | None) -> tuple[Machine, float]:
        """The machine that takes a commit, and when it did."""
        while True:
            for machine in self.machines:
                if machine is other_than:
                    continue
                with contextlib.suppress(*AWAY):
                    db = await hosts.connect(self._url(USER, USER, database, machine), timeout=0.5)
                    try:
                        # A table of moves of no job: the judge sees none of it, and a commit waits as any other.
                        await db.execute(
                            "SET synchronous_commit = on; CREATE TABLE IF NOT EXISTS drill (at timestamptz)"
                        )
                        await db.execute("INSERT INTO drill VALUES (now())", timeout=5)
                        return machine, time.monotonic()
                    finally:
                        db.terminate()
            await asyncio.sleep(0.05)

    async def switch_over(self, leader: Machine, candidate: Machine) -> None:
        config = str(leader.folder / "patroni.yml")
        asked = ["switchover", self.network.name, "--leader", leader.name, "--candidate", candidate.name, "--force"]
        await asyncio.to_thread(run, "patronictl", "-c", config, *asked)

    async def branches(self) -> dict[int, int]:
        """Timelines that led to the present one, and at which byte of the WAL each was left."""
        async with self.admin() as db:
            name = await db.fetchval("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)")
            if name == "00000001":
                return {}
            text = await db.fetchval("SELECT pg_read_file('pg_wal/' || $1 || '.history')", name)
        parts = [line.split() for line in text.splitlines() if line.strip()]
        return {int(timeline): lsn(at) for timeline, at, *_ in parts} | {int(name, 16): 1 << 64}

    def take_complaints(self) -> list[str]:
        return [line for machine in self.machines for line in machine.complaints()]


def lsn(text: str) -> int:
    """A place in the WAL as a number."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def version() -> str:
    """Of what the cluster is made of."""
    programs = binaries()
    assert programs
    said = [["patroni", "--version"], ["etcd", "--version"], [str(programs / "postgres"), "--version"]]
    lines = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for command in said]
    return ", ".join(line.splitlines()[0] for line in lines)
