"""Whether limits held, by what the stages themselves recorded: a stage is at work on a job from the moment in which it wrote
``running`` until the row moved on. Nothing of the engine's journal is asked: a call that it forgot would be at work all the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from chaos.plan import Plan

AT_WORK = """
SELECT split_part(m.target, ' ', 1) AS step, j.tenant_id AS tenant, extract(epoch FROM m.at)::float8 AS began,
       extract(epoch FROM coalesce(m.ended, clock_timestamp()))::float8 AS ended
  FROM (SELECT *, lead(at) OVER (PARTITION BY job_id ORDER BY id) AS ended FROM moves) AS m
  JOIN jobs AS j USING (job_id)
 WHERE m.target LIKE '% running'
"""


@dataclass(frozen=True)
class Work:
    """One performance of a stage; seconds by the database's clock."""

    step: str
    tenant: str
    began: float
    ended: float

    @classmethod
    def of(cls, rows: Sequence[Any]) -> list[Work]:
        return [cls(row["step"], row["tenant"], row["began"], row["ended"]) for row in rows]


def at_once(works: Iterable[Work]) -> int:
    """How many were under way at the same time, at most. One that ends as another begins makes room for it."""
    changes = sorted(change for w in works for change in ((w.began, 1), (w.ended, -1)))
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def exceeded(works: Sequence[Work], plan: Plan) -> list[str]:
    """Calls that stages served at the same time beyond the plan's limits."""
    stages: dict[str, list[Work]] = defaultdict(list)
    tenants: dict[tuple[str, str], list[Work]] = defaultdict(list)
    for work in works:
        stages[work.step].append(work)
        tenants[work.step, work.tenant].append(work)
    counted = [(f"the stage {step}", plan.concurrency, at_once(of)) for step, of in stages.items()]
    counted += [(f"{step} for the tenant {t}", plan.per_tenant, at_once(of)) for (step, t), of in tenants.items()]
    counted.append(("the stages of the pool", plan.pool, at_once(works)))
    return [
        f"{who} worked on {most} at once by its own record, and the limit is {limit}"
        for who, limit, most in counted
        if limit is not None and most > limit
    ]
