"""What one look at the pipeline says: pure."""

from __future__ import annotations

from collections.abc import Iterator

from pgbaton.health.finding import Finding, Level
from pgbaton.insights import Overview, StageOverview
from pgbaton.insights.words import Value

LONG_WAIT = 30.0
"""Seconds that a due job may wait before it is worth a word."""
NEAR_TIMEOUT = 0.5
"""Share of its timeout that a stage's work may take at p95 before that is worth a word."""
LATELY = 300.0
"""Seconds for which a lost worker that holds nothing any more is still told of."""


def diagnose(seen: Overview) -> list[Finding]:
    """Everything in this look that keeps jobs from moving, or soon will."""
    return [Finding(code, level, values, seen.pipeline) for code, level, values in _found(seen)]


Found = tuple[str, Level, dict[str, Value]]


def _found(seen: Overview) -> Iterator[Found]:
    if not any(w.alive for w in seen.workers):
        is_open = any(s.waiting or s.running or s.retrying for s in seen.stages) or any(w.calls for w in seen.workers)
        yield "no_worker", "bad" if is_open else "note", {}
    else:
        yield from _lost_workers(seen)
    if seen.paused:
        yield "paused_pipeline", "note", {}
    for tenant in seen.tenants:
        yield "paused_tenant", "note", {"tenant": tenant.tenant}
    for stage in seen.stages:
        yield from _of_stage(seen, stage)


def _lost_workers(seen: Overview) -> Iterator[Found]:
    """What they hold is worth a warning; that it was taken over, a word; one that came back under its name, none."""
    living = {w.name for w in seen.workers if w.alive}
    for worker in seen.workers:
        values: dict[str, Value] = {"worker": worker.name, "silent": worker.silent}
        if not worker.alive and worker.calls:
            yield "lost_worker", "warn", values | {"count": worker.calls}
        elif not worker.alive and worker.name not in living and worker.silent < LATELY:
            yield "lost_over", "note", values


def _of_stage(seen: Overview, s: StageOverview) -> Iterator[Found]:
    of: dict[str, Value] = {"stage": s.stage}
    down = s.circuit.state != "closed"
    still = s.paused or seen.paused
    if down:
        yield "circuit_open", "bad", of | {"strikes": s.circuit.strikes}
    if not s.routed:
        if count := s.waiting + s.running + s.retrying + s.parked:
            yield "stage_unrouted", "bad", of | {"count": count}
        still = True
    if s.dead:
        yield "dead", "bad", of | {"count": s.dead, "error": s.dead_error}
    if s.paused and not seen.paused:
        yield "paused_stage", "note", of | {"waiting": s.waiting}
    if s.retrying and not down and s.routed:
        yield "retrying", "warn", of | {"count": s.retrying, "error": s.retry_error}
    if s.oldest_wait is not None and s.oldest_wait > LONG_WAIT and not still and not down:
        full = s.concurrency is not None and s.running >= s.concurrency
        waits = of | {"waiting": s.waiting + s.retrying, "oldest": s.oldest_wait}
        yield ("full", "warn", waits | {"running": s.running}) if full else ("behind", "warn", waits)
    if s.work.p95 is not None and s.work.p95 > NEAR_TIMEOUT * s.timeout:
        yield "slow", "warn", of | {"work": s.work.p95, "timeout": s.timeout}
