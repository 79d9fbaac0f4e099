"""The finished ad: what is drawn where, how large, and how well it reads."""

from __future__ import annotations

import time
import unicodedata
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from adstudio.vision.contrast import luminance, ratio
from adstudio.vision.overlay import CopyDoesNotFit, CopyError, FontError, Overlay, render
from adstudio.vision.shapes import Box, Rgb

FONT = Path(str(files("adstudio") / "assets" / "fonts" / "Pretendard-Bold.otf"))
BOX = Box(40, 30, 440, 170)


def flat(level: int, height: int = 300, width: int = 500) -> Rgb:
    return np.full((height, width, 3), level, np.uint8)


def noise(height: int = 300, width: int = 500) -> Rgb:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8)


def dusk() -> Rgb:
    """Black at the left of the usual box, and towards its right as light as white lettering bears."""
    photo = flat(0)
    photo[:] = np.interp(np.arange(500), (BOX.left, BOX.right), (0, 120))[None, :, None].astype(np.uint8)
    return photo


def changed(photo: Rgb, ad: Overlay) -> Box:
    """The bounds of what differs."""
    rows, columns = np.nonzero((photo != ad.image).any(axis=2))
    return Box(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)


def inside(inner: Box, outer: Box) -> bool:
    across = outer.left <= inner.left < inner.right <= outer.right
    return across and outer.top <= inner.top < inner.bottom <= outer.bottom


@pytest.mark.parametrize("copy", ["Slow mornings start here", "고양이도 반한 포근함", "gjpqy ÉÂ ₩!", "Sale"])
@pytest.mark.parametrize("box", [BOX, Box(0, 0, 500, 300), Box(400, 0, 500, 300), Box(0, 240, 500, 300)])
def test_nothing_outside_the_box_changes(copy: str, box: Box) -> None:
    photo = noise()
    before = photo.copy()
    ad = render(photo, box, copy, FONT)
    assert inside(changed(photo, ad), box)
    assert inside(ad.text_box, box)
    assert (photo == before).all()


@pytest.mark.parametrize("copy", ["Slow mornings start here", "꿈은 더 멀리 간다", "Jiggly ÉQg"])
def test_the_text_box_is_the_bounds_of_the_ink(copy: str) -> None:
    ad = render(flat(255), BOX, copy, FONT)
    assert ad.backing == "none"
    assert changed(flat(255), ad) == ad.text_box


def test_the_copy_is_set_as_large_as_the_box_allows() -> None:
    small, large = (render(flat(255), Box(0, 0, side, side), "Reach for more", FONT) for side in (150, 300))
    assert large.font_size >= 1.9 * small.font_size
    assert max(large.text_box.width, large.text_box.height) > 0.75 * 300


def test_korean_breaks_between_words() -> None:
    ad = render(flat(255), Box(0, 0, 130, 300), "고양이도 반한 포근함", FONT)
    assert ad.lines == ("고양이도", "반한", "포근함")


def test_korean_falls_back_to_syllables_only_for_a_word_wider_than_the_box() -> None:
    ad = render(flat(255), Box(0, 0, 110, 300), "올해 최우수상수상기념특별할인", FONT)
    assert ad.lines[0] == "올해"
    assert "".join(ad.lines[1:]) == "최우수상수상기념특별할인"
    assert len(ad.lines) > 2


def test_english_lines_are_balanced() -> None:
    assert render(flat(255), Box(0, 0, 300, 120), "Reach for much more", FONT).lines == ("Reach for", "much more")


@pytest.mark.parametrize(("level", "colour"), [(0, "#ffffff"), (60, "#ffffff"), (200, "#141414"), (255, "#141414")])
def test_the_colour_is_the_one_that_contrasts(level: int, colour: str) -> None:
    ad = render(flat(level), BOX, "Slow mornings", FONT)
    assert (ad.colour, ad.backing) == (colour, "none")
    assert ad.contrast >= 4.5


@pytest.mark.parametrize("level", range(90, 150, 6))
def test_lettering_on_middle_grey_still_reads(level: int) -> None:
    assert render(flat(level), BOX, "Slow mornings", FONT).contrast >= 4.5


def test_a_busy_background_gets_a_plate() -> None:
    ad = render(noise(), BOX, "Slow mornings", FONT)
    assert ad.backing == "plate"
    assert ad.contrast >= 4.5


def test_an_uneven_background_gets_a_shadow() -> None:
    photo = dusk()
    ad = render(photo, BOX, "Slow mornings start here", FONT)
    assert (ad.backing, ad.colour) == ("shadow", "#ffffff")
    assert ad.contrast >= 4.5


def test_a_shadow_leaves_the_rim_of_the_box_as_it_was() -> None:
    photo = dusk()
    ad = render(photo, BOX, "Slow mornings start here", FONT)
    assert ad.backing == "shadow"
    assert changed(photo, ad).left > BOX.left
    assert changed(photo, ad).bottom < BOX.bottom


def test_the_contrast_told_is_the_contrast_of_the_picture() -> None:
    ad = render(flat(70), BOX, "Slow mornings", FONT)
    white, ground = luminance(np.array((255, 255, 255))), luminance(np.array((70, 70, 70)))
    assert ad.contrast == pytest.approx(float(ratio(white, ground)), abs=0.01)
    assert float(ratio(1.0, 0.0)) == pytest.approx(21)


def test_text_is_set_towards_the_nearer_side() -> None:
    photo = flat(255)
    left, centre, right = (render(photo, Box(x, 0, x + 200, 24), "Sale", FONT).text_box for x in (0, 150, 300))
    assert left.left < 20
    assert centre.left - 150 == pytest.approx(350 - centre.right, abs=1)
    assert 500 - right.right < 20


def test_decomposed_hangul_is_set_like_composed() -> None:
    composed = render(flat(255), BOX, "한글 사랑", FONT)
    decomposed = render(flat(255), BOX, unicodedata.normalize("NFD", "한글 사랑"), FONT)
    assert (composed.image == decomposed.image).all()
    assert decomposed.lines == composed.lines


def test_an_emoji_is_left_out_and_told() -> None:
    ad = render(flat(255), BOX, "Lift off 🚀", FONT)
    assert (" ".join(ad.lines), ad.dropped) == ("Lift off", ("🚀",))
    assert (ad.image == render(flat(255), BOX, "Lift off", FONT).image).all()


@pytest.mark.parametrize(
    ("copy", "complaint"), [("  ", "empty"), ("🚀", "nothing"), ("مرحبا", "Arabic"), ("שלום", "Hebrew")]
)
def test_a_copy_that_cannot_be_set_is_refused_with_the_reason(copy: str, complaint: str) -> None:
    with pytest.raises(CopyError, match=complaint):
        render(flat(255), BOX, copy, FONT)


@pytest.mark.parametrize("copy", ["가" * 2000, "word " * 400, "x" * 100_000])
def test_far_too_much_copy_is_refused_quickly(copy: str) -> None:
    start = time.thread_time()
    with pytest.raises(CopyDoesNotFit, match="do not fit in 400 by 140 pixels in letters of 14"):
        render(flat(255), BOX, copy, FONT)
    assert time.thread_time() - start < 1


@pytest.mark.parametrize("box", [Box(0, 0, 1, 1), Box(0, 0, 300, 15), Box(0, 0, 12, 300)])
def test_a_box_too_small_for_legible_letters_is_refused(box: Box) -> None:
    with pytest.raises(CopyDoesNotFit):
        render(flat(255), box, "Slow mornings", FONT)


def test_letters_are_never_smaller_than_three_percent_of_a_large_photo() -> None:
    with pytest.raises(CopyDoesNotFit, match="letters of 30 pixels"):
        render(flat(255, 1000, 1000), Box(0, 0, 200, 60), "Slow mornings start here", FONT)


@pytest.mark.parametrize("box", [Box(10, 10, 10, 50), Box(-1, 0, 50, 50), Box(0, 0, 501, 50), Box(50, 50, 20, 60)])
def test_a_box_that_is_not_in_the_photo_is_refused(box: Box) -> None:
    with pytest.raises(ValueError, match="not a box of a photo of 500 by 300"):
        render(flat(255), box, "Hi", FONT)


def test_a_font_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "brand.otf").write_bytes(b"no font")
    for name in ("brand.otf", "absent.otf"):
        with pytest.raises(FontError, match=name):
            render(flat(255), BOX, "Hi", tmp_path / name)
