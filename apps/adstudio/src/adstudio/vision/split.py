"""The master with a panel of one colour for the type and the photo beside, above or below it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from adstudio.vision.ad_copy import AdCopy
from adstudio.vision.divisions import Division, divisions
from adstudio.vision.formats import Format
from adstudio.vision.kit import Kit
from adstudio.vision.layout import Layout, to_hex
from adstudio.vision.palette import accent_on, ink_on, panel_of
from adstudio.vision.placing import place
from adstudio.vision.scene import Scene
from adstudio.vision.type_block import Block, Scale, set_block
from adstudio.vision.window_edges import edge_faults
from adstudio.vision.windows import (
    KEPT,
    MOST_ENLARGED,
    View,
    best_view,
    beyond,
    crowding,
    is_cut,
    unfocused,
    whole_view,
)

_MADE_UP: Final = 0.9  # the price of a picture that is all continued sky or floor: beside a panel it is of no use
_WHOLE_FACE: Final = 0.3  # a face fills a crop well, and its photo whole shows it small
_BLANK: Final = 0.3  # of a story's photo that ends above the ad's lower edge
_WHOLE_CARD_COST: Final = 0.28  # and a small one only where every crop ends a thing
_LARGE_CARD: Final = 0.3  # of the ad; a smaller card is a stamp,
_STAMP: Final = 2.0  # at the price of this for each share that it lacks
_CARD_COST: Final = 0.12  # a photo to the edges is livelier


def split(
    copy: AdCopy, scene: Scene, format_: Format, kit: Kit, backdrop: str | None = None, *, whole: bool = True
) -> Iterator[Layout]:
    """A layout for each division in which the copy fits, best first; ``whole``: with those that crop nothing."""
    found = []
    floats = scene.rim is not None and kit.colour is None
    settings: dict[tuple[int, int], Block | None] = {}
    for division in divisions(format_, scene.width / scene.height, floats=floats):
        if division.whole and not whole:
            continue
        room = (division.room.width, division.room.height)
        if room not in settings:
            settings[room] = set_block(copy, kit.typeface(copy), Scale.of(format_), *room, kit.logo_ratio)
        block = settings[room]
        view = whole_view(scene) if division.whole else best_view(scene, division.pane.width / division.pane.height)
        if block is None or view is None:
            continue
        factor = min(1.0, MOST_ENLARGED / view.enlarged(scene, division.pane.width))
        if round(factor * format_.width) < format_.smallest:
            continue
        found.append(replace(_layout(division, block, view, scene, format_, kit), backdrop=backdrop).scaled(factor))
    yield from sorted(found, key=lambda layout: -layout.score)


def fits_beside(copy: AdCopy, format_: Format, kit: Kit) -> bool:
    """Whether some panel of the format takes the copy, beside any photo."""
    rooms = {(one.room.width, one.room.height) for one in divisions(format_, 1.0)}
    face = kit.typeface(copy)
    return any(set_block(copy, face, Scale.of(format_), *room, kit.logo_ratio) for room in sorted(rooms, reverse=True))


def _whole_cost(division: Division, scene: Scene) -> float:
    if not division.whole:
        return 0.0
    face = _WHOLE_FACE if scene.faces else 0.0
    return _WHOLE_CARD_COST + face if division.is_card else _BLANK if division.side == "top" else 0.0


def _layout(division: Division, block: Block, view: View, scene: Scene, format_: Format, kit: Kit) -> Layout:
    ground = panel_of(scene.hues, kit.colour)
    if division.whole and scene.rim is not None and kit.colour is None:
        ground = scene.rim
    ink, accent = ink_on(ground), accent_on(ground, scene.hues, kit.accent)
    room = division.room
    # In a story the type begins at the top of the safe part; elsewhere it stands in the middle of its panel.
    top = room.top if division.side == "top" else room.top + (room.height - block.height) / 2
    placed = place(block, room.left, top, block.width, "left")
    # Beside a card the type fills the card's height, and not the ad's.
    high = min(room.height, division.pane.height) if division.side == "left" and division.is_card else room.height
    filled = min(1.0, block.height / high)
    cut = is_cut(scene, view)
    share = division.pane.area / (format_.width * format_.height)
    score = (
        0.72 * block.size / format_.headline[1] / format_.short
        - 0.2 * max(0.0, block.badness)
        - 3.0 * max(0.0, KEPT - view.kept)
        - 0.45 * cut
        - 0.5 * max(0.0, 0.55 - filled)
        - 0.15 * view.is_extended(scene)
        - _MADE_UP * beyond(scene, view, upright_only=True)
        - 0.12 * crowding(scene, view)
        - 0.6 * unfocused(view)
        - 0.5 * edge_faults(scene, view)
        - 0.3 * (1 - view.focus)
        - (_CARD_COST if division.is_card else 0.0)
        - _whole_cost(division, scene)
        + 0.5 * share
        - (_STAMP * max(0.0, _LARGE_CARD - share) if division.whole and division.is_card else 0.0)
    )
    return Layout(
        format=format_.name,
        width=format_.width,
        height=format_.height,
        master="split",
        pane=division.pane,
        window=view.window(scene),
        ground=to_hex(ground),
        ink=to_hex(ink),
        accent=to_hex(accent),
        accent_ink=to_hex(ink_on(accent)),
        align="left",
        lines=placed.lines,
        text_box=placed.box,
        button=placed.button,
        logo=placed.logo,
        score=round(score, 4),
        measures={
            "occluded": 0.0,
            "unrest": 0.0,
            "size": round(block.size / format_.short, 4),
            "kept": round(view.kept, 4),
            "cut": float(cut),
            "breaks": block.badness,
            "filled": round(filled, 3),
        },
    )
