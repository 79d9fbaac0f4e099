"""The master with the photo from edge to edge and the type in its calm part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import numpy as np

from adstudio.vision.ad_copy import AdCopy
from adstudio.vision.formats import Format
from adstudio.vision.kit import Kit
from adstudio.vision.layout import Alignment, Layout, Master, to_hex
from adstudio.vision.palette import accent_on, ink_on
from adstudio.vision.placing import Placed, place
from adstudio.vision.scene import Scene, Sums, change_of
from adstudio.vision.scrim import CALM, Unrest, lightest_tint, scrim_for
from adstudio.vision.shapes import Box, Rgb
from adstudio.vision.type_block import Block, Scale, set_block
from adstudio.vision.window_edges import edge_faults
from adstudio.vision.windows import (
    KEPT,
    MOST_ENLARGED,
    View,
    beyond,
    crowding,
    is_cut,
    lower_heavy,
    off_centre,
    unfocused,
    views,
)

MOST_OCCLUDED: Final = 0.012  # mean weight under the block and its clearance
MOST_UNREST: Final = 5.0  # grey levels a view pixel under the block, before the tint; more stays busy under any
BUSIEST: Final = 0.95  # the share of a line's ground that is calmer than what is measured
_CLEARANCE: Final = 0.35  # ems of the headline around the block
_VIEWED: Final = 360  # pixels, the short side of a phone's view: unrest is what such a view shows
_SUBJECT_LARGE: Final = 0.2  # of the picture: a subject that is larger gains nothing more
_FOCUS_SHOWN: Final = 0.4  # all that is in focus, in a narrow format without a subject: a leaf whole
_SHORTLISTED: Final = 80  # of the best places, for which the edges of their windows are looked at
_OFF_CENTRE: Final = 1.6  # the price of a photo's side between the middles of scene and view, without a subject
_LOOKED_INTO: Final = 14  # of the best places, for which the tint is worked out
_BELOW: Final = 1.4  # the price of ground that is made up below the photo, where an interface covers it anyway
_ON_AXIS: Final = 0.06  # of the width: a subject this near the middle is symmetrical


@dataclass(frozen=True, slots=True)
class _Place:
    view: View
    block: Block
    placed: Placed
    align: Alignment
    occluded: float
    unrest: float
    score: float


def full_bleed(
    copy: AdCopy, scene: Scene, format_: Format, kit: Kit, *, master: Master = "full_bleed", backdrop: str | None = None
) -> Iterator[Layout]:
    """The layouts whose type covers nothing that matters and can be read, best first; often none."""
    columns = _columns(copy, format_, kit)
    found = [
        spot
        for view in views(scene, format_.width / format_.height)
        if view.kept >= KEPT and not is_cut(scene, view)
        if view.enlarged(scene, format_.smallest) <= MOST_ENLARGED
        for spot in _places(view, columns, scene, format_)
    ]
    found.sort(key=lambda spot: -spot.score)
    faults = cache(lambda view: edge_faults(scene, view))
    better = [replace(spot, score=spot.score - faults(spot.view)) for spot in found[:_SHORTLISTED]]
    better.sort(key=lambda spot: -spot.score)
    layouts = [
        layout for spot in better[:_LOOKED_INTO] if (layout := _layout(spot, scene, format_, kit, master, backdrop))
    ]
    yield from sorted(layouts, key=lambda layout: -layout.score)


def _columns(copy: AdCopy, format_: Format, kit: Kit) -> list[Block]:
    """The block in columns of several widths."""
    safe = format_.safe_box
    shares = ((0.46, 1.0), (0.56, 1.0)) if format_.lies else ((1.0, 0.5), (0.66, 0.62))
    if format_.is_strip:
        shares = ((0.6, 1.0), (0.72, 1.0))
    scale = Scale.of(format_)
    blocks = [
        set_block(copy, kit.typeface(copy), scale, safe.width * across, safe.height * down, kit.logo_ratio)
        for across, down in shares
    ]
    return list(dict.fromkeys(block for block in blocks if block))


def _places(view: View, columns: list[Block], scene: Scene, format_: Format) -> Iterator[_Place]:
    safe = format_.safe_box
    scale = view.width / format_.width
    taste = (
        0.5 * min(1.0, _subject_share(scene, view) / _SUBJECT_LARGE)
        - 0.12 * view.is_extended(scene)
        - 0.9 * beyond(scene, view)
        - (_BELOW * lower_heavy(scene, view) if format_.safe[2] > format_.safe[0] else 0.0)
        + 0.25 * min(1.0, view.width * view.height / (scene.width * scene.height))
        - 0.3 * crowding(scene, view)
        - 1.2 * unfocused(view)
        - (_OFF_CENTRE * off_centre(scene, view, lies=format_.lies) if scene.subject is None else 0.0)
        + (_FOCUS_SHOWN * view.focus if scene.subject is None and not format_.lies else 0.0)
    )
    on_axis = abs(scene.middle[0] - view.left - view.width / 2) < _ON_AXIS * view.width
    for block in columns:
        tops: set[float] = {
            safe.top,
            round(safe.top + (safe.height - block.height) / 2),
            round(safe.bottom - block.height),
        }
        for align, left, width in _alignments(block, safe, format_, on_axis):
            for top in sorted(tops):
                placed = place(block, left, top, width, align)
                air = _CLEARANCE * block.size
                occluded = _mean(scene.weight_sums, placed.box, air, view, scale)
                if occluded > MOST_OCCLUDED:
                    continue
                unrest = _mean(scene.change_sums, placed.box, 0.0, view, scale) * view.width / _VIEWED
                unrest *= format_.short / format_.width
                if unrest > MOST_UNREST:
                    continue
                score = (
                    block.size / format_.headline[1] / format_.short
                    - 8 * occluded
                    - 0.11 * min(CALM, unrest)
                    - 0.12 * max(0.0, block.badness)
                    + _height_bonus(top, tops, format_)
                    + taste
                    - 0.6 * _imbalance(scene, view, placed.box, align, format_)
                    - (0.5 if left > safe.left and align == "left" else 0.0)
                )
                yield _Place(view, block, placed, align, occluded, unrest, score)


def _height_bonus(top: float, tops: set[float], format_: Format) -> float:
    """Type begins at the top of an upright ad; beside a picture it stands in the middle."""
    if format_.lies:
        return 0.1 if min(tops) < top < max(tops) else 0.0
    return 0.1 if top == min(tops) else 0.06 if top == max(tops) else 0.0


def _imbalance(scene: Scene, view: View, box: Box, align: Alignment, format_: Format) -> float:
    """How far the subject is from where it balances the type, in shares of the width: the middle of the part that the
    type leaves free beside it, or of the whole under it."""
    if scene.subject is None:
        return 0.0
    middle = (scene.middle[0] - view.left) / view.width
    if not format_.lies:
        # Under type in the middle it stands in the middle, under type at the left a little to the right of it.
        return abs(middle - 0.5) if align == "centre" else max(0.0, abs(middle - 0.62) - 0.1)
    if box.left + box.right < format_.width:
        return abs(middle - (box.right / format_.width + 1) / 2)
    return abs(middle - box.left / format_.width / 2)


def _subject_share(scene: Scene, view: View) -> float:
    """How much of the picture the subject takes up, 0 to 1; where there is none, the view is what matters."""
    return scene.subject.area / (view.width * view.height) if scene.subject else _SUBJECT_LARGE


def _alignments(block: Block, safe: Box, format_: Format, on_axis: bool) -> Iterator[tuple[Alignment, float, float]]:
    if on_axis and not format_.lies:
        yield "centre", safe.left, safe.width
    yield "left", safe.left, block.width
    if format_.lies:
        yield "left", safe.right - block.width, block.width


def _layout(
    spot: _Place, scene: Scene, format_: Format, kit: Kit, master: Master, backdrop: str | None
) -> Layout | None:
    box = spot.placed.box
    scale = spot.view.width / format_.width
    ground = _ground(scene, spot.view, box, scale)
    if not ground.size:
        return None
    spread = float((ground.reshape(-1, 3) @ np.array((0.299, 0.587, 0.114))).std())
    seen = spot.view.width / _VIEWED * format_.short / format_.width
    busiest = _busiest(spot.placed, ground) * seen
    tinted = lightest_tint(ground, Unrest(spot.unrest, busiest, spread), scene.hues)
    if tinted is None:
        return None
    mean = ground.reshape(-1, 3).mean(axis=0)
    behind = mean + (tinted.tint - mean) * tinted.strength
    under = (round(float(behind[0])), round(float(behind[1])), round(float(behind[2])))
    accent = accent_on(under, scene.hues, kit.accent)
    layout = Layout(
        format=format_.name,
        width=format_.width,
        height=format_.height,
        master=master,
        pane=Box(0, 0, format_.width, format_.height),
        window=spot.view.window(scene),
        ground=to_hex(under),
        ink=to_hex(tinted.ink),
        accent=to_hex(accent),
        accent_ink=to_hex(ink_on(accent)),
        align=spot.align,
        lines=spot.placed.lines,
        text_box=box,
        button=spot.placed.button,
        logo=spot.placed.logo,
        scrim=scrim_for(box, format_.width, format_.height, tinted),
        backdrop=backdrop,
        score=round(spot.score - 0.5 * tinted.strength - 0.006 * max(0.0, spread - 12), 4),
        measures={
            "occluded": round(spot.occluded, 4),
            "unrest": round(spot.unrest, 3),
            "size": round(spot.block.size / format_.short, 4),
            "kept": round(spot.view.kept, 4),
            "breaks": spot.block.badness,
            "tint": tinted.strength,
            "spread": round(spread, 2),
            "busiest": round(busiest, 2),
        },
    )
    enlarged = spot.view.enlarged(scene, format_.width)
    return layout.scaled(min(1.0, MOST_ENLARGED / enlarged))


def _mean(sums: Sums, box: Box, air: float, view: View, scale: float) -> float:
    """The mean of a field under a box of the ad, grown by ``air``; beyond the photo it is nothing."""
    x0, x1 = (view.left + (v * scale) for v in (box.left - air, box.right + air))
    y0, y1 = (view.top + (v * scale) for v in (box.top - air, box.bottom + air))
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    a, b = (min(max(round(v), 0), width) for v in (x0, x1))
    c, d = (min(max(round(v), 0), height) for v in (y0, y1))
    total = float(sums[d, b] - sums[c, b] - sums[d, a] + sums[c, a])
    return total / max(1.0, box.width * box.height * scale * scale)


def _busiest(placed: Placed, ground: Rgb) -> float:
    """The change in the busiest of the ground under the block, or under one of its lines: a stalk that crosses a single
    line is little of the whole block."""
    change = change_of(np.ascontiguousarray(ground))
    found = [float(np.quantile(change, BUSIEST))]
    scale = ground.shape[0] / placed.box.height
    for line in placed.lines:
        top = round((line.y - 0.8 * line.size - placed.box.top) * scale)
        left = round((line.x - placed.box.left) * scale)
        part = change[
            max(0, top) : top + max(2, round(line.size * scale)),
            max(0, left) : left + max(2, round(line.width * scale)),
        ]
        if part.size:
            found.append(float(np.quantile(part, BUSIEST)))
    return max(found)


def _ground(scene: Scene, view: View, box: Box, scale: float) -> Rgb:
    """The photo's pixels under a box; where it is continued, those of the edge."""
    a, b = (min(max(round(view.left + v * scale), 0), scene.width) for v in (box.left, box.right))
    c, d = (min(max(round(view.top + v * scale), 0), scene.height) for v in (box.top, box.bottom))
    a, b = (a, max(b, a + 1)) if a < scene.width else (scene.width - 1, scene.width)
    c, d = (c, max(d, c + 1)) if c < scene.height else (scene.height - 1, scene.height)
    return scene.photo[c:d, a:b]
