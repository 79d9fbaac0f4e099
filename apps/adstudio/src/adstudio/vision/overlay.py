"""Sets the copy into a box of the photo: the finished ad."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from adstudio.vision.backing import Alpha, Backing, as_alpha, choose_backing, paint
from adstudio.vision.setting_text import drawable
from adstudio.vision.errors import CopyDoesNotFit, CopyError, FontError
from adstudio.vision.font import covered
from adstudio.vision.shapes import Box, Rgb
from adstudio.vision.typesetting import (
    LEADING,
    PAD_ACROSS,
    Setting,
    estimated_width,
    largest_setting,
    smallest_legible,
)

__all__ = ["CopyDoesNotFit", "CopyError", "FontError", "Overlay", "render"]

_MEASURED_AT = 200  # pixels: large enough that rounding to pixels does not matter
_CENTRED = 0.06  # of the photo's width: a box whose middle is this close to the photo's is set centred
_LEAST_PAD = 0.2  # in ems: the ink keeps at least this far from the box

Alignment = Literal["left", "centre", "right"]


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """A finished ad, and how it was set.

    ``font_size`` is in pixels, ``text_box`` the bounds of the ink, ``colour`` as in ``#ffffff``.
    ``contrast`` is WCAG's ratio (1 to 21) between the lettering and what is behind it, backing
    included, that nine tenths of the lettering reach. ``dropped`` are the characters of the copy that
    the font lacks.
    """

    image: Rgb
    lines: tuple[str, ...]
    font_size: int
    text_box: Box
    colour: str
    backing: Backing
    contrast: float
    dropped: tuple[str, ...]


def render(photo: Rgb, box: Box, copy: str, font_path: Path) -> Overlay:
    """``photo`` with ``copy`` set in ``box`` as large as it goes; no pixel outside the box changes.

    Raises ``CopyDoesNotFit`` when the letters would be too small to read, another ``CopyError`` when
    the copy cannot be set in any box, ``FontError`` when the font cannot be used, and ``ValueError``
    when the box is empty or not inside the photo.
    """
    height, width = photo.shape[:2]
    if not (0 <= box.left < box.right <= width and 0 <= box.top < box.bottom <= height):
        raise ValueError(f"{box} is not a box of a photo of {width} by {height} pixels")
    text = drawable(copy, covered(font_path))
    setting = _largest(text.text, box, smallest_legible(height, width), font_path)
    ink, size = _ink(setting, box, _alignment(box, width), smallest_legible(height, width), font_path)
    ink_box = _bounds(ink)
    ground = photo[box.top : box.bottom, box.left : box.right]
    backed = choose_backing(ground, ink, ink_box, size)
    image = photo.copy()
    image[box.top : box.bottom, box.left : box.right] = paint(backed.under, backed.colour, ink)
    return Overlay(
        image=image,
        lines=setting.lines,
        font_size=size,
        text_box=Box(
            box.left + ink_box.left, box.top + ink_box.top, box.left + ink_box.right, box.top + ink_box.bottom
        ),
        colour="#{:02x}{:02x}{:02x}".format(*backed.colour),
        backing=backed.kind,
        contrast=backed.contrast,
        dropped=text.dropped,
    )


def _largest(text: str, box: Box, smallest: int, font_path: Path) -> Setting:
    # Far too much copy is refused before it is measured: measuring costs, and the estimate is good.
    hopeless = estimated_width(text) * smallest**2 > 1.5 * box.area
    font = _font(font_path, _MEASURED_AT)
    setting = (
        None
        if hopeless
        else largest_setting(text, lambda part: font.getlength(part) / _MEASURED_AT, box.width, box.height, smallest)
    )
    if setting is None:
        raise _does_not_fit(text, box, smallest)
    return setting


def _ink(setting: Setting, box: Box, alignment: Alignment, smallest: int, font_path: Path) -> tuple[Alpha, int]:
    """The lettering's shape inside the box, and the font size at which it fits to the pixel."""
    for size in range(setting.font_size, smallest - 1, -1):
        font = _font(font_path, size)
        bounds = [font.getbbox(line, anchor="ls") for line in setting.lines]
        step = round(LEADING * size)
        top = min(i * step + b[1] for i, b in enumerate(bounds))
        bottom = max(i * step + b[3] for i, b in enumerate(bounds))
        widest = max(b[2] - b[0] for b in bounds)
        spare = box.width - widest, box.height - (bottom - top)
        if min(spare) >= 2 * _LEAST_PAD * size:
            break
    else:
        raise _does_not_fit(" ".join(setting.lines), box, smallest)
    # A descender weighs little to the eye: the block is centred as if it hung half as deep.
    hang = max(0, bottom - (len(bounds) - 1) * step)
    first = round((spare[1] + min(hang / 2, spare[1] / 4)) / 2 - top)
    pad = min(spare[0] / 2, PAD_ACROSS * size)
    layer = Image.new("L", (box.width, box.height))
    draw = ImageDraw.Draw(layer)
    for i, (line, b) in enumerate(zip(setting.lines, bounds, strict=True)):
        free = box.width - (b[2] - b[0])
        start = {"left": pad, "centre": free / 2, "right": free - pad}[alignment]
        draw.text((round(start - b[0]), first + i * step), line, fill=255, font=font, anchor="ls")
    return as_alpha(layer), size


def _alignment(box: Box, width: int) -> Alignment:
    """Towards the nearer side of the photo, or centred in its middle."""
    off = (box.left + box.right - width) / 2
    if abs(off) <= _CENTRED * width:
        return "centre"
    return "left" if off < 0 else "right"


def _bounds(ink: Alpha) -> Box:
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _does_not_fit(text: str, box: Box, smallest: int) -> CopyDoesNotFit:
    return CopyDoesNotFit(
        f"the copy's {len(text)} characters do not fit in {box.width} by {box.height} pixels "
        f"in letters of {smallest} pixels, the smallest that can be read"
    )


@lru_cache(maxsize=64)
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(str(path), size)
    except OSError as error:
        raise FontError(f"{path}: cannot be used as a font ({error})") from error
