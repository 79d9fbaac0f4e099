"""The layouts of an ad in one format, ranked: the photo from edge to edge where its calm part takes the type, else a panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from adstudio.vision.ad_copy import AdCopy
from adstudio.vision.errors import InputError
from adstudio.vision.formats import Format
from adstudio.vision.full_bleed import full_bleed
from adstudio.vision.kit import Kit
from adstudio.vision.layout import Layout, Master
from adstudio.vision.scene import Scene
from adstudio.vision.split import split

CANDIDATES: Final = 3
_LEAST_FULL_BLEED: Final = 0.5
"""The score from which the photo from edge to edge goes before a panel: its type is large and hardly tinted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The layouts of a format, best first; with none, ``reason`` says why, in both languages."""

    format: Format
    layouts: tuple[Layout, ...]
    reason: InputError | None


def plan(copy: AdCopy, scene: Scene, format_: Format, kit: Kit, backdrop: str | None = None) -> Plan:
    """Up to three layouts, of different masters where there are. The same input always gives the same plan."""
    master: Master = "cut_out" if backdrop else "full_bleed"
    bleeding = list(full_bleed(copy, scene, format_, kit, master=master, backdrop=backdrop))
    divided = list(split(copy, scene, format_, kit, backdrop))
    bleeding.sort(key=lambda layout: -layout.score)
    first, second = (bleeding, divided) if bleeding and bleeding[0].score >= _LEAST_FULL_BLEED else (divided, bleeding)
    ranked = [*first[:1], *second[:1], *first[1:2], *second[1:2]][:CANDIDATES]
    return Plan(format_, tuple(ranked), None if ranked else _why(copy, scene, format_))


def _why(copy: AdCopy, scene: Scene, format_: Format) -> InputError:
    width, height = scene.full
    if min(width, height) < format_.smallest / 1.5:
        return InputError(
            f"사진이 {format_.ko} 형식에는 너무 작습니다: {width}×{height}픽셀이며, 가로 {format_.smallest}픽셀 광고를 "
            "흐려지지 않게 만들 수 없습니다.",
            f"The photo is too small for {format_.en}: its {width}×{height} pixels do not make an ad "
            f"{format_.smallest} pixels wide without going soft.",
        )
    return InputError(
        f"{format_.ko} 형식에 카피가 들어갈 자리가 없습니다: 문구를 줄이거나 나누어 주세요.",
        f"There is no room for the copy in {format_.en}: make it shorter.",
    )
