"""How soon the next turn may follow."""

from __future__ import annotations

import pytest

from pgbaton.pace import MANY, MOST, SHARE, Pace


def after_calls_of(seconds: float) -> Pace:
    pace = Pace()
    for _ in range(500):
        pace.called(seconds)
    pace.turned(10.0)
    return pace


def test_nothing_is_waited_for_while_few_calls_are_under_way() -> None:
    assert after_calls_of(1.0).pause(10.0, MANY - 1) == 0


def test_a_share_of_what_a_call_takes_lies_between_two_turns() -> None:
    pace = after_calls_of(0.05)
    assert pace.pause(10.0, MANY) == pytest.approx(0.05 * SHARE)
    assert pace.pause(10.004, MANY) == pytest.approx(0.05 * SHARE - 0.004)
    assert pace.pause(11.0, MANY) <= 0


def test_however_slow_the_calls_are_the_wait_is_short() -> None:
    assert after_calls_of(600.0).pause(10.0, 64) == pytest.approx(MOST)


def test_nothing_is_waited_for_before_any_call_has_ended() -> None:
    assert Pace().pause(0.0, 64) == 0
