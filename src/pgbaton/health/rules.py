"""Findings of one look at the pipeline's counts: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pgbaton.config import MISSED
from pgbaton.health.finding import Finding, Level
from pgbaton.insights import Overview, StageOverview
from pgbaton.insights.limit_use import LimitUse
from pgbaton.insights.words import Value

LONG_WAIT = 30.0
"""Seconds that a due job may wait before it is worth a word."""
NEAR_TIMEOUT = 0.5
"""Share of its timeout that a stage's work may take at p95 before that is worth a word."""
LATELY = 300.0
"""Seconds for which a lost worker that holds nothing any more is still told of."""
UNDECIDED = 3600.0
"""Seconds for which a job may wait for a person's decision before it is worth a word."""
NEARLY_FULL = 0.9
"""Share of the workers' places from which on all count as taken: between two turns some are empty."""
TRIES = 2
"""Times in a row that a stage does not answer before a finding says so: once may be one worker's trouble."""
SLOWER = 3.0
"""Times its usual that a stage's calls may take before that is worth a word."""
SLOWER_LEAST = 0.5
"""Seconds by which they must be slower besides: three times a few milliseconds is no trouble."""
SLOWER_SAMPLE = 5
"""Calls of the last five minutes that it takes to say so."""
USUAL_SAMPLE = 20
"""Calls that it takes to know what is usual."""
SILENT = 10.0
"""Times its usual p95 that a call may run before it counts as silent."""
SILENT_LEAST = 5.0
"""Seconds that it must have run besides."""
SILENT_UNKNOWN = 30.0
"""Seconds that a call may run, or a tenth of its timeout, where too few calls have ended to know the usual time."""
LOST_LEAST = 4.0
"""Seconds after which a lost answer is worth a word: most stages that were cut off have ended by then."""


@dataclass(frozen=True, slots=True)
class Usual:
    """Seconds that the completed calls of a stage usually take, of ``calls`` of them."""

    calls: int
    p50: float
    p95: float


Usuals = Mapping[str, Usual]
"""By stage."""


def diagnose(seen: Overview, usuals: Usuals | None = None) -> list[Finding]:
    """The findings of this look: jobs do not move, or soon will not. ``usuals``: by the last days."""
    return [Finding(code, level, values, seen.pipeline) for code, level, values in _found(seen, usuals or {})]


def usual_of(stage: StageOverview, usuals: Usuals) -> Usual | None:
    """The usual time of its calls: by the last days, or else by the last hour; None: not known yet."""
    known = usuals.get(stage.stage)
    if known is not None and known.calls >= USUAL_SAMPLE:
        return known
    p50, p95 = stage.earlier.p50, stage.earlier.p95
    if stage.earlier_sample >= USUAL_SAMPLE and p50 is not None and p95 is not None:
        return Usual(stage.earlier_sample, p50, p95)
    return None


Found = tuple[str, Level, dict[str, Value]]


def _found(seen: Overview, usuals: Usuals) -> Iterator[Found]:
    if not any(w.alive for w in seen.workers):
        is_open = any(s.waiting or s.running or s.retrying for s in seen.stages) or any(w.calls for w in seen.workers)
        yield "no_worker", "bad" if is_open else "note", {}
    else:
        yield from _lost_workers(seen)
    for worker in seen.workers:  # one that the database keeps out would be told of only once its lease has ended
        if worker.alive and worker.silent > MISSED * worker.lease:
            yield "late_worker", "warn", {"worker": worker.name, "silent": worker.silent}
    if seen.paused:
        yield "paused_pipeline", "note", {}
    for tenant in seen.tenants:
        yield "paused_tenant", "note", {"tenant": tenant.tenant}
    for stage in seen.stages:
        yield from _of_stage(seen, stage)
        yield from _of_calls(stage, usual_of(stage, usuals))


def _lost_workers(seen: Overview) -> Iterator[Found]:
    """Calls that they hold are worth a warning; calls that were taken over, a word; a worker that came back under its
    name, none."""
    living = {w.name for w in seen.workers if w.alive}
    for worker in seen.workers:
        values: dict[str, Value] = {"worker": worker.name, "silent": worker.silent}
        if not worker.alive and worker.calls:
            yield "lost_worker", "warn", values | {"count": worker.calls}
        elif not worker.alive and worker.name not in living and worker.silent < LATELY:
            yield "lost_over", "note", values


def _of_stage(seen: Overview, s: StageOverview) -> Iterator[Found]:
    of: dict[str, Value] = {"stage": s.stage}
    down = s.circuit.state != "closed" and s.circuit.strikes >= TRIES
    still = s.paused or seen.paused
    if down:
        said = s.put_off_error or s.retry_error or "-"
        yield "circuit_open", "bad", of | {"strikes": s.circuit.strikes, "error": said}
    if not s.routed:
        if count := s.waiting + s.running + s.retrying + s.parked:
            yield "stage_unrouted", "bad", of | {"count": count}
        still = True
    if s.dead:
        yield "dead", "bad", of | {"count": s.dead, "error": s.dead_error}
    if s.paused and not seen.paused:
        yield "paused_stage", "note", of | {"waiting": s.waiting}
    if not down and s.routed and s.circuit.state == "closed":
        if s.put_off:
            later = max(s.put_off_in or 0.0, 0.0)
            yield "not_now", "note", of | {"count": s.put_off, "error": s.put_off_error, "seconds": later}
        if again := s.retrying - s.put_off:
            yield "retrying", "warn", of | {"count": again, "error": s.retry_error}
    if s.oldest_wait is not None and s.oldest_wait > LONG_WAIT and not still and not down:
        waits = of | {"waiting": s.waiting + s.retrying, "oldest": s.oldest_wait}
        if s.concurrency is not None and s.running >= s.concurrency:
            yield "full", "warn", waits | {"running": s.running}
        elif taken := _places_taken(seen, s.stage):
            yield "workers_full", "warn", waits | taken
        else:
            yield "behind", "warn", waits
    if s.work.p95 is not None and s.work.p95 > NEAR_TIMEOUT * s.timeout:
        yield "slow", "warn", of | {"work": s.work.p95, "timeout": s.timeout}


def _places_taken(seen: Overview, stage: str) -> dict[str, Value] | None:
    """The places of the workers that call this stage, and the stage that has most of them; None: some are free."""
    theirs = [w for w in seen.workers if w.alive and not w.draining and (not w.stages or stage in w.stages)]
    places, taken = sum(w.capacity for w in theirs), sum(w.calls for w in theirs)
    if not places or taken < NEARLY_FULL * places:
        return None
    busiest = max(seen.stages, key=lambda other: other.running)
    return {"running": places, "busiest": busiest.stage, "held": busiest.running}


def _of_calls(s: StageOverview, usual: Usual | None) -> Iterator[Found]:
    """Calls that do not end, and calls that take longer than they did. Where nothing is called, jobs wait on purpose:
    for a person, or for their children."""
    of: dict[str, Value] = {"stage": s.stage}
    if s.kind != "call":
        oldest = max((a.oldest for a in s.ages), default=0.0)
        if s.kind == "wait" and oldest > UNDECIDED:
            yield "undecided", "note", of | {"count": s.running, "age": oldest}
        return
    lost = [a for a in s.ages if a.lost and a.oldest > LOST_LEAST]
    if lost:
        yield (
            "lost_answers",
            "bad" if s.waiting else "warn",
            of
            | {
                "count": sum(a.count for a in lost),
                "age": max(a.oldest for a in lost),
                "seconds": max(a.until for a in lost),
                "waiting": s.waiting,
                "over": 0.0,
            },
        )
    if usual is None:
        over = max(SILENT_UNKNOWN, s.timeout / 10)
        endless = [a for a in s.ages if not a.lost and a.oldest > over]
        if endless:
            count, oldest = sum(a.count for a in endless), max(a.oldest for a in endless)
            until = max(a.until for a in endless)
            yield "no_end", "warn", of | {"count": count, "age": oldest, "seconds": until, "over": over}
        return
    over = max(SILENT_LEAST, SILENT * usual.p95)
    silent = [a for a in s.ages if not a.lost and a.oldest > over]
    if silent:
        yield (
            "silent",
            "bad" if s.waiting else "warn",
            of
            | {
                "count": sum(a.count for a in silent),
                "age": max(a.oldest for a in silent),
                "usual": usual.p50,
                "times": _times(max(a.oldest for a in silent) / max(usual.p50, 0.001)),
                "seconds": max(a.until for a in silent),
                "over": over,
            },
        )
    slow = s.latest is not None and s.latest_sample >= SLOWER_SAMPLE
    if slow and s.latest is not None and s.latest > max(SLOWER * usual.p50, usual.p50 + SLOWER_LEAST):
        times = _times(s.latest / max(usual.p50, 0.001))
        yield "slower", "warn", of | {"work": s.latest, "usual": usual.p50, "times": times}


def by_limit(f: Finding, limits: Mapping[str, LimitUse]) -> Finding:
    """Jobs of a stage that wait though it has room: the limit that keeps them, where one is full."""
    limit = limits.get(str(f.values.get("stage"))) if f.code == "behind" else None
    if limit is None:
        return f
    tenant = next((s.value for s in f.shares if s.kind == "tenant"), None)
    most, calls = limit.seen.per_tenant, dict(limit.filled_by).get(tenant, 0)
    if tenant is not None and most is not None and calls >= most:
        return replace(f, code="tenant_full", values=f.values | {"tenant": tenant, "running": calls}, shares=())
    if limit.seen.rate is not None and (limit.seen.rate_in or 0.0) > 0:
        return replace(f, code="rate_full", values=f.values | {"rate": a_rate(limit.seen.rate)}, shares=())
    pool = limits.get(f"pool {limit.seen.of_pool}")
    if pool is not None and pool.seen.size is not None and pool.seen.used >= pool.seen.size:
        return replace(f, code="pool_full", values=f.values | {"pool": pool.seen.pool, "running": pool.seen.used})
    return f


def a_rate(per_second: float) -> str:
    """``10/s``, ``6/min``, ``1/h``: in the unit in which it is one at least."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:g}/{unit}"
    return f"{per_second * 3600:g}/h"


def _times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"
