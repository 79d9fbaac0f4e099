"""The typeface: Pretendard in its weights, or a brand's own, measured and cut to size."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
from fontTools.ttLib import TTFont, TTLibError
from PIL import Image, ImageDraw, ImageFont

from adstudio.vision import emoji
from adstudio.vision.errors import BrandError, FontError
from adstudio.vision.shapes import Rgb

Weight = Literal["SemiBold", "Bold", "ExtraBold", "Black"]

_MEASURED_AT = 200  # pixels: large enough that rounding to pixels does not matter
_OPEN = 12  # fonts kept open, a megabyte each: the sizes of one ad; opening one takes a millisecond
PLAIN_SIZE = 72  # pixels: as large as a headline
_FOLDER = Path(str(files("adstudio") / "assets" / "fonts"))


@dataclass(frozen=True)
class Typeface:
    """A family. ``files`` has a font file for each weight; a brand's single font serves for all."""

    name: str
    files: dict[Weight, bytes | Path] = field(repr=False, hash=False)

    @cached_property
    def covered(self) -> frozenset[int]:
        """The code points that every weight has a glyph for. Raises ``FontError``."""
        sets = [_covered(file) for file in dict.fromkeys(self.files.values())]
        return frozenset.intersection(*sets)

    def font(self, weight: Weight, size: int) -> ImageFont.FreeTypeFont:
        """The font at ``size`` pixels an em. Raises ``FontError``."""
        return _cut(self.files[weight], size)

    def width(self, text: str, weight: Weight) -> float:
        """The width of ``text`` in ems, its emoji included."""
        return _width(self.files[weight], text)

    def can_set(self, text: str) -> bool:
        """Whether all of ``text`` can be drawn, emoji by their pictures."""
        return all(ord(char) in self.covered for char in emoji.without_emoji(text) if char not in " \n\ufe0f")


PRETENDARD = Typeface(
    "Pretendard",
    {weight: _FOLDER / f"Pretendard-{weight}.otf" for weight in ("SemiBold", "Bold", "ExtraBold", "Black")},
)


def in_black(text: str, weight: Weight, size: int) -> Rgb:
    """``text`` in Pretendard, black on white, without its emoji: the easiest that it can be to read."""
    font = PRETENDARD.font(weight, size)
    drawn = emoji.without_emoji(text)
    air = size // 6
    image = Image.new("RGB", (max(1, round(font.getlength(drawn))) + 2 * air, round(1.3 * size)), "white")
    ImageDraw.Draw(image).text((air, round(0.98 * size)), drawn, fill="black", font=font, anchor="ls")
    return np.asarray(image)


def brand_typeface(name: str, file: bytes) -> Typeface:
    """A brand's own font, for all weights; raises ``BrandError`` where it is none."""
    typeface = Typeface(name, dict.fromkeys(PRETENDARD.files, file))
    try:
        if not typeface.covered:
            raise FontError("it has no characters")
        typeface.font("Bold", 20)
    except FontError as error:
        raise BrandError(
            "브랜드 글꼴을 사용할 수 없습니다. OTF 또는 TTF 파일을 올려 주세요.",
            f"The brand's font cannot be used ({error}): send an OTF or TTF file.",
        ) from error
    return typeface


@lru_cache(maxsize=16)
def _covered(file: bytes | Path) -> frozenset[int]:
    try:
        with TTFont(io.BytesIO(file) if isinstance(file, bytes) else file, lazy=True) as font:
            return frozenset(font.getBestCmap() or ())
    except (TTLibError, OSError, KeyError, AssertionError) as error:
        raise FontError(f"{_named(file)}: not a font that can be read ({error})") from error


@lru_cache(maxsize=_OPEN)
def _cut(file: bytes | Path, size: int) -> ImageFont.FreeTypeFont:
    try:
        # The basic layout: it kerns, needs no shaping library, and sets the same on every machine.
        source = io.BytesIO(file) if isinstance(file, bytes) else str(file)
        return ImageFont.truetype(source, size, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise FontError(f"{_named(file)}: cannot be used as a font ({error})") from error


@lru_cache(maxsize=4096)
def _width(file: bytes | Path, text: str) -> float:
    drawn, pictures = "", 0
    for cluster in emoji.clusters(text):
        if emoji.is_emoji(cluster):
            pictures += 1
        else:
            drawn += cluster
    return _cut(file, _MEASURED_AT).getlength(drawn) / _MEASURED_AT + pictures * emoji.WIDTH


def _named(file: bytes | Path) -> str:
    return "the font" if isinstance(file, bytes) else str(file)
