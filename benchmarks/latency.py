"""From a commit to the call that it makes due, while the engine has little to do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping

from benchmarks.contestants.base import after
from benchmarks.ground import Ground
from benchmarks.jobs import HOPS, STEPS
from benchmarks.processes import Child, ChildFailed
from benchmarks.stage_server import StageServer

JOBS = 24
REST = 0.5
"""Seconds that the engine has, after its batch, to fall asleep."""
PATIENCE = 10.0
"""Seconds after the last job was added until what is missing counts as lost."""

Hop = tuple[str, str, float, float]
"""Job, step, when the call was received and when done was committed."""


def latencies(added: Mapping[str, float], hops: Iterable[Hop]) -> tuple[list[float], list[float]]:
    """Milliseconds from a job's commit to its first call, and from each done to the next call."""
    calls: dict[tuple[str, str], tuple[float, float]] = {}
    for job, step, received, done in sorted(hops, key=lambda hop: hop[2]):
        calls.setdefault((job, step), (received, done))  # a repeated call is not the one that was waited for
    first = [1000 * (calls[job, STEPS[0]][0] - at) for job, at in added.items() if (job, STEPS[0]) in calls]
    hop = [
        1000 * (calls[job, following][0] - done)
        for (job, step), (_, done) in calls.items()
        if (following := after(step)) and (job, following) in calls
    ]
    return first, hop


async def measure(ground: Ground, stage: StageServer, name: str, dsn: str) -> tuple[list[float], list[float]]:
    """Add jobs one by one and see when their calls come. Raises :class:`ChildFailed` where not even half came."""
    await asyncio.sleep(REST)
    before = await stage.done()
    await stage.record()
    added = json.loads(await Child.finished(ground.log(), "child", "trickle", name, dsn, stage.url, str(JOBS)))
    deadline = time.monotonic() + PATIENCE
    while await stage.done() < before + JOBS * HOPS and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    first, hop = latencies(added, await stage.times())
    if len(first) < JOBS / 2 or len(hop) < JOBS * (HOPS - 1) / 2:
        raise ChildFailed(f"of {JOBS} jobs, {len(first)} were called at all")
    return first, hop
