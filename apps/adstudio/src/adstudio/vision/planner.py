"""The layouts of an ad in one format, ranked: type on the photo where its calm part takes it, else on a panel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from adstudio.vision.ad_copy import AdCopy
from adstudio.vision.errors import InputError
from adstudio.vision.formats import Format
from adstudio.vision.full_bleed import full_bleed
from adstudio.vision.kit import Kit
from adstudio.vision.layout import Layout, Master
from adstudio.vision.room import too_small
from adstudio.vision.scene import Scene
from adstudio.vision.split import split

CANDIDATES: Final = 2
"""Layouts of a format, where nothing else is asked for."""
_LEAST_FULL_BLEED: Final = 0.5
"""The score from which the photo from edge to edge goes before a panel: its type is large and hardly tinted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The layouts of a format, best first; with none, ``reason`` says why, in both languages."""

    format: Format
    layouts: tuple[Layout, ...]
    reason: InputError | None


def plan(
    copy: AdCopy, scene: Scene, format_: Format, kit: Kit, backdrop: str | None = None, most: int = CANDIDATES
) -> Plan:
    """Up to ``most`` layouts, masters taking turns where there are several. The same input always gives the same
    plan."""
    master: Master = "cut_out" if backdrop else "full_bleed"
    bleeding = list(full_bleed(copy, scene, format_, kit, master=master, backdrop=backdrop))
    divided = list(split(copy, scene, format_, kit, backdrop))
    bleeding.sort(key=lambda layout: -layout.score)
    first, second = (bleeding, divided) if bleeding and bleeding[0].score >= _LEAST_FULL_BLEED else (divided, bleeding)
    ranked = [one for pair in zip_longest(first, second) for one in pair if one is not None][:most]
    return Plan(format_, tuple(ranked), None if ranked else _why(scene, format_))


def _why(scene: Scene, format_: Format) -> InputError:
    return too_small(*scene.full, format_) or InputError(
        f"{format_.ko} 형식에는 이 사진과 카피가 함께 들어갈 자리가 없습니다. 카피를 줄이거나 더 큰 사진을 써 주세요.",
        f"There is no room for photo and copy together in {format_.en}: shorten the copy or send a larger photo.",
    )
