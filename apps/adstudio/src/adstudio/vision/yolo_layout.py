"""How the versions of YOLO lay out what they found, and which of them a file uses.

| layout | output | a box | its score |
| --- | --- | --- | --- |
| v5 (v7 too) | ``[1, 3 × cells, 5 + classes]`` | centre x, y, width, height | objectness × class |
| v8, v9, v11, v12 | ``[1, 4 + classes, cells]``, or turned | centre x, y, width, height | class |
| end to end (v10, v26, ``nms=True``) | ``[1, most, 6]`` | left, top, right, bottom | score, number of the class |

All in input pixels. *Cells* is the number of grid cells of all strides, so the shape alone tells which it is; of a
model with strides of its own, the number of its classes does.
Source: the ``export`` of ultralytics and of yolov5.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from adstudio.vision.network import Tensor

_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))  # the usual, the P6 and the P2 models
_V5_BOXES = 3  # for each cell


class Layout(Enum):
    """One version's way."""

    V5 = "v5"
    V8 = "v8"
    V8_TURNED = "v8, turned"
    END_TO_END = "end to end"


def layout_of(shape: tuple[int, ...], height: int, width: int, names: int) -> Layout | None:
    """The layout of an output of this shape for an input of ``height`` by ``width`` pixels; ``None``: of no YOLO.

    ``names``: how many classes the file names, 0 where it names none.
    """
    if len(shape) != 3 or shape[0] != 1:
        return None
    _, rows, columns = shape
    cells = {sum(-(-height // s) * -(-width // s) for s in strides) for strides in _STRIDES}
    if (columns in cells and rows > 4) or (names and rows == 4 + names):
        return Layout.V8
    if rows in {_V5_BOXES * n for n in cells} and columns > 5:
        return Layout.V5
    if rows in cells and columns > 4:
        return Layout.V8_TURNED
    return Layout.END_TO_END if columns == 6 else None


def classes_of(layout: Layout, shape: tuple[int, ...]) -> int | None:
    """How many classes the output has scores for; ``None`` where it does not show."""
    _, rows, columns = shape
    return {Layout.V5: columns - 5, Layout.V8: rows - 4, Layout.V8_TURNED: columns - 4}.get(layout)


def decode(layout: Layout, output: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Corners ``[rows, 4]`` (left, top, right, bottom, in input pixels) and scores ``[rows, classes]``."""
    rows = output[0].T if layout is Layout.V8 else output[0]
    if layout is Layout.END_TO_END:
        return rows[:, :4], _by_class(rows[:, 4], rows[:, 5])
    scores = rows[:, 4:5] * rows[:, 5:] if layout is Layout.V5 else rows[:, 4:]
    centre, half = rows[:, :2], rows[:, 2:4] / 2
    return np.concatenate((centre - half, centre + half), axis=1), scores


def _by_class(score: NDArray[np.float32], number: NDArray[np.float32]) -> NDArray[np.float32]:
    number = np.clip(np.nan_to_num(number), 0, 9999).astype(np.int64)  # no detector has so many
    table = np.zeros((len(score), int(number.max(initial=0)) + 1), np.float32)
    table[np.arange(len(score)), number] = np.nan_to_num(score)
    return table
