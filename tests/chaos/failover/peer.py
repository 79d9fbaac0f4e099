"""The same drill with PgQueuer in pgbaton's place: the same cluster, stages, feed and faults. Its judge tells what became
of the jobs and expects nothing."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import asyncpg

from chaos.failover import pgqueuer_worker
from chaos.failover.cluster import PatroniCluster
from chaos.failover.play import AT_MOST
from chaos.failover.scene import FailoverScene
from chaos.faults.fault import Fault
from chaos.journal import Entry, read
from chaos.plan import LAST
from chaos.processes import Child, python

PATIENCE = 60.0
"""Seconds, as many times more as the machine is slower, for jobs to come to the end once the drill is over."""

TWICE = "SELECT count(*) FROM (SELECT FROM effects GROUP BY job_id, step HAVING count(*) > 1) AS more"
STUCK = """
SELECT coalesce(queued.status::text, 'not in the queue') AS at, count(*) AS jobs
  FROM jobs LEFT JOIN LATERAL (
       SELECT status FROM pgqueuer WHERE convert_from(payload, 'UTF8')::json ->> 1 = job_id::text ORDER BY id DESC LIMIT 1
  ) AS queued ON true
 WHERE (current_step, jobs.status) <> ($1, 'done')
 GROUP BY 1
"""
MISSING = """
SELECT count(*) FROM unnest($1::text[]::uuid[]) AS id WHERE NOT EXISTS (SELECT FROM jobs WHERE job_id = id)
"""


@dataclass
class PeerOutcome:
    """``repeated``: calls of a step that had been called before, by what had come of the last of those. ``stuck``: jobs
    that were not at the end in time, by the state of their last entry in the queue. ``restarts``: of worker processes.
    Seconds: ``done`` from the drill's end to the last job's, None where one is stuck; the others as of pgbaton."""

    mode: str
    drill: str
    jobs: int = 0
    calls: int = 0
    repeated: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    missing: int = 0
    twice: int = 0
    stuck: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    writable: list[float] = field(default_factory=list)
    flowing: list[float] = field(default_factory=list)
    done: float | None = None
    broke: str = ""


class PeerScene(FailoverScene):
    """A scene whose workers are PgQueuer's."""

    def _worker(self, number: int) -> Child:
        def command(who: str) -> list[str]:
            given = {"dsn": self.dsn, "url": f"http://127.0.0.1:{self.port}/w{number}", "folder": str(self.folder)}
            given |= {"who": who, "capacity": self.plan.capacity, "poll": self.plan.poll}
            return python("chaos.failover.pgqueuer_worker", json.dumps(given))

        return Child(f"worker-{number}", command, {}, self.folder, self.journal, self.dice, self.plan.frozen)

    async def _attach(self) -> None:
        await pgqueuer_worker.install(self.dsn)
        await self.cluster.settled()  # its driver asks host after host, and none may be behind with the database

    async def _until_ready(self) -> None:
        async with asyncio.timeout(120):
            while sum(entry.event == "ready" for entry in read(self.folder)) < len(self.children):
                await asyncio.sleep(0.02)

    async def _insert(self, db: asyncpg.Connection, ids: list[str]) -> None:
        await db.execute("BEGIN")  # no rollback where it fails: the session ends with it
        await super()._insert(db, ids)
        await pgqueuer_worker.enqueue(db, ids)
        await db.execute("COMMIT")

    async def _until_at_rest(self) -> None:
        """Its queue is read by the judge."""

    async def _watch_invariants(self) -> None:
        """It has no journal that could disagree with the rows."""


async def play(drill: Fault, seed: str, mode: str, cluster: PatroniCluster, folder: Path) -> PeerOutcome:
    """One drill of the peer."""
    place = folder / f"{mode}-{seed.rsplit(':', 1)[-1]}-{drill.name}"
    place.mkdir()
    plan = replace(drill.plan, recovery=PATIENCE, patient=True)
    outcome = PeerOutcome(mode, drill.name)
    try:
        async with asyncio.timeout(AT_MOST + PATIENCE):
            await cluster.ensure_running()
            await cluster.settled()
            async with PeerScene(drill.name, plan, seed, cluster, place) as scene:
                await scene.play(drill.attack)
                outcome.lost = await scene.excuse_what_replication_lost()
                await _judge(scene, outcome)
    except Exception as error:
        outcome.broke = f"{type(error).__name__}: {error}"
    return outcome


async def _judge(scene: PeerScene, outcome: PeerOutcome) -> None:
    entries = read(scene.folder)
    async with scene.session("oracle") as db:
        outcome.jobs = await db.fetchval("SELECT count(*) FROM jobs")
        outcome.twice = await db.fetchval(TWICE)
        outcome.missing = await db.fetchval(MISSING, list(scene.acknowledged))
        outcome.stuck = Counter({row["at"]: row["jobs"] for row in await db.fetch(STUCK, LAST)})
    calls = [entry for entry in entries if entry.event == "received"]
    outcome.calls = len(calls)
    outcome.repeated = _repeats(entries)
    outcome.restarts = sum(entry.event == "started" and entry["life"] > 1 for entry in entries)
    outcome.writable = scene.writable_after
    since = [entry.at for entry in entries if entry.event == "writable"]
    outcome.flowing = [min((call.at for call in calls if call.at > at), default=float("inf")) - at for at in since]
    outcome.done = scene.recovered_in


def _repeats(entries: list[Entry]) -> Counter[str]:
    """Each call of a step of a job but the first, by how the one before it had been answered."""
    last: dict[tuple[str, str], str] = defaultdict(str)
    repeated: Counter[str] = Counter()
    for entry in entries:
        if entry.event == "received":
            if said := last[entry["job"], entry["step"]]:
                repeated[said] += 1
            last[entry["job"], entry["step"]] = "not answered"
        elif entry.event == "answered":
            last[entry["job"], entry["step"]] = f"answered {entry['status']}"
    return repeated


HEAD = (
    "replication",
    "what happened",
    "jobs",
    "calls",
    "repeated",
    "lost",
    "twice",
    "stuck",
    "writable",
    "flowing",
    "all done",
)


def row(outcome: PeerOutcome) -> tuple[str, ...]:
    if outcome.broke:
        return (outcome.mode, outcome.drill.replace("_", " "), f"the drill broke: {outcome.broke}", *[""] * 8)
    counted = [f"{times} {what}" for what, times in outcome.repeated.most_common()]
    return (
        outcome.mode,
        outcome.drill.replace("_", " "),
        str(outcome.jobs),
        str(outcome.calls),
        ", ".join(counted) or "0",
        str(outcome.lost) + (f" and {outcome.missing} more" if outcome.missing else ""),
        str(outcome.twice),
        ", ".join(f"{times} {at}" for at, times in outcome.stuck.most_common()) or "0",
        " ".join(f"{seconds:.1f} s" for seconds in outcome.writable),
        " ".join(f"{seconds:.1f} s" for seconds in outcome.flowing),
        "never" if outcome.done is None else f"{outcome.done:.1f} s",
    )


def line(outcome: PeerOutcome) -> str:
    cells = [f"{name} {cell}" for name, cell in zip(HEAD[2:], row(outcome)[2:], strict=True)]
    return f"{outcome.mode:<13} {outcome.drill.replace('_', ' '):<19} {'  '.join(cells)}  restarts {outcome.restarts}"


def markdown(outcomes: list[PeerOutcome]) -> str:
    lines = [HEAD, ("---",) * len(HEAD), *(row(outcome) for outcome in outcomes)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
