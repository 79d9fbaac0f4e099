"""Masks: sums over rectangles, growing, and compact storage."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adstudio.vision.shapes import Mask


def integral(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Running sums ``[height + 1, width + 1]``: any rectangle's sum is four look-ups away."""
    height, width = values.shape
    sums = np.zeros((height + 1, width + 1))
    np.cumsum(values, axis=0, dtype=np.float64, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


def dilate(mask: Mask, radius: int) -> Mask:
    """The mask grown by ``radius`` pixels on every side (a square brush)."""
    if radius <= 0:
        return mask.copy()
    height, width = mask.shape
    sums = integral(mask)
    y, x = np.arange(height), np.arange(width)
    top, bottom = np.maximum(y - radius, 0), np.minimum(y + radius + 1, height)
    left, right = np.maximum(x - radius, 0), np.minimum(x + radius + 1, width)
    rows = sums[bottom] - sums[top]
    return np.asarray(rows[:, right] - rows[:, left] > 0.5)


def encode_mask(mask: Mask) -> bytes:
    """The mask as a 1-bit PNG: a few hundred bytes for a subject in a photo."""
    stored = BytesIO()
    Image.fromarray(mask).save(stored, "PNG", optimize=True)
    return stored.getvalue()


def decode_mask(stored: bytes) -> Mask:
    """The mask that ``encode_mask`` stored; raises ``ValueError`` when the bytes are not a 1-bit image."""
    try:
        image = Image.open(BytesIO(stored), formats=["PNG"])
        if image.mode != "1":
            raise ValueError(f"a mask is a 1-bit PNG, this one is of mode {image.mode}")
        return np.array(image, np.bool_)
    except OSError as error:
        raise ValueError(f"not a stored mask: {error}") from error
