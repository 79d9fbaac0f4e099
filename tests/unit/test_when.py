"""Times as operators type and read them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbaton.cli.when import local, short, zone
from pgbaton.times import LONGEST, duration, moment

NOW = datetime(2026, 11, 28, 1, 30, tzinfo=UTC)  # 10:30 in Seoul


@pytest.fixture
def seoul(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("600", 600),
        ("200ms", 0.2),
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("3d", 259200),
        ("1w", 604800),
        ("10분", 600),
        ("2시간 30분", 9000),
        ("0", 0),
    ],
)
def test_a_duration_is_read_as_it_is_written(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10x", "m10", "-5m", "10m!", "1e9", "nan", "inf", "99999999999", "5 5"])
def test_text_that_is_no_duration_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"no duration: 90s, 10m|longer than 31 years"):
        duration(text)


@pytest.mark.usefixtures("seoul")
@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("today", "2026-11-27T15:00"),
        ("어제", "2026-11-26T15:00"),
        ("03:00", "2026-11-27T18:00"),
        ("9:05", "2026-11-28T00:05"),
        ("11:00", "2026-11-27T02:00"),  # not yet today: yesterday's
        ("2026-11-20", "2026-11-19T15:00"),
        ("2026-11-20 03:00", "2026-11-19T18:00"),
        ("2026-11-20T03:00:05+00:00", "2026-11-20T03:00:05"),
        ("2026-11-20 03:00Z", "2026-11-20T03:00"),
    ],
)
def test_a_moment_is_read_in_the_operators_zone(text: str, utc: str) -> None:
    assert moment(text, NOW) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@pytest.mark.usefixtures("seoul")
@pytest.mark.parametrize(
    ("text", "utc"),
    [("today", "2026-11-28T00:00"), ("11:00", "2026-11-27T11:00"), ("2026-11-20 03:00", "2026-11-20T03:00")],
)
def test_the_page_reads_a_moment_in_utc(text: str, utc: str) -> None:
    assert moment(text, NOW, UTC) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@pytest.mark.usefixtures("seoul")
def test_times_are_shown_in_the_operators_zone() -> None:
    assert (local(NOW), zone()) == ("2026-11-28 10:30:00", "KST")


def test_so_long_ago_is_told_by_the_databases_clock() -> None:
    assert moment("10m") == 600


@pytest.mark.parametrize("text", ["", "soon", "25:00", "2026-13-01", "2026-11-28 25:00", "0001-01-01 00:00+23:59"])
def test_text_that_is_no_time_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is no time: 10m, 2h"):
        moment(text)


@given(st.floats(0, LONGEST / 2))
def test_a_shown_duration_can_be_typed(seconds: float) -> None:
    assert duration(short(seconds)) == pytest.approx(seconds, rel=0.3, abs=0.06)
    assert duration(short(seconds, "ko")) == duration(short(seconds))
