"""Object detection: the shipped NanoDet, or a YOLO file of the user's own."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Protocol

from adstudio.vision.errors import ModelError
from adstudio.vision.nanodet import NanoDet
from adstudio.vision.shapes import Detected, Rgb
from adstudio.vision.yolo import Yolo

__all__ = ["Detector", "ModelError", "NanoDet", "Yolo", "load_detector"]


class Detector(Protocol):
    """Anything that sees things in a photo."""

    def detect(self, photo: Rgb) -> list[Detected]:
        """Things in ``photo``, most certain first; safe to call from several threads."""
        ...


def load_detector(path: Path | None, *, threads: int = 1) -> Detector:
    """The YOLO model at ``path``, or the shipped NanoDet when there is none.

    The file is checked and tried on a blank image here; raises ``ModelError`` naming the path and what
    is wrong with it. Load once and share: it takes a fraction of a second and the model's size in memory.
    """
    if path is not None:
        return Yolo(path, threads=threads)
    shipped = Path(str(files("adstudio") / "assets" / "models" / "nanodet_coco80_fp16.onnx"))
    return NanoDet(shipped, threads=threads)
