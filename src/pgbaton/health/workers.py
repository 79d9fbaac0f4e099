"""The configurations of living workers, beside each other and the database: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pgbaton.health.finding import Finding, Level
from pgbaton.insights import Overview
from pgbaton.insights.words import Value


@dataclass(frozen=True, slots=True)
class Configuration:
    """A living worker's: ``routes`` as (step, after, path)."""

    name: str
    version: str
    base_url: str
    routes: tuple[tuple[str, str, str], ...]
    draining: bool


def findings(seen: Overview, workers: Sequence[Configuration], *, all_said: bool) -> Iterator[Finding]:
    """``all_said``: every living worker has written its configuration."""
    yield from _unknown_stages(seen, workers, all_said=all_said)
    working = [w for w in workers if not w.draining]
    yield from _different(seen.pipeline, {w.name: w.base_url for w in working}, "base_url", "bad")
    for s in seen.stages:  # a worker may serve some of the stages only
        paths = {w.name: path for w in working for step, _, path in w.routes if step == s.stage}
        yield from _different(seen.pipeline, paths, f"path ({s.stage})", "bad")
    yield from _different(seen.pipeline, {w.name: w.version for w in working}, "version", "warn")


def _unknown_stages(seen: Overview, workers: Sequence[Configuration], *, all_said: bool) -> Iterator[Finding]:
    known = {(step, after) for w in workers for step, after, _ in w.routes}
    for s in seen.stages:
        if s.routed and all_said and workers and (s.stage, s.after) not in known:
            waiting = s.waiting + s.retrying
            values: dict[str, Value] = {"stage": s.stage, "waiting": waiting}
            yield Finding("stage_unknown", "bad" if waiting else "warn", values, seen.pipeline)


def _different(pipeline: str, said: Mapping[str, str], what: str, level: Level) -> Iterator[Finding]:
    """Workers whose value is not that of most (the older ones, where it is one to one)."""
    counted = Counter(said.values())
    if len(counted) < 2:
        return
    usual = counted.most_common(1)[0][0]
    for name, value in said.items():
        if value != usual:
            values: dict[str, Value] = {"what": what, "worker": name, "value": value, "others": usual}
            yield Finding("workers_differ", level, values, pipeline)
