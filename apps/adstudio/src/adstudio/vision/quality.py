"""Is a photo good enough to advertise with? Answered by measuring its pixels.

The limits separate the shipped photos from their blurred, darkened and washed-out copies with room to
spare, and are wide enough for a product cut out on pure white or pure black.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from adstudio.vision.measured import conclude
from adstudio.vision.photo import shrink
from adstudio.vision.shapes import Check, Rgb, Verdict

MIN_SHORT_SIDE: Final = 256  # pixels
MIN_SHARPNESS: Final = 0.04  # the sharp photos have 0.6 to 2.2, blurred by 2 px at 512 px 0.006 to 0.016
MIN_BRIGHTNESS: Final = 0.06  # mean luma, 0 to 1
MAX_BRIGHTNESS: Final = 0.96
MAX_CLIPPED: Final = 0.9  # share of the pixels; a packshot on white is clipped over most of its area
MIN_CONTRAST: Final = 0.05  # standard deviation of luma; the shipped photos have 0.12 to 0.30

_LUMA: Final = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
_MEASURING_SIDE: Final = 512  # pixels; sharpness is a matter of the size at which an ad is seen
_TILE: Final = 32  # pixels

Luma = NDArray[np.float32]
"""Brightness as encoded (not linear light): ``[height, width]``, 0 to 1."""


def validate_photo(photo: Rgb, copy: str) -> Verdict:
    """Whether an ad can be made of ``photo`` and ``copy``, as far as measuring can tell."""
    return conclude((*measure(photo), _words(copy)))


def measure(photo: Rgb) -> tuple[Check, ...]:
    """Size, sharpness, brightness, clipped highlights and shadows, and contrast of ``photo``."""
    luma = shrink(photo, _MEASURING_SIDE).astype(np.float32) @ _LUMA / np.float32(255)
    return (
        _size(photo),
        _sharpness(luma),
        _brightness(luma),
        _clipped("highlights", float((luma >= 0.98).mean()), "white"),
        _clipped("shadows", float((luma <= 0.02).mean()), "black"),
        _contrast(luma),
    )


def _size(photo: Rgb) -> Check:
    short = min(photo.shape[:2])
    return Check(
        name="size",
        passed=short >= MIN_SHORT_SIDE,
        value=short,
        limit=MIN_SHORT_SIDE,
        unit="px, short side, at least",
        reason=f"The photo's short side is {short} px; at least {MIN_SHORT_SIDE} px are needed.",
    )


def _sharpness(luma: Luma) -> Check:
    """Variance of the Laplacian in the sharpest twentieth of the tiles, over the photo's own variance.

    By tiles, because a sharp product before a soft background is a good photo; over the variance,
    because a dim or flat picture has weak edges without being blurred.
    """
    value = round(float(_sharp_tiles(luma) / max(float(luma.var()), 1e-6)), 4)
    return Check(
        name="sharpness",
        passed=value >= MIN_SHARPNESS,
        value=value,
        limit=MIN_SHARPNESS,
        unit="Laplacian variance over luma variance, at least",
        reason=f"The photo is blurred: its sharpness is {value:.3f}, at least {MIN_SHARPNESS} is needed."
        if value < MIN_SHARPNESS
        else f"The photo is sharp ({value:.2f}).",
    )


def _sharp_tiles(luma: Luma) -> float:
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    side = min(_TILE, *laplacian.shape)
    if side < 1:
        return 0.0
    rows, columns = (length // side for length in laplacian.shape)
    tiles = laplacian[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return float(np.quantile(tiles.var(axis=(1, 3)), 0.95))


def _brightness(luma: Luma) -> Check:
    value = round(float(luma.mean()), 4)
    dark = value < 0.5
    passed = MIN_BRIGHTNESS <= value <= MAX_BRIGHTNESS
    wrong = "dark" if dark else "bright"
    return Check(
        name="brightness",
        passed=passed,
        value=value,
        limit=MIN_BRIGHTNESS if dark else MAX_BRIGHTNESS,
        unit=f"mean luma, {'at least' if dark else 'at most'}",
        reason=f"The photo's mean brightness is {value:.2f} of 1."
        if passed
        else f"The photo is too {wrong}: its mean brightness is {value:.2f} of 1.",
    )


def _clipped(name: str, share: float, colour: str) -> Check:
    return Check(
        name=name,
        passed=share <= MAX_CLIPPED,
        value=round(share, 4),
        limit=MAX_CLIPPED,
        unit="share of the pixels, at most",
        reason=f"{share:.0%} of the photo is plain {colour}; at most {MAX_CLIPPED:.0%} may be.",
    )


def _contrast(luma: Luma) -> Check:
    value = round(float(luma.std()), 4)
    return Check(
        name="contrast",
        passed=value >= MIN_CONTRAST,
        value=value,
        limit=MIN_CONTRAST,
        unit="standard deviation of luma, at least",
        reason=f"The photo is flat: its contrast is {value:.3f}, at least {MIN_CONTRAST} is needed."
        if value < MIN_CONTRAST
        else f"The photo's contrast is {value:.2f}.",
    )


def _words(copy: str) -> Check:
    letters = sum(not character.isspace() for character in copy)
    return Check(
        name="copy",
        passed=letters > 0,
        value=letters,
        limit=1,
        unit="characters, at least",
        reason=f"The copy has {letters} characters." if letters else "The copy is blank: there is nothing to say.",
    )
