"""The rules, whole: every place of the row with every kind of answer, and whole jobs, against tables written out here."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answers import ANSWERS, row
from pgbaton.decision.outcome import (
    DOWN_DELAY,
    RETRY_AFTER_CAP,
    Answer,
    Decision,
    Place,
    Reply,
    Verb,
    decide,
    decide_claimed,
    decide_lost,
    decide_overdue,
    place,
)
from pgbaton.model import Advance, Outcome, Row, Stage


def stage(advance: Advance = Advance.STAGE) -> Stage:
    return Stage(step="cut", after="made", path="/cut", timeout=90, advance=advance)


ENTRY, BEGUN, FAILED, DONE = row("made", "done"), row("cut", "running"), row("cut", "failed"), row("cut", "done")
ELSEWHERE = [
    row("glue", "done"),
    row("glue", "running"),
    row("glue", "failed"),
    row("made", "running"),
    row("made", "failed"),
    row("made", None),
    row("made", "Done"),
    row("cut", "waiting"),
    row("cut", None),
    row("cut", "DONE"),
    row("cut ", "done"),
    row(None, "done"),
    row(None, None),
    row("", ""),
]


# The verb, and what the attempt is called, by the answer and the place of a row that has no end yet.
# "engine": a stage that keeps no state, so that it is the engine that wrote running and will write done.
TABLE = """
answer  | entry            | begun          | entry, engine     | begun, engine
100     | fail failed      | fail failed    | fail failed       | fail failed
200     | kill breach      | wait accepted  | advance completed | advance completed
201     | kill breach      | wait accepted  | advance completed | advance completed
202     | wait accepted    | wait accepted  | wait accepted     | wait accepted
204     | kill breach      | wait accepted  | advance completed | advance completed
299     | kill breach      | wait accepted  | advance completed | advance completed
300     | fail failed      | fail failed    | fail failed       | fail failed
301     | defer deferred   | fail failed    | defer deferred    | defer deferred
304     | fail failed      | fail failed    | fail failed       | fail failed
307     | defer deferred   | fail failed    | defer deferred    | defer deferred
399     | fail failed      | fail failed    | fail failed       | fail failed
400     | kill rejected    | kill rejected  | kill rejected     | kill rejected
401     | defer deferred   | kill rejected  | defer deferred    | defer deferred
403     | kill rejected    | kill rejected  | kill rejected     | kill rejected
404     | kill rejected    | kill rejected  | kill rejected     | kill rejected
408     | kill rejected    | kill rejected  | kill rejected     | kill rejected
409     | defer deferred   | wait unknown   | defer deferred    | defer deferred
410     | kill rejected    | kill rejected  | kill rejected     | kill rejected
422     | kill rejected    | kill rejected  | kill rejected     | kill rejected
424     | kill rejected    | kill rejected  | kill rejected     | kill rejected
425     | defer deferred   | wait unknown   | defer deferred    | defer deferred
426     | kill rejected    | kill rejected  | kill rejected     | kill rejected
429     | defer deferred   | wait unknown   | defer deferred    | defer deferred
451     | kill rejected    | kill rejected  | kill rejected     | kill rejected
499     | kill rejected    | kill rejected  | kill rejected     | kill rejected
500     | fail failed      | fail failed    | fail failed       | fail failed
501     | fail failed      | fail failed    | fail failed       | fail failed
502     | defer deferred   | wait unknown   | defer deferred    | defer deferred
503     | defer deferred   | fail failed    | defer deferred    | defer deferred
504     | fail failed      | wait unknown   | fail failed       | fail failed
507     | fail failed      | fail failed    | fail failed       | fail failed
599     | fail failed      | fail failed    | fail failed       | fail failed
refused | defer deferred   | wait unknown   | defer deferred    | defer deferred
timeout | fail failed      | wait unknown   | fail failed       | fail failed
lost    | fail failed      | wait unknown   | fail failed       | fail failed
garbled | fail failed      | wait unknown   | fail failed       | fail failed
"""


def cells() -> list[Any]:
    head, *lines = (tuple(cell.strip() for cell in line.split("|")) for line in TABLE.strip().splitlines())
    assert head == ("answer", "entry", "begun", "entry, engine", "begun, engine")
    columns = [(ENTRY, Advance.STAGE), (BEGUN, Advance.STAGE), (ENTRY, Advance.ENGINE), (BEGUN, Advance.ENGINE)]
    assert [name for name, *_ in lines] == list(ANSWERS)
    return [
        pytest.param(at, advance, ANSWERS[name], *said.split(), id=f"{name}-{where}")
        for name, *line in lines
        for (at, advance), said, where in zip(columns, line, head[1:], strict=True)
    ]


@pytest.mark.parametrize(("at", "advance", "answer", "verb", "outcome"), cells())
def test_the_outcome_of_a_call_is_as_the_table_says(
    at: Row, advance: Advance, answer: Answer, verb: str, outcome: str
) -> None:
    decision = decide(stage(advance), at, answer)
    assert (decision.verb.value, decision.outcome.value) == (verb, outcome)


@pytest.mark.parametrize("advance", Advance)
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_row_that_has_an_end_already_speaks_louder_than_any_answer(advance: Advance, answer: Answer) -> None:
    about = stage(advance)
    assert decide(about, DONE, answer) == Decision(Verb.COMPLETE, Outcome.COMPLETED)
    failed = decide(about, FAILED, answer)
    assert (failed.verb, failed.outcome, failed.error) == (Verb.FAIL, Outcome.FAILED, "said so")
    for gone in (None, *ELSEWHERE):
        assert decide(about, gone, answer) == Decision(Verb.CANCEL, Outcome.SUPERSEDED)


def test_a_stage_that_marked_its_job_failed_without_a_word_still_gets_a_reason() -> None:
    assert decide(stage(), FAILED, Answer(Reply.ANSWERED, 200)).error == "the stage marked the job failed"


def test_a_breach_names_the_answer_the_row_and_the_remedy() -> None:
    error = decide(stage(), ENTRY, Answer(Reply.ANSWERED, 204)).error or ""
    assert "204" in error
    assert "('made', 'done')" in error
    assert 'advance = "engine"' in error


@pytest.mark.parametrize(
    ("asked", "granted"), [(0.0, 0.0), (7.5, 7.5), (300.0, 300.0), (301.0, RETRY_AFTER_CAP), (1e12, RETRY_AFTER_CAP)]
)
def test_a_deferral_obeys_retry_after_up_to_the_cap(asked: float, granted: float) -> None:
    for status in (409, 425, 429, 503):
        assert decide(stage(), ENTRY, Answer(Reply.ANSWERED, status, asked)).after == granted


def test_a_deferral_without_retry_after_is_left_to_the_backoff_or_to_the_circuit() -> None:
    for status in (409, 425, 429):
        decision = decide(stage(), ENTRY, Answer(Reply.ANSWERED, status))
        assert (decision.after, decision.down) == (None, False)
    for answer in (Answer(Reply.ANSWERED, 503), Answer(Reply.REFUSED)):
        decision = decide(stage(), ENTRY, answer)
        assert (decision.after, decision.down) == (DOWN_DELAY, True)


@pytest.mark.parametrize("name", ANSWERS)
def test_only_a_stage_that_is_not_there_counts_as_down(name: str) -> None:
    assert decide(stage(), ENTRY, ANSWERS[name]).down == (name in ("301", "307", "401", "502", "503", "refused"))
    assert not decide(stage(), BEGUN, ANSWERS[name]).down


def test_only_a_deferral_obeys_retry_after() -> None:
    for answer in ANSWERS.values():
        decision = decide(stage(), ENTRY, Answer(answer.reply, answer.status, 7.0))
        assert decision.after == (7.0 if decision.verb is Verb.DEFER else None)


@given(
    st.sampled_from([ENTRY, BEGUN, FAILED, DONE, None, *ELSEWHERE]),
    st.sampled_from(Advance),
    st.sampled_from(Reply),
    st.none() | st.integers(100, 999),
    st.none() | st.floats(0, 1e9),
)
def test_every_answer_has_a_decision_and_nothing_is_completed_on_a_mere_answer(
    at: Row | None, advance: Advance, reply: Reply, status: int | None, retry_after: float | None
) -> None:
    decision = decide(stage(advance), at, Answer(reply, status, retry_after))
    if decision.outcome is Outcome.COMPLETED:
        assert at == DONE or (advance is Advance.ENGINE and status in range(200, 300) and at in (ENTRY, BEGUN))
    if at == DONE:
        assert decision.outcome is Outcome.COMPLETED
    assert decision.after is None or 0 <= decision.after <= RETRY_AFTER_CAP


def test_the_places_of_a_row_are_told_apart() -> None:
    about = stage()
    seen = [place(about, at) for at in (ENTRY, BEGUN, FAILED, DONE, None)]
    assert seen == [Place.ENTRY, Place.BEGUN, Place.FAILED, Place.DONE, Place.GONE]
    assert {place(about, at) for at in ELSEWHERE} == {Place.ELSEWHERE}


def test_a_stage_that_follows_its_own_done_state_would_be_at_its_entry_not_its_end() -> None:
    """The model refuses such a stage; were it to slip through, calling again is safer than settling unseen."""
    odd = Stage.model_construct(step="cut", after="cut", path="/cut", advance=Advance.STAGE)
    assert place(odd, DONE) is Place.ENTRY


# -- a claimed call, a lost one, an overdue one -----------------------------------------------------

CLAIMED = """
place   | the stage writes    | the engine writes
entry   | call accepted       | begin accepted
begun   | wait unknown        | wait unknown
failed  | rewind accepted     | rewind accepted
done    | complete completed  | complete completed
gone    | cancel superseded   | cancel superseded
"""

LOST = """
place   | the stage writes    | the engine writes
entry   | release lost        | release lost
begun   | wait unknown        | release lost
failed  | release lost        | release lost
done    | complete completed  | complete completed
gone    | cancel superseded   | cancel superseded
"""

OVERDUE = """
place   | the stage writes    | the engine writes
entry   | fail timeout        | fail timeout
begun   | fail timeout        | fail timeout
failed  | fail timeout        | fail timeout
done    | complete completed  | complete completed
gone    | cancel superseded   | cancel superseded
"""


@pytest.mark.parametrize(("rule", "table"), [(decide_claimed, CLAIMED), (decide_lost, LOST), (decide_overdue, OVERDUE)])
def test_a_call_without_an_answer_is_decided_by_the_row_alone(rule: Any, table: str) -> None:
    head, *lines = (tuple(cell.strip() for cell in line.split("|")) for line in table.strip().splitlines())
    assert head == ("place", "the stage writes", "the engine writes")
    rows = {"entry": ENTRY, "begun": BEGUN, "failed": FAILED, "done": DONE, "gone": None}
    assert [name for name, *_ in lines] == list(rows)
    for name, *said in lines:
        for advance, words in zip((Advance.STAGE, Advance.ENGINE), said, strict=True):
            decision = rule(stage(advance), rows[name])
            assert f"{decision.verb.value} {decision.outcome.value}" == words, (name, advance)
    for elsewhere in ELSEWHERE:
        assert rule(stage(), elsewhere) == Decision(Verb.CANCEL, Outcome.SUPERSEDED)


def test_a_call_that_its_worker_gives_back_is_called_released_and_not_lost() -> None:
    assert decide_lost(stage(), ENTRY, Outcome.RELEASED) == Decision(Verb.RELEASE, Outcome.RELEASED)
    assert decide_lost(stage(Advance.ENGINE), BEGUN, Outcome.RELEASED) == Decision(Verb.RELEASE, Outcome.RELEASED)
    assert decide_lost(stage(), BEGUN, Outcome.RELEASED).outcome is Outcome.UNKNOWN


def test_a_stage_that_is_overdue_is_told_after_how_many_seconds() -> None:
    assert decide_overdue(stage(), BEGUN).error == "no end within 90 s"
