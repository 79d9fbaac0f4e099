"""A plan of ``attach``, in words."""

from __future__ import annotations

from collections.abc import Iterator

from pgbaton.cli.common import new_table, out, plain
from pgbaton.install.plan import Plan

FATES = {
    "asked": "to be decided: --from now or --backfill",
    "left_alone": "left alone until they move",
    "called": "called, by the backfill",
    "recorded": "shadow mode: not called",
    "goes_on": "go on as before",
    "not_called": "not called; the next stage is, once they are done",
}
WHATS = {"install": "installed", "change": "changed", "remove": "removed"}


def print_plan(plan: Plan, *, dry: bool) -> None:
    """What is changed, which locks that takes, and what becomes of which rows."""
    for line in plan_lines(plan, dry=dry):
        out.print(plain(line), soft_wrap=True)
    table = new_table("state", "rows", "in a dispatch", "stage", "what becomes of them")
    for s in plan.states:
        named = (f"({s.step}, {s.status})", f"{s.rows:,}", f"{s.known:,}", s.stage or "")
        table.add_row(*(plain(cell) for cell in named), FATES[s.fate] if s.rows > s.known or not s.new else "go on")
    out.print(table)


def plan_lines(plan: Plan, *, dry: bool) -> Iterator[str]:
    """The plan but for the rows."""
    would = "would be " if dry else ""
    for change in plan.changes:
        yield f"{change.kind} {change.name}: {would}{WHATS[change.what]}"
    if not plan.changes:
        yield "nothing would be changed" if dry else "nothing is to be changed"
    for lock in plan.locks:
        yield (
            f"lock on {lock.on}: {lock.mode}, for some milliseconds; one try to get it keeps writers waiting for at "
            f"most {lock.waits * 1000:.0f} ms, tried for {lock.tries:g} s"
        )
    if not plan.locks:
        yield f"lock on {plan.table}: none"
    for stage in plan.stages:
        if stage.change != "kept":
            was = f", in place of {stage.was}" if stage.was else ""
            inside = f", {stage.open:,} open dispatches" if stage.open else ""
            yield f"stage {stage.step}: {stage.change}{was}{inside}"
            if stage.change in ("removed", "renamed") and stage.open:
                yield f"  they wait until {stage.was or stage.step} comes back: rerun or cancel them"
    if plan.rollout is not None:
        tenants = f", and all of {', '.join(plan.rollout.tenants)}" if plan.rollout.tenants else ""
        yield f"shadow mode: {plan.rollout.share:g} % of the jobs are called{tenants}; of the rest it is recorded"
    if plan.left:
        yield f"{plan.left:,} rows of the past are left alone until they move"
    if plan.continues is not None:
        yield f"a walk over rows of the past was broken off, and goes on ({plan.continues})"
    if plan.home == "elsewhere":
        yield "this database is not the one that the pipeline was attached in, perhaps a copy: --here makes it its home"
