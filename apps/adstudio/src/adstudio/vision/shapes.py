"""The shapes that the stages hand to each other: frozen, plain, and ready to be stored as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
"""A photo: ``[height, width, 3]``, 0 to 255, sRGB."""

Mask = NDArray[np.bool_]
"""A region of a photo: ``[height, width]``, true inside."""


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned rectangle in whole pixels of the photo; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def area(self) -> int:
        return max(0, self.width) * max(0, self.height)


@dataclass(frozen=True, slots=True)
class Detected:
    """One thing that a detector saw; ``score`` is a probability from 0 to 1."""

    label: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True)
class Check:
    """One question asked of a picture and its answer; ``value`` and ``limit`` are in ``unit``."""

    name: str
    passed: bool
    value: float
    limit: float
    unit: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's conclusion. ``judge``: its name (``measured checks``, or a model's).

    ``trace``: the question to a model and its answer, in words that JSON can hold.
    """

    passed: bool
    judge: str
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    trace: Mapping[str, object] | None = None
