"""A tenant's brand kit: its colours, its logo, its font; any of them may be missing."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Final

from PIL import Image

from adstudio.vision.ad_copy import AdCopy
from adstudio.vision.errors import BrandError
from adstudio.vision.palette import Channels
from adstudio.vision.typefaces import PRETENDARD, Typeface, brand_typeface

MOST_LOGO_BYTES: Final = 2 * 1024 * 1024
MOST_LOGO_PIXELS: Final = 16_000_000
_FLATTEST: Final = 8.0  # width over height: a longer logo would be too low to read
_HEX: Final = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class Kit:
    """``colour`` fills panels and backdrops, ``accent`` offers and buttons; ``logo`` is RGBA."""

    name: str | None = None
    colour: Channels | None = None
    accent: Channels | None = None
    logo: Image.Image | None = None
    font: Typeface | None = None

    @property
    def logo_ratio(self) -> float | None:
        """The logo's width over its height."""
        return self.logo.width / self.logo.height if self.logo else None

    def typeface(self, copy: AdCopy) -> Typeface:
        """The brand's font where it can set all of the copy, else Pretendard."""
        return self.font if self.font is not None and self.font.can_set(copy.whole) else PRETENDARD


NO_KIT: Final = Kit()


def read_kit(
    name: str | None = None,
    colour: str | None = None,
    accent: str | None = None,
    logo: bytes | None = None,
    font: bytes | None = None,
) -> Kit:
    """A kit from its stored parts. Raises ``BrandError`` where a part cannot be used."""
    return Kit(
        name=name,
        colour=_channels(colour),
        accent=_channels(accent),
        logo=_logo(logo) if logo else None,
        font=brand_typeface(name or "brand", font) if font else None,
    )


def _channels(colour: str | None) -> Channels | None:
    if not colour:
        return None
    if not _HEX.fullmatch(colour):
        raise BrandError(
            f"브랜드 색을 읽을 수 없습니다: {colour[:20]}. #1a2b3c처럼 적어 주세요.",
            f"This is no colour: {colour[:20]}. Write it as #1a2b3c.",
        )
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _logo(file: bytes) -> Image.Image:
    problem = BrandError(
        "로고를 읽을 수 없습니다. 배경이 투명한 PNG 파일을 올려 주세요.",
        "The logo cannot be read: send a PNG with a transparent ground.",
    )
    if len(file) > MOST_LOGO_BYTES:
        raise BrandError("로고 파일이 너무 큽니다. 2MB까지 받습니다.", "The logo is too heavy: at most 2 MB are taken.")
    try:
        with Image.open(io.BytesIO(file), formats=("PNG", "WEBP")) as image:
            if image.width * image.height > MOST_LOGO_PIXELS:
                raise problem
            image.thumbnail((1200, 1200))
            logo = image.convert("RGBA")
    except BrandError:
        raise
    except Exception as error:  # fed by strangers, a decoder may raise nearly anything
        raise problem from error
    shown = logo.getchannel("A").getbbox()
    if shown is None:
        raise BrandError("로고가 완전히 투명합니다.", "The logo is wholly transparent.")
    logo = logo.crop(shown)
    if logo.width > _FLATTEST * logo.height or logo.height > 3 * logo.width:
        raise BrandError(
            "로고가 너무 길쭉합니다. 가로세로 비율 8:1 이내의 로고를 올려 주세요.",
            "The logo is too long and narrow: at most 8 to 1.",
        )
    return logo
