"""A YOLO file as it was trained (``.pt``), by the package ``ultralytics`` (the extra of that name).

The package is AGPL-3.0: an operator who offers an application with it in to others over a network owes them the
application's whole source under that licence, or needs a licence from Ultralytics. A ``.pt`` file is a pickle besides:
it can run any code, so only files of one's own belong here. An ONNX file has neither catch.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from adstudio.vision.boxes import to_detected
from adstudio.vision.errors import ModelError
from adstudio.vision.shapes import Detected, Rgb


class UltralyticsYolo:
    """Finds what the file was trained on; ``threshold`` is the least probability that counts."""

    def __init__(self, path: Path, *, threshold: float = 0.35) -> None:
        """Loads ``path``; raises ``ModelError`` naming it and what is wrong."""
        if not path.is_file():
            raise ModelError(f"{path}: no such file")
        os.environ["YOLO_OFFLINE"] = "true"  # or the package reports its use to its maker
        os.environ["YOLO_AUTOINSTALL"] = "false"  # or it installs what it misses
        try:
            from ultralytics import YOLO
        except ModuleNotFoundError:
            raise ModelError(
                f"{path}: a .pt file needs the package ultralytics, whose licence is AGPL-3.0: "
                "pip install 'adstudio[ultralytics]', or export the file to ONNX"
            ) from None
        try:
            self._model: Any = YOLO(str(path), task="detect", verbose=False)
            self._names: dict[int, str] = {int(number): str(name) for number, name in self._model.names.items()}
        except Exception as error:  # from a foreign pickle it raises nearly anything
            raise ModelError(f"{path}: not a usable YOLO detection model ({type(error).__name__})") from error
        if self._model.task != "detect":
            raise ModelError(f"{path}: made for the task {self._model.task!r}, a detection model was expected")
        self._threshold = threshold
        self._one_at_a_time = threading.Lock()  # the package keeps the state of a prediction in the model

    @property
    def labels(self) -> frozenset[str]:
        """The classes that the file names."""
        return frozenset(self._names.values())

    def detect(self, photo: Rgb) -> list[Detected]:
        """Things in ``photo``, most certain first."""
        bgr = np.ascontiguousarray(photo[:, :, ::-1])
        with self._one_at_a_time:
            [found] = self._model.predict(bgr, conf=self._threshold, verbose=False)
        height, width = photo.shape[:2]
        boxes = found.boxes.cpu().numpy()
        scores = np.zeros((len(boxes.conf), max(self._names, default=0) + 1), np.float32)
        scores[np.arange(len(boxes.conf)), boxes.cls.astype(np.int64)] = boxes.conf
        return to_detected(
            boxes.xyxy,
            scores,
            lambda number: self._names.get(number, f"class {number}"),
            width=width,
            height=height,
            threshold=self._threshold,
        )
