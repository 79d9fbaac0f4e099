"""Reading the words in a picture with Tesseract, Korean and English, from the data that ships with the application.

Source: Tesseract 4 LSTM models, "best, integer". The data is unpacked for the moment of loading and leaves no file.
"""

from __future__ import annotations

import gzip
import re
import tempfile
import threading
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tesserocr import OEM, PSM, PyTessBaseAPI

from adstudio.vision.errors import Language, ModelError
from adstudio.vision.shapes import Rgb
from adstudio.vision.typefaces import Weight, in_black

_LINE: Final = 48  # pixels: the height of a line at which the models were trained to read
_SMALL: Final = 38  # and a smaller one, for the large and heavy syllables that it takes for others at 48
_RIM: Final = 10  # pixels of plain ground around it
_REMEMBERED: Final = 256  # texts with what was read; a few kilobytes
_LATIN: Final = re.compile("[A-Za-z]")
_DATA: Final = Path(str(files("adstudio") / "assets" / "ocr"))


class Ocr:
    """Reads single lines; loads each language at its first question, and reads one line at a time.

    A Korean line without Latin letters is read with the Korean model alone: that is quicker, and no syllable is
    taken for Latin letters (``가`` for ``7h``).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: dict[tuple[str, ...], PyTessBaseAPI] = {}
        self._in_black = lru_cache(_REMEMBERED)(self._read_in_black)

    def in_black(self, text: str, weight: Weight, size: int, language: Language) -> tuple[str, ...]:
        """The readings of ``text`` where it is easiest to read, black on white; remembered, because every format of an
        ad asks for the same words."""
        return self._in_black(text, weight, size, language)

    def _read_in_black(self, text: str, weight: Weight, size: int, language: Language) -> tuple[str, ...]:
        return tuple(self.line(in_black(text, weight, size), text, language))

    def line(self, region: Rgb, meant: str, language: Language) -> Iterator[str]:
        """The readings of the line of type in ``region`` that is to say ``meant``: as it is, and, when the caller goes
        on, in black on white and smaller."""
        models = _models(meant, language)
        grey = np.asarray(cv2.cvtColor(region, cv2.COLOR_RGB2GRAY), np.uint8)
        sized = _sized(grey, _LINE)
        yield self._read(_upright(sized), models)
        _, parted = cv2.threshold(sized, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        yield self._read(_upright(np.asarray(parted, np.uint8)), models)
        yield self._read(_upright(_sized(grey, _SMALL), 2 * _RIM), models)

    def _read(self, line: NDArray[np.uint8], models: tuple[str, ...]) -> str:
        with self._lock:
            engine = self._engines.get(models)
            if engine is None:
                engine = self._engines[models] = _load(models)
            engine.SetImage(Image.fromarray(line))
            return str(engine.GetUTF8Text()).strip()


def _models(meant: str, language: Language) -> tuple[str, ...]:
    if language == "en":
        return ("eng",)
    return ("kor", "eng") if _LATIN.search(meant) else ("kor",)


def _sized(grey: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    factor = height / max(1, grey.shape[0])
    size = (max(1, round(grey.shape[1] * factor)), height)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC), np.uint8)


def _upright(line: NDArray[np.uint8], rim: int = _RIM) -> NDArray[np.uint8]:
    """Dark on light, with a plain rim."""
    edge = np.concatenate([line[0], line[-1], line[:, 0], line[:, -1]])
    ground = int(np.median(edge))
    if ground < 128:
        line, ground = 255 - line, 255 - ground
    return np.pad(line, rim, constant_values=ground)


def _load(languages: tuple[str, ...]) -> PyTessBaseAPI:
    with tempfile.TemporaryDirectory(prefix="adstudio-ocr-") as folder:
        for language in languages:
            packed = _DATA / f"{language}.traineddata.gz"
            if not packed.is_file():
                raise ModelError(f"{packed}: no such file")
            (Path(folder) / f"{language}.traineddata").write_bytes(gzip.decompress(packed.read_bytes()))
        try:
            return PyTessBaseAPI(path=folder, lang="+".join(languages), psm=PSM.SINGLE_LINE, oem=OEM.LSTM_ONLY)
        except RuntimeError as error:
            raise ModelError(f"{_DATA}: the text reader cannot be loaded ({error})") from error
