"""Verdicts of an operator's command about a job: retry, cancel and rerun, decided without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pgbaton.decision.verdict import Call, Duty, Job, Standing, Working, cancelled, quarantined, rerun, retried
from pgbaton.model import Row, Stage, State

STAGES = {
    s.step: s for s in (Stage(step="cut", after="made", path="/cut"), Stage(step="glue", after="cut", path="/glue"))
}
NOW = datetime.now(UTC)
MADE, CUTTING, CUT, FAILED = ("made", "done"), ("cut", "running"), ("cut", "done"), ("cut", "failed")


def job(at: tuple[str, str] | None, call: Call | None = None, *duties: Duty, paused: bool = False) -> Job:
    return Job("a", None if at is None else Row("acme", *at), call, duties, paused)


def call(standing: Standing, stage: str = "cut", *, parked: bool = False) -> Call:
    return Call(7, stage, STAGES[stage].after, 1, 0, standing, worker=3, alive=True, parked=parked)


def duty(stage: str, step: str | None, status: str | None = "done", number: int = 9) -> Duty:
    return Duty(number, stage, step, status, NOW)


HELD, LEFT, WAITING = call(Standing.HELD), call(Standing.LEFT), call(Standing.WAITING)


def test_a_job_that_its_stage_failed_goes_back_to_the_entry_and_the_trigger_leaves_its_duty() -> None:
    verdict = retried(job(FAILED, None, duty("", *FAILED)), STAGES.__getitem__)
    assert verdict is not None
    assert (verdict.target, verdict.quiet, verdict.stands, verdict.ended) == (MADE, False, None, None)


@pytest.mark.parametrize(
    ("at", "target"),
    [
        pytest.param(CUTTING, MADE, id="the stage has begun"),
        pytest.param(MADE, None, id="it is at its entry: the caller leaves the duty"),
        pytest.param(("cut", "cancelled"), ..., id="it has moved since"),
        pytest.param(CUT, ..., id="it is done"),
    ],
)
def test_a_job_whose_row_the_table_refused_is_retried_and_set_aside_where_it_stands(
    at: tuple[str, str], target: Any
) -> None:
    refused = replace(job(at), refused="cut")
    again, aside = retried(refused, STAGES.__getitem__), quarantined(refused, STAGES.__getitem__)
    assert (... if again is None else again.target) == target
    assert (aside is None) == (target is ...)
    assert aside is None or aside.target == ("cut", "quarantined")


def test_a_call_that_waits_is_due_now_and_keeps_its_attempts() -> None:
    verdict = retried(job(MADE, WAITING), STAGES.__getitem__)
    assert verdict is not None
    assert (verdict.stands, verdict.delay, verdict.counts, verdict.target) == (Standing.WAITING, 0.0, False, None)


@pytest.mark.parametrize(
    "there",
    [
        job(MADE),
        job(CUT),
        job(None),
        job(("elsewhere", "failed")),
        job(MADE, HELD),
        job(CUTTING, LEFT),
        job(FAILED, None, duty("cut", *MADE)),
        job(MADE, WAITING, duty("cut", *MADE)),
        job(MADE, WAITING, paused=True),
        job(MADE, call(Standing.WAITING, parked=True)),
        job(CUT, WAITING),
    ],
)
def test_there_is_nothing_to_retry(there: Job) -> None:
    assert retried(there, STAGES.__getitem__) is None


@pytest.mark.parametrize(
    ("there", "target", "ended"),
    [
        (job(MADE, None, duty("cut", *MADE)), "cut", None),
        (job(MADE, HELD), "cut", State.CANCELLED),
        (job(CUTTING, LEFT), "cut", State.CANCELLED),
        (job(FAILED, WAITING), "cut", State.CANCELLED),
        (job(CUT, HELD, duty("glue", *CUT)), "glue", State.COMPLETED),
        (job(MADE, call(Standing.HELD, "glue"), duty("cut", *MADE)), "cut", State.CANCELLED),
    ],
)
def test_an_open_dispatch_is_cancelled_where_it_is_open(there: Job, target: str, ended: State | None) -> None:
    verdict = cancelled(there, STAGES.__getitem__)
    assert verdict is not None
    assert (verdict.target, verdict.ended, verdict.stands) == ((target, "cancelled"), ended, None)
    assert verdict.quiet
    assert {void.duty for void in verdict.voids} == {d for d in there.duties if d.stage}


@pytest.mark.parametrize("there", [job(MADE), job(None), job(FAILED), job(CUT, HELD), job(("elsewhere", "x"), WAITING)])
def test_there_is_nothing_to_cancel(there: Job) -> None:
    assert cancelled(there, STAGES.__getitem__) is None


def test_a_job_at_work_is_rerun_by_force_only() -> None:
    for there in (job(MADE, HELD), job(CUTTING, LEFT), job(CUTTING, WAITING), job(CUTTING, None, duty("cut", *MADE))):
        with pytest.raises(Working):
            rerun(there, STAGES["cut"], STAGES.__getitem__, force=False)
        verdict = rerun(there, STAGES["cut"], STAGES.__getitem__, force=True)
        assert verdict is not None
        assert verdict.target == (None if there.row and there.row.at == MADE else MADE)
        assert verdict.stays is verdict.new is verdict.stands is None


def test_a_job_that_waits_for_the_stage_is_left_as_it_is_and_for_another_stage_is_put_there() -> None:
    for there in (job(MADE, None, duty("cut", *MADE)), job(MADE, WAITING)):
        assert rerun(there, STAGES["cut"], STAGES.__getitem__, force=False) is None
        verdict = rerun(there, STAGES["glue"], STAGES.__getitem__, force=False)
        assert verdict is not None
        assert (verdict.target, verdict.quiet) == (CUT, False)


def test_a_row_that_says_running_while_nothing_is_open_is_not_at_work() -> None:
    verdict = rerun(job(CUTTING), STAGES["cut"], STAGES.__getitem__, force=False)
    assert verdict is not None
    assert verdict.target == MADE


def test_a_stage_that_has_ended_is_not_at_work_though_its_call_is_held() -> None:
    verdict = rerun(job(CUT, HELD, duty("glue", *CUT)), STAGES["cut"], STAGES.__getitem__, force=False)
    assert verdict is not None
    assert (verdict.ended, verdict.target) == (State.COMPLETED, MADE)
    assert [(void.duty.stage, void.state) for void in verdict.voids] == [("glue", State.CANCELLED)]
