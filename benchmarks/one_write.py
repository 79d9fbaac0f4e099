"""The time that the trigger adds to one UPDATE of a table that is written a few times a second, with workers that
sleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from benchmarks.contestants.base import session
from benchmarks.figures import percentile
from benchmarks.ground import Ground
from benchmarks.writer import KEY, MATTERS, MIXES, NO_TRIGGER, VARIANTS, written

WRITES = 60
"""Of each variant in a round."""
PAUSE = 0.05
"""Seconds between two of them; each table is written to every fourth time."""


@dataclass
class OneWrite:
    """Milliseconds of each UPDATE with its commit, as its session sees it, of all rounds, by variant."""

    times: dict[str, list[float]] = field(default_factory=dict)

    def median(self, variant: str) -> float:
        return percentile(self.times[variant], 0.5)


async def measure(ground: Ground, rounds: int, scale: float, say: Callable[[str], None]) -> OneWrite:
    """The variants take turns write by write, so that a change of weather meets all."""
    found = OneWrite({variant: [] for variant in VARIANTS})
    first, sets = MIXES[MATTERS]
    update = f"UPDATE jobs SET {sets}, updated_at = now() WHERE job_id = {KEY.format('$1')}"
    for number in range(1, rounds + 1):
        async with AsyncExitStack() as stack:
            sessions = {}
            for variant in VARIANTS:
                dsn = await stack.enter_async_context(written(ground, variant))
                db = sessions[variant] = await stack.enter_async_context(session(dsn))
                await db.execute(first + " WHERE job_id IN (SELECT job_id FROM jobs ORDER BY job_id LIMIT 40)")
                for row in range(1, 8):  # the plans of a session that has been there for a while
                    await db.execute(update, row)
            for write in range(round(WRITES * scale)):
                for variant, db in sessions.items():
                    await asyncio.sleep(PAUSE)
                    began = time.perf_counter()
                    await db.execute(update, 8 + write % 32)
                    found.times[variant].append(1000 * (time.perf_counter() - began))
        said = ", ".join(f"{variant} {found.median(variant):.2f}" for variant in VARIANTS)
        say(f"round {number}  one write, p50 in ms: {said}".replace(NO_TRIGGER, "no trigger"))
    return found
