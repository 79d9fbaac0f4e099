"""Recent jobs and durations of calls, for a simulation."""

from __future__ import annotations

import random
from collections import defaultdict

import asyncpg

from pgbaton import sql
from pgbaton.errors import ConfigError
from pgbaton.model import Kind, Pipeline
from pgbaton.scenario import JOBS_AT_MOST, Played

LEAST = 0.001
"""Seconds that a call takes, at least: a simulation with calls of no length does not end."""
SEED = 1
"""The seed of the dice that draw from recent durations: with the same seed, two configurations meet the same
durations."""


async def played_lately(conn: asyncpg.Connection, pipeline: Pipeline, seconds: float) -> Played:
    """The jobs that came in the last ``seconds`` and have ended at the first stage, and the durations of the completed
    calls. Raises :class:`ConfigError` where there were none, or too many."""
    calls = [stage.step for stage in pipeline.in_order if stage.kind is Kind.CALL]
    rows = await conn.fetch(sql.read("read/lately_called.sql"), pipeline.name, calls[0], seconds, JOBS_AT_MOST + 1)
    jobs = sorted((row["seconds"], row["tenant"] or None) for row in rows if row["arrival"])
    took: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if not row["arrival"] and row["seconds"] is not None:
            took[row["stage"]].append(max(LEAST, row["seconds"]))
    if not jobs:
        raise ConfigError(f"no job has passed {calls[0]} in that time: ask for a longer one")
    if len(jobs) > JOBS_AT_MOST:
        raise ConfigError(f"more than {JOBS_AT_MOST} jobs came in that time: ask for a shorter one")
    for step in calls:
        if step not in took:
            raise ConfigError(f"no call of {step} was completed in that time: ask for a longer one, or write a file")
    dice = random.Random(SEED)  # noqa: S311 (no secret)
    first = jobs[0][0]
    return Played(
        tuple((at - first, tenant if pipeline.tenant else None, 0) for at, tenant in jobs),
        lambda step: dice.choice(took[step]),
    )
