"""What goes between the photo and the lettering so that it can be read: nothing, a shadow, or a plate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from adstudio.vision.contrast import READABLE, luminance, ratio
from adstudio.vision.masks import dilate
from adstudio.vision.shapes import Box, Mask, Rgb
from adstudio.vision.typesetting import PAD_ACROSS, PAD_DOWN

Backing = Literal["none", "shadow", "plate"]
Alpha = NDArray[np.float32]
"""How much of a layer is seen: ``[height, width]``, 0 to 1."""

_WHITE, _DARK = (255, 255, 255), (20, 20, 20)
_WORST_SHARE = 0.1  # the contrast is that of the place where a tenth of the lettering has less
_HALO = 0.06  # in ems: what lies this close to a letter is behind it
_UNEVEN, _RESTLESS = 26.0, 14.0  # grey levels: spread, and mean change per pixel, that call for a backing
_OPACITIES = (0.62, 0.72, 0.82, 0.92, 1.0)


@dataclass(frozen=True, slots=True)
class Backed:
    """``under`` is the ground with its backing, before the lettering in ``colour`` goes on top."""

    under: Rgb
    colour: tuple[int, int, int]
    kind: Backing
    contrast: float


def choose_backing(ground: Rgb, ink: Alpha, ink_box: Box, font_size: int) -> Backed:
    """The lightest backing with which lettering reads at 4.5 to 1 on ``ground``.

    ``ground`` is the part of the photo inside the text box, ``ink`` the lettering's shape on it, and
    ``ink_box`` that shape's bounds there. The colour is white or near black, whichever contrasts more;
    a plate or shadow takes its tint from the ground.
    """
    behind = dilate(ink > 0, max(1, round(_HALO * font_size)))
    colour = max(_WHITE, _DARK, key=lambda one: _contrast(ground, behind, one))
    shade = _shade(ground, dark=colour == _WHITE)
    plain = _contrast(ground, behind, colour)
    unrest = _unrest(ground, ink_box)
    if plain >= READABLE and unrest < 1:
        return Backed(ground, colour, "none", plain)
    shadowed = _blend(ground, shade, _shadow(ink, font_size))
    with_shadow = _contrast(shadowed, behind, colour)
    if with_shadow >= READABLE and unrest < 2:
        return Backed(shadowed, colour, "shadow", with_shadow)
    plate = _plate(ink_box, ground.shape[:2], font_size)
    frosted = _blend(ground, _blurred(ground, 0.25 * font_size), plate)
    for opacity in _OPACITIES:
        under = _blend(frosted, shade, plate * opacity)
        contrast = _contrast(under, behind, colour)
        if contrast >= READABLE:
            break
    return Backed(under, colour, "plate", contrast)


def as_alpha(image: Image.Image) -> Alpha:
    """A grey image as a layer's alpha."""
    return np.asarray(np.asarray(image, np.float32) / np.float32(255), np.float32)


def paint(under: Rgb, colour: tuple[int, int, int], ink: Alpha) -> Rgb:
    """``under`` with the lettering on top."""
    return _blend(under, np.array(colour, np.float32), ink)


def _contrast(ground: Rgb, behind: Mask, colour: tuple[int, int, int]) -> float:
    ratios = ratio(luminance(ground[behind]), luminance(np.array(colour)))
    return round(float(np.quantile(ratios, _WORST_SHARE)), 2)


def _unrest(ground: Rgb, box: Box) -> float:
    """How busy the ground is behind the lettering; a backing is called for from 1."""
    grey = ground[box.top : box.bottom, box.left : box.right] @ np.array((0.299, 0.587, 0.114))
    change = sum(float(abs(np.diff(grey, axis=axis)).mean()) for axis in (0, 1) if grey.shape[axis] > 1)
    return max(float(grey.std()) / _UNEVEN, change / _RESTLESS)


def _shade(ground: Rgb, *, dark: bool) -> NDArray[np.float32]:
    """A very dark or very light tint of the ground's mean colour."""
    mean = ground.reshape(-1, 3).mean(axis=0)
    return np.asarray(mean * 0.16 if dark else 255 - (255 - mean) * 0.12, np.float32)


def _shadow(ink: Alpha, font_size: int) -> Alpha:
    """A soft glow around the letters with a tighter one below them, gone at the edges of the box."""
    soft = np.minimum(1, _blurred_alpha(ink, 0.15 * font_size) * 1.5)
    tight = np.roll(_blurred_alpha(ink, 0.04 * font_size), max(1, font_size // 30), axis=0)
    fade = max(1, round(0.2 * font_size))
    down, across = (np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / fade) for n in ink.shape)
    glow = np.minimum(0.8, 0.5 * soft + 0.35 * tight) * np.minimum(down[:, None], across)
    return np.asarray(glow, np.float32)


def _plate(ink_box: Box, shape: tuple[int, ...], font_size: int) -> Alpha:
    """A rounded rectangle around the lettering, inside the text box."""
    height, width = shape[:2]
    across, down = PAD_ACROSS * font_size, PAD_DOWN * font_size
    left, right = max(0.0, ink_box.left - across), min(float(width), ink_box.right + across)
    top, bottom = max(0.0, ink_box.top - down), min(float(height), ink_box.bottom + down)
    radius = min(0.3 * font_size, (right - left) / 2, (bottom - top) / 2)
    # How far each pixel's middle is outside the rectangle that the corners' centres span.
    x, y = np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5
    beside = np.maximum(np.maximum(left + radius - x, x - right + radius), 0)
    above = np.maximum(np.maximum(top + radius - y, y - bottom + radius), 0)
    return np.asarray(np.clip(radius + 0.5 - np.hypot(above[:, None], beside), 0, 1), np.float32)


def _blurred(image: Rgb, radius: float) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)), np.float32)


def _blurred_alpha(alpha: Alpha, radius: float) -> Alpha:
    image = Image.fromarray(np.rint(alpha * 255).astype(np.uint8))
    return as_alpha(image.filter(ImageFilter.GaussianBlur(radius)))


def _blend(under: Rgb, over: NDArray[np.float32], alpha: Alpha) -> Rgb:
    return np.rint(under + (over - under) * alpha[:, :, None]).astype(np.uint8)
