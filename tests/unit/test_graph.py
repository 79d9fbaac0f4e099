"""Graphs that no row could find its way through: each is refused with the place and the way out."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from graph_line import graph, stage
from pgbaton import Pipeline

MADE, JUDGE = stage("plan", "made"), stage("judge", "plan")
BACK = {"after": "judge", "status": "rejected", "to": "plan", "rounds": 2, "then": ["judge", "given_up"]}
REVIEW = {"at": ["review", "waiting"], "choices": {"approve": ["review", "approved"]}}
TO_REVIEW = {"after": "plan", "to": ["review", "waiting"]}
GATHER = {
    "at": ["kids", "waiting"],
    "children": "kids",
    "done": ["draw", "done"],
    "to": ["kids", "done"],
    "then": ["kids", "failed"],
}
TO_GATHER = {"after": "plan", "to": ["kids", "waiting"]}


def without(given: dict[str, Any], *names: str, **changed: Any) -> dict[str, Any]:
    return {k: v for k, v in given.items() if k not in names} | changed


def refusal(stages: list[dict[str, Any]], **rest: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        graph(stages, **rest)
    return str(refused.value)


def test_graphs_that_the_refusals_leave_are_taken() -> None:
    taken = graph([MADE, JUDGE], route=[BACK])
    assert [n.step for n in taken.in_order] == ["plan", "judge", "judge.rejected"]
    graph([MADE], route=[TO_REVIEW], wait=[REVIEW])
    graph([MADE], route=[TO_GATHER], gather=[GATHER])


@pytest.mark.parametrize(
    ("route", "sentence"),
    [
        (without(BACK, to="draw"), "a route leads to 'draw', which no stage performs; there are: judge, plan"),
        (
            without(BACK, to=["drw", "done"]),
            "no stage, wait or gather has the step 'drw'; there are: judge, made, plan",
        ),
        (without(BACK, then=["jugde", "given_up"]), "no stage, wait or gather has the step 'jugde'"),
        (
            without(BACK, after="jugde"),
            "'jugde.rejected' is unreachable: no stage performs 'jugde'; there are: judge, plan",
        ),
        (without(BACK, to=["judge", "rejected"]), "'judge.rejected' leads from (judge, rejected) to itself"),
        (without(BACK, to=["plan", "running"]), "leads to (plan, running): only a stage that is at work is running"),
        (without(BACK, status="running"), "a stage is at work on a row that is running: no route leads from there"),
        (without(BACK, "then"), "rounds needs then: the state of a job that has used them up"),
        (without(BACK, "rounds"), "then needs rounds: how often a job may come this way"),
        (without(BACK, rounds=0), "greater than or equal to 1"),
        (without(BACK, delay="soon"), 'must be seconds, or a length such as "200ms", "90s", "10m", "8h" or "3d"'),
        (without(BACK, when="note"), "not a condition: a comparison is missing at its end"),
        (
            without(BACK, when="note = 'a'"),
            "a row at (judge, rejected) that fits none of its conditions would stay there",
        ),
    ],
)
def test_a_route_that_leads_nowhere_is_refused(route: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal([MADE, JUDGE], route=[route])


def test_two_routes_from_one_state_are_refused_by_their_names() -> None:
    said = refusal([MADE, JUDGE, stage("repair", "judge", status="rejected")], route=[BACK])
    assert "two routes lead from the state ('judge', rejected): repair and judge.rejected" in said
    assert "give all but one of them a condition (when)" in said
    twice = [stage(name, "plan", when="note = 'a'") for name in ("one", "two")]
    said = refusal([MADE, JUDGE, *twice])
    assert "two routes lead from the state (plan, done) when note = 'a': the second is never taken" in said


def test_a_circle_without_a_bound_is_refused_with_its_way_written_out() -> None:
    said = refusal([MADE, JUDGE], route=[without(BACK, "rounds", "then")])
    assert "(made, done) → (plan, done) → (judge, rejected) → (made, done)" in said
    assert "Give a route of this circle rounds (how often) and then" in said


def test_a_circle_by_the_end_of_a_bound_is_a_circle() -> None:
    assert "a job could go round for ever" in refusal([MADE, JUDGE], route=[without(BACK, then=["made", "done"])])


def test_a_circle_by_a_deadline_is_one_and_a_persons_choice_is_a_bound_of_its_own() -> None:
    late = without(REVIEW, deadline="8h", then=["made", "done"])
    assert "a job could go round for ever" in refusal([MADE], route=[TO_REVIEW], wait=[late])
    again = without(REVIEW, choices={"again": ["made", "done"]})
    graph([MADE], route=[TO_REVIEW], wait=[again])


@pytest.mark.parametrize(
    ("wait", "sentence"),
    [
        (without(REVIEW, deadline="8h"), "deadline needs then: where the row goes when nobody has moved it"),
        (without(REVIEW, then=["review", "late"]), "then needs deadline"),
        (without(REVIEW, deadline="0s", then=["review", "late"]), "greater than 0"),
        (
            without(REVIEW, choices={"Approve!": ["review", "approved"]}),
            "'Approve!' must be 1 to 48 lower-case letters",
        ),
        (without(REVIEW, choices={"approve": ["reveiw", "approved"]}), "has the step 'reveiw'"),
        (without(REVIEW, choices={"approve": ["review", "waiting"]}), "leads from (review, waiting) to itself"),
        (
            without(REVIEW, at=["inspect", "waiting"]),
            "the wait 'inspect' is unreachable: nothing brings a row to (inspect, waiting)",
        ),
    ],
)
def test_a_wait_without_a_way_out_is_refused(wait: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal([MADE], route=[TO_REVIEW], wait=[wait])


def test_no_route_leads_from_where_a_row_waits() -> None:
    said = refusal([MADE, stage("x", "review", status="waiting", when="note = 'a'")], route=[TO_REVIEW], wait=[REVIEW])
    assert "a row waits at (review, waiting), so that no route can lead from there, too" in said


@pytest.mark.parametrize(
    ("gather", "sentence"),
    [
        (without(GATHER, "then"), "then\n  Field required"),
        (without(GATHER, need=0), "greater than or equal to 1"),
        (without(GATHER, need="most"), "'all' or 'any'"),
        (without(GATHER, failed="retry"), "'fail' or 'ignore'"),
        (without(GATHER, children="Kids"), "must be 1 to 48 lower-case letters"),
        (without(GATHER, to=["kisd", "done"]), "has the step 'kisd'"),
        (without(GATHER, to=["made", "done"]), "a job could go round for ever"),
    ],
)
def test_a_gather_that_cannot_be_is_refused(gather: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal([MADE], route=[TO_GATHER], gather=[gather])


def test_only_and_when_do_not_go_together() -> None:
    said = refusal([stage("plan", "made", only="note = 'a'", when="note = 'b'"), stage("rest", "made")])
    assert "only and when do not go together" in said


def test_a_way_that_nothing_leads_to_is_refused() -> None:
    assert "the wait 'review' is unreachable" in refusal([MADE], wait=[REVIEW])
    assert "the gather 'kids' is unreachable" in refusal([MADE], gather=[GATHER])
    nowhere = without(BACK, after="review", status="odd")
    assert "the route 'review.odd' is unreachable" in refusal([MADE], route=[nowhere])


def test_a_second_table_of_a_stage_is_a_route_to_it() -> None:
    again = {"step": "plan", "after": "judge", "status": "rejected", "rounds": 2, "then": ["judge", "given_up"]}
    said: Pipeline = graph([MADE, JUDGE, again])
    assert said.routes == graph([MADE, JUDGE], route=[BACK]).routes


def test_a_pipeline_may_begin_where_a_row_waits() -> None:
    judged = stage("judge", "kids")
    begun = graph(
        [judged, stage("x", "review", status="approved")],
        route=[
            {"after": "judge", "to": ["review", "waiting"]},
        ],
        wait=[REVIEW],
        gather=[GATHER],
    )
    assert {node.step for node in begun.in_order[:2]} == {"kids", "judge"}
