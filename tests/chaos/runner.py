"""Plays faults, a few at a time: each lane has a server of its own, and plays one after the other there."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from chaos.cluster import Cluster
from chaos.faults import Fault
from chaos.journal import read
from chaos.oracle import Verdict, judge
from chaos.scene import Scene

EVIDENCE_JOBS = 2
NOISE = "event=job_state_changed"


async def run(faults: Sequence[Fault], seed: str, folder: Path, lanes: int) -> AsyncIterator[Verdict]:
    """The verdicts, as they come. Journals of a scene stay in ``folder`` where it did not hold."""
    waiting = deque(faults)
    verdicts: asyncio.Queue[Verdict] = asyncio.Queue()

    async def lane(number: int) -> None:
        async with Cluster(folder / f"cluster-{number}") as cluster:
            while waiting:
                await verdicts.put(await _play_there(waiting.popleft(), seed, cluster, folder))

    async with asyncio.TaskGroup() as tasks:
        for number in range(min(lanes, len(faults))):
            tasks.create_task(lane(number))
        for _ in faults:
            yield await verdicts.get()


async def _play_there(fault: Fault, seed: str, cluster: Cluster, folder: Path) -> Verdict:
    """On the lane's cluster, or on one of the fault's own."""
    if why := fault.cannot():
        return Verdict(fault.name, skipped=why)
    if fault.plan.own_cluster:
        async with fault.plan.own_cluster(folder) as own:
            return await play(fault, seed, own, folder)
    return await play(fault, seed, cluster, folder)


async def play(fault: Fault, seed: str, cluster: Cluster, folder: Path) -> Verdict:
    """One fault, judged."""
    place = folder / fault.name
    place.mkdir()
    began = time.monotonic()
    plan = fault.plan
    try:
        async with asyncio.timeout(150 + plan.seconds + 6 * plan.recovery + plan.drain):
            async with Scene(fault.name, plan, seed, cluster, place) as scene:
                await scene.play(fault.attack)
                verdict = await judge(scene)
                verdict.evidence = await evidence_of(scene, verdict)
    except Exception as error:
        verdict = Verdict(fault.name, violations=[f"the scene broke: {type(error).__name__}: {error}"])
        verdict.evidence = traceback_of(error)
    verdict.seconds = time.monotonic() - began
    if verdict.held:
        shutil.rmtree(place)
    return verdict


async def evidence_of(scene: Scene, verdict: Verdict) -> list[str]:
    """Lines of both sides about the first jobs in question: the journals, the row's moves, the workers' logs."""
    lines = []
    entries = read(scene.folder)
    for job in verdict.suspects[:EVIDENCE_JOBS]:
        lines.append(f"-- {job}")
        about = [e for e in entries if e.fields.get("job") == job or job in e.fields.get("jobs", ())]
        lines += [str(entry) for entry in about]
        async with scene.session("oracle") as db:
            moves = await db.fetch("SELECT * FROM moves WHERE job_id = $1::text::uuid ORDER BY id", job)
            lines += [f"{m['at']:%H:%M:%S.%f} {m['who']}: {m['source']} → {m['target']}" for m in moves]
            rows = await db.fetch(
                "SELECT d.id, d.stage, d.state, d.attempt, d.failures, d.worker, d.available_at - now() AS due, "
                "d.deadline - now() AS deadline, d.settled_at, "
                "t.attempt AS nth, t.worker AS by, t.outcome, t.http_status, t.error "
                "FROM pgbaton.dispatches d LEFT JOIN pgbaton.attempts t ON t.dispatch_id = d.id "
                "WHERE d.job_key = $1 ORDER BY d.id, t.attempt",
                job,
            )
            lines += [" ".join(f"{k}={v}" for k, v in r.items() if v is not None) for r in rows]
        for worker in scene.workers:
            said = worker.log.read_text(errors="replace").splitlines()
            lines += [f"{worker.name}: {text[:300]}" for text in said if job in text and NOISE not in text]
    return lines


def traceback_of(error: BaseException) -> list[str]:
    import traceback

    return "".join(traceback.format_exception(error)).splitlines()


def machine() -> str:
    return f"{os.cpu_count()} cores, load {os.getloadavg()[2]:.0f}"
