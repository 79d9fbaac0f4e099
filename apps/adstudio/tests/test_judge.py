"""The judge: good ads pass, and each way of spoiling one is found by the check that it is about."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ads import layouts, models, photo_of, second_look
from PIL import Image, ImageFilter

from adstudio.vision.ad_checks import LEAST_KEPT, LEAST_READ
from adstudio.vision.ad_copy import AdCopy
from adstudio.vision.copy_reading import read_copy
from adstudio.vision.judge import judge_ad
from adstudio.vision.kit import NO_KIT
from adstudio.vision.layout import Layout, Line, Window, from_hex, to_hex
from adstudio.vision.overlay import draw
from adstudio.vision.photo import encode_jpeg, open_photo
from adstudio.vision.read_back import likeness
from adstudio.vision.second_look import SecondLook
from adstudio.vision.shapes import Box, Rgb, Verdict

GOOD = [
    ("figs.jpg", "50% 할인 ₩12,900"),
    ("rocket.jpg", "Reach for more"),
    ("astronaut.jpg", "꿈은 더 멀리 간다"),
    ("coffee-bag.jpg", "아침을 깨우는 한 봉\n한옥커피 원두 200g ₩15,900"),
    ("serum.png", "수분 가득, 하루 종일\n아쿠아 세럼 30ml 1+1\n구매하기"),
]


def judged(
    photo: str, text: str, layout: Layout, *, spoil: Callable[[Rgb], Rgb] = lambda ad: ad, copy: AdCopy | None = None
) -> Verdict:
    """The verdict on ``layout`` drawn, changed by ``spoil``, and stored as the pipeline stores it."""
    said = read_copy(text)
    ad = open_photo(encode_jpeg(spoil(draw(layout, photo_of(photo), said, NO_KIT))))
    return judge_ad(ad, layout, photo_of(photo), copy or said, second_look(photo, text), models()[3])


def failed(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if not check.passed}


def chosen(photo: str, text: str, format_: str = "square") -> Layout:
    return layouts(photo, text, format_)[0]


def moved(layout: Layout, right: int, down: int, only: int | None = None) -> Layout:
    """``layout`` with its type (or one line of it) elsewhere."""

    def shift(box: Box) -> Box:
        return Box(box.left + right, box.top + down, box.right + right, box.bottom + down)

    lines = tuple(
        replace(line, x=line.x + right, y=line.y + down) if only in (None, i) else line
        for i, line in enumerate(layout.lines)
    )
    return replace(
        layout,
        lines=lines,
        text_box=shift(layout.text_box) if only is None else layout.text_box,
        button=layout.button and shift(layout.button),
    )


@pytest.mark.parametrize(("photo", "text"), GOOD)
@pytest.mark.parametrize("format_", ["square", "story"])
def test_a_good_ad_passes_every_check(photo: str, text: str, format_: str) -> None:
    verdict = judged(photo, text, chosen(photo, text, format_))
    assert verdict.passed, verdict.reasons
    assert len(verdict.checks) == 15
    assert len(verdict.reasons) == 1  # what it cannot judge


def test_reasons_are_in_the_copys_language() -> None:
    korean = judged(*GOOD[0], chosen(*GOOD[0]))
    english = judged(*GOOD[1], chosen(*GOOD[1]))
    assert "판단하지 못합니다" in korean.reasons[-1]
    assert "taste" in english.reasons[-1]
    assert all(any("가" <= char <= "힣" for char in check.reason) for check in korean.checks)
    assert not any(any("가" <= char <= "힣" for char in check.reason) for check in english.checks)


def on_photo(photo: str, text: str, left: int, top: int) -> Layout:
    """The photo from edge to edge with the type at a place that the planner would not take."""
    layout = chosen(photo, text)
    whole = replace(
        layout, master="full_bleed", pane=Box(0, 0, layout.width, layout.height), window=Window(0.0, 0.0, 1.0, 1.0),
        ink="#ffffff", accent="#ffffff",
    )  # fmt: skip
    return moved(whole, left - layout.text_box.left, top - layout.text_box.top)


def test_type_on_the_subject_is_found() -> None:
    assert "occlusion" in failed(
        judged("figs.jpg", "50% 할인 ₩12,900", on_photo("figs.jpg", "50% 할인 ₩12,900", 300, 400))
    )


def test_type_on_a_face_is_found() -> None:
    layout = on_photo("astronaut.jpg", "꿈은 더 멀리 간다", 60, 140)
    assert "faces" in failed(judged("astronaut.jpg", "꿈은 더 멀리 간다", layout))


def test_a_face_that_the_crop_cuts_is_found() -> None:
    layout = replace(chosen("astronaut.jpg", "꿈은 더 멀리 간다"), window=Window(0.0, 0.24, 1.0, 0.9))
    assert "faces" in failed(judged("astronaut.jpg", "꿈은 더 멀리 간다", layout))


def test_a_crop_without_the_subject_is_found() -> None:
    layout = replace(chosen("rocket.jpg", "Reach for more"), window=Window(0.0, 0.0, 0.45, 0.67))
    assert "subject_kept" in failed(judged("rocket.jpg", "Reach for more", layout))


def test_a_crop_through_a_thing_is_found_unless_the_photo_had_cut_it() -> None:
    grain = np.random.default_rng(5).integers(0, 255, (240, 480, 3), np.uint8)
    layout = replace(chosen("rocket.jpg", "Reach for more"), window=Window(0.0, 0.0, 0.6, 1.0))  # 288 of 480 pixels
    car, sign = Box(100, 60, 320, 180), Box(300, 20, 380, 60)
    kept = {
        name: SecondLook(grain, (), things, models()[1]).kept(layout)  # type: ignore[arg-type]
        for name, things in {
            "whole": (Box(40, 60, 280, 180),),
            "cut": (car,),
            "aside": (Box(20, 60, 260, 180), replace(sign, right=330)),
            "at the photo's edge": (Box(40, 60, 280, 180), Box(400, 60, 480, 100)),
        }.items()
    }
    assert kept["whole"] == 1
    assert kept["cut"] < LEAST_KEPT
    assert kept["aside"] >= LEAST_KEPT
    assert kept["at the photo's edge"] >= LEAST_KEPT


def test_type_on_busy_ground_is_found() -> None:
    text = "도심에서 한 시간"
    assert {"readability"} <= failed(judged("stream.jpg", text, on_photo("stream.jpg", text, 80, 600)))


def test_type_without_contrast_is_found() -> None:
    layout = chosen("figs.jpg", "50% 할인 ₩12,900")
    near = to_hex(tuple(min(255, channel + 60) for channel in from_hex(layout.ground)))  # type: ignore[arg-type]
    faint = replace(layout, ink=near, accent=near)
    assert "contrast" in failed(judged("figs.jpg", "50% 할인 ₩12,900", faint))


def test_type_outside_the_safe_area_is_found() -> None:
    story = chosen("figs.jpg", "50% 할인 ₩12,900", "story")
    assert "safe_area" in failed(judged("figs.jpg", "50% 할인 ₩12,900", moved(story, 0, -200)))


def test_a_line_off_its_axis_is_found() -> None:
    layout = chosen("figs.jpg", "50% 할인 ₩12,900")
    assert failed(judged("figs.jpg", "50% 할인 ₩12,900", moved(layout, 60, 0, only=1))) == {"alignment"}


def test_type_that_is_too_small_is_found() -> None:
    layout = chosen("figs.jpg", "50% 할인 ₩12,900")
    lines = tuple(replace(line, size=line.size // 6, width=line.width // 6) for line in layout.lines)
    found = failed(judged("figs.jpg", "50% 할인 ₩12,900", replace(layout, lines=lines)))
    assert {"size", "white_space"} <= found


def sized(layout: Layout, role: str, share: float) -> Layout:
    def line(one: Line) -> Line:
        changed = replace(one, size=round(one.size * share), width=round(one.width * share))
        return changed if one.role == role else one

    return replace(layout, lines=tuple(map(line, layout.lines)))


def test_an_offer_that_whispers_is_found() -> None:
    layout = sized(chosen("figs.jpg", "50% 할인 ₩12,900"), "offer", 0.5)
    assert failed(judged("figs.jpg", "50% 할인 ₩12,900", layout)) == {"hierarchy"}


def test_a_missing_line_is_found() -> None:
    photo, text = GOOD[3]
    layout = chosen(photo, text)
    less = replace(layout, lines=tuple(line for line in layout.lines if line.role != "sub"))
    assert "wording" in failed(judged(photo, text, less))


def test_a_price_that_was_drawn_wrong_is_found() -> None:
    layout = chosen("figs.jpg", "50% 할인 ₩12,900")
    assert "wording" in failed(judged("figs.jpg", "50% 할인 ₩12,900", layout, copy=read_copy("50% 할인 ₩21,900")))


def test_bad_breaks_are_found() -> None:
    text = "강남역 도보 3분"
    layout = chosen("stream.jpg", text)
    line = layout.lines[0]
    broken_ = (
        replace(line, text="강남역 도보", width=int(line.width * 0.7)),
        replace(line, text="3분", y=line.y + line.size),
    )
    room = replace(layout, lines=broken_)
    assert "breaks" in failed(judged("stream.jpg", text, moved(room, 0, -line.size // 2)))


def blurred(ad: Rgb) -> Rgb:
    return np.asarray(Image.fromarray(ad).filter(ImageFilter.GaussianBlur(28)))


def test_type_that_cannot_be_read_is_found() -> None:
    found = failed(judged("figs.jpg", "50% 할인 ₩12,900", chosen("figs.jpg", "50% 할인 ₩12,900"), spoil=blurred))
    assert {"read_back", "read_small"} <= found


def test_an_enlarged_photo_is_found() -> None:
    layout = replace(chosen("chelsea.jpg", "고양이도 반한 포근함"), window=Window(0.3, 0.3, 0.6, 0.6))
    assert "resolution" in failed(judged("chelsea.jpg", "고양이도 반한 포근함", layout))


def test_a_picture_of_another_size_is_refused() -> None:
    layout = chosen("figs.jpg", "50% 할인 ₩12,900")
    with pytest.raises(ValueError, match="picture"):
        judge_ad(
            np.zeros((40, 40, 3), np.uint8), layout, photo_of("figs.jpg"), read_copy("50% 할인 ₩12,900"),
            second_look("figs.jpg", "50% 할인 ₩12,900"), models()[3],
        )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["고양이도 반한 포근함", "여름 휴가 얼리버드", "Reach for more", "한옥커피 원두 200g", "₩12,900"]
)
def test_hangul_latin_and_prices_are_read_back(text: str) -> None:
    layout = chosen("figs.jpg", text)
    checks = {check.name: check.value for check in judged("figs.jpg", text, layout).checks}
    assert checks["read_back"] >= LEAST_READ
    assert checks["read_small"] >= LEAST_READ


@pytest.mark.parametrize("size", [24, 72])
def test_a_korean_line_is_not_read_as_latin_letters(size: int) -> None:
    ocr = models()[3]
    assert not re.search("[A-Za-z]", "".join(ocr.in_black("가볍게,", "ExtraBold", size, "ko")))
    assert any("SALE" in said for said in ocr.in_black("겨울 SALE", "ExtraBold", size, "ko"))


@pytest.mark.parametrize(
    ("meant", "readings", "value"),
    [
        ("₩12,900", ("W12,900", "12900"), 1.0),
        ("할인", ("한인",), 5 / 6),  # one of six letters: Hangul is taken apart
        ("SALE", ("",), 0.0),
        ("Wake up", ("WAKEUP",), 1.0),
    ],
)
def test_likeness_counts_letters(meant: str, readings: tuple[str, ...], value: float) -> None:
    assert likeness(meant, readings) == pytest.approx(value)


def test_a_large_thing_may_not_be_cut_and_a_view_may() -> None:
    photo = np.zeros((480, 480, 3), np.uint8)
    photo[::8] = 255  # in focus all over
    thing = np.zeros((480, 480), np.float32)
    thing[60:420, 60:420] = 1
    view = np.zeros((480, 480), np.float32)
    view[120:360] = 1
    half = replace(chosen("rocket.jpg", "Reach for more"), window=Window(0, 0, 0.5, 1))

    def kept(map_: np.ndarray) -> float:
        class Seen:
            def map(self, photo: np.ndarray, least_sure: float = 0.0) -> np.ndarray:
                return map_[:, ::-1]

        return SecondLook(photo, (), (), Seen()).kept(half)  # type: ignore[arg-type]

    assert kept(thing) < LEAST_KEPT
    assert kept(view) == 1
