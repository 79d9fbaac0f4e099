"""Is a photo good enough to advertise with? Answered by measuring its pixels.

The limits separate the shipped photos from their blurred and darkened copies with room to spare, and are wide enough
for a product cut out on pure white or pure black. How large a photo must be depends on the format: the planner says.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from adstudio.vision.errors import Language
from adstudio.vision.measured import check, conclude
from adstudio.vision.photo import shrink
from adstudio.vision.shapes import Check, Rgb, Verdict
from adstudio.vision.sharpness import sharpness

MIN_SHARPNESS: Final = 0.32  # 123 photos have 0.33 (trees in mist) to 0.9; blurred by 2 px at 512 px, up to 0.33
MIN_BRIGHTNESS: Final = 0.06  # mean luma, 0 to 1
LIT: Final = 0.2  # luma of the brightest fiftieth: a black thing on black has lights, an underexposed photo has none
MAX_BRIGHTNESS: Final = 0.985
MAX_CLIPPED: Final = 0.93  # share of the pixels; a packshot on white is clipped over most of its area
MIN_CONTRAST: Final = 0.02  # standard deviation of luma; the shipped photos have 0.12 to 0.30
FLAT: Final = 0.05  # the same: under that a photo is called flat, which is a style (a white product on white has 0.043)

_LUMA: Final = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
_MEASURING_SIDE: Final = 512  # pixels; sharpness is a matter of the size at which an ad is seen

Luma = NDArray[np.float32]
"""Brightness as encoded (not linear light): ``[height, width]``, 0 to 1."""


def validate_photo(photo: Rgb, language: Language) -> Verdict:
    """Whether an ad can be made of ``photo``, as far as measuring can tell."""
    return conclude(measure(photo, language), language)


def measure(photo: Rgb, language: Language) -> tuple[Check, ...]:
    """Sharpness, brightness, clipped highlights and shadows of ``photo``; that it is flat is only noted."""
    luma = shrink(photo, _MEASURING_SIDE).astype(np.float32) @ _LUMA / np.float32(255)
    return (
        _sharpness(luma, language),
        _brightness(luma, language),
        _clipped("highlights", float((luma >= 0.98).mean()), "하얗게", "white", language),
        _clipped("shadows", float((luma <= 0.02).mean()), "검게", "black", language),
        _contrast(luma, language),
    )


def _sharpness(luma: Luma, language: Language) -> Check:
    value = sharpness(luma)
    passed = value >= MIN_SHARPNESS
    return check(
        "sharpness", value, MIN_SHARPNESS, "steepness of the steepest edges, 1 for a step, at least", language,
        f"사진이 선명합니다({value:.2f})." if passed else f"사진이 흐립니다: 선명도 {value:.2f}, 기준 {MIN_SHARPNESS}.",
        f"The photo is sharp ({value:.2f})." if passed
        else f"The photo is blurred: its sharpness is {value:.2f}, at least {MIN_SHARPNESS} is needed.",
        passed=passed,
    )  # fmt: skip


def _brightness(luma: Luma, language: Language) -> Check:
    value = float(luma.mean())
    dark = value < 0.5
    passed = value <= MAX_BRIGHTNESS and (value >= MIN_BRIGHTNESS or float(np.quantile(luma, 0.98)) >= LIT)
    return check(
        "brightness", value, MIN_BRIGHTNESS if dark else MAX_BRIGHTNESS,
        f"mean luma, {'at least' if dark else 'at most'}", language,
        f"사진의 평균 밝기는 {value:.2f}입니다." if passed else f"사진이 너무 {'어둡' if dark else '밝'}습니다(평균 {value:.2f}).",
        f"The photo's mean brightness is {value:.2f} of 1." if passed
        else f"The photo is too {'dark' if dark else 'bright'}: its mean brightness is {value:.2f} of 1.",
        passed=passed,
    )  # fmt: skip


def _clipped(name: str, share: float, ko: str, en: str, language: Language) -> Check:
    return check(
        name, share, MAX_CLIPPED, "share of the pixels, at most", language,
        f"사진의 {share:.0%}가 {ko} 날아갔습니다. {MAX_CLIPPED:.0%}까지 괜찮습니다.",
        f"{share:.0%} of the photo is plain {en}; at most {MAX_CLIPPED:.0%} may be.",
        passed=share <= MAX_CLIPPED,
    )  # fmt: skip


def _contrast(luma: Luma, language: Language) -> Check:
    """A flat photo is only noted, for high key and low key are styles; one of nothing but haze fails."""
    value = float(luma.std())
    passed = value >= MIN_CONTRAST
    if value >= FLAT:
        ko, en = f"사진의 명암 차이는 {value:.2f}입니다.", f"The photo's contrast is {value:.2f}."
    elif passed:
        ko, en = f"참고: 사진의 명암 차이가 작습니다({value:.3f}).", f"Note: the photo is flat ({value:.3f})."
    else:
        ko = f"사진에 명암 차이가 거의 없습니다({value:.3f})."
        en = f"The photo shows next to nothing: its contrast is {value:.3f}, at least {MIN_CONTRAST} is needed."
    return check(
        "contrast", value, MIN_CONTRAST, "standard deviation of luma, at least", language, ko, en, passed=passed
    )
