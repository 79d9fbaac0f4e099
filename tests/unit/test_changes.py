"""The changes of a job's row are told from its dispatches, and none is made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pgbaton.insights.changes import Change, compose
from pgbaton.insights.detail import AttemptSeen, DispatchSeen

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
ENTRIES = {"cut": "made", "glue": "cut"}


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def dispatch(id: int, stage: str, state: str, began: float, ended: float | None) -> DispatchSeen:
    answer = (200, None, None) if ended is not None else (None, None, None)
    outcome = state if ended is not None else None
    end = at(ended) if ended is not None else None
    call = AttemptSeen(1, "w", at(began + 1), end, 1.0, outcome, *answer)
    return DispatchSeen(id, stage, state, 1, 0, at(began), at(began), None, end, False, "t", (call,), ())


def codes(changes: tuple[Change, ...]) -> list[tuple[str, object]]:
    return [(c.code, c.values.get("stage") or c.values.get("who")) for c in changes]


LINE = [dispatch(1, "cut", "completed", 0, 10), dispatch(2, "glue", "dead", 10, 30)]


def test_the_newest_comes_first_and_operators_stand_between() -> None:
    retried = Change(at(20), "acted", {"who": "mina", "action": "retry"})
    told = compose(LINE, ENTRIES, [retried], at(30.5))
    assert codes(told) == [
        ("dead", "glue"),
        ("acted", "mina"),
        ("completed", "cut"),
        ("entered", "glue"),
        ("entered", "cut"),
    ]
    assert told[-1].sentence("en") == "the row came to (made, done): cut is to be called"
    assert told[-1].sentence("ko") == "행이 (made, done) 상태가 되어 cut 호출 대상이 되었습니다"


def test_a_row_that_was_written_after_the_journals_last_word_is_said_to_be() -> None:
    assert compose(LINE, ENTRIES, [], at(300))[0].code == "written"
    assert compose(LINE, ENTRIES, [], None)[0].code == "dead"


def test_that_a_stage_began_is_no_unknown_change() -> None:
    running = [dispatch(1, "cut", "running", 0, None)]
    assert compose(running, ENTRIES, [], at(1.2))[0].code == "entered"
    assert compose(running, ENTRIES, [], at(4))[0].code == "written"
