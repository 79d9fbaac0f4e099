"""The contest: every contestant in every round, one after the other, so that a change of weather meets all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from benchmarks.figures import percentile
from benchmarks.ground import Ground
from benchmarks.processes import Child, ChildFailed
from benchmarks.run import Run, run


@dataclass
class Entry:
    """A contestant and its runs, one a round; ``absent`` says why there are none, or no more."""

    name: str
    label: str
    version: str | None = None
    jobs: int = 0
    waiting: bool = True
    runs: list[Run] = field(default_factory=list)
    absent: str | None = None

    @property
    def speeds(self) -> list[float]:
        return [run.hops_per_second for run in self.runs]

    @property
    def cpu(self) -> list[float]:
        """Engine and Postgres together, ms a hop."""
        return [run.engine + run.postgres for run in self.runs]

    @property
    def first(self) -> list[float]:
        """All rounds' times from a job's commit to its first call, ms."""
        return [time for run in self.runs for time in run.first]

    @property
    def hop(self) -> list[float]:
        """All rounds' times from a stage's commit to the next stage's call, ms."""
        return [time for run in self.runs for time in run.hop]


async def enter(name: str, log: Path) -> Entry:
    try:
        return Entry(name, **json.loads(await Child.finished(log, "child", "describe", name)))
    except ChildFailed as error:
        return Entry(name, name, absent=str(error))


async def contest(
    ground: Ground, names: Sequence[str], rounds: int, scale: float, say: Callable[[str], None]
) -> list[Entry]:
    """``scale``: the share of each contestant's usual number of jobs."""
    entries = [await enter(name, ground.log()) for name in names]
    for entry in entries:
        if entry.absent:
            say(f"{entry.name}: cannot take part: {entry.absent}")
    for number in range(1, rounds + 1):
        for entry in entries:
            if entry.absent:
                continue
            try:
                made = await run(ground, entry.name, max(10, round(entry.jobs * scale)), entry.waiting)
            except (ChildFailed, OSError, TimeoutError, asyncpg.PostgresError) as error:
                entry.absent = str(error) or type(error).__name__
                say(f"round {number}  {entry.name}: out: {entry.absent}")
                continue
            entry.runs.append(made)
            say(
                f"round {number}  {entry.name:<16} {made.hops_per_second:5.0f} hops/s"
                f"  engine {made.engine:5.2f}  postgres {made.postgres:5.2f} ms/hop  {made.memory:4.0f} MB"
                f"  first {percentile(made.first, 0.5):6.2f}  hop {percentile(made.hop, 0.5):6.2f} ms"
            )
    return entries
