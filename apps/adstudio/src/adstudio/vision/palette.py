"""Colours for type and panels, from the brand's or from the photo's own."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adstudio.vision.contrast import READABLE, luminance, ratio
from adstudio.vision.shapes import Rgb

Channels = tuple[int, int, int]

WHITE: Final[Channels] = (255, 255, 255)
INK: Final[Channels] = (20, 20, 22)
_BINS: Final = 24  # of the hue circle, 15 degrees each
_DULL: Final = 0.07  # mean saturation times value, under which a photo has no colour of its own
_SUN: Final = 0.125  # the hue of a warm yellow: the accent where the photo has no second colour
_RED: Final = 0.985
_DARK: Final = 0.45  # mean grey under which a photo is dark over all
_MIDDLING: Final = (
    1.9  # contrast with white, above which a ground is no pale one: colours dark enough for it look black
)
_VERMILION: Final = 0.015
_BROWN: Final = (0.03, 0.19)  # hues whose shades are brown or mustard once they are dark enough for a pale ground
_APART: Final = 0.09  # of the hue circle: closer hues are not told apart at a glance


@dataclass(frozen=True, slots=True)
class Hues:
    """A photo's colours: its leading hue and that hue's saturation (0 to 1), a second hue if it has one, and whether it
    is dark over all."""

    hue: float
    saturation: float
    second: float | None
    vivid: float
    dark: bool


def hues_of(photo: Rgb) -> Hues:
    """The colours that lead in ``photo``, weighted by how vivid they are."""
    small = np.asarray(Image.fromarray(photo).resize((64, 64), Image.Resampling.BOX).convert("HSV"), np.float32) / 255
    hue, saturation, value = (small[..., i].ravel() for i in range(3))
    weight = saturation * value
    bins = (hue * _BINS).astype(int) % _BINS
    share = np.bincount(bins, weights=weight, minlength=_BINS)
    around = share + 0.5 * (np.roll(share, 1) + np.roll(share, -1))
    first = int(around.argmax())
    of_first = bins == first
    strong = float((saturation * weight)[of_first].sum() / max(float(weight[of_first].sum()), 1e-6))
    second = None
    for other in np.argsort(-around):
        apart = min(abs(other - first), _BINS - abs(other - first)) / _BINS
        if apart > _APART and around[other] > 0.12 * around[first]:
            second = (float(other) + 0.5) / _BINS
            break
    return Hues((first + 0.5) / _BINS, strong, second, float(weight.mean()), _lightness(photo) < _DARK)


def _lightness(photo: Rgb) -> float:
    """The mean grey as the eye weighs colours, 0 to 1: a saturated red or violet is dark, however bright its one
    channel."""
    small = np.asarray(Image.fromarray(photo).resize((32, 32), Image.Resampling.BOX).convert("L"), np.float32)
    return float(small.mean() / 255)


def contrast(a: Channels, b: Channels) -> float:
    """WCAG's contrast of two colours, 1 to 21."""
    return float(ratio(luminance(np.array(a)), luminance(np.array(b))))


def ink_on(ground: Channels) -> Channels:
    """White or near black, whichever reads better."""
    return max(WHITE, INK, key=lambda ink: contrast(ink, ground))


def panel_of(hues: Hues, brand: Channels | None) -> Channels:
    """The colour of a panel beside the photo: the brand's, or a deep or a pale shade of the photo's own."""
    if brand is not None:
        return brand
    if hues.vivid < _DULL:
        return (30, 31, 34) if hues.dark else (241, 240, 237)
    if hues.dark:
        return _hsv(hues.hue, min(0.66, hues.saturation + 0.1), 0.22)
    return _hsv(hues.hue, min(0.09, hues.saturation * 0.2), 0.965)


def tint_of(hues: Hues) -> Channels:
    """The colour of a light scrim: nearly white, with a breath of the photo's hue."""
    colourful = min(0.45, hues.saturation) if hues.vivid >= _DULL else 0.0
    return _hsv(hues.hue, colourful * 0.12, 0.985)


def deepened(ground: NDArray[np.floating]) -> Channels:
    """The colour of a dark scrim: a deep shade of the ground's own hue (``[3]``, 0 to 255); another would go grey."""
    red, green, blue = (float(channel) / 255 for channel in ground)
    hue, saturation, _ = colorsys.rgb_to_hsv(red, green, blue)
    return _hsv(hue, min(0.75, 1.35 * saturation), 0.13)


def accent_on(ground: Channels, hues: Hues, brand: Channels | None) -> Channels:
    """The offer's colour: the brand's, the photo's second, or a warm yellow or red; 4.5 to 1 on ``ground``."""
    if brand is not None and contrast(brand, ground) >= READABLE:
        return brand
    on_dark = contrast(WHITE, ground) > contrast(INK, ground)
    if on_dark:
        warm = hues.second is not None and (hues.second < 0.19 or hues.second > 0.94)
        return _readable(hues.second if warm and hues.second is not None else _SUN, ground, on_dark=True)
    if contrast(WHITE, ground) > _MIDDLING:
        return INK
    hue = hues.hue if hues.vivid >= _DULL and hues.saturation > 0.3 else _RED
    hue = _VERMILION if _BROWN[0] < hue < _BROWN[1] else hue
    return _readable(hue, ground, on_dark=False)


def _readable(hue: float, ground: Channels, *, on_dark: bool) -> Channels:
    """The most colourful shade of ``hue`` with contrast enough on ``ground``; else the ink."""
    shades = (
        [(0.78, 1.0), (0.66, 1.0), (0.52, 1.0), (0.36, 1.0)] if on_dark else [(0.9, v / 100) for v in range(78, 30, -6)]
    )
    for saturation, value in shades:
        colour = _hsv(hue, saturation, value)
        if contrast(colour, ground) >= READABLE:
            return colour
    return ink_on(ground)


def backdrop_of(hues: Hues, subject_light: float, brand: Channels | None) -> Channels:
    """The ground of a cut-out: the brand's colour, or a shade that sets it off. ``subject_light``: 0 to 1."""
    if brand is not None:
        return brand
    colourful = hues.vivid >= _DULL
    if subject_light > 0.72:
        return _hsv(hues.hue if colourful else 0.58, 0.42 if colourful else 0.25, 0.55)
    return _hsv(hues.hue if colourful else 0.1, 0.16 if colourful else 0.04, 0.95)


def _hsv(hue: float, saturation: float, value: float) -> Channels:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)
