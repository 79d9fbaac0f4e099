"""How long a worker lets the looks of children lie."""

from __future__ import annotations

import pytest

from pgbaton.decision import passage
from pgbaton.decision.passage import Children
from pgbaton.model import Kind, Passage


@pytest.mark.parametrize(
    ("left", "took", "seconds"),
    [(0, 0.003, 0.018), (500, 0.003, 0.05), (500, 0.015, 0.09), (10**6, 0, 0.1), (1, 7, 0.1)],
)
def test_a_worker_rests_by_how_many_have_to_end_and_as_long_as_it_worked(
    left: int, took: float, seconds: float
) -> None:
    assert passage.rest(left, took) == pytest.approx(seconds)


@pytest.mark.parametrize("need", ["all", "any", 300])
def test_no_decision_can_change_before_as_many_have_ended_as_the_rest_goes_by(need: str | int) -> None:
    """For each way in which the missing ones but one may end: still waiting."""
    ends = {"to": ("kids", "done"), "then": ("kids", "failed"), "done": ("draw", "done"), "failed": "ignore"}
    node = Passage.at("kids", ("kids", "waiting"), Kind.GATHER, **{**ends, "need": need})
    seen = Children(1000, 400, 200 if need != "any" else 0)
    left = passage.missing(node, seen)
    for done in (0, (left - 1) // 2, left - 1):
        later = Children(1000, seen.ended + left - 1, seen.done + done)
        assert passage.gathered(node, later, 0.0).target is None
