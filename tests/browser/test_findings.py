"""What is worth a word on the first page, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime

from pgbaton.insights import Overview, WorkerSeen
from pgbaton.web.findings import LATELY, findings


def worker(number: int, *, alive: bool, calls: int = 0, silent: float = 20, name: str | None = None) -> WorkerSeen:
    return WorkerSeen(number, "ads", name or f"w{number}", 64, calls, False, alive, 600, silent)


def said_of(*workers: WorkerSeen) -> list[tuple[str, str]]:
    seen = Overview("ads", datetime.now(UTC), False, (), workers, (), None, 0, (), False)
    return [(f.level, f.code) for f in findings(seen)]


LIVING = worker(1, alive=True, silent=1)


def test_a_lost_worker_is_a_warning_while_it_holds_calls() -> None:
    assert said_of(LIVING, worker(2, alive=False, calls=3, silent=LATELY + 1)) == [("warn", "lost_worker")]


def test_a_lost_worker_whose_calls_were_taken_over_is_a_note_for_a_while() -> None:
    assert said_of(LIVING, worker(2, alive=False)) == [("note", "lost_over")]
    assert said_of(LIVING, worker(2, alive=False, silent=LATELY + 1)) == []


def test_a_worker_that_came_back_under_its_name_is_not_told_of() -> None:
    assert said_of(LIVING, worker(2, alive=False, name="w1")) == []


def test_a_trigger_that_is_gone_comes_first_though_nothing_else_is_wrong() -> None:
    seen = Overview("ads", datetime.now(UTC), False, (), (LIVING,), (), None, 0, (), False, ("a_trigger",))
    assert [(f.level, f.code) for f in findings(seen)] == [("bad", "unseeing")]


def test_where_nobody_lives_that_is_what_is_said() -> None:
    assert said_of(worker(1, alive=False, calls=3)) == [("bad", "no_worker")]
