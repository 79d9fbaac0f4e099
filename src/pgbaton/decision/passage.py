"""Decisions about passages: pure, about rows that the engine moves on, or lets wait, also for their children.

No call is made, so there is no answer to judge: the row, the time and the counts decide. In the journal a passage
stands where a stage does: its decisions are written, lost and made again as those about any call.
"""

from __future__ import annotations

from dataclasses import dataclass

from pgbaton.decision.outcome import Decision, Verb
from pgbaton.model import FOR_EVER, Kind, Outcome, Passage

GATHER_TICK = 20.0
"""Seconds between two counts of children that no look has asked for: a child that was deleted leaves none."""
REST_EACH = 0.0001
"""Seconds that a worker lets the looks of children lie for each child that has to end before a count could matter:
10,000 children do not end faster than in a second."""
REST_TIMES = 6
"""So many times as long as a round of looks took, the next ones lie: looks take a seventh of a worker's time at most.
Families of three children have 0.82 of the rate of plain rows so, and 0.78 with 3."""
REST_MOST = 0.1
"""Seconds: a longer rest would be noticed where all children end in one transaction, or where the same pipeline has
other jobs."""


@dataclass(frozen=True, slots=True)
class Children:
    """A parent's children. ``done``: at the state that counts; ``ended``: there, or at another end."""

    total: int
    ended: int
    done: int


def moved_on(node: Passage, age: float, rounds: int) -> Decision:
    """A route: wait for its ``delay``, then go on, as often as its rounds allow. ``age``: seconds since the row came
    here; ``rounds``: how often the job has come this way before."""
    if age < node.delay:
        return Decision(Verb.DEFER, Outcome.WAITING, after=node.delay - age)
    if node.rounds is not None and rounds >= node.rounds:
        return Decision(Verb.ADVANCE, Outcome.EXHAUSTED, f"{rounds} of {node.rounds} rounds are used", target=node.then)
    return Decision(Verb.ADVANCE, Outcome.SKIPPED if node.skips else Outcome.MOVED, target=node.to)


def waited(node: Passage, *, overdue: bool) -> Decision:
    """A wait: until the row is moved on, or its deadline has passed."""
    if overdue and node.then is not None:
        return Decision(Verb.ADVANCE, Outcome.EXPIRED, "nobody decided in time", target=node.then)
    return Decision(Verb.WAIT, Outcome.WAITING)


def gathered(node: Passage, children: Children, age: float) -> Decision:
    """A gather, its children just counted."""
    failed, still = children.ended - children.done, children.total - children.ended
    said = f"children at ({', '.join(node.done or ())}): {children.done} of {children.total}, {failed} ended elsewhere"
    if node.failed == "fail" and failed:
        return Decision(Verb.ADVANCE, Outcome.EXHAUSTED, said, target=node.then)
    need = wanted(node, children)
    if children.done >= need and (node.need != "all" or not still):
        return Decision(Verb.ADVANCE, Outcome.GATHERED, said, target=node.to)
    if children.done + still < need or not still:
        return Decision(Verb.ADVANCE, Outcome.EXHAUSTED, said, target=node.then)
    if age >= node.timeout:
        return Decision(Verb.ADVANCE, Outcome.EXPIRED, said, target=node.then)
    return Decision(Verb.WAIT, Outcome.WAITING, said)


def wanted(node: Passage, children: Children) -> int:
    """How many children have to be done. ``need`` all: those that may be done yet, but one at least, if there is
    any."""
    if node.need == "all":
        return max(children.total - (children.ended - children.done), min(1, children.total))
    return 1 if node.need == "any" else int(node.need)


def missing(node: Passage, children: Children) -> int:
    """How many children have to end, at least, before another count could decide otherwise."""
    still = children.total - children.ended
    if node.need == "all":
        return max(1, still)
    need = wanted(node, children)
    return max(1, min(need - children.done, children.done + still - need + 1))


def rest(left: int, took: float) -> float:
    """Seconds for which the looks that children leave may lie, after a round of looks that took ``took`` seconds and
    left parents of which one waits for ``left`` children yet, and none for fewer. It is a pause and no decision: a
    worker that is busy takes many looks in one turn then."""
    return min(REST_MOST, max(left * REST_EACH, took * REST_TIMES))


def tick(node: Passage, age: float) -> float:
    """Seconds until the row is looked at again, though nothing has happened."""
    if node.kind is Kind.GATHER:
        return min(GATHER_TICK, max(0.0, node.timeout - age)) if node.timeout < FOR_EVER else GATHER_TICK
    return node.timeout
