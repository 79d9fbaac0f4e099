"""Many ads on one picture, to be looked at together."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageDraw

from adstudio.vision.typefaces import PRETENDARD

_ACROSS, _DOWN = 4, 3
_CELL: Final = (400, 400)
_TITLE: Final = 26
_GROUND, _INK, _FAILED = (236, 236, 238), (40, 40, 44), (196, 40, 40)


def contact_sheets(ads: Sequence[tuple[str, bytes, bool]]) -> list[bytes]:
    """Sheets of twelve ads, as JPEGs. Each ad has a title, its file, and whether it passed: failures are in red."""
    font = PRETENDARD.font("SemiBold", 15)
    width, height = _CELL[0] + 16, _CELL[1] + _TITLE + 12
    sheets = []
    for start in range(0, len(ads), _ACROSS * _DOWN):
        sheet = Image.new("RGB", (_ACROSS * width, _DOWN * height), _GROUND)
        draw = ImageDraw.Draw(sheet)
        for i, (title, file, passed) in enumerate(ads[start : start + _ACROSS * _DOWN]):
            left, top = i % _ACROSS * width + 8, i // _ACROSS * height + 6
            draw.text((left, top), title, font=font, fill=_INK if passed else _FAILED)
            with Image.open(io.BytesIO(file)) as ad:
                ad.thumbnail(_CELL, Image.Resampling.LANCZOS)
                sheet.paste(ad, (left, top + _TITLE))
        stored = io.BytesIO()
        sheet.save(stored, "JPEG", quality=88)
        sheets.append(stored.getvalue())
    return sheets
