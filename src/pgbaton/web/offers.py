"""What there is to press beside a finding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pgbaton.health import Finding


@dataclass(frozen=True, slots=True)
class Offer:
    """``jobs``: a filter that shows the jobs that are meant; ``page``: a page that shows more. ``action`` with
    ``target``: the form that mends it."""

    jobs: dict[str, str] | None = None
    page: str | None = None
    action: Literal["resume", "retry"] | None = None
    target: dict[str, str] = field(default_factory=dict)


def offer(found: Finding) -> Offer:
    """The buttons of a finding."""
    of = {name: str(value) for name, value in found.values.items() if name in ("stage", "tenant")}
    match found.code:
        case "no_worker" | "lost_worker" | "lost_over":
            return Offer(page="workers")
        case "paused_pipeline":
            return Offer(action="resume", target={"scope": "pipeline"})
        case "paused_tenant":
            return Offer(of, action="resume", target={"scope": "tenant"} | of)
        case "paused_stage":
            return Offer(of, action="resume", target={"scope": "stage"} | of)
        case "dead":
            return Offer(page="dead", action="retry", target=of | {"state": "dead"})
        case "retrying":
            waiting = of | {"state": "retryable"}
            return Offer(waiting, action="retry", target=waiting)
        case "circuit_open":
            return Offer(of | {"state": "retryable"})
        case "full" | "behind":
            return Offer(of | {"state": "available"})
        case "slow" | "stage_unrouted":
            return Offer(of)
    return Offer()
