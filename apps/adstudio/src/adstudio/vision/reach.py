"""How far a thing reaches, and how much of that a crop takes off: a spire or a foot is few pixels of a subject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from adstudio.vision.importance import bounds, mush_of
from adstudio.vision.shapes import Box

_CUT_ALREADY: Final = 0.3
"""Of a region's width or height: where it meets the photo's edge along more than that, the photographer cut it."""
_TRIM: Final = 0.0015  # of the region's pixels on each side: stray ones
_MUSH: Final = 0.35  # as mush_of measures it: 24 photos have 0.03 to 0.32 of things, 0.36 to 4.7 of views


@dataclass(frozen=True, slots=True)
class Reach:
    """In pixels. ``free`` are its sides (left, top, right, bottom) that the photo left whole."""

    box: Box
    free: tuple[bool, bool, bool, bool]

    def lost(self, left: float, top: float, right: float, bottom: float, *, legs_too: bool = True) -> float:
        """The most of its width or height that one edge of a crop takes off, 0 to 1. ``legs_too``: the lower edge
        counts as well; ads cut a person's."""
        box = self.box
        cuts = (
            (left - box.left) / box.width,
            (top - box.top) / box.height,
            (box.right - right) / box.width,
            (box.bottom - bottom) / box.height if legs_too else 0.0,
        )
        return max(0.0, *(min(1.0, cut) for cut, is_free in zip(cuts, self.free, strict=True) if is_free))


def reach_of(region: NDArray[np.bool_]) -> Reach | None:
    """The reach of a region; None for none."""
    box = bounds(region, _TRIM)
    if box is None or box.width < 2 or box.height < 2:
        return None
    height, width = region.shape
    x, y = max(2, round(0.01 * width)), max(2, round(0.01 * height))
    ends = (
        region[:, :x].any(axis=1).sum() / box.height,
        region[:y].any(axis=0).sum() / box.width,
        region[:, width - x :].any(axis=1).sum() / box.height,
        region[height - y :].any(axis=0).sum() / box.width,
    )
    left, top, right, bottom = (bool(end <= _CUT_ALREADY) for end in ends)
    return Reach(box, (left, top, right, bottom))


def is_a_thing(subject: NDArray[np.float32]) -> bool:
    """Whether a subject map marks a thing with an outline, and no part of a view."""
    return bool((subject > 0.5).any()) and mush_of(subject) <= _MUSH


def main_pieces(region: NDArray[np.bool_], least: float = 0.25) -> NDArray[np.bool_]:
    """The pieces of a region that are at least ``least`` of its largest."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
    if count < 2:
        return region
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return np.asarray((areas >= least * areas.max())[pieces] & region, np.bool_)
