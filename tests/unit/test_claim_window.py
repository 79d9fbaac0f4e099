"""From which id on a claim looks for duties, with a clock of our own."""

from __future__ import annotations

import pytest

from pgbaton.worker import claim_window
from pgbaton.worker.claim_window import EVERYTHING_EVERY, LAG, LONGEST, SHARE, ClaimWindow


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(claim_window, "monotonic", lambda: now[0])
    return now


def claimed(window: ClaimWindow, **newest: int) -> None:
    """A claim that brought duties up to these ids."""
    window.next()
    window.came(newest)


def test_the_first_claim_looks_at_everything(clock: list[float]) -> None:
    window = ClaimWindow()
    assert window.next() == {}
    assert window.is_everything


def test_a_claim_begins_where_the_claims_of_a_moment_ago_had_come(clock: list[float]) -> None:
    window = ClaimWindow()
    claimed(window, cut=100)
    clock[0] += LAG + 0.01
    claimed(window, cut=180, glue=50)
    clock[0] += 0.01
    window._next_everything = clock[0] + 60
    assert window.next() == {"cut": 100}, "what lags behind by less than LAG is found"
    assert not window.is_everything
    clock[0] += LAG + 0.01
    assert window.next() == {"cut": 180, "glue": 50}


def test_a_claim_that_brings_older_duties_moves_the_window_back_by_nothing(clock: list[float]) -> None:
    window = ClaimWindow()
    claimed(window, cut=100)
    claimed(window, cut=40)
    clock[0] += LAG + 0.01
    window.next()
    window._next_everything = clock[0] + 60
    clock[0] += LAG + 0.01
    assert window.next() == {"cut": 100}


def test_everything_is_looked_at_every_now_and_then_and_more_rarely_the_longer_it_takes(clock: list[float]) -> None:
    window = ClaimWindow()
    claimed(window, cut=1)
    clock[0] += LAG + 0.01
    for took, pause in ((0.0, EVERYTHING_EVERY), (0.1, 0.1 / SHARE), (60.0, LONGEST)):
        window.widen()
        assert window.next() == {}
        clock[0] += took
        window.came({"cut": 1})
        clock[0] += pause - 0.01
        assert window.next() != {}
        window.came({})
        clock[0] += 0.02
        window.next()
        assert window.is_everything


def test_a_worker_that_widens_its_window_looks_at_everything_next(clock: list[float]) -> None:
    window = ClaimWindow()
    claimed(window, cut=1)
    clock[0] += LAG + 0.01
    window.next()
    window._next_everything = clock[0] + 60
    window.next()
    assert not window.is_everything
    window.widen()
    window.next()
    assert window.is_everything
