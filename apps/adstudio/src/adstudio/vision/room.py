"""Whether copy and photo can become an ad at all: told at the door, without looking at the photo's pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adstudio.vision.ad_copy import AdCopy
from adstudio.vision.errors import CopyError, InputError, PhotoError
from adstudio.vision.formats import Format
from adstudio.vision.kit import NO_KIT, Kit
from adstudio.vision.split import fits_beside
from adstudio.vision.windows import MOST_ENLARGED

_LEAST_PANES: Final = ((1.0, 0.32), (0.44, 1.0))
"""The least that a photo takes up of an ad, as shares of its width and height: above or below a panel, or beside it."""
_AT_THE_DOOR: Final = 0.5
"""At the door half of that will do: a photo with plain sides can be continued, which only a look at it tells."""


def check_room(copy: AdCopy, formats: Sequence[Format], kit: Kit = NO_KIT) -> None:
    """Raises ``CopyError`` where the copy fits none of the formats even on a panel of its own; some milliseconds."""
    if not any(fits_beside(copy, format_, kit) for format_ in formats):
        names_ko, names_en = (", ".join(one.label(tongue) for one in formats) for tongue in ("ko", "en"))
        raise CopyError(
            f"카피가 너무 길어 읽을 수 있는 크기로 들어가지 않습니다({names_ko}). 줄이거나 나누어 주세요.",
            f"The copy is too long to be set legibly in {names_en}: make it shorter.",
        )


def too_small(width: int, height: int, format_: Format, leniency: float = 1.0) -> InputError | None:
    """Why a photo of this size makes no ad of the format, or None. ``leniency`` under 1 asks for that much less."""
    shrunk = leniency * format_.smallest / format_.width / MOST_ENLARGED
    for across, down in _LEAST_PANES:
        if width >= across * format_.width * shrunk and height >= down * format_.height * shrunk:
            return None
    return PhotoError(
        f"사진이 {format_.ko} 형식에는 너무 작습니다: {width}×{height}픽셀이며, 가로 {format_.smallest}픽셀 광고를 "
        "흐려지지 않게 만들 수 없습니다.",
        f"The photo is too small for {format_.en}: its {width}×{height} pixels do not make an ad "
        f"{format_.smallest} pixels wide without going soft.",
    )


def check_size(width: int, height: int, formats: Sequence[Format]) -> None:
    """Raises ``PhotoError`` where a photo of ``width`` by ``height`` pixels is too small for all of the formats."""
    reasons = [too_small(width, height, format_, _AT_THE_DOOR) for format_ in formats]
    if reasons and all(reasons) and reasons[0] is not None:
        raise reasons[0]
