"""A YOLO detector of the user's own: the ONNX file that ``ultralytics`` exports for v8 and v11.

The layout, from ``yolo export format=onnx`` (task ``detect``): input ``[1, 3, N, N]``, RGB from 0 to 1,
letterboxed with grey; output ``[1, 4 + classes, anchors]``, each column centre x, centre y, width and
height in input pixels and then the class probabilities. Class names are in the file's metadata.
"""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
from PIL import Image

from adstudio.vision.boxes import to_detected
from adstudio.vision.errors import ModelError
from adstudio.vision.network import Network, Tensor
from adstudio.vision.shapes import Detected, Rgb

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
        _check_outputs(path, self._network.run(blank), len(self._names))

    def detect(self, photo: Rgb) -> list[Detected]:
        """Things in ``photo``, most certain first."""
        height, width = photo.shape[:2]
        image, scale, left, top = letterbox(photo, self._width, self._height)
        rows = self._network.run(image)[0][0].T
        centre, half = rows[:, :2] - (left, top), rows[:, 2:4] / 2
        return to_detected(
            np.concatenate((centre - half, centre + half), axis=1) / scale,
            rows[:, 4:],
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


def _check_outputs(path: Path, outputs: list[Tensor], names: int) -> None:
    """Raises ``ModelError`` unless the trial run gave one ``[1, 4 + classes, anchors]``."""
    expected = "one output [1, 4 + classes, anchors] was expected"
    shapes = [list(output.shape) for output in outputs]
    if len(outputs) != 1 or len(shapes[0]) != 3 or shapes[0][0] != 1:
        raise ModelError(f"{path}: gives {shapes}, {expected} (an ultralytics v8 or v11 detection export)")
    _, attributes, anchors = shapes[0]
    if attributes < 5 or (anchors < attributes and attributes != 4 + names):
        raise ModelError(
            f"{path}: gives {shapes[0]}, {expected}; one row an anchor is the layout of YOLOv5 or of an "
            "export with NMS inside: export again from v8 or v11 with nms=False"
        )
    if names and attributes != 4 + names:
        raise ModelError(f"{path}: names {names} classes but gives scores for {attributes - 4}")
    scores = outputs[0][0, 4:]
    if not (np.isfinite(scores).all() and scores.min() >= -0.01 and scores.max() <= 1.01):
        raise ModelError(f"{path}: its class scores are not probabilities from 0 to 1")


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
