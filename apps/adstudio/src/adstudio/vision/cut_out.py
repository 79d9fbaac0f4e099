"""Subjects on a transparent ground: set on a colour, with a shadow where they stand."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

_CLEAR: Final = 8  # of 255: less than that is transparent
_LEAST_CLEAR: Final = 0.1  # of the picture: with less than that, the ground was not taken away
_SHADOW: Final = 0.3  # its darkest


def is_cut_out(image: Image.Image) -> bool:
    """Whether a good part of an RGBA picture is transparent, and not all of it."""
    if image.mode != "RGBA":
        return False
    clear = float((np.asarray(image.getchannel("A")) < _CLEAR).mean())
    return _LEAST_CLEAR <= clear < 0.995


def on_backdrop(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """An RGBA picture laid on ``colour``, a cut-out with its shadow; any other mode comes back as it is."""
    if image.mode != "RGBA":
        return image
    ground = Image.new("RGB", image.size, colour)
    if is_cut_out(image) and colour != (255, 255, 255):
        _cast_shadow(ground, image, colour)
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def _cast_shadow(ground: Image.Image, image: Image.Image, colour: tuple[int, int, int]) -> None:
    """A soft flat ellipse under the subject's lowest part, darker where it touches."""
    box = image.getchannel("A").point(lambda value: 255 if value > 128 else 0).getbbox()
    if box is None or box[3] >= image.height - 1:
        return
    left, _, right, bottom = box
    width = right - left
    shade = Image.new("L", image.size)
    draw = ImageDraw.Draw(shade)
    high = max(2, round(0.035 * width))
    draw.ellipse((left + 0.02 * width, bottom - high, right - 0.02 * width, bottom + high), fill=round(255 * _SHADOW))
    shade = shade.filter(ImageFilter.GaussianBlur(max(1.0, 0.025 * width)))
    dark = tuple(round(channel * 0.25) for channel in colour)
    ground.paste(Image.new("RGB", image.size, dark), mask=shade)
