"""Conditions of routes: what is read, how it is written again, and what is refused in a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbaton.model.condition import LONGEST, Comparison, read, shown
from pgbaton.table import fitting


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("kind = 'photo'", "kind = 'photo'"),
        ("  size>2000  ", "size > 2000"),
        ("size != -1.50", "size <> -1.50"),
        ("ok = TRUE", "ok = true"),
        ("kind IN ('a','b') AND size<=3", "kind in ('a', 'b') and size <= 3"),
        ("logo is null and brand is NOT null", "logo is null and brand is not null"),
        ("\"Größe\" = 'a''b'", "\"Größe\" = 'a''b'"),
        ("word = '12'", "word = 12"),  # a constant is of its column's type, however it was written
        ("크기 >= 3", '"크기" >= 3'),
    ],
)
def test_a_condition_is_read_and_written_again(text: str, again: str) -> None:
    assert shown(read(text)) == again
    assert read(again) == read(text)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("", "a column is missing at its end"),
        ("kind", "a comparison is missing at its end"),
        ("kind =", "a constant is missing at its end"),
        ("kind = photo", "a constant is missing before 'photo'"),
        ("kind = 'photo", 'a constant is missing before "\'photo"'),
        ("kind = 'photo' or size > 1", "'and' or the end is missing before 'or size > 1'"),
        ("kind = 'photo' and", "a column is missing at its end"),
        ("kind in 'a'", "'(' is missing before \"'a'\""),
        ("kind in ()", "a constant is missing before ')'"),
        ("kind in ('a'", "')' is missing at its end"),
        ("kind is 'a'", "null is missing before \"'a'\""),
        ("size = width", "a constant is missing before 'width'"),
        ("size = 1; DROP TABLE jobs", "'and' or the end is missing before '; DROP TABLE jobs'"),
        ("size = 1 -- more", "'and' or the end is missing before '-- more'"),
        ("lower(kind) = 'a'", "a comparison is missing before \"(kind) = 'a'\""),
        ("size = 1e9", "'and' or the end is missing before 'e9'"),
        ("kind = 'a\x00b'", "a constant is missing before"),
        (f"{'k' * 64} = 1", "a column is missing before"),
        ("(select 1) = 1", "a column is missing before"),
    ],
)
def test_text_that_is_no_condition_is_refused_at_the_place_where_it_ends_to_be_one(text: str, missing: str) -> None:
    with pytest.raises(ValueError, match="not a condition") as refused:
        read(text)
    assert missing in str(refused.value)
    assert "it takes comparisons of a column with a constant" in str(refused.value)


def test_a_condition_has_an_end() -> None:
    with pytest.raises(ValueError, match=f"at most {LONGEST} characters"):
        read(" and ".join(["a = 1"] * 200))


def test_names_and_constants_are_quoted_in_sql() -> None:
    hostile = "\"a b\" = '''; DROP TABLE jobs; --' and size in (1, 2) and logo is not null"
    assert fitting(read(hostile), "NEW") == (
        "(NEW.\"a b\" OPERATOR(pg_catalog.=) '''; DROP TABLE jobs; --')"
        " AND (NEW.\"size\" OPERATOR(pg_catalog.=) '1' OR NEW.\"size\" OPERATOR(pg_catalog.=) '2')"
        ' AND NEW."logo" IS NOT NULL'
    )


_columns = st.from_regex(r'[^"\x00-\x1f\x7f\ud800-\udfff]{1,15}', fullmatch=True)
_texts = st.text(st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"]), max_size=12)
_comparisons = st.one_of(
    st.builds(Comparison, _columns, st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), st.tuples(_texts)),
    st.builds(Comparison, _columns, st.just("in"), st.lists(_texts, min_size=1, max_size=3).map(tuple)),
    st.builds(Comparison, _columns, st.sampled_from(["is null", "is not null"])),
)


@given(st.lists(_comparisons, min_size=1, max_size=4).map(tuple))
def test_every_condition_is_read_as_it_is_shown(condition: tuple[Comparison, ...]) -> None:
    assert read(shown(condition)) == condition


@given(st.text(max_size=60))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        condition = read(text)
    except ValueError:
        return
    assert read(shown(condition)) == condition
