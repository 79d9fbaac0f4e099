"""What is wrong, by one look at the pipeline: pure, worst first. Each finding is a sentence and what to press."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from pgbaton.insights import Overview, StageOverview

LONG_WAIT = 30.0
"""Seconds that a due job may wait before it is worth a word."""
NEAR_TIMEOUT = 0.5
"""Share of its timeout that a stage's work may take at p95 before that is worth a word."""
LATELY = 300.0
"""Seconds for which a lost worker that holds nothing any more is still told of."""
LOUD_RETRIES = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """``code``: a message ``find.<code>`` with ``values`` (``*_s`` are seconds). ``jobs``: a filter that shows what is
    meant. ``action`` with ``target``: the form that mends it."""

    level: Literal["bad", "warn", "note"]
    code: str
    values: dict[str, object] = field(default_factory=dict)
    jobs: dict[str, str] | None = None
    page: str | None = None
    action: Literal["resume", "retry"] | None = None
    target: dict[str, str] = field(default_factory=dict)


def findings(seen: Overview) -> list[Finding]:
    """Everything that keeps jobs from moving, or soon will."""
    levels = ("bad", "warn", "note")
    return sorted(_found(seen), key=lambda f: levels.index(f.level))


def _found(seen: Overview) -> Iterator[Finding]:
    if seen.unseeing:
        yield Finding("bad", "unseeing", {"triggers": ", ".join(seen.unseeing)})
    if not any(w.alive for w in seen.workers):
        yield Finding("bad", "no_worker", page="workers")
    else:
        yield from _lost_workers(seen)
    if seen.paused:
        yield Finding("note", "paused", action="resume", target={"scope": "pipeline"})
    for tenant in seen.tenants:
        target = {"scope": "tenant", "tenant": tenant.tenant}
        yield Finding(
            "note", "tenant_paused", {"tenant": tenant.tenant}, {"tenant": tenant.tenant}, None, "resume", target
        )
    for stage in seen.stages:
        yield from _of_stage(seen, stage)


def _lost_workers(seen: Overview) -> Iterator[Finding]:
    """What they hold is worth a warning; that it was taken over, a word; one that came back under its name, none."""
    living = {w.name for w in seen.workers if w.alive}
    for worker in seen.workers:
        values: dict[str, object] = {"worker": worker.name, "silent_s": worker.silent}
        if not worker.alive and worker.calls:
            yield Finding("warn", "lost_worker", values | {"count": worker.calls}, page="workers")
        elif not worker.alive and worker.name not in living and worker.silent < LATELY:
            yield Finding("note", "lost_over", values, page="workers")


def _of_stage(seen: Overview, s: StageOverview) -> Iterator[Finding]:
    if s.circuit.state != "closed":
        yield Finding(
            "bad", "circuit", {"stage": s.stage, "strikes": s.circuit.strikes}, {"stage": s.stage, "state": "retryable"}
        )
    if s.dead:
        yield Finding(
            "bad",
            "dead",
            {"stage": s.stage, "count": s.dead},
            None,
            "dead",
            "retry",
            {"stage": s.stage, "state": "dead"},
        )
    paused = s.paused and not seen.paused
    if paused:
        values: dict[str, object] = {"stage": s.stage, "waiting": s.waiting}
        yield Finding(
            "note", "stage_paused", values, {"stage": s.stage}, None, "resume", {"scope": "stage", "stage": s.stage}
        )
    if s.retrying >= LOUD_RETRIES and s.circuit.state == "closed":
        target = {"stage": s.stage, "state": "retryable"}
        yield Finding(
            "warn", "retrying", {"stage": s.stage, "count": s.retrying}, target, action="retry", target=target
        )
    waits = s.oldest_wait is not None and s.oldest_wait > LONG_WAIT
    if waits and not s.paused and not seen.paused and s.circuit.state == "closed":
        full = s.concurrency is not None and s.running >= s.concurrency
        values = {"stage": s.stage, "waiting": s.waiting, "oldest_s": s.oldest_wait}
        shown = {"stage": s.stage, "state": "available"}
        yield Finding("warn", "full" if full else "behind", values | ({"running": s.running} if full else {}), shown)
    if s.work.p95 is not None and s.work.p95 > NEAR_TIMEOUT * s.timeout:
        yield Finding(
            "warn", "slow", {"stage": s.stage, "work_s": s.work.p95, "timeout_s": s.timeout}, {"stage": s.stage}
        )
