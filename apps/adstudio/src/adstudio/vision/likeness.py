"""Do two pictures look the same? Small and soft, so that a renderer's rounding is no difference and a moved line is."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

WIDTH: Final = 270  # pixels of a thumbnail
MOST_DIFFERENT: Final = 6.0
"""Grey levels, the mean of the tenth that differs most; another JPEG quality makes 1, another crop 30."""


def thumbnail(jpeg: bytes) -> bytes:
    """The picture in small, as a JPEG."""
    with Image.open(io.BytesIO(jpeg)) as image:
        small = image.convert("RGB").resize(
            (WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS
        )
    out = io.BytesIO()
    small.save(out, "JPEG", quality=82)
    return out.getvalue()


def difference(a: bytes, b: bytes) -> float:
    """How much two pictures differ to the eye, 0 to 255; 255 where their shapes differ."""
    first, second = _soft(a), _soft(b)
    if first.shape != second.shape:
        return 255.0
    apart = np.sort(np.abs(first - second).mean(axis=2).ravel())
    return float(apart[-max(1, apart.size // 10) :].mean())


def _soft(jpeg: bytes) -> NDArray[np.float32]:
    with Image.open(io.BytesIO(jpeg)) as image:
        return np.asarray(image.convert("RGB").filter(ImageFilter.GaussianBlur(2)), np.float32)
