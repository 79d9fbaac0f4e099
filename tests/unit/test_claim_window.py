"""How far back a claim looks, with a clock of our own."""

from __future__ import annotations

import pytest

from pgbaton import reach
from pgbaton.model import Dispatch, State
from pgbaton.reach import EVERYTHING_EVERY, LAG, LONGEST, SHARE, Reach


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(reach, "monotonic", lambda: now[0])
    return now


def due(stage: str, waited: float) -> Dispatch:
    return Dispatch(1, "job", stage, State.RUNNING, 1, 1, None, waited=waited)


def test_the_first_claim_looks_at_everything(clock: list[float]) -> None:
    assert Reach(["cut", "glue"]).now() is None


def test_the_next_looks_back_to_the_newest_that_was_claimed_of_each_stage_and_a_second_further(
    clock: list[float],
) -> None:
    back = Reach(["cut", "glue"])
    back.now()
    back.came([due("cut", 30.0), due("cut", 20.0), due("cut", 25.0)], everything=True)
    clock[0] += 0.1
    assert back.now() == [pytest.approx(20.1 + LAG), None]  # of glue nothing is known
    back.came([due("glue", 0.0)], everything=False)
    clock[0] += 0.1
    assert back.now() == [pytest.approx(20.2 + LAG), pytest.approx(0.1 + LAG)]


def test_a_clock_of_the_database_that_jumps_back_is_followed(clock: list[float]) -> None:
    back = Reach(["cut"])
    back.now()
    back.came([due("cut", 0.0)], everything=True)
    clock[0] += 0.1
    back.now()
    back.came([due("cut", 3600.0)], everything=False)
    assert back.now() == [pytest.approx(3600.0 + LAG)]


def test_everything_is_looked_at_every_now_and_then_less_often_the_longer_it_takes(clock: list[float]) -> None:
    back = Reach(["cut"])
    for took, pause in ((0.0, EVERYTHING_EVERY), (0.1, 0.1 / SHARE), (60.0, LONGEST)):
        assert back.now() is None
        clock[0] += took
        back.came([due("cut", 0.0)], everything=True)
        clock[0] += pause - 0.01
        assert back.now() is not None
        back.came([], everything=False)
        clock[0] += 0.02


def test_who_forgets_looks_at_everything(clock: list[float]) -> None:
    back = Reach(["cut"])
    back.now()
    back.came([due("cut", 0.0)], everything=True)
    assert back.now() is not None
    back.forget()
    assert back.now() is None
