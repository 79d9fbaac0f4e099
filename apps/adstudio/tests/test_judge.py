"""The measured judgement of finished ads: good ones pass, each kind of bad one fails for its own reason."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

import adstudio
from adstudio.vision.judge import judge_ad
from adstudio.vision.ocr import Ocr
from adstudio.vision.photo import encode_jpeg, open_photo
from adstudio.vision.shapes import Box, Mask, Rgb, Verdict

ASSETS = Path(adstudio.__file__).parent / "assets"
ENGLISH = ("Fresh coffee,", "every morning")
KOREAN = ("갓 내린 커피", "오늘만 특가")
MIXED = ("Grand Opening", "오늘 50% 할인")
NAMES = ["astronaut", "chelsea", "coffee", "rocket"]


@dataclass(frozen=True)
class Drawn:
    """A finished ad and what its renderer says of it."""

    ad: Rgb
    text_box: Box
    lines: tuple[str, ...]
    contrast: float
    forbidden: Mask

    def inside(self) -> tuple[slice, slice]:
        return slice(self.text_box.top, self.text_box.bottom), slice(self.text_box.left, self.text_box.right)

    def with_ad(self, change: Callable[[Image.Image], Image.Image]) -> Drawn:
        return replace(self, ad=np.asarray(change(Image.fromarray(self.ad))))


@pytest.fixture(scope="module")
def ocr() -> Ocr:
    return Ocr()


def drawn(name: str, lines: tuple[str, ...], *, size: int = 34, ink: int = 255, plate: int | None = 25) -> Drawn:
    """``lines`` in grey ``ink``, on a ``plate`` or right on the photo, at the photo's top left, as a stored JPEG."""
    image = Image.fromarray(open_photo((ASSETS / "photos" / f"{name}.jpg").read_bytes()))
    draw, font = ImageDraw.Draw(image), ImageFont.truetype(str(ASSETS / "fonts" / "Pretendard-Bold.otf"), size)
    text = "\n".join(lines)
    left, top, right, bottom = (int(side) for side in draw.multiline_textbbox((24, 24), text, font=font))
    if plate is not None:
        draw.rectangle((left - 12, top - 12, right + 12, bottom + 12), fill=(plate,) * 3)
    draw.multiline_text((24, 24), text, font=font, fill=(ink,) * 3)
    ad = open_photo(encode_jpeg(np.asarray(image)))
    return Drawn(ad, Box(left, top, right, bottom), lines, 21.0, np.zeros(ad.shape[:2], bool))


def judged(ocr: Ocr, one: Drawn, copy: str | None = None) -> Verdict:
    return judge_ad(
        one.ad,
        forbidden=one.forbidden,
        text_box=one.text_box,
        copy=" ".join(one.lines) if copy is None else copy,
        lines=one.lines,
        contrast=one.contrast,
        ocr=ocr,
    )


def failed(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if not check.passed}


@pytest.mark.parametrize("lines", [ENGLISH, KOREAN, MIXED, ("SALE",)], ids=lambda lines: lines[0])
@pytest.mark.parametrize("name", NAMES)
def test_a_good_ad_passes(ocr: Ocr, name: str, lines: tuple[str, ...]) -> None:
    verdict = judged(ocr, drawn(name, lines))
    assert verdict.passed, verdict.reasons


def test_a_good_ad_without_a_plate_passes(ocr: Ocr) -> None:
    assert judged(ocr, drawn("rocket", ENGLISH, plate=None)).passed


def test_the_verdict_says_that_nobody_looked(ocr: Ocr) -> None:
    verdict = judged(ocr, drawn("coffee", ENGLISH))
    assert verdict.judge == "measured checks"
    assert "no vision model looked" in verdict.reasons[-1]


def test_english_is_read_back_and_korean_is_only_seen(ocr: Ocr) -> None:
    def asked(lines: tuple[str, ...]) -> dict[str, str]:
        return {check.name: check.reason for check in judged(ocr, drawn("coffee", lines)).checks}

    assert "read back: 100%" in asked(ENGLISH)["legibility"]
    assert "visibility" not in asked(ENGLISH)
    assert "cannot read this script" in asked(KOREAN)["visibility"]
    assert "legibility" not in asked(KOREAN)
    assert {"legibility", "visibility"} <= set(asked(MIXED))


@pytest.mark.parametrize("lines", [ENGLISH, KOREAN], ids=["english", "korean"])
def test_tiny_text_fails_for_its_size(ocr: Ocr, lines: tuple[str, ...]) -> None:
    verdict = judged(ocr, drawn("coffee", lines, size=8))
    assert "size" in failed(verdict)
    assert "too small" in verdict.reasons[0]


def test_tiny_text_in_a_box_that_promises_more_fails_too(ocr: Ocr) -> None:
    tiny = drawn("coffee", ENGLISH, size=8)
    assert "size" in failed(judged(ocr, replace(tiny, text_box=Box(10, 10, 200, 100))))


@pytest.mark.parametrize("lines", [ENGLISH, KOREAN], ids=["english", "korean"])
@pytest.mark.parametrize(("ink", "plate"), [(70, 30), (150, 110), (255, 200), (20, 60)])
def test_text_of_low_contrast_fails_whatever_the_renderer_says(
    ocr: Ocr, lines: tuple[str, ...], ink: int, plate: int
) -> None:
    verdict = judged(ocr, drawn("coffee", lines, ink=ink, plate=plate))
    assert "contrast" in failed(verdict)
    assert any("declared 21.0" in reason for reason in verdict.reasons)


def test_a_low_contrast_that_the_renderer_admits_fails(ocr: Ocr) -> None:
    assert failed(judged(ocr, replace(drawn("coffee", ENGLISH), contrast=2.0))) == {"contrast"}


def test_large_text_needs_less_contrast_than_small_text(ocr: Ocr) -> None:
    def limit(size: int) -> float:
        verdict = judged(ocr, drawn("coffee", ENGLISH, size=size))
        return next(check.limit for check in verdict.checks if check.name == "contrast")

    assert (limit(14), limit(40)) == (4.5, 3.0)


@pytest.mark.parametrize(("name", "ink"), [("chelsea", 125), ("astronaut", 150), ("coffee", 110)])
def test_grey_text_right_on_a_busy_photo_fails(ocr: Ocr, name: str, ink: int) -> None:
    assert failed(judged(ocr, drawn(name, ENGLISH, ink=ink, plate=None)))


def test_text_that_is_half_covered_is_not_legible(ocr: Ocr) -> None:
    one = drawn("coffee", ENGLISH)
    ad = one.ad.copy()
    ad[one.text_box.top : one.text_box.bottom, one.text_box.left + one.text_box.width // 2 : one.text_box.right] = 90
    verdict = judged(ocr, replace(one, ad=ad))
    assert "legibility" in failed(verdict)
    assert any("not legible: OCR reads" in reason for reason in verdict.reasons)


def test_korean_text_that_is_half_covered_is_not_visible(ocr: Ocr) -> None:
    one = drawn("coffee", KOREAN)
    ad = one.ad.copy()
    ad[one.text_box.top : one.text_box.bottom, one.text_box.left + one.text_box.width // 2 : one.text_box.right] = 90
    verdict = judged(ocr, replace(one, ad=ad))
    assert "visibility" in failed(verdict)
    assert any("not visible as text" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("lines", [ENGLISH, KOREAN, MIXED], ids=["english", "korean", "mixed"])
def test_an_ad_without_the_text_it_should_have_fails(ocr: Ocr, lines: tuple[str, ...]) -> None:
    one = drawn("chelsea", lines)
    bare = replace(one, ad=open_photo((ASSETS / "photos" / "chelsea.jpg").read_bytes()))
    assert failed(judged(ocr, bare)) & {"legibility", "visibility"}


def test_other_words_than_the_copys_are_not_legible(ocr: Ocr) -> None:
    one = replace(drawn("coffee", ("Stale coffee,", "never again")), lines=ENGLISH)
    assert failed(judged(ocr, one)) == {"legibility"}


def test_blurred_text_fails(ocr: Ocr) -> None:
    one = drawn("coffee", ENGLISH, size=24)
    assert failed(judged(ocr, one.with_ad(lambda image: image.filter(ImageFilter.GaussianBlur(5)))))


@pytest.mark.parametrize("lines", [("Fresh coffee,",), ("Fresh coffee,", "every evening"), ()])
def test_lines_that_are_not_the_copy_fail(ocr: Ocr, lines: tuple[str, ...]) -> None:
    verdict = judged(ocr, replace(drawn("coffee", ENGLISH), lines=lines), copy=" ".join(ENGLISH))
    assert "wording" in failed(verdict)


def test_a_dropped_emoji_is_no_other_wording_but_a_dropped_letter_is(ocr: Ocr) -> None:
    one = drawn("coffee", ENGLISH)
    assert judged(ocr, one, copy="☕ Fresh coffee, every morning 😀").passed
    assert failed(judged(ocr, one, copy="Fresh coffee, every morning б")) >= {"wording"}


def test_a_single_forbidden_pixel_under_the_text_fails(ocr: Ocr) -> None:
    one = drawn("coffee", ENGLISH)
    one.forbidden[one.text_box.bottom - 1, one.text_box.right - 1] = True
    verdict = judged(ocr, one)
    assert failed(verdict) == {"overlap"}
    assert "covers 1 px" in verdict.reasons[0]


def test_a_forbidden_area_right_beside_the_text_is_allowed(ocr: Ocr) -> None:
    one = drawn("coffee", ENGLISH)
    one.forbidden[:] = True
    one.forbidden[one.inside()] = False
    assert judged(ocr, one).passed


@pytest.mark.parametrize("box", [Box(-1, 0, 200, 90), Box(0, 0, 601, 90), Box(0, 0, 9, 401), Box(700, 0, 900, 90)])
def test_text_beyond_the_picture_fails(ocr: Ocr, box: Box) -> None:
    verdict = judged(ocr, replace(drawn("coffee", ENGLISH), text_box=box))
    assert failed(verdict) == {"placement"}
    assert "beyond the picture" in verdict.reasons[0]


@pytest.mark.parametrize("box", [Box(10, 10, 10, 40), Box(40, 40, 10, 10)])
def test_an_empty_text_box_fails(ocr: Ocr, box: Box) -> None:
    assert "empty" in judged(ocr, replace(drawn("coffee", ENGLISH), text_box=box)).reasons[0]


@pytest.mark.parametrize("box", [Box(30, 30, 31, 31), Box(0, 0, 600, 400), Box(0, 399, 600, 400)])
def test_an_odd_text_box_is_judged_without_a_crash(ocr: Ocr, box: Box) -> None:
    assert not judged(ocr, replace(drawn("coffee", KOREAN), text_box=box)).passed


def test_a_forbidden_area_of_another_size_is_a_mistake_of_the_caller(ocr: Ocr) -> None:
    with pytest.raises(ValueError, match="forbidden"):
        judged(ocr, replace(drawn("coffee", ENGLISH), forbidden=np.zeros((10, 10), bool)))


def test_the_ocr_answers_many_threads_alike(ocr: Ocr) -> None:
    pictures = [drawn("coffee", lines).ad for lines in (ENGLISH, ("SALE",))]
    expected = [ocr.read(picture) for picture in pictures]
    answers: list[bool] = []

    def ask(i: int) -> None:
        ocr.regions(pictures[1 - i])
        answers.append(ocr.read(pictures[i]) == expected[i])

    threads = [threading.Thread(target=ask, args=(i % 2,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 4


def test_the_ocr_works_without_a_word_and_without_the_network() -> None:
    program = """
import socket
import numpy as np
def refuse(*_): raise SystemExit("the network was used")
socket.socket.connect = socket.getaddrinfo = refuse
from adstudio.vision.ocr import Ocr
assert Ocr().read(np.zeros((200, 300, 3), np.uint8)) == ()
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_an_empty_picture_has_no_text(ocr: Ocr) -> None:
    grey = np.full((200, 300, 3), 128, np.uint8)
    assert ocr.read(grey) == ()
    assert ocr.regions(grey) == ()
