"""Arithmetic on boxes: overlap, rounding to whole pixels, and non-maximum suppression."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil, floor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from adstudio.vision.shapes import Box, Detected

Ranked = TypeVar("Ranked")


def intersection(a: Box, b: Box) -> int:
    """The area, in pixels, that two boxes share."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    return max(0, width) * max(0, height)


def iou(a: Box, b: Box) -> float:
    """Intersection over union, 0 (apart) to 1 (the same); two empty boxes have 0."""
    shared = intersection(a, b)
    union = a.area + b.area - shared
    return shared / union if union else 0.0


def share_of_smaller(a: Box, b: Box) -> float:
    """How much of the smaller box lies in the other, 0 to 1: a box inside a big one has 1, unlike ``iou``."""
    smaller = min(a.area, b.area)
    return intersection(a, b) / smaller if smaller else 0.0


def suppress(
    ranked: Iterable[Ranked], coincide: Callable[[Ranked, Ranked], bool], limit: int | None = None
) -> list[Ranked]:
    """Keeps, best first, boxes that do not coincide with a better one that was kept; at most ``limit``."""
    kept: list[Ranked] = []
    for one in ranked:
        if limit is not None and len(kept) >= limit:
            break
        if not any(coincide(better, one) for better in kept):
            kept.append(one)
    return kept


_SAME_THING = 0.5  # two boxes of one class with an IoU above this show the same thing
_MOST = 300  # boxes looked at after thresholding; beyond that a detector sees only noise


def to_detected(
    corners: NDArray[np.floating],
    scores: NDArray[np.floating],
    names: Callable[[int], str],
    *,
    width: int,
    height: int,
    threshold: float,
    largest_share: float = 1.0,
) -> list[Detected]:
    """A detector's raw rows as things seen, best first, after suppression within each class.

    ``corners`` is ``[rows, 4]`` (left, top, right, bottom, in the photo's pixels) and ``scores``
    ``[rows, classes]`` (probabilities). A row counts once, for its best class. Boxes are clipped to the
    photo of ``width`` by ``height`` pixels; those over ``largest_share`` of its area are ignored.
    """
    best = scores.argmax(axis=1)
    score = scores[np.arange(len(scores)), best]
    order = np.argsort(-score, kind="stable")
    seen: list[Detected] = []
    for row in order[: int((score >= threshold).sum())][:_MOST]:
        left, top, right, bottom = (float(edge) for edge in corners[row])
        if not np.isfinite((left, top, right, bottom)).all():
            continue
        box = Box(max(0, floor(left)), max(0, floor(top)), min(width, ceil(right)), min(height, ceil(bottom)))
        if box.width > 0 and box.height > 0 and box.area <= largest_share * width * height:
            seen.append(Detected(names(int(best[row])), float(score[row]), box))
    return suppress(seen, lambda a, b: a.label == b.label and iou(a.box, b.box) > _SAME_THING)
