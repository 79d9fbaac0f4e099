"""The findings of one look at the pipeline."""

from __future__ import annotations

from datetime import UTC, datetime

from pgbaton.health import LATELY, Finding, diagnose, worst_first
from pgbaton.insights import Overview, WorkerSeen


def worker(number: int, *, alive: bool, calls: int = 0, silent: float = 20, name: str | None = None) -> WorkerSeen:
    return WorkerSeen(number, "ads", name or f"w{number}", 64, calls, False, alive, 600, silent, 15)


def said_of(*workers: WorkerSeen) -> list[tuple[str, str]]:
    seen = Overview("ads", datetime.now(UTC), False, (), workers, (), None, (), False)
    return [(f.level, f.code) for f in diagnose(seen)]


LIVING = worker(1, alive=True, silent=1)


def test_a_lost_worker_is_a_warning_while_it_holds_calls() -> None:
    assert said_of(LIVING, worker(2, alive=False, calls=3, silent=LATELY + 1)) == [("warn", "lost_worker")]


def test_a_lost_worker_whose_calls_were_taken_over_is_a_note_for_a_while() -> None:
    assert said_of(LIVING, worker(2, alive=False)) == [("note", "lost_over")]
    assert said_of(LIVING, worker(2, alive=False, silent=LATELY + 1)) == []


def test_a_living_worker_that_cannot_renew_its_lease_is_told_of_before_the_lease_ends() -> None:
    assert said_of(LIVING, worker(2, alive=True, silent=11)) == [("warn", "late_worker")]
    assert said_of(LIVING, worker(2, alive=True, silent=9)) == []  # a renewal may come late


def test_a_worker_that_came_back_under_its_name_is_not_told_of() -> None:
    assert said_of(LIVING, worker(2, alive=False, name="w1")) == []


def test_without_a_worker_nothing_is_called_and_that_is_bad_where_anything_is_to_be_called() -> None:
    assert said_of(worker(1, alive=False, calls=3)) == [("bad", "no_worker")]
    assert said_of() == [("note", "no_worker")]


def test_a_cause_hides_its_mere_consequences_and_the_worst_comes_first() -> None:
    found = [Finding("paused_pipeline", "note"), Finding("no_worker", "bad"), Finding("read_only", "bad")]
    assert [f.code for f in worst_first(found)] == ["read_only", "paused_pipeline"]
