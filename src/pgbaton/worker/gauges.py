"""The gauges that only the database can tell."""

from __future__ import annotations

import asyncpg

from pgbaton.insights.counts import stages_now
from pgbaton.insights.limit_use import limits
from pgbaton.insights.wanted import wanted
from pgbaton.worker import telemetry

_CIRCUIT = {"closed": 0, "half-open": 1, "open": 2}


async def measure(pool: asyncpg.Pool, pipeline: str, capacity: int) -> None:
    """Refresh them for one pipeline, whose workers make ``capacity`` calls at once."""
    async with pool.acquire() as conn:
        stages = await stages_now(conn, pipeline)
        for limit in await limits(conn, pipeline):
            telemetry.LIMIT_USED.labels(pipeline, limit.limit).set(limit.used)
            if limit.size is not None:
                telemetry.LIMIT_SIZE.labels(pipeline, limit.limit).set(limit.size)
        asked = {s.stage: s.calls for s in (await wanted(conn, pipeline, None, capacity)).stages}
    for s in stages:
        telemetry.CALLS_WANTED.labels(pipeline, s.stage).set(asked.get(s.stage, 0))
        counts = {
            "available": s.waiting,
            "running": s.running,
            "retryable": s.retrying,
            "parked": s.parked,
            "dead": s.dead,
        }
        for state, count in counts.items():
            telemetry.DISPATCHES.labels(pipeline, s.stage, state).set(count)
        telemetry.OLDEST_READY.labels(pipeline, s.stage).set(s.oldest_wait or 0.0)
        telemetry.CIRCUIT.labels(pipeline, s.stage).set(_CIRCUIT[s.circuit.state])
        telemetry.PAUSED.labels(pipeline, s.stage).set(s.paused)
