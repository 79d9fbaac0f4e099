"""Delays between tries, and what a stage may ask for in Retry-After."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbaton.backoff import Backoff, retry_after_seconds

NOW = 1_700_000_000.0


def test_delays_double_up_to_the_cap_and_start_over_after_a_success() -> None:
    backoff = Backoff(5, 60, dice=lambda: 1.0)
    assert [backoff.next() for _ in range(6)] == [5, 10, 20, 40, 60, 60]
    backoff.reset()
    assert backoff.next() == 5


def test_a_first_delay_above_the_cap_is_kept() -> None:
    backoff = Backoff(90, 60, dice=lambda: 1.0)
    assert [backoff.next(), backoff.next()] == [90, 90]


@given(st.floats(0.001, 3600), st.floats(0.001, 3600), st.integers(0, 200), st.floats(0, 1, exclude_max=True))
def test_jitter_takes_at_most_half_of_a_delay_however_long_it_goes_on(
    first: float, cap: float, tries: int, dice: float
) -> None:
    whole, jittered = Backoff(first, cap, dice=lambda: 1.0), Backoff(first, cap, dice=lambda: dice)
    for _ in range(tries + 1):
        most, delay = whole.next(), jittered.next()
    assert most <= max(first, cap)
    assert most / 2 <= delay <= most


def test_a_thousand_failures_do_not_overflow() -> None:
    backoff = Backoff(0.1, 60)
    assert all(0 < backoff.next() <= 60 for _ in range(2000))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("  7 ", 7),
        ("007", 7),
        ("999999999", 999999999),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW + 90, localtime=False), 90),
        (formatdate(NOW - 3600, usegmt=True), 0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30),
        ("Tuesday, 14-Nov-23 22:13:50 GMT", 30),
        ("Tue, 14 Nov 2023 23:13:50 +0100", 30),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float) -> None:
    assert retry_after_seconds(header, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        "-1",
        "+1",
        "1.5",
        "1e3",
        "1,2",
        "0x10",
        "soon",
        "٣",
        "²",
        "inf",
        "nan",
        "9" * 10,
        "9" * 5000,
        "\x00",
        "Tue, 99 Nov 2023 22:13:50 GMT",
        "Tue, 14 Nov 99999 22:13:50 GMT",
        "Tue, 14 Nov 2023 22:13:50 +9999999999",
        "a" * 100_000,
        ", , , ,",
        "()" * 5000,
    ],
)
def test_a_retry_after_that_makes_no_sense_is_ignored(header: str | None) -> None:
    assert retry_after_seconds(header, NOW) is None


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,4} [A-Z][a-z]{2} \d{1,6} \d+:\d+(:\d+)? ?[A-Z+-]*\d*"))
def test_no_header_breaks_a_worker(header: str) -> None:
    seconds = retry_after_seconds(header, NOW)
    assert seconds is None or 0 <= seconds < 1e12
