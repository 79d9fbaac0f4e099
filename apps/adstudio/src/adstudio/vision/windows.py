"""Which part of the photo is shown: windows of a wanted shape that keep the subject and every face."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from adstudio.vision.layout import Window
from adstudio.vision.scene import Scene, Sums
from adstudio.vision.window_edges import edge_faults

KEPT: Final = 0.97  # of the weights: a window that keeps less cuts the subject
FOCUS_KEPT: Final = 0.35  # of what is in focus: crops of an even picture keep as much
MOST_ENLARGED: Final = 1.5  # pixels of the ad for one of the photo; more is visibly soft
_NEARLY_ALL: Final = 0.992  # of the weights: what is lost is a rim of the map
_AIR: Final = 0.03  # of the longer side, kept around the subject
_TOUCHES: Final = 0.012  # of the side: a subject this near an edge was cut by the photographer already
_ROOM: Final = 0.06  # of the window's short side, that the subject wants between itself and an edge
_SHIFTED: Final = 0.2  # of the side, by which a window wider than a photo with plain ends may be shifted
_SHORTLISTED: Final = 24  # of the best windows, whose edges are looked at
_STEPS: Final = 7  # places tried along each axis
_SIZES: Final = (1.0, 0.82, 0.66, 1.3, 1.7, 2.2)  # of the largest window inside the photo; above 1 only on plain sides


@dataclass(frozen=True, slots=True)
class View:
    """A window in pixels of the scene, and the shares (0 to 1) that it keeps of the weights and of what is in focus."""

    left: float
    top: float
    width: float
    height: float
    kept: float
    focus: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def window(self, scene: Scene) -> Window:
        """In shares of the photo, as it is stored."""
        return Window(
            round(self.left / scene.width, 5),
            round(self.top / scene.height, 5),
            round(self.right / scene.width, 5),
            round(self.bottom / scene.height, 5),
        )

    def enlarged(self, scene: Scene, pane_width: float) -> float:
        """How many pixels of a pane one of the real photo's takes."""
        return pane_width / (self.width * scene.full[0] / scene.width)

    def is_extended(self, scene: Scene) -> bool:
        """Whether it reaches beyond the photo."""
        return self.left < -0.5 or self.top < -0.5 or self.right > scene.width + 0.5 or self.bottom > scene.height + 0.5


def views(scene: Scene, ratio: float, sizes: tuple[float, ...] = _SIZES) -> Iterator[View]:
    """The windows of ``ratio`` (width over height) that cut no face, each with what it keeps."""
    cover_width = min(scene.width, scene.height * ratio)
    total, in_focus = float(scene.kept_sums[-1, -1]), float(scene.focus_sums[-1, -1])
    for size in sizes:
        width, height = cover_width * size, cover_width * size / ratio
        across, down = _anchors(scene, width, height)
        for left in _starts(scene.width, width, "left" in scene.plain, "right" in scene.plain, across):
            for top in _starts(scene.height, height, "top" in scene.plain, "bottom" in scene.plain, down):
                if _cuts_a_face(scene, left, top, left + width, top + height):
                    continue
                edges = left, top, left + width, top + height
                kept = _sum(scene.kept_sums, *edges) / total if total > 1 else 1.0
                focus = _sum(scene.focus_sums, *edges) / in_focus if in_focus > 1 else 1.0
                yield View(left, top, width, height, min(1.0, kept), min(1.0, focus))


def best_view(scene: Scene, ratio: float) -> View | None:
    """The window that keeps most of what matters, with the subject well inside and near the middle."""
    found = list(views(scene, ratio, (1.0, 1.3, 1.7)))
    whole = [view for view in found if not is_cut(scene, view)]
    ranked = [view for view in whole if view.kept >= KEPT] or whole or found
    best = sorted(ranked, key=lambda view: -_rank(scene, view))[:_SHORTLISTED]
    return max(best, key=lambda view: _rank(scene, view) - edge_faults(scene, view), default=None)


def shows_all(scene: Scene, view: View) -> bool:
    """Whether no edge of the photo is left out."""
    return view.left < 1 and view.top < 1 and view.right > scene.width - 1 and view.bottom > scene.height - 1


def is_cut(scene: Scene, view: View) -> bool:
    """Whether an edge of the window runs through the subject that the photographer had left whole."""
    subject = scene.subject
    if subject is None or view.kept >= _NEARLY_ALL:
        return False
    touch_x, touch_y = _TOUCHES * scene.width, _TOUCHES * scene.height
    air = _AIR * max(scene.width, scene.height) * 0.5
    return (
        (subject.left > touch_x and subject.left - min(air, subject.left) < view.left)
        or (
            subject.right < scene.width - touch_x and subject.right + min(air, scene.width - subject.right) > view.right
        )
        or (subject.top > touch_y and subject.top - min(air, subject.top) < view.top)
        or (
            subject.bottom < scene.height - touch_y
            and subject.bottom + min(air, scene.height - subject.bottom) > view.bottom
        )
    )


def crowding(scene: Scene, view: View) -> float:
    """How far short of air the subject is at the window's edges, 0 to 4; an edge that the photo itself has is none."""
    subject = scene.subject
    if subject is None:
        return 0.0
    wanted = _ROOM * min(view.width, view.height)
    touch_x, touch_y = _TOUCHES * scene.width, _TOUCHES * scene.height
    gaps = (
        (subject.left > touch_x, subject.left - view.left),
        (subject.top > touch_y, subject.top - view.top),
        (subject.right < scene.width - touch_x, view.right - subject.right),
        (subject.bottom < scene.height - touch_y, view.bottom - subject.bottom),
    )
    return sum(min(1.0, max(0.0, 1 - gap / wanted)) for is_free, gap in gaps if is_free)


def unfocused(view: View) -> float:
    """How far short it falls of what is in focus, 0 to 1: blur or sky alone is no picture."""
    return max(0.0, 1 - view.focus / FOCUS_KEPT)


def beyond(scene: Scene, view: View) -> float:
    """The share of the window that lies outside the photo and is made up, 0 to 1."""
    across = min(view.right, scene.width) - max(view.left, 0.0)
    down = min(view.bottom, scene.height) - max(view.top, 0.0)
    return 1 - max(0.0, across) * max(0.0, down) / (view.width * view.height)


def lower_heavy(scene: Scene, view: View) -> float:
    """By how much of the window's height more is made up below the photo than above it, 0 to 1."""
    below, above = max(0.0, view.bottom - scene.height), max(0.0, -view.top)
    return max(0.0, below - above) / view.height


def off_centre(scene: Scene, view: View, *, lies: bool) -> float:
    """How far the view's middle is from the scene's, in shares of the photo: up or down where the view ``lies``, else
    to a side, for there it has to leave most of the photo out."""
    if lies:
        return abs(view.top + view.height / 2 - scene.middle[1]) / scene.height
    return abs(view.left + view.width / 2 - scene.middle[0]) / scene.width


def _rank(scene: Scene, view: View) -> float:
    off = (
        abs(view.left + view.width / 2 - scene.middle[0]) / view.width
        + abs(view.top + view.height / 2 - scene.middle[1]) / view.height
    )
    size = view.width / scene.width * view.height / scene.height
    return (
        4 * view.kept
        - 0.5 * off
        + 0.25 * min(1.0, size)
        - 0.45 * view.is_extended(scene)
        - 0.3 * crowding(scene, view)
        - unfocused(view)
        - 0.3 * (1 - view.focus)
    )


def _anchors(scene: Scene, width: float, height: float) -> tuple[list[float], list[float]]:
    """Where a window begins that has the subject in its middle, or just inside one of its edges."""
    box = scene.subject
    if box is None:
        return [], []
    air = _AIR * max(scene.width, scene.height)
    return (
        [(box.left + box.right - width) / 2, box.left - air, box.right + air - width],
        [(box.top + box.bottom - height) / 2, box.top - air, box.bottom + air - height],
    )


def _starts(length: int, side: float, plain_low: bool, plain_high: bool, anchors: list[float]) -> list[float]:
    """Where a side may begin: inside the photo, or beyond a plain end of it; a grid, and the ``anchors`` within it."""
    slack = length - side
    low = min(0.0, slack) if plain_low else 0.0
    high = max(0.0, slack) if plain_high else slack
    if side > length + 0.5:
        if not (plain_low or plain_high):
            return []
        low, high = (slack if plain_low else 0.0), (0.0 if plain_high else slack)
        if plain_low and plain_high:  # then one end may be cut where the other is continued: the subject beside type
            low, high = slack - _SHIFTED * length, _SHIFTED * length
    if high < low:
        low, high = high, low
    if high - low < 1:
        return [low]
    return sorted({*(float(v) for v in np.linspace(low, high, _STEPS)), *(v for v in anchors if low < v < high)})


def _cuts_a_face(scene: Scene, left: float, top: float, right: float, bottom: float) -> bool:
    return any(
        face.left < left or face.right > right or face.top < top or face.bottom > bottom for face in scene.faces
    ) and not _faces_touch(scene)


def _faces_touch(scene: Scene) -> bool:
    """Whether the photographer himself cut every face: then no window can keep one."""
    return all(
        face.left <= 1 or face.top <= 1 or face.right >= scene.width - 1 or face.bottom >= scene.height - 1
        for face in scene.faces
    )


def _sum(sums: Sums, left: float, top: float, right: float, bottom: float) -> float:
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    x0, x1 = (min(max(round(v), 0), width) for v in (left, right))
    y0, y1 = (min(max(round(v), 0), height) for v in (top, bottom))
    return float(sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0])
