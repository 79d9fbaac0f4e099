"""What becomes of the copy before it is drawn: cleaning, glyphs, lines, sizes."""

from __future__ import annotations

import struct
import unicodedata
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageFont

from adstudio.vision.setting_text import clusters, drawable, tidy
from adstudio.vision.errors import CopyError, FontError
from adstudio.vision.font import covered
from adstudio.vision.typesetting import (
    balanced,
    estimated_width,
    largest_setting,
    lines_needed,
    narrowest,
    pieces,
    smallest_legible,
)

FONT = Path(str(files("adstudio") / "assets" / "fonts" / "Pretendard-Bold.otf"))


def one_em_each(text: str) -> float:
    return float(len(text))


def font_file(cmap: bytes) -> bytes:
    """A font file with nothing but a ``cmap`` table, which holds one (3, 1) subtable."""
    table = struct.pack(">HHHHI", 0, 1, 3, 1, 12) + cmap
    return struct.pack(">4sHHHH4sIII", b"\0\1\0\0", 1, 0, 0, 0, b"cmap", 0, 28, len(table)) + table


def test_loose_jamo_become_syllables() -> None:
    assert tidy(unicodedata.normalize("NFD", "고양이도 반한")) == "고양이도 반한"


def test_controls_joiners_and_line_breaks_are_cleaned_away() -> None:
    assert tidy("\ufeff Slow\u200d\x00 \r\n\t mornings\u202e\u00ad ") == "Slow mornings"


def test_a_lone_surrogate_does_no_harm() -> None:
    assert tidy("a\ud800b") == "ab"


def test_a_space_that_does_not_break_stays() -> None:
    assert tidy("10\u00a0000  won") == "10\u00a0000 won"


def test_characters_that_the_font_lacks_are_dropped_and_reported() -> None:
    found = drawable("Lift 🚀 off 👩‍🚀!", covered(FONT))
    assert (found.text, found.dropped) == ("Lift off !", ("🚀", "👩"))


@pytest.mark.parametrize("copy", ["", "   ", "\n\t\u200b", "\x00"])
def test_an_empty_copy_is_refused(copy: str) -> None:
    with pytest.raises(CopyError, match="empty"):
        drawable(copy, covered(FONT))


@pytest.mark.parametrize("copy", ["🚀🔥", "🚀 !", "🚀\ufe0f…"])
def test_a_copy_with_nothing_to_draw_is_refused(copy: str) -> None:
    with pytest.raises(CopyError, match="nothing of the copy can be drawn"):
        drawable(copy, covered(FONT))


@pytest.mark.parametrize(
    ("copy", "script"), [("مرحبا", "Arabic"), ("Sale שלום", "Hebrew"), ("नमस्ते", "Devanagari"), ("漢字", "Cjk")]
)
def test_a_script_that_cannot_be_set_is_named(copy: str, script: str) -> None:
    with pytest.raises(CopyError, match=script):
        drawable(copy, covered(FONT))


def test_the_shipped_font_covers_hangul_and_latin_but_no_emoji() -> None:
    points = covered(FONT)
    assert set(range(0xAC00, 0xD7A4)) <= points
    assert {ord(char) for char in "Slow 99% — “é” ₩"} <= points
    assert not {ord(char) for char in "🚀漢م"} & points


def test_a_font_with_a_16_bit_table_is_read(tmp_path: Path) -> None:
    # Two segments: 65 to 67 by shift (67 lands on glyph 0), 97 to 98 by list; then the closing one.
    body = struct.pack(">HHHH", 6, 0, 0, 0)
    body += struct.pack(">HHH", 67, 98, 0xFFFF) + b"\0\0" + struct.pack(">HHH", 65, 97, 0xFFFF)
    body += struct.pack(">HHH", 0x10000 - 67, 0, 1) + struct.pack(">HHH", 0, 4, 0) + struct.pack(">HH", 0, 9)
    cmap = struct.pack(">HHH", 4, len(body) + 6, 0) + body
    path = tmp_path / "small.ttf"
    path.write_bytes(font_file(cmap))
    assert covered(path) == {65, 66, 98}


@pytest.mark.parametrize("content", [b"", b"OTTO", b"<html>", font_file(struct.pack(">HHH", 0, 6, 0)), b"OTTO\xff" * 9])
def test_a_file_that_is_no_font_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "brand.ttf"
    path.write_bytes(content)
    with pytest.raises(FontError, match=r"brand\.ttf"):
        covered(path)


def test_a_missing_font_is_named(tmp_path: Path) -> None:
    with pytest.raises(FontError, match=r"absent\.otf"):
        covered(tmp_path / "absent.otf")


def test_punctuation_stays_with_its_word_when_a_word_is_divided() -> None:
    assert clusters("(안녕)하세요!") == ["(안", "녕)", "하", "세", "요!"]


@pytest.mark.parametrize(
    "copy", ["Slow mornings start here", "고양이도 반한 포근함", "50% OFF this week", "REACH FOR MORE"]
)
def test_estimated_widths_are_close_to_the_fonts(copy: str) -> None:
    real = ImageFont.truetype(str(FONT), 200).getlength(copy) / 200
    assert estimated_width(copy) == pytest.approx(real, rel=0.05)


def test_lines_are_balanced_not_filled() -> None:
    row = pieces("aaaa bbbb cccc dd", one_em_each)
    assert balanced(row, 13.0) == ("aaaa bbbb", "cccc dd")


def test_words_stay_whole_while_they_fit() -> None:
    setting = largest_setting("꿈은 멀리간다", one_em_each, 100, 300, 14)
    assert setting is not None
    assert setting.lines == ("꿈은", "멀리간다")


def test_a_word_is_divided_only_when_it_is_wider_than_the_box() -> None:
    setting = largest_setting("우리 최우수상수상기념특별할인 행사", one_em_each, 100, 300, 14)
    assert setting is not None
    assert setting.lines[0] == "우리"
    assert setting.lines[-1] == "행사"
    assert "".join(setting.lines[1:-1]) == "최우수상수상기념특별할인"
    assert {len(line) for line in setting.lines[1:-1]} <= {4, 6}  # even parts


def test_nothing_is_set_below_the_smallest_size() -> None:
    assert largest_setting("Hello", one_em_each, 60, 60, 14) is not None
    assert largest_setting("Hello hello hello hello", one_em_each, 60, 60, 14) is None
    assert largest_setting("Hello", one_em_each, 3, 3, 14) is None


def test_letters_must_be_three_percent_of_the_short_side_and_fourteen_pixels() -> None:
    assert [smallest_legible(*size) for size in ((100, 90), (427, 640), (3000, 4000))] == [14, 14, 90]


@given(st.lists(st.text("가a", min_size=1, max_size=9), min_size=1, max_size=12), st.integers(1, 12))
def test_the_narrowest_width_holds_its_lines_and_balancing_loses_no_word(words: list[str], lines: int) -> None:
    text = " ".join(words)
    row = pieces(text, one_em_each)
    width = narrowest(row, lines)
    assert lines_needed(row, width) <= lines
    set_lines = balanced(row, width)
    assert " ".join(set_lines) == text
    assert len(set_lines) == lines_needed(row, width)
