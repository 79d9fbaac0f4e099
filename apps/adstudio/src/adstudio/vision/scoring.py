"""How good a place on a photo is for text: running sums over the photo, and the four part scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adstudio.vision.masks import integral
from adstudio.vision.shapes import Mask, Rgb

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

_WEIGHTS = {"room": 0.45, "calm": 0.25, "margin": 0.13, "order": 0.17}
_RESTLESS = 30.0  # mean change of grey per cell (0 to 255) at which a background counts as fully restless
_UNEVEN = 60.0  # spread of grey (standard deviation, 0 to 255) that counts the same
_EDGE = 0.05  # of the short side: the distance to an edge from which it is no longer felt
_LEAST_EDGE = 0.02  # and under which no box goes
_AIR = 0.015  # of the longer side: one of the four steps in which the distance to the subject is taken


@dataclass(frozen=True, slots=True)
class Shape:
    """A box's size in cells, and what is good about it wherever it goes, from 0 to 1.

    ``room``: how large the copy is that fills it. ``flow``: how little its lines are chopped up.
    """

    width: int
    height: int
    room: float
    flow: float


@dataclass(frozen=True, slots=True)
class Scores:
    """One value for each place, all from 0 to 1."""

    total: Floats
    room: Floats
    calm: Floats
    margin: Floats
    order: Floats


@dataclass(frozen=True, slots=True)
class Ground:
    """A photo in cells of some pixels a side, summed up so that any box of cells is judged at once."""

    height: int
    width: int
    _taken: Floats
    _change: Floats
    _grey: Floats
    _grey_squared: Floats

    @classmethod
    def of(cls, photo: Rgb, forbidden: Mask, cell: int) -> Ground:
        """``cell`` is in pixels. A cell is taken if any pixel of it is; incomplete ones at the right and
        bottom are left off, so that a box of cells is always a box of the photo."""
        height, width = photo.shape[0] // cell, photo.shape[1] // cell
        taken: Mask = np.asarray(_in_cells(forbidden, height, width, cell).any(axis=(1, 3)))
        grey = np.zeros((height, width))
        for channel, weight in enumerate((0.299, 0.587, 0.114)):
            grey += weight * _in_cells(photo[:, :, channel], height, width, cell).mean(axis=(1, 3))
        change = np.zeros_like(grey)
        change[:, 1:] += abs(np.diff(grey, axis=1))
        change[1:] += abs(np.diff(grey, axis=0))
        return cls(height, width, *(integral(field) for field in (taken, change, grey, grey**2)))

    def free_places(self, width: int, height: int, step: int) -> tuple[Places, Places]:
        """Left and top, in cells, of every free box of this size on a grid of ``step`` cells.

        The grid also has the middle, and the places that keep the usual distance to an edge.
        """
        across = _grid(self.width, width, step, min(self.width, self.height))
        down = _grid(self.height, height, step, min(self.width, self.height))
        left, top = (axis.ravel() for axis in np.meshgrid(across, down))
        free = _sum(self._taken, left, top, left + width, top + height) < 0.5
        return left[free], top[free]

    def score(self, left: Places, top: Places, shape: Shape) -> Scores:
        """The scores of boxes of one shape at these places."""
        right, bottom = left + shape.width, top + shape.height
        parts = {
            "room": np.full(left.shape, shape.room),
            "calm": self._calm(left, top, right, bottom),
            "margin": self._margin(left, top, right, bottom),
            "order": self._order(left, top, right, bottom) * shape.flow,
        }
        total = sum((_WEIGHTS[name] * part for name, part in parts.items()), np.zeros(left.shape))
        return Scores(total, **parts)

    def _calm(self, left: Places, top: Places, right: Places, bottom: Places) -> Floats:
        area = (right - left) * (bottom - top)
        change = _sum(self._change, left, top, right, bottom) / area
        mean = _sum(self._grey, left, top, right, bottom) / area
        spread = _sum(self._grey_squared, left, top, right, bottom) / area - mean**2
        unrest = change / _RESTLESS + np.sqrt(np.maximum(spread, 0)) / _UNEVEN
        return 1 - np.clip(unrest, 0, 1)

    def _margin(self, left: Places, top: Places, right: Places, bottom: Places) -> Floats:
        edge = np.minimum.reduce([left, top, self.width - right, self.height - bottom])
        from_edge = np.clip(edge / (_EDGE * min(self.width, self.height)), 0, 1)
        from_subject = np.zeros(left.shape)
        for steps in (1, 2, 3, 4):
            air = max(1, round(steps * _AIR * max(self.width, self.height)))
            grown = (
                np.maximum(left - air, 0),
                np.maximum(top - air, 0),
                np.minimum(right + air, self.width),
                np.minimum(bottom + air, self.height),
            )
            from_subject += (_sum(self._taken, *grown) < 0.5) / 4
        return np.asarray((from_edge + from_subject) / 2)

    def _order(self, left: Places, top: Places, right: Places, bottom: Places) -> Floats:
        """First at the top left, as one reads; a centred box is as easy to find as one at the left."""
        down = 1 - 0.7 * top / np.maximum(self.height - (bottom - top), 1)
        across = 1 - 0.6 * left / np.maximum(self.width - (right - left), 1)
        centred = abs(left + right - self.width) <= 2
        return np.asarray((down + np.where(centred, np.maximum(across, 0.95), across)) / 2)


def _in_cells(field: Mask | NDArray[np.uint8], height: int, width: int, cell: int) -> NDArray[Any]:
    return field[: height * cell, : width * cell].reshape(height, cell, width, cell)


def _grid(length: int, side: int, step: int, short: int) -> Places:
    """Starts of a box of ``side`` along an axis of ``length``, from the least distance to either edge."""
    least, usual = int(_LEAST_EDGE * short), round(_EDGE * short)
    starts = {
        *range(least, length - side - least + 1, step),
        usual,
        (length - side) // 2,
        length - side - usual,
        length - side - least,
    }
    return np.array(sorted(s for s in starts if least <= s <= length - side - least), np.intp)


def _sum(sums: Floats, left: Places, top: Places, right: Places, bottom: Places) -> Floats:
    """The sum over each box, from running sums."""
    return np.asarray(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])
