"""The script of a simulation, as it is written down: which jobs come, and how long calls take. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pgbaton.errors import ConfigError
from pgbaton.model import Pipeline

JOBS_AT_MOST = 20_000
"""Jobs of all arrivals together; a simulated call costs a few milliseconds."""

Seconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Coming(_Frozen):
    """``jobs`` of one tenant: the first at ``at`` seconds, then one each ``every`` seconds (0: all at once)."""

    jobs: int = Field(ge=1, le=JOBS_AT_MOST)
    tenant: str | None = None
    at: Seconds = 0.0
    every: Seconds = 0.0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Played:
    """The input of a simulation. ``jobs``: when each comes (seconds), whose it is, its priority; ``takes``: seconds
    that a call of a stage takes, asked for each call; ``capacity``: calls at once of all workers together."""

    jobs: tuple[tuple[float, str | None, int], ...]
    takes: Callable[[str], float]
    capacity: int = 10_000


class Scenario(_Frozen):
    """``calls``: seconds that a call takes, by stage. ``arrivals``: the jobs. ``capacity``: calls at once of all
    workers together."""

    calls: dict[str, Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]]
    arrivals: tuple[Coming, ...] = Field(min_length=1)
    capacity: int = Field(default=10_000, ge=1, le=100_000)

    @property
    def played(self) -> Played:
        jobs = (
            (coming.at + n * coming.every, coming.tenant, coming.priority)
            for coming in self.arrivals
            for n in range(coming.jobs)
        )
        return Played(tuple(jobs), self.calls.__getitem__, self.capacity)


def load_scenario(path: Path, pipeline: Pipeline) -> Scenario:
    """Read a scenario from TOML. Raises :class:`ConfigError`, which names file, key and remedy."""
    try:
        scenario = Scenario.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    steps = [stage.step for stage in pipeline.stages]
    for step in scenario.calls:
        if step not in steps:
            raise ConfigError(f"{path}: calls.{step}: no such stage; there are: {', '.join(steps)}")
    for step in steps:
        if step not in scenario.calls:
            raise ConfigError(f"{path}: calls: say how many seconds a call of {step} takes: {step} = 2.5, for example")
    if (jobs := sum(coming.jobs for coming in scenario.arrivals)) > JOBS_AT_MOST:
        raise ConfigError(f"{path}: arrivals: {jobs} jobs together; at most {JOBS_AT_MOST} can be simulated")
    for n, coming in enumerate(scenario.arrivals):
        if coming.tenant is not None and pipeline.tenant is None:
            raise ConfigError(
                f"{path}: arrivals.{n}.tenant: the pipeline has no tenants: name their column with tenant"
            )
        if coming.priority and pipeline.priority is None:
            raise ConfigError(f"{path}: arrivals.{n}.priority: the pipeline has no column of priorities")
    return scenario
