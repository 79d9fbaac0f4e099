"""The shares of a trouble: pure, from the newest failed calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pgbaton.health.finding import Finding, Share
from pgbaton.insights.words import Value

MOSTLY = 0.8
"""Share from which on a tenant, worker, version or address is named."""
FEWEST = 3
"""Failures that it takes to speak of shares."""
FEWEST_PUT_OFF = 2
"""The same of calls that were put off: after a 429 the stage is called again only when it has said, so a third refusal
may be an hour away."""
CRASH_GAP = 1.5
"""Seconds between two connections that broke, from which on they are two crashes."""
CRASHES = 3
"""Crashes that it takes to suspect the job that was in all of them."""
BROKE = "the connection broke"
"""How the error of a call begins whose stage went away while it worked (``stage_client``)."""
MADE_OF_FAILURES = frozenset({"dead", "retrying", "not_now", "circuit_open"})


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call of the last ten minutes; ``at`` in seconds since 1970."""

    stage: str
    job_key: str
    tenant: str | None
    error: str
    whole: str
    outcome: str
    worker: str | None
    version: str | None
    base_url: str | None
    at: float


def with_shares(found: Iterable[Finding], failures: Sequence[Failure], living: int) -> list[Finding]:
    """Findings about failures, with their shares. ``living``: workers alive; where there is one, no share names it."""
    return [
        replace(f, shares=tuple(_shares(f, [x for x in failures if x.stage == f.values.get("stage")], living)))
        if f.code in MADE_OF_FAILURES
        else f
        for f in found
    ]


def _shares(f: Finding, failures: list[Failure], living: int) -> Iterator[Share]:
    put_off = f.code in ("not_now", "circuit_open")
    alike = [x for x in failures if (x.outcome == "deferred") is put_off]
    if len(alike) < (FEWEST_PUT_OFF if put_off else FEWEST):
        return
    several = len({x.job_key for x in alike}) > 1
    worker = _most(x.worker for x in alike)
    if living > 1 and worker:
        yield Share("worker", worker[0], worker[1])
        its, others = [x for x in alike if x.worker == worker[0]], [x for x in alike if x.worker != worker[0]]
        # A share that the other stages' failures have as well says nothing of this stage.
        if (url := _most(x.base_url for x in its)) and url[0] not in {x.base_url for x in others}:
            yield Share("url", url[0], url[1])
        if (version := _most(x.version for x in its)) and version[0] not in {x.version for x in others}:
            yield Share("version", version[0], version[1])
    # A stage that is not there is so for every tenant: the one that has jobs now would look like the cause.
    if several and f.code != "circuit_open" and (tenant := _most(x.tenant for x in alike)):
        yield Share("tenant", tenant[0], tenant[1])
    error = _most(x.error for x in alike)
    if error and error[0] != f.values.get("error"):
        yield Share("error", error[0], error[1])


def _most(values: Iterable[str | None]) -> tuple[str, int] | None:
    counted = Counter(values)
    total = sum(counted.values())
    if not total:
        return None
    value, count = counted.most_common(1)[0]
    return (value, round(100 * count / total)) if value and count >= MOSTLY * total else None


def suspects(pipeline: str, failures: Sequence[Failure]) -> Iterator[Finding]:
    """The one job that was being called in every crash of a stage."""
    for stage in sorted({x.stage for x in failures}):
        broke = sorted((x for x in failures if x.stage == stage and x.whole.startswith(BROKE)), key=lambda x: x.at)
        crashes: list[set[str]] = []
        before = float("-inf")
        for x in broke:
            if x.at - before > CRASH_GAP:
                crashes.append(set())
            crashes[-1].add(x.job_key)
            before = x.at
        in_all = set.intersection(*crashes) if len(crashes) >= CRASHES else set()
        if len(in_all) == 1:
            job = in_all.pop()
            values: dict[str, Value] = {"stage": stage, "count": len(crashes), "job": job}
            yield Finding("suspect", "bad", values, pipeline, (Share("job", job, 100),))
