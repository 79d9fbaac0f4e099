"""Reading the words in a picture with the models that the ``rapidocr`` wheel carries.

They read Latin and Chinese; of any other script, Hangul included, they only see that there is text. No
file is fetched: the models are named by path, and a wheel without them is an error.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from adstudio.vision.shapes import Box, Rgb

if TYPE_CHECKING:
    from rapidocr import RapidOCR

_WHOLE: Final = 0.9  # a "text" over more of the picture than this is the picture itself: a known false find
_LONGEST: Final = 960  # pixels; the detector looks at no more
_MIN_SCORE: Final = 0.3  # below that the recogniser is guessing


class OcrError(Exception):
    """The models cannot be loaded."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One stretch of text, as it was read."""

    text: str
    box: Box


class Ocr:
    """Loads its models at the first question (about a second) and answers one question at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engine: RapidOCR | None = None

    def regions(self, picture: Rgb) -> tuple[Box, ...]:
        """Where there is text, in whatever script."""
        found = self._ask(picture, read=False)
        boxes = (_box(corners) for corners in _each(found.boxes))
        return tuple(box for box in boxes if not _is_whole(box, picture))

    def read(self, picture: Rgb) -> tuple[Seen, ...]:
        """What can be read, and where; a script that the models do not know is left out or garbled."""
        found = self._ask(picture, read=True)
        stretches = zip(_each(found.boxes), _each(found.txts), strict=True)
        seen = (Seen(str(text), _box(corners)) for corners, text in stretches)
        return tuple(stretch for stretch in seen if not _is_whole(stretch.box, picture))

    def _ask(self, picture: Rgb, *, read: bool) -> Any:
        bgr = np.ascontiguousarray(picture[:, :, ::-1])
        # The engine keeps what it is told from one call to the next, so every call says everything;
        # and it writes to itself while working, so there is one call at a time.
        with self._lock:
            if self._engine is None:
                self._engine = _load()
            return self._engine(bgr, use_det=True, use_cls=False, use_rec=read)


def _load() -> RapidOCR:
    logging.getLogger("RapidOCR").disabled = True  # it sets its own level and prints to the console
    import rapidocr  # here, for it brings OpenCV with it, and an app that never judges need not wait

    models = Path(rapidocr.__file__).parent / "models"
    params = {
        "Global.text_score": _MIN_SCORE,
        "Global.use_cls": False,
        "Det.model_path": _model(models, "det"),
        "Det.limit_type": "max",
        "Det.limit_side_len": _LONGEST,
        "Rec.model_path": _model(models, "rec"),
    }
    return rapidocr.RapidOCR(params=params)


def _model(folder: Path, task: str) -> str:
    found = sorted(folder.glob(f"*_{task}_*.onnx"))
    if not found:
        raise OcrError(f"{folder} has no *_{task}_*.onnx: this rapidocr wheel carries no such model.")
    return str(found[-1])  # of several versions the newest, as their names sort


def _each(values: Any) -> Any:
    return () if values is None else values


def _box(corners: Any) -> Box:
    left, top = np.floor(np.min(corners, axis=0))
    right, bottom = np.ceil(np.max(corners, axis=0))
    return Box(int(left), int(top), int(right), int(bottom))


def _is_whole(box: Box, picture: Rgb) -> bool:
    height, width = picture.shape[:2]
    return bool(box.area > _WHOLE * height * width)
