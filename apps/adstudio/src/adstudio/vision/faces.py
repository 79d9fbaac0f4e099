"""Faces by BlazeFace, the full-range model of MediaPipe.

Source: Bazarevsky et al. 2019; the decoding follows MediaPipe's face_detection_full_range graph: one anchor in the
middle of each cell of a 48 by 48 grid, sixteen numbers each, in pixels of the 192 by 192 input.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from adstudio.vision.boxes import iou, suppress
from adstudio.vision.errors import ModelError
from adstudio.vision.shapes import Box, Detected, Rgb

_SIDE: Final = 192
_GRID: Final = 48
_CERTAIN: Final = 0.6  # probability; no false face at this in a hundred photos without any
_SAME: Final = 0.3  # IoU above which two boxes are one face
_FOREHEAD, _AROUND = 0.35, 0.12  # of the box: it ends at the brows, and at the cheeks


class FaceModel:
    """Finds faces; loaded once, safe to call from several threads (it works for one at a time)."""

    def __init__(self, path: Path) -> None:
        """Loads ``path``; raises ``ModelError`` where it is missing or another model."""
        if not path.is_file():
            raise ModelError(f"{path}: no such file")
        try:
            self._network = cv2.dnn.readNetFromTFLite(str(path), cv2.dnn.ENGINE_CLASSIC)
            self._outputs = self._network.getUnconnectedOutLayersNames()
        except cv2.error as error:
            raise ModelError(f"{path}: not a usable TFLite model ({error.err})") from error
        self._lock = threading.Lock()
        shapes = sorted(output.shape for output in self._run(np.zeros((_SIDE, _SIDE, 3), np.uint8)))
        if shapes != [(1, _GRID**2, 1), (1, _GRID**2, 16)]:
            raise ModelError(f"{path}: not BlazeFace full range, its outputs are {shapes}")

    def find(self, photo: Rgb) -> list[Detected]:
        """The faces in ``photo``, from brow to chin and a little more, the most certain first."""
        height, width = photo.shape[:2]
        scale = _SIDE / max(height, width)
        square = np.zeros((_SIDE, _SIDE, 3), np.uint8)
        small = cv2.resize(
            photo, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
        )
        square[: small.shape[0], : small.shape[1]] = small
        first, second = self._run(square)
        logits, numbers = (first, second) if first.shape[-1] == 1 else (second, first)
        certain = 1 / (1 + np.exp(-np.clip(logits[0, :, 0], -60, 60)))
        found = []
        for cell in np.flatnonzero(certain >= _CERTAIN):
            x = (cell % _GRID + 0.5) * _SIDE / _GRID + numbers[0, cell, 0]
            y = (cell // _GRID + 0.5) * _SIDE / _GRID + numbers[0, cell, 1]
            across, down = numbers[0, cell, 2] * (0.5 + _AROUND), numbers[0, cell, 3] * 0.5
            box = Box(
                max(0, round(float((x - across) / scale))),
                max(0, round(float((y - down * (1 + 2 * _FOREHEAD)) / scale))),
                min(width, round(float((x + across) / scale))),
                min(height, round(float((y + down * (1 + _AROUND)) / scale))),
            )
            if box.width > 0 and box.height > 0:
                found.append(Detected("face", round(float(certain[cell]), 4), box))
        found.sort(key=lambda one: -one.score)
        return suppress(found, lambda a, b: iou(a.box, b.box) > _SAME)

    def _run(self, square: Rgb) -> list[NDArray[np.float32]]:
        blob = cv2.dnn.blobFromImage(square, 1 / 127.5, (_SIDE, _SIDE), (127.5, 127.5, 127.5))
        with self._lock:
            self._network.setInput(blob)
            return [np.asarray(output, np.float32) for output in self._network.forward(self._outputs)]
