"""Comparing what was read with what was meant."""

from __future__ import annotations

import pytest

from adstudio.vision.legibility import (
    found_share,
    has_unreadable,
    in_reading_order,
    readable,
    similarity,
)
from adstudio.vision.ocr import Seen
from adstudio.vision.shapes import Box


@pytest.mark.parametrize(
    ("meant", "read", "expected"),
    [("sale", "sale", 1.0), ("sale", "", 0.0), ("", "", 1.0), ("sale", "sole", 0.75), ("abc", "xyz", 0.0)],
)
def test_similarity_is_one_less_the_share_of_edits(meant: str, read: str, expected: float) -> None:
    assert similarity(meant, read) == pytest.approx(expected)


def test_text_that_was_made_up_counts_against_similarity_but_not_against_what_was_found() -> None:
    assert similarity("sale50", "salexxxx50") == pytest.approx(0.6)
    assert found_share("sale50", "salexxxx50") == 1.0


def test_what_is_missing_or_out_of_order_is_not_found() -> None:
    assert found_share("sale50", "50") == pytest.approx(1 / 3)
    assert found_share("ab", "ba") == 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fresh Coffee, 50 %!", "freshcoffee50"),
        ("CAFÉ crème", "cafecreme"),
        ("갓 내린 Coffee", "coffee"),
        ("Ｓａｌｅ", "sale"),
        ("咖啡 sale", "sale"),
        ("★ … !", ""),
    ],
)
def test_only_letters_and_digits_that_can_be_read_are_compared(text: str, expected: str) -> None:
    assert readable(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("커피", True), ("Кофе", True), ("coffee 50 %", False), ("咖啡", True), ("★", False)]
)
def test_scripts_that_cannot_be_compared_are_told_apart(text: str, expected: bool) -> None:
    assert has_unreadable(text) is expected


def test_stretches_are_put_in_reading_order() -> None:
    def seen(text: str, left: int, top: int) -> Seen:
        return Seen(text, Box(left, top, left + 50, top + 20))

    assert in_reading_order([seen("c", 0, 30), seen("b", 60, 3), seen("a", 0, 5)]) == "a b c"
