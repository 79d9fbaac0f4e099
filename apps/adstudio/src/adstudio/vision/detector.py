"""Object detection: the shipped NanoDet, or a YOLO file of the user's own."""

from __future__ import annotations

from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from adstudio.vision.errors import ModelError
from adstudio.vision.nanodet import NanoDet
from adstudio.vision.shapes import Detected, Rgb
from adstudio.vision.yolo import Yolo
from adstudio.vision.yolo_pt import UltralyticsYolo

__all__ = ["Detector", "ModelError", "NanoDet", "Yolo", "load_detector"]

THRESHOLD = 0.35
"""The least probability that counts, of NanoDet and of YOLO: both were trained to be cut about there."""


class Detector(Protocol):
    """A model that sees things in a photo. ``labels``: the classes that it names; may be empty."""

    @property
    def labels(self) -> frozenset[str]: ...

    def detect(self, photo: Rgb) -> list[Detected]:
        """Things in ``photo``, most certain first; safe to call from several threads."""
        ...


class Only:
    """A detector that finds things of some classes only."""

    def __init__(self, detector: Detector, classes: Collection[str]) -> None:
        """Raises ``ModelError`` for a class that the detector does not know."""
        unknown = sorted(set(classes) - detector.labels) if detector.labels else []
        if unknown:
            known = ", ".join(sorted(detector.labels)[:20])
            raise ModelError(f"YOLO_CLASSES: the detector knows no {', '.join(unknown)}; it knows {known}")
        self._detector = detector
        self.labels = frozenset(classes)

    def detect(self, photo: Rgb) -> list[Detected]:
        """As of the detector."""
        return [thing for thing in self._detector.detect(photo) if thing.label in self.labels]


def load_detector(
    path: Path | None, *, classes: Collection[str] = (), threshold: float | None = None, threads: int = 1
) -> Detector:
    """The YOLO model at ``path`` (ONNX, or ``.pt`` for ultralytics), or the shipped NanoDet when there is none.

    ``classes``: those that count; none: all. The file is checked and tried on a blank image here; raises
    ``ModelError`` naming the path and the fault. Load once and share: it takes a fraction of a second and
    the model's size in memory.
    """
    least = THRESHOLD if threshold is None else threshold
    detector: Detector
    if path is None:
        shipped = Path(str(files("adstudio") / "assets" / "models" / "nanodet_coco80_fp16.onnx"))
        detector = NanoDet(shipped, threshold=least, threads=threads)
    elif path.suffix == ".pt":
        detector = UltralyticsYolo(path, threshold=least)
    else:
        detector = Yolo(path, threshold=least, threads=threads)
    return Only(detector, classes) if classes else detector
