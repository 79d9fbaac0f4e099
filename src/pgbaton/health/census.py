"""Findings of the census of the user's table: pure. Workers take it, page by page (``worker/watch.py``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher

from pgbaton.health.finding import Finding, Level
from pgbaton.insights.words import Value
from pgbaton.model import CANCELLED, DONE, FAILED, QUARANTINED, RUNNING

Group = tuple[str | None, str | None, str | None, str | None, int, list[str]]
"""step, status, stage, fault (``missing``, ``unheld`` or none), how many rows, at most five of their keys."""
Route = tuple[str, str, str, bool]
"""step, after and status (where it comes from), whether it is routed."""

EXAMPLES = 5
"""Keys of rows that a group keeps, at most."""
MOST_GROUPS = 1000
"""Groups that a census keeps; a table with more distinct states than that is not one of steps and statuses."""
STATUSES = (RUNNING, DONE, FAILED, CANCELLED, QUARANTINED)
NEARLY = 0.8
"""Likeness from which on two words are nearly one: ``planer`` and ``planner`` have 0.92, ``cut`` and ``cat`` 0.67."""


def merged(one: Iterable[Group], other: Iterable[Group]) -> list[Group]:
    """Two parts of a census as one."""
    groups: dict[tuple[str | None, ...], tuple[int, list[str]]] = {}
    for *at, count, examples in (*one, *other):
        key = tuple(at)
        if key not in groups and len(groups) >= MOST_GROUPS:
            continue
        known, some = groups.get(key, (0, []))
        groups[key] = known + count, (some + examples)[:EXAMPLES]
    return [(*key, count, some) for key, (count, some) in groups.items()]  # type: ignore[misc]


def findings(
    pipeline: str, groups: Iterable[Group], routes: Sequence[Route], *, dated: bool = True
) -> Iterator[Finding]:
    """The findings about the rows. ``dated``: the table says when a row was changed (``updated_at``)."""
    steps = {step for step, *_ in routes}
    entries = {(after, status) for _, after, status, routed in routes if routed}
    known = steps | {after for _, after, *_ in routes}
    last = {step for step, *_, routed in routes if routed} - {after for after, status in entries if status == DONE}
    for step, status, stage, fault, count, examples in groups:
        values: dict[str, Value] = {"count": count, "examples": ", ".join(examples[:3])}
        at: dict[str, Value] = {"step": step, "status": status}
        if fault is not None:
            which = "--before 10:00" if dated else "--all"
            yield _finding(f"rows_{fault}", "bad", pipeline, values | {"stage": stage, "which": which})
        elif step is None or status is None:
            continue
        elif step in steps and status == QUARANTINED:
            yield _finding("quarantined", "note", pipeline, values | {"stage": step})
        elif (step, status) in entries:
            continue
        elif near := _near(step, status, known, steps):
            named: dict[str, Value] = {"near": f"({near[0]}, {near[1]})", "near_step": near[0], "near_status": near[1]}
            yield _finding("rows_misspelt", "bad", pipeline, at | values | named)
        elif step in steps and (status not in STATUSES or (status == DONE and step not in last)):
            yield _finding("rows_nowhere", "bad", pipeline, at | values)


def _finding(code: str, level: Level, pipeline: str, values: dict[str, Value]) -> Finding:
    return Finding(code, level, values, pipeline)


def _near(step: str, status: str, known: set[str], ours: set[str]) -> tuple[str, str] | None:
    """The state that this one is nearly, if it is none itself. A status of a step that is not ours is its own."""
    as_step = step if step in known else next((k for k in sorted(known) if _alike(step, k)), None)
    if as_step is None:
        return None
    as_status = status if status in STATUSES else next((s for s in STATUSES if _alike(status, s)), None)
    if as_status is None or (as_step, as_status) == (step, status):
        return None
    if as_step not in ours and as_status != DONE:
        return None
    return as_step, as_status


def _alike(word: str, other: str) -> bool:
    one, two = word.strip().casefold(), other.casefold()
    return one == two or (len(one) > 3 and SequenceMatcher(None, one, two).ratio() >= NEARLY)
