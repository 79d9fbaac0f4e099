"""Tables for people: nothing that matters is cut, on a terminal they fit, in a pipe all of it is there."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbaton.cli.look import JOBS
from pgbaton.cli.tables import Column, Format, plain, print_rows, shortened, table_lines, width

KEY = str(uuid.UUID(int=7))
ROW = [KEY, "acme", "vlm_analyze", "retryable", 3, "failed", 502, datetime(2026, 11, 28, tzinfo=UTC), "HTTP 502 " * 30]


@pytest.mark.parametrize("columns", [60, 80, 100, 120, 200])
def test_a_table_fits_the_terminal_and_no_key_state_or_heading_is_cut(columns: int) -> None:
    heading, row, *rest = table_lines(JOBS, [ROW], at_most=columns)
    assert max(width(line) for line in (heading, row)) <= columns
    assert row.startswith(f"{KEY}  ")
    assert "vlm_analyze" in row
    assert "retryable" in row.split()
    assert set(heading.split()) <= {c.name for c in JOBS}
    assert rest == [] if columns >= 120 else rest[0].startswith("(left out to fit: ")


def test_a_table_that_cannot_fit_is_longer_than_the_terminal_rather_than_broken() -> None:
    heading, row, _ = table_lines(JOBS, [ROW], at_most=20)
    assert heading.split() == ["job", "stage", "state"]
    assert row.split() == [KEY, "vlm_analyze", "retryable"]


def test_without_a_terminal_every_cell_is_whole_and_none_is_empty() -> None:
    row = table_lines(JOBS, [[*ROW[:5], None, *ROW[6:]]])[1]
    assert row == f"{KEY}  acme    vlm_analyze  retryable        3  -         502  {('HTTP 502 ' * 30).strip()}"


def test_korean_headings_and_cells_stand_in_columns() -> None:
    columns = [Column("stage", "단계"), Column("waiting", "대기", number=True), Column("error", "오류", text=True)]
    lines = table_lines(columns, [["요약", 12, "연결이 끊어졌습니다"], ["b", 3, "x"]], "ko")
    assert lines == ["단계  대기  오류", "요약    12  연결이 끊어졌습니다", "b        3  x"]


def test_a_text_is_shortened_by_what_it_takes_on_a_terminal() -> None:
    assert shortened("연결이 끊어졌습니다", 9) == "연결이…"
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=5), st.integers(1, 120))
def test_no_text_breaks_a_line(cells: list[tuple[str, str]], columns: int) -> None:
    lines = table_lines([Column("job"), Column("error", text=True, spare=1)], cells, at_most=columns)
    rows = lines[1 : len(cells) + 1]
    for (key, _), line in zip(cells, rows, strict=True):
        assert line.startswith(plain(key).rstrip())
        assert "\n" not in line
        assert line.isprintable()


def test_csv_has_every_column_and_values_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
    columns = [
        Column("job"),
        Column("at", is_time=True),
        Column("took", shown=lambda v: "!"),
        Column("more", wide=True),
    ]
    print_rows(columns, [['a,"b"\nc', at, 0.25, None]], Format.CSV, "ko")
    assert capsys.readouterr().out == 'job,at,took,more\n"a,""b""\nc",2026-11-28T12:00:00+00:00,0.25,\n'
