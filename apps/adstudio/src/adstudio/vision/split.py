"""The master with a panel of one colour for the type and the photo beside, above or below it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from adstudio.vision.ad_copy import AdCopy
from adstudio.vision.formats import Format
from adstudio.vision.kit import Kit
from adstudio.vision.layout import Layout, to_hex
from adstudio.vision.palette import accent_on, ink_on, panel_of
from adstudio.vision.placing import place
from adstudio.vision.scene import Scene
from adstudio.vision.shapes import Box
from adstudio.vision.type_block import Block, Scale, set_block
from adstudio.vision.window_edges import edge_faults
from adstudio.vision.windows import KEPT, MOST_ENLARGED, View, best_view, beyond, crowding, is_cut, shows_all, unfocused

_CARD: Final = 0.085  # of the height, around a photo that stands as a card beside the type
_CARD_COST: Final = 0.12  # a photo to the edges is livelier
_WHOLE_SHARES: Final = (0.36, 0.42, 0.5)  # of the format, for the type beside a photo that is shown whole
_MOST_WHOLE: Final = 0.64  # of the height, for a whole photo from edge to edge
_LEAST_WHOLE: Final = 0.28  # of a story's height: less is a strip between blanks
_PAD: Final = 0.07  # of the short side, around the type in its panel
_LEAST_CARD: Final = 0.22  # of the ad: a smaller one is a stamp
Side = Literal["left", "bottom", "top"]


@dataclass(frozen=True, slots=True)
class _Division:
    """Where the photo goes, and where in the rest the type may go."""

    side: Side
    pane: Box
    room: Box


def split(copy: AdCopy, scene: Scene, format_: Format, kit: Kit, backdrop: str | None = None) -> Iterator[Layout]:
    """A layout for each division in which the copy fits, best first."""
    settings: dict[tuple[int, int], Block | None] = {}

    def layouts(divisions: Iterator[_Division]) -> Iterator[Layout]:
        for division in divisions:
            room = (division.room.width, division.room.height)
            if room not in settings:
                settings[room] = set_block(copy, kit.typeface(copy), Scale.of(format_), *room, kit.logo_ratio)
            block = settings[room]
            view = best_view(scene, division.pane.width / division.pane.height)
            if block is None or view is None:
                continue
            factor = min(1.0, MOST_ENLARGED / view.enlarged(scene, division.pane.width))
            if round(factor * format_.width) >= format_.smallest:
                layout = _layout(division, block, view, scene, format_, kit)
                yield replace(layout, backdrop=backdrop).scaled(factor)

    found = list(layouts(_divisions(format_)))
    best = max(found, key=lambda layout: layout.score, default=None)
    if not (scene.faces or (best and _is_whole(best))):
        found += layouts(_uncropped(format_, scene.width / scene.height))
    yield from sorted(found, key=lambda layout: -layout.score)


def _is_whole(layout: Layout) -> bool:
    return not layout.measures["cut"] and layout.measures["kept"] >= KEPT


def fits_beside(copy: AdCopy, format_: Format, kit: Kit) -> bool:
    """Whether some panel of the format takes the copy, beside any photo."""
    rooms = {(one.room.width, one.room.height) for one in _divisions(format_)}
    face = kit.typeface(copy)
    return any(set_block(copy, face, Scale.of(format_), *room, kit.logo_ratio) for room in sorted(rooms, reverse=True))


def _divisions(format_: Format) -> Iterator[_Division]:
    width, height, short = format_.width, format_.height, format_.short
    pad, safe = round(_PAD * short), format_.safe_box
    if format_.lies:
        shares = (0.5, 0.6, 0.68) if format_.is_strip else (0.4, 0.45, 0.5, 0.56)
        for share in shares:
            edge = round(width * share)
            room = Box(safe.left, safe.top, edge - pad, safe.bottom)
            yield _Division("left", Box(edge, 0, width, height), room)
        if not format_.is_strip:  # the photo as a card: a wide subject stays whole
            margin = round(_CARD * height)
            for share in (0.36, 0.42):
                edge = round(width * share)
                room = Box(safe.left, safe.top, edge - round(0.9 * pad), safe.bottom)
                yield _Division("left", Box(edge, margin, width - margin, height - margin), room)
        return
    if format_.is_covered_below:
        for share in (0.36, 0.4, 0.45, 0.5):
            edge = round(height * share)
            room = Box(safe.left, safe.top, safe.right, edge - pad)
            for end in (height, round(height * 0.82)):
                yield _Division("top", Box(0, edge, width, end), room)
        return
    for share in (0.3, 0.36, 0.42, 0.48, 0.54, 0.6):
        yield _above_type(format_, round(height * (1 - share)))
    for share in (0.46, 0.5, 0.64):
        edge = round(width * share)
        room = Box(safe.left, safe.top, edge - pad, safe.bottom)
        yield _Division("left", Box(edge, 0, width, height), room)


def _above_type(format_: Format, edge: int) -> _Division:
    """The photo down to ``edge``, and the type below it."""
    air, safe = round(round(_PAD * format_.short) * 0.8), format_.safe_box
    room = Box(safe.left, edge + air, safe.right, min(safe.bottom, format_.height - air))
    return _Division("bottom", Box(0, 0, format_.width, edge), room)


def _uncropped(format_: Format, ratio: float) -> Iterator[_Division]:
    """The divisions whose pane has the photo's own ratio, width over height: nothing of it is cut. Where such a pane
    does not reach from edge to edge it stands as a card, on the axis of the type."""
    width, height, safe, pad = format_.width, format_.height, format_.safe_box, round(_PAD * format_.short)
    if format_.is_strip:
        return
    if format_.lies:
        margin = round(_CARD * height)
        for share in _WHOLE_SHARES:
            across = round(min(width * (1 - share) - margin, (height - 2 * margin) * ratio))
            down = round(across / ratio)
            left, top = width - margin - across, (height - down) // 2
            room = Box(safe.left, safe.top, left - round(0.9 * pad), safe.bottom)
            yield _Division("left", Box(left, top, left + across, top + down), room)
        return
    if width / ratio <= _MOST_WHOLE * height:
        edge = round(width / ratio)
        if format_.is_covered_below and edge >= _LEAST_WHOLE * height:
            for above in (0.36, 0.45):
                start = min(round(height * above), height - edge)
                room = Box(safe.left, safe.top, safe.right, start - pad)
                yield _Division("top", Box(0, start, width, start + edge), room)
        elif not format_.is_covered_below:
            yield _above_type(format_, edge)
    elif not format_.is_covered_below:
        for share in _WHOLE_SHARES:
            down = round(height * (1 - share)) - safe.left
            across = min(safe.right - safe.left, round(down * ratio))
            pane = Box(safe.left, safe.left, safe.left + across, safe.left + round(across / ratio))
            if pane.area < _LEAST_CARD * width * height:
                continue
            room = Box(safe.left, pane.bottom + round(pad * 0.8), safe.right, safe.bottom)
            yield _Division("bottom", pane, room)


def _layout(division: _Division, block: Block, view: View, scene: Scene, format_: Format, kit: Kit) -> Layout:
    ground = panel_of(scene.hues, kit.colour)
    if scene.rim is not None and kit.colour is None and shows_all(scene, view):
        ground = scene.rim  # then the photo has no visible edge
    ink, accent = ink_on(ground), accent_on(ground, scene.hues, kit.accent)
    room = division.room
    # In a story the type begins at the top of the safe part; elsewhere it stands in the middle of its panel.
    top = room.top if division.side == "top" else room.top + (room.height - block.height) / 2
    placed = place(block, room.left, top, block.width, "left")
    filled = block.height / room.height
    cut = is_cut(scene, view)
    shown = division.pane.area / (format_.width * format_.height)
    score = (
        0.72 * block.size / format_.headline[1] / format_.short
        - 0.2 * max(0.0, block.badness)
        - 3.0 * max(0.0, KEPT - view.kept)
        - 0.45 * cut
        - 0.5 * max(0.0, 0.55 - filled)
        - 0.15 * view.is_extended(scene)
        - 0.12 * crowding(scene, view)
        - 0.6 * unfocused(view)
        - 0.5 * edge_faults(scene, view)
        - 0.3 * (1 - view.focus)
        - (_CARD_COST if division.pane.top and division.side != "top" else 0.0)
        - 0.6 * beyond(scene, view)
        + 0.5 * shown
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
