"""A YOLO detector of the user's own, as an ONNX file: of v5, v8, v11, and what shares a layout with one of them.

Input, as all of them export it (task ``detect``): ``[1, 3, N, N]``, RGB from 0 to 1, letterboxed with grey. Class
names are in the file's metadata.
"""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
from PIL import Image

from adstudio.vision.boxes import to_detected
from adstudio.vision.coco import COCO_80
from adstudio.vision.errors import ModelError
from adstudio.vision.network import Network, Tensor
from adstudio.vision.shapes import Detected, Rgb
from adstudio.vision.yolo_layout import Layout, classes_of, decode, layout_of

_GREY = 114 / 255
_USUAL_SIDE = 640  # what ultralytics exports unless told; for files that leave the size free


class Yolo:
    """Finds what the user's model was trained on; ``threshold`` is the least probability that counts."""

    def __init__(self, path: Path, *, threshold: float = 0.35, threads: int = 1) -> None:
        """Loads ``path`` and runs it once on a grey image, so that a foreign layout shows here, not in a job.

        Raises ``ModelError`` naming the path and what is wrong.
        """
        self._network = Network(path, threads=threads)
        self._threshold = threshold
        self._height, self._width = _input_size(self._network)
        task = self._network.metadata.get("task", "detect")
        if task != "detect":
            raise ModelError(f"{path}: made for the task {task!r}, a detection model was expected")
        self._names = _names(self._network.metadata.get("names", ""))
        blank = np.full((1, 3, self._height, self._width), _GREY, np.float32)
        outputs = self._network.run(blank)
        self._layout = _layout(path, outputs, self._height, self._width, len(self._names))
        classes = classes_of(self._layout, outputs[0].shape)
        if self._names and classes not in (None, len(self._names)):
            raise ModelError(f"{path}: names {len(self._names)} classes but gives scores for {classes}")
        if not self._names and classes == len(COCO_80):  # v5 before 6.2 wrote none, and was mostly trained on COCO
            self._names = dict(enumerate(COCO_80))
        scores = decode(self._layout, outputs[0])[1]
        if not (np.isfinite(scores).all() and scores.min(initial=0) >= -0.01 and scores.max(initial=0) <= 1.01):
            raise ModelError(f"{path}: its class scores are not probabilities from 0 to 1")

    @property
    def labels(self) -> frozenset[str]:
        """The classes that the file names; may be empty."""
        return frozenset(self._names.values())

    def detect(self, photo: Rgb) -> list[Detected]:
        """Things in ``photo``, most certain first."""
        height, width = photo.shape[:2]
        image, scale, left, top = letterbox(photo, self._width, self._height)
        corners, scores = decode(self._layout, self._network.run(image)[0])
        return to_detected(
            (corners - np.array((left, top, left, top), np.float32)) / scale,
            scores,
            self._name,
            width=width,
            height=height,
            threshold=self._threshold,
        )

    def _name(self, number: int) -> str:
        return self._names.get(number, f"class {number}")


def letterbox(photo: Rgb, width: int, height: int) -> tuple[Tensor, float, int, int]:
    """The photo scaled to fit ``width`` by ``height`` with its shape kept, centred on grey.

    Returns the ``[1, 3, height, width]`` image (RGB, 0 to 1), the scale, and the left and top padding:
    a point of the photo times the scale plus the padding is its place in the image.
    """
    rows, columns = photo.shape[:2]
    scale = min(width / columns, height / rows)
    inner_width, inner_height = max(1, round(columns * scale)), max(1, round(rows * scale))
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    inner = Image.fromarray(photo).resize((inner_width, inner_height), Image.Resampling.BILINEAR)
    image = np.full((1, 3, height, width), _GREY, np.float32)
    image[0, :, top : top + inner_height, left : left + inner_width] = (
        np.asarray(inner, np.float32).transpose(2, 0, 1) / 255
    )
    return image, scale, left, top


def _input_size(network: Network) -> tuple[int, int]:
    """Height and width to feed; an axis the file leaves free gets the usual side."""
    shape = network.input_shape
    fixed = [axis for axis in zip(shape, (1, 3), strict=False) if isinstance(axis[0], int)]
    if len(shape) != 4 or any(declared != wanted for declared, wanted in fixed):
        raise ModelError(f"{network.path}: takes {list(shape)}, one image [1, 3, N, N] was expected")
    height, width = (side if isinstance(side, int) else _USUAL_SIDE for side in shape[2:])
    return height, width


def _layout(path: Path, outputs: list[Tensor], height: int, width: int, names: int) -> Layout:
    """Raises ``ModelError`` unless the trial run gave what some YOLO gives."""
    shapes = [list(output.shape) for output in outputs]
    layout = layout_of(outputs[0].shape, height, width, names) if outputs else None
    # v5 gives its three raw heads, [1, 3, rows, columns, …], beside the answer.
    raw_heads = layout is Layout.V5 and all(len(shape) == 5 for shape in shapes[1:])
    if layout is None or (len(outputs) != 1 and not raw_heads):
        raise ModelError(
            f"{path}: gives {shapes} for {height} by {width} pixels, one output was expected: "
            "[1, 4 + classes, cells] (v8, v11), [1, 3 × cells, 5 + classes] (v5) or [1, most, 6] (end to end)"
        )
    return layout


def _names(text: str) -> dict[int, str]:
    """Class names from metadata such as ``{0: 'cup', 1: 'cat'}``; empty when absent or not that.

    The text comes with a file from outside: only literals are read, nothing is evaluated.
    """
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return {}
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, dict) or not all(isinstance(key, int) for key in value):
        return {}
    return {number: str(name) for number, name in value.items()}
