"""Where the type of a finished ad is, measured from its pixels: the ad against its own picture without type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from adstudio.vision.importance import bounds
from adstudio.vision.layout import Layout, Line
from adstudio.vision.shapes import Box, Mask, Rgb

_DIFFERS: Final = 48  # of 255: more than JPEG changes, but for single pixels
_STROKE: Final = 3  # pixels: the thinnest stroke of the smallest type
_ABOVE, _BELOW = 0.98, 0.32  # ems from a baseline to the top and to the bottom of its line


@dataclass(frozen=True, slots=True)
class LineInk:
    """A line, and the bounds of its ink in the ad; None where none was drawn."""

    line: Line
    box: Box | None


def ink_mask(ad: Rgb, bare: Rgb) -> Mask:
    """Where the ad differs from its picture without type. Raises ``ValueError`` where they differ in size."""
    if ad.shape != bare.shape:
        raise ValueError(f"the ad is {ad.shape}, its picture {bare.shape}")
    changed = np.zeros(ad.shape[:2], np.bool_)
    for channel in range(3):  # by channels: three thin planes instead of a thick one of wider numbers
        a, b = ad[:, :, channel], bare[:, :, channel]
        changed |= np.maximum(a, b) - np.minimum(a, b) > _DIFFERS
    return cv2.morphologyEx(changed.astype(np.uint8), cv2.MORPH_OPEN, np.ones((_STROKE, _STROKE), np.uint8)) > 0


def line_inks(ink: Mask, layout: Layout) -> Iterator[LineInk]:
    """The ink of each line, looked for around the line's own place; a button's type is looked for inside it."""
    height, width = ink.shape
    for line in layout.lines:
        top = max(0, round(line.y - _ABOVE * line.size))
        bottom = min(height, round(line.y + _BELOW * line.size))
        left = max(0, line.x - round(0.5 * line.size))
        right = min(width, line.x + line.width + round(0.5 * line.size))
        box = bounds(ink[top:bottom, left:right], trim=0.0)
        yield LineInk(line, box and Box(left + box.left, top + box.top, left + box.right, top + box.bottom))


def line_region(line: Line, height: int, width: int) -> Box:
    """The rectangle in which a line is read."""
    return Box(
        max(0, line.x - round(0.15 * line.size)),
        max(0, round(line.y - _ABOVE * line.size)),
        min(width, line.x + line.width + round(0.15 * line.size)),
        min(height, round(line.y + _BELOW * line.size)),
    )
