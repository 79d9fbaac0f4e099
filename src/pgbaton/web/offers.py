"""The buttons beside a finding."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

from pgbaton.health import Finding


@dataclass(frozen=True, slots=True)
class Offer:
    """``jobs``: a filter that shows the jobs that are meant; ``page``: a page that shows more. ``action`` with
    ``target``: the form that mends it."""

    jobs: dict[str, str] | None = None
    page: str | None = None
    action: Literal["resume", "retry", "recall", "reconcile", "quarantine", "move", "pause"] | None = None
    target: dict[str, str] = field(default_factory=dict)


def offer(found: Finding) -> Offer:
    """The buttons of a finding."""
    of = {name: str(value) for name, value in found.values.items() if name in ("stage", "tenant")}
    tenant = next((s.value for s in found.shares if s.kind == "tenant"), None)
    match found.code:
        case (
            "no_worker"
            | "late_worker"
            | "lost_worker"
            | "lost_over"
            | "worker_refused"
            | "no_descriptors"
            | "workers_differ"
            | "stage_unknown"
        ):
            return Offer(page="workers")
        case "lost_answers" | "silent" | "no_end":
            stalled = {"scope": "stage", "over": str(int(float(found.values.get("over") or 0)))} | of
            return Offer(of | {"state": "running"}, action="recall", target=stalled)
        case "circling":
            return Offer(of, action="quarantine", target={"key": str(found.values["job"])})
        case "suspect":
            return Offer(of, action="quarantine", target={"key": str(found.values["job"])})
        case "rows_missing":
            return Offer(action="reconcile", target={"scope": "pipeline"})
        case "rows_unheld" | "rows_misspelt":
            return Offer(action="move", target={"scope": "rows"} | _from_to(found))
        case "not_now" if tenant is not None:
            return Offer(of | {"state": "retryable"}, action="pause", target={"scope": "tenant", "tenant": tenant})
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
        case "full" | "behind" if tenant is not None:
            waiting = of | {"state": "available", "tenant": tenant}
            return Offer(waiting, action="pause", target={"scope": "tenant", "tenant": tenant})
        case "not_now":
            return Offer(of | {"state": "retryable"})
        case "full" | "behind" | "tenant_full" | "pool_full" | "workers_full":
            return Offer(of | {"state": "available"})
        case "rate_full":
            return Offer(of | {"state": "available"}, page="stages")
        case "undecided":
            return Offer(of | {"state": "running"})
        case "slow" | "slower" | "stage_unrouted":
            return Offer(of)
    return Offer()


def _from_to(found: Finding) -> dict[str, str]:
    """Where rows are, and where they belong: a stage's running rows to its entry, a word that is nearly one to that."""
    v = {name: str(value) for name, value in found.values.items()}
    if found.code == "rows_unheld":
        return {"stage": v["stage"]}
    return {"from": json.dumps([v["step"], v["status"]]), "to": json.dumps([v["near_step"], v["near_status"]])}
