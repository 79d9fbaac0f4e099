"""A scene on a Patroni cluster: it knows how far the WAL was when each insert was acknowledged."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path

import asyncpg

from chaos.failover.cluster import PatroniCluster, lsn
from chaos.failover.machines import Machine
from chaos.plan import Plan
from chaos.scene import Scene

FLOWS_WITHIN = 5.0
"""Seconds, from the first commit that the new primary takes, until a stage is called."""
FAILED_OVER_WITHIN = 60.0
"""Seconds for Patroni to have a new primary that takes commits."""

ADD = """
INSERT INTO jobs (job_id, tenant_id, current_step, status)
SELECT id, 't' || get_byte(uuid_send(id), 0) % 3, 'made', 'done' FROM unnest($1::text[]::uuid[]) AS id
"""
PLACE = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8), pg_current_wal_lsn()::text"


class FailoverScene(Scene):
    """``changes``: for each failover, when the old primary was last known to be well, and when the new one took
    commits."""

    def __init__(self, name: str, plan: Plan, seed: str, cluster: PatroniCluster, folder: Path) -> None:
        super().__init__(name, plan, seed, cluster, folder)  # type: ignore[arg-type]  # a cluster of another make
        self.servers = cluster
        self.marks: dict[str, tuple[int, int]] = {}
        self.writable_after: list[float] = []
        self._fed_until = 0.0

    async def add(self, count: int, open_for: float = 0.0) -> list[str]:
        """Insert jobs that are due; an insert that was acknowledged leaves its place in the WAL in ``marks``."""
        ids = [str(uuid.UUID(int=self.dice.getrandbits(128), version=4)) for _ in range(count)]
        self._fed += count
        async with self.session() as db:
            async with asyncio.timeout(FLOWS_WITHIN):
                await self._insert(db, ids)
            timeline, place = await db.fetchrow(PLACE)
        self.note("added", jobs=ids)
        self.marks.update(dict.fromkeys(ids, (int(timeline, 16), lsn(place))))
        self.acknowledged.update(ids)
        return ids

    async def _insert(self, db: asyncpg.Connection, ids: list[str]) -> None:
        """In one transaction, with what the engine wants beside the rows: pgbaton nothing."""
        await db.execute(ADD, ids)

    def _feeds(self, passed: float) -> bool:
        """Also after the plan's time, while a new primary is waited for and calls have to flow: else there are none."""
        return super()._feeds(passed) or time.monotonic() < self._fed_until

    async def failed_over(self, old: Machine | None) -> Machine:
        """Wait for another primary than ``old`` that takes commits, and expect calls soon after."""
        began = time.monotonic()
        self._fed_until = began + FAILED_OVER_WITHIN
        async with asyncio.timeout(FAILED_OVER_WITHIN):
            new, writable = await self.servers.until_writable(self.database, old)
        self._fed_until = writable + FLOWS_WITHIN
        self.writable_after.append(writable - began)
        self.note("writable", machine=new.name)
        self.expect.calls_within(FLOWS_WITHIN, "calls flow after a primary took commits", writable)
        return new

    async def excuse_what_replication_lost(self) -> int:
        """Leave jobs out whose acknowledged insert is in no ancestor of the present timeline: an asynchronous standby did
        not have it when it was promoted. Returns how many; with synchronous replication there may be none."""
        branches = await self.servers.branches()
        beyond = (
            [job for job, (timeline, place) in self.marks.items() if place > branches.get(timeline, 0)]
            if branches
            else []
        )
        async with self.session("oracle") as db:
            there = await db.fetch("SELECT job_id::text FROM jobs WHERE job_id = ANY ($1::text[]::uuid[])", beyond)
        lost = set(beyond) - {row[0] for row in there}
        self.acknowledged -= lost
        if lost and self.servers.synchronous:
            self.expect.violations.append(f"{len(lost)} acknowledged jobs are lost in spite of synchronous replication")
        return len(lost)
