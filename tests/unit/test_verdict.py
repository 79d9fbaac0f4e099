"""What becomes of a job as a whole, as the table of these tests says."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answers import ANSWERS, row
from pgbaton.decision.outcome import (
    DOWN_DELAY,
    NOT_NOW_CAP,
    NOT_NOW_PATIENCE,
    Answer,
    Decision,
    Place,
    Reply,
    Verb,
    place,
)
from pgbaton.decision.verdict import Call, Duty, Job, Standing, Verdict, refused, resolve
from pgbaton.model import Advance, Outcome, Stage, State

# -- whole jobs -------------------------------------------------------------------------------------
#
# The line is made → cut → glue. The call, where there is one, is dispatch 10.
#   row      step and status; gone: there is none
#   call     held: by a living worker · lost: by one without a lease · left: to its stage · overdue: beyond its time ·
#            waiting: to be called (again) · parked: for its paused tenant. "glue": of that stage, else of cut.
#            last: one more failure is the last. next 11: that duty came while it was under way. seen: a look was taken
#   duties   11 cut: the job entered the state that cut follows · 11 (cut failed): a look, left from that state
#   answer   of the call that the worker which asks holds; back: it gives the call back. paused: the tenant is
#   verdict  verb and outcome of the call (-: none) · its dispatch's end, or how the call stands now (a new one by its
#            duty) · counts · parked · → the state that the row is put in · stays: left for the next turn · next: kept in
#            the call · how other duties end; each that is not named is only taken away

JOBS = """
row           | call          | duties                       | answer  | verdict

no call: the duty is claimed by the next turn, or the row says why not
made done     |               | 11 cut                       |         | - · stays 11
made done     |               | 11 cut                       | paused  | - · waiting 11 · parked
cut running   |               | 11 cut                       |         | - · left 11
cut failed    |               | 11 cut                       |         | - · waiting 11
cut done      |               | 11 cut, 12 glue              |         | - · stays 12 · 11 completed
glue running  |               | 11 cut, 12 glue              |         | - · left 12 · 11 completed
glue done     |               | 11 cut, 12 glue, 13 (glue done) |      | - · 11 completed, 12 completed
archived done |               | 11 cut, 12 (archived done)   |         | - · 11 cancelled
gone          |               | 11 cut                       |         | - · 11 cancelled
gone          |               | 12 (cut failed)              |         | -
cut failed    |               | 12 (cut failed)              |         | -

two duties of one job: the row decides, and a void one supersedes nothing
made done     |               | 11 cut, 12 cut               |         | - · stays 12 · 11 cancelled
made done     |               | 11 cut, 12 (drawn done), 13 cut |      | - · stays 13 · 11 cancelled
made done     |               | 11 glue, 12 cut              |         | - · stays 12 · 11 cancelled
cut done      |               | 11 glue, 12 cut, 13 glue     |         | - · stays 13 · 11 cancelled, 12 completed
made done     |               | 11 cut, 12 (drawn done)      |         | - · stays 11
cut done      | held          | 11 cut, 12 glue              |         | complete completed · completed · stays 12 · 11 completed

a call that a living worker holds stands until its answer comes, unless the row has an end
made done     | held          |                              |         | keep unknown · held
cut running   | held          |                              |         | keep unknown · held
cut failed    | held          | 11 (cut failed)              |         | keep unknown · held
cut done      | held          | 11 glue                      |         | complete completed · completed · stays 11
cut done      | held          | 11 glue                      | paused  | complete completed · completed · waiting 11 · parked
glue done     | held glue     | 11 (glue done)               |         | complete completed · completed
archived done | held          | 11 (archived done)           |         | cancel superseded · cancelled
gone          | held          |                              |         | cancel superseded · cancelled

a duty for a job that is being called: kept in the call until that has ended
made done     | held          | 11 cut                       |         | keep unknown · held · next 11
cut running   | held          | 11 cut                       |         | keep unknown · held · next 11
made done     | held next 11  | 12 cut                       |         | keep unknown · held · next 12 · 11 cancelled
made done     | left          | 11 cut                       |         | keep unknown · left · next 11
made done     | held          | 11 cut                       | 202     | wait accepted · left · next 11
cut running   | held          | 11 cut                       | 200     | wait accepted · left · next 11
made done     | held          | 11 cut                       | 500     | fail failed · waiting · counts · 11 cancelled
made done     | held          | 11 cut                       | 400     | kill rejected · dead → cut failed · 11 cancelled
made done     | held          | 11 cut                       | 429     | defer deferred · waiting · 11 cancelled
made done     | held          | 11 cut                       | 200     | fail breach · waiting · counts · 11 cancelled
made done     | held last     | 11 cut                       | 500     | fail failed · dead · counts → cut failed · 11 cancelled
cut running   | held          | 11 cut                       | 500     | fail failed · waiting · counts → made done · 11 cancelled
cut failed    | held          | 11 cut, 12 (cut failed)      | 500     | fail failed · waiting · counts · 11 cancelled
archived done | held          | 11 cut, 12 (archived done)   | 500     | cancel superseded · cancelled · 11 cancelled
made done     | overdue       | 11 cut                       |         | fail timeout · waiting · counts · 11 cancelled
made done     | lost          | 11 cut                       |         | release lost · waiting · 11 cancelled
cut running   | lost          | 11 cut                       |         | wait unknown · left · next 11

a stored next duty: called when the call has ended well; a call that is to be repeated is its call, too
made done     | held next 11  |                              | 500     | fail failed · waiting · counts · 11 cancelled
made done     | held next 11  |                              | 500 paused | fail failed · waiting · counts · 11 cancelled
cut running   | held next 11  |                              | 500     | fail failed · waiting · counts → made done · 11 cancelled
cut running   | left next 11  |                              |         | keep unknown · left · next 11
cut running   | overdue next 11 |                            |         | fail timeout · waiting · counts → made done · 11 cancelled
cut done      | left next 11  | 12 glue                      |         | complete completed · completed · stays 12 · 11 completed
made done     | held next 11  | 12 glue, 13 cut              | 200     | complete completed · completed · stays 13 · 11 completed, 12 cancelled
archived done | held next 11  | 12 (archived done)           |         | cancel superseded · cancelled · 11 cancelled
gone          | left next 11  |                              |         | cancel superseded · cancelled · 11 cancelled

the answer comes when the row is two states further, or was rewound before any worker looked
glue running  | held          | 11 glue                      | 200     | complete completed · completed · left 11
glue done     | held          | 11 glue, 12 (glue done)      | 200     | complete completed · completed · 11 completed
glue done     | held          | 11 glue, 12 (glue done)      | 500     | complete completed · completed · 11 completed
archived done | held          | 11 glue, 12 (archived done)  | 200     | complete completed · completed · 11 cancelled
made done     | held          | 11 glue, 12 cut              | 200     | complete completed · completed · stays 12 · 11 cancelled
cut running   | held          | 11 glue, 12 (cut running)    | lost    | complete completed · completed · 11 cancelled
cut done      | held glue     | 11 (glue done), 12 glue      | 200     | complete completed · completed · stays 12
gone          | held          | 11 glue                      | 200     | complete completed · completed · 11 cancelled

the answer of a call that stands alone
made done     | held          |                              | 202     | wait accepted · left
made done     | held          |                              | 500     | fail failed · waiting · counts
made done     | held last     |                              | 500     | fail failed · dead · counts → cut failed
cut running   | held          |                              | 500     | fail failed · waiting · counts → made done
cut running   | held last     |                              | 500     | fail failed · dead · counts → cut failed
cut failed    | held last     | 11 (cut failed)              | 500     | fail failed · dead · counts
cut failed    | held          | 11 (cut failed)              | 200     | fail failed · waiting · counts
cut running   | held          |                              | 404     | kill rejected · dead → cut failed
made done     | held          |                              | 200     | kill breach · dead → cut failed
made done     | held last     |                              | 503     | defer deferred · waiting
cut running   | held          |                              | lost    | wait unknown · left

left to the stage
cut running   | left          |                              |         | keep unknown · left
cut running   | left          |                              | paused  | keep unknown · left
cut failed    | left          | 11 (cut failed)              |         | fail failed · waiting · counts
cut failed    | left last     | 11 (cut failed)              |         | fail failed · dead · counts
cut done      | left          | 11 glue                      |         | complete completed · completed · stays 11
archived done | left          | 11 (archived done)           |         | cancel superseded · cancelled
glue running  | left          | 11 (glue running)            |         | cancel superseded · cancelled
cut running   | overdue       |                              |         | fail timeout · waiting · counts → made done
made done     | overdue       |                              |         | fail timeout · waiting · counts
cut running   | overdue last  |                              |         | fail timeout · dead · counts → cut failed
cut done      | overdue       | 11 glue                      |         | complete completed · completed · stays 11

waiting to be called again
made done     | waiting       |                              |         | keep unknown · waiting
made done     | waiting       |                              | paused  | park deferred · waiting · parked
made done     | parked        |                              | paused  | keep unknown · waiting
cut failed    | waiting       | 11 (cut failed)              |         | keep unknown · waiting
cut running   | waiting       |                              |         | wait unknown · left
cut done      | waiting       | 11 glue                      |         | complete completed · completed · stays 11
archived done | waiting       | 11 (archived done)           |         | cancel superseded · cancelled
gone          | waiting       |                              |         | cancel superseded · cancelled
made done     | waiting       | 11 cut                       |         | cancel superseded · cancelled · stays 11
made done     | waiting       | 11 cut                       | paused  | cancel superseded · cancelled · waiting 11 · parked
made done     | parked        | 11 cut                       |         | cancel superseded · cancelled · stays 11
cut running   | waiting       | 11 cut                       |         | cancel superseded · cancelled · left 11

a worker that is lost, or goes: by the row; a failure that its stage has written meanwhile counts
made done     | lost          |                              |         | release lost · waiting
made done     | lost last     |                              |         | release lost · waiting
cut running   | lost          |                              |         | wait unknown · left
cut failed    | lost          |                              |         | release lost · waiting
cut failed    | lost          | 11 (cut failed)              |         | fail failed · waiting · counts
cut failed    | lost seen     |                              |         | fail failed · waiting · counts
cut failed    | lost last     | 11 (cut failed)              |         | fail failed · dead · counts
cut done      | lost          | 11 glue                      |         | complete completed · completed · stays 11
archived done | lost          | 11 (archived done)           |         | cancel superseded · cancelled
gone          | lost          |                              |         | cancel superseded · cancelled
made done     | held          |                              | back    | release released · waiting
cut running   | held          |                              | back    | wait unknown · left
cut failed    | held          | 11 (cut failed)              | back    | fail failed · waiting · counts
cut done      | held          | 11 glue                      | back    | complete completed · completed · stays 11
"""

# The same line; its stages keep no state, so the engine writes it.
ENGINE_JOBS = """
row           | call          | duties                       | answer  | verdict
made done     |               | 11 cut                       |         | - · stays 11
cut running   |               | 11 cut                       |         | - · waiting 11 → made done
cut running   | held          |                              | 200     | advance completed · completed → cut done
made done     | held          |                              | 204     | advance completed · completed → cut done
made done     | held          | 11 cut                       | 200     | advance completed · completed → cut done · 11 completed
made done     | held next 11  |                              | 200     | advance completed · completed → cut done · 11 completed
cut running   | held next 11  |                              | 200     | advance completed · completed → cut done · 11 completed
cut running   | held          |                              | 202     | wait accepted · left
cut running   | held          |                              | 500     | fail failed · waiting · counts → made done
cut running   | held          |                              | lost    | fail failed · waiting · counts → made done
cut running   | held          |                              | 503     | defer deferred · waiting → made done
cut running   | held last     |                              | 500     | fail failed · dead · counts → cut failed
cut running   | lost          |                              |         | release lost · waiting → made done
cut running   | held          |                              | back    | release released · waiting → made done
cut running   | waiting       |                              |         | release lost · waiting → made done
archived done | held          | 11 (archived done)           | 200     | cancel superseded · cancelled
"""

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
AFTER = {"cut": "made", "glue": "cut"}


def cut_and_glue(advance: Advance, attempts: int = 3) -> dict[str, Stage]:
    return {
        step: Stage(step=step, after=after, path=f"/{step}", timeout=90, advance=advance, attempts=attempts)
        for step, after in AFTER.items()
    }


def read_duty(text: str) -> Duty:
    number, _, what = text.strip().partition(" ")
    at = SINCE + timedelta(seconds=int(number))
    if what.startswith("("):
        step, status = what.strip("()").split()
        return Duty(int(number), "", step, status, at)
    return Duty(int(number), what, AFTER[what], "done", at)


def read_call(text: str) -> Call | None:
    if not text:
        return None
    word, *more = text.split()
    standing = {"lost": "held", "overdue": "left", "parked": "waiting"}.get(word, word)
    step = "glue" if "glue" in more else "cut"
    return Call(
        10,
        step,
        AFTER[step],
        attempt=3,
        failures=2 if "last" in more else 1,
        standing=Standing(standing),
        worker=1,
        alive=word == "held",
        overdue=word == "overdue",
        parked=word == "parked",
        next=read_duty(f"{more[more.index('next') + 1]} {step}") if "next" in more else None,
        seen=9 if "seen" in more else None,
    )


def read_job(at: str, call: str, duties: str, answer: str) -> Job:
    there = None if at == "gone" else row(*at.split())
    return Job("j", there, read_call(call), tuple(map(read_duty, filter(None, duties.split(",")))), "paused" in answer)


def told(verdict: Verdict) -> str:
    """A verdict in the table's words."""
    decision = verdict.decision
    words = ["-" if decision is None else f"{decision.verb.value} {decision.outcome.value}"]
    if verdict.ended:
        words.append(verdict.ended.value)
    if verdict.stands:
        words.append(f"{verdict.stands.value} {verdict.new.id if verdict.new else ''}".strip())
    words += ["counts"] * verdict.counts + ["parked"] * verdict.parked
    if verdict.target:
        words[-1] += f" → {' '.join(verdict.target)}"
    if verdict.stays:
        words.append(f"stays {verdict.stays.id}")
    if verdict.next:
        words.append(f"next {verdict.next.id}")
    if verdict.voids:
        words.append(", ".join(f"{v.duty.id} {v.state.value}" for v in sorted(verdict.voids, key=lambda v: v.duty.id)))
    return " · ".join(words)


def lines_of(table: str) -> list[Any]:
    lines = [tuple(cell.strip() for cell in line.split("|")) for line in table.splitlines() if "|" in line]
    assert lines[0] == ("row", "call", "duties", "answer", "verdict")
    return [pytest.param(*line, id=" / ".join(line[:4])) for line in lines[1:]]


def resolved(advance: Advance, at: str, call: str, duties: str, answer: str, attempts: int = 3) -> Verdict:
    said = ANSWERS.get(answer.removesuffix("paused").strip())
    job = read_job(at, call, duties, answer)
    return resolve(job, cut_and_glue(advance, attempts).__getitem__, said, given_back=answer == "back")


@pytest.mark.parametrize(("at", "call", "duties", "answer", "verdict"), lines_of(JOBS))
def test_a_job_is_decided_as_the_table_says(at: str, call: str, duties: str, answer: str, verdict: str) -> None:
    assert told(resolved(Advance.STAGE, at, call, duties, answer)) == verdict


@pytest.mark.parametrize(("at", "call", "duties", "answer", "verdict"), lines_of(ENGINE_JOBS))
def test_a_job_whose_state_the_engine_writes_is_decided_as_the_table_says(
    at: str, call: str, duties: str, answer: str, verdict: str
) -> None:
    assert told(resolved(Advance.ENGINE, at, call, duties, answer)) == verdict


def test_only_an_advance_by_the_engine_leaves_a_duty_and_its_rewinds_leave_none() -> None:
    for table, advance in ((JOBS, Advance.STAGE), (ENGINE_JOBS, Advance.ENGINE)):
        for line in lines_of(table):
            verdict = resolved(advance, *line.values[:4])
            assert verdict.quiet == (verdict.decision is None or verdict.decision.verb is not Verb.ADVANCE)


def test_a_row_that_the_table_refuses_makes_its_dispatch_dead_and_is_left_as_it_is() -> None:
    rewound = resolved(Advance.STAGE, "cut running", "held", "11 cut", "500")
    verdict = refused(rewound, "the check says no")
    assert told(verdict) == "kill refused · dead · 11 cancelled"
    assert verdict.decision is not None
    assert verdict.decision.error == "the table refuses ('made', 'done'): the check says no"
    begun = resolved(Advance.ENGINE, "cut running", "", "11 cut", "")
    assert told(refused(begun, "the check says no")) == "- · 11 dead"


def test_a_stage_that_says_not_now_for_a_day_is_failing() -> None:
    job = read_job("made done", "held", "", "")
    assert job.call is not None
    stages = cut_and_glue(Advance.STAGE).__getitem__
    for age, verb in ((NOT_NOW_PATIENCE, Verb.DEFER), (NOT_NOW_PATIENCE + 1, Verb.FAIL)):
        verdict = resolve(replace(job, call=replace(job.call, age=age)), stages, Answer(Reply.ANSWERED, 429))
        assert verdict.decision is not None
        assert verdict.decision.verb is verb


def test_a_failure_backs_off_by_the_failures_and_a_deferral_by_the_deferrals_up_to_half_a_minute() -> None:
    job = read_job("made done", "held", "", "")
    assert job.call is not None
    stages = cut_and_glue(Advance.STAGE, 99).__getitem__
    for answer, most in ((ANSWERS["500"], 300.0), (ANSWERS["429"], NOT_NOW_CAP)):
        for times in (0, 1, 2, 4, 50):
            failures = times if answer.status == 500 else 0
            tried = replace(job, call=replace(job.call, attempt=times + 1, failures=failures))
            delays = [resolve(tried, stages, answer).delay for _ in range(200)]
            whole = min(most, 2.0 ** min(times, 20))
            assert 0 <= min(delays) < 0.2 * whole
            assert 0.8 * whole < max(delays) <= whole


def test_a_deferral_waits_as_long_as_the_stage_asked() -> None:
    job, stages = read_job("made done", "held", "", ""), cut_and_glue(Advance.STAGE).__getitem__
    assert resolve(job, stages, Answer(Reply.ANSWERED, 429, 120.0)).delay == 120.0
    assert resolve(job, stages, Answer(Reply.REFUSED)).delay == DOWN_DELAY


ROWS = [
    "made done",
    "cut running",
    "cut failed",
    "cut done",
    "glue running",
    "glue failed",
    "glue done",
    "aside done",
    "gone",
]
CALLS = ["", *(f"{word}{step}{more}" for word in ("held", "lost", "left", "overdue", "waiting", "parked")
               for step in ("", " glue") for more in ("", " last", " next 11"))]  # fmt: skip


@given(
    st.sampled_from(ROWS),
    st.sampled_from(CALLS),
    st.lists(st.sampled_from(["cut", "glue", *(f"({at})" for at in ROWS if at != "gone")]), max_size=4),
    st.sampled_from(["", "back", "paused", *ANSWERS]),
    st.sampled_from(Advance),
)
def test_no_duty_is_lost_and_none_is_called_that_its_row_does_not_ask_for(
    at: str, call: str, duties: list[str], answer: str, advance: Advance
) -> None:
    """A job at the entry of a stage for which there is a duty or a call has one afterwards, or is dead and says so."""
    if not call.startswith("held") and answer not in ("", "paused"):
        answer = ""
    left = ", ".join(f"{number} {what}" for number, what in enumerate(duties, 12))
    verdict = resolved(advance, at, call, left, answer)
    job = verdict.job
    known = {d.id for d in job.duties} | ({job.call.next.id} if job.call and job.call.next else set())
    kept = [d for d in (verdict.stays, verdict.new, verdict.next) if d is not None]
    assert len({d.id for d in kept}) == len(kept) <= 1
    assert {v.duty.id for v in verdict.voids} <= known - {d.id for d in kept}
    with_stage = {d.id for d in job.duties if d.stage} | (known - {d.id for d in job.duties})
    assert {v.duty.id for v in verdict.voids} | {d.id for d in kept} == with_stage, "each duty has an end, or a place"
    if job.row is not None and job.row.status == "done":
        follows = {"made": "cut", "cut": "glue"}.get(job.row.step or "")
        # The newest change is the one that brought the row there: else the combination cannot be.
        due = job.duties[-1].stage == follows if job.duties else job.call is not None and job.call.stage == follows
        if follows and due:
            goes_on = bool(kept) or verdict.stands is not None
            assert goes_on or verdict.ended is State.DEAD or verdict.target == (follows, "done")
    for duty in kept:
        assert job.row is not None
        assert place(cut_and_glue(advance)[duty.stage], job.row) in (Place.ENTRY, Place.BEGUN, Place.FAILED)
    if verdict.ended is State.DEAD:
        assert verdict.target is not None or at.endswith("failed")


def test_a_decision_and_an_answer_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Decision(Verb.KILL, Outcome.BREACH).verb = Verb.COMPLETE  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Answer(Reply.ANSWERED, 200).status = 500  # type: ignore[misc]
