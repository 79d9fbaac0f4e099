"""Where a crop's edges run: through a thing, or just inside something else, of which a sliver is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from adstudio.vision.importance import SUBJECT

if TYPE_CHECKING:
    from adstudio.vision.scene import Scene
    from adstudio.vision.windows import View

_SEVERED: Final = 0.6  # the price of an edge that runs through a subject from end to end
_SLIVERS: Final = 0.25  # and of one along which a strip of something else is left
_GUESSED: Final = 0.4  # how much an edge through what may be a thing counts of one through the subject
_SLIVER: Final = 0.04  # of the window's side: a strip this thin of another colour looks like a mistake
_SHORT: Final = 2.2  # and of one beyond which the whole reach of the subject lies
_BODY: Final = 0.35  # how much of that counts of a person whose face is whole: portraits cut arms
_GRAZED: Final = 0.02  # of the subject's reach: the air around the map
_ALIKE, _APART = 12.0, 36.0  # distance in eight-bit Lab: of one surface in another light, of two surfaces


def edge_faults(scene: Scene, view: View) -> float:
    """How badly the window's edges run, in the units of a layout's score; 0 where they cross nothing that matters."""
    return _SEVERED * severed(scene, view) + _SLIVERS * slivers(scene, view) + _SHORT * cut_short(scene, view)


def cut_short(scene: Scene, view: View) -> float:
    """How much of the subject's width or height an edge takes off, 0 to 1: a spire or a hand is few of its pixels."""
    if scene.reach is None:
        return 0.0
    lost = scene.reach.lost(view.left, view.top, view.right, view.bottom, legs_too=not scene.faces)
    return (_BODY if scene.faces else 1.0) * max(0.0, lost - _GRAZED)


def severed(scene: Scene, view: View) -> float:
    """How much of the window's edges runs through things that matter, 0 to 4: each edge's share of them. An edge that
    the photo itself has is none: the photographer cut there."""
    left, top, right, bottom = _inside(scene, view)
    weights = scene.weights
    lines = []
    if left > 0:
        lines.append(weights[top:bottom, left])
    if right < scene.width:
        lines.append(weights[top:bottom, right - 1])
    if top > 0:
        lines.append(weights[top, left:right])
    if bottom < scene.height:
        lines.append(weights[bottom - 1, left:right])
    return sum(float(np.where(line > 0, np.clip(line, _GUESSED, SUBJECT), 0).mean()) for line in lines)


def slivers(scene: Scene, view: View) -> float:
    """How much the outermost strips of the window are of another colour than the picture beside them, 0 to 4: the land
    below a horizon, a table's edge. It has to be so along the whole edge: a thing near it or across it is no sliver."""
    left, top, right, bottom = _inside(scene, view)
    x, y = max(2, round(_SLIVER * (right - left))), max(2, round(_SLIVER * (bottom - top)))
    across, down = _thirds(left, right), _thirds(top, bottom)
    total = 0.0
    if left > 0:
        total += _apart(scene, down, [left, left + x, left + 3 * x], 1)
    if right < scene.width:
        total += _apart(scene, down, [right - 3 * x, right - x, right], 1)
    if top > 0:
        total += _apart(scene, [top, top + y, top + 3 * y], across, 0)
    if bottom < scene.height:
        total += _apart(scene, [bottom - 3 * y, bottom - y, bottom], across, 0)
    return total


def _inside(scene: Scene, view: View) -> tuple[int, int, int, int]:
    left, top = max(0, round(view.left)), max(0, round(view.top))
    return (
        min(left, scene.width - 1),
        min(top, scene.height - 1),
        max(left + 1, min(scene.width, round(view.right))),
        max(top + 1, min(scene.height, round(view.bottom))),
    )


def _thirds(start: int, end: int) -> list[int]:
    return [start + (end - start) * i // 3 for i in range(4)]


def _apart(scene: Scene, rows: list[int], columns: list[int], axis: int) -> float:
    """How far apart the colours are of the two strips between three ``rows`` (axis 0) or ``columns`` (axis 1), 0 to 1,
    in the third of them that is most alike."""
    ys, xs = np.clip(rows, 0, scene.height), np.clip(columns, 0, scene.width)
    blocks = np.diff(np.diff(scene.colour_sums[np.ix_(ys, xs)], axis=0), axis=1)
    colours = blocks / np.maximum(1, np.outer(np.diff(ys), np.diff(xs)))[:, :, None]
    outer, inner = np.moveaxis(colours, axis, 0)
    distance = float(np.linalg.norm(outer - inner, axis=-1).min())
    return min(1.0, max(0.0, (distance - _ALIKE) / (_APART - _ALIKE)))
