"""The contrast of lettering, measured from the finished picture instead of believed.

Contrast is WCAG 2.2's, 1 to 21 (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio).
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from adstudio.vision.contrast import luminance, ratio
from adstudio.vision.shapes import Rgb

CONTOUR_SHARE: Final = 0.25
"""The share of the lettering's contour that may have less contrast than is reported."""

# Pixels, the side of a square: just past the soft edge of a letter, at any size of letter. On plain
# grounds 5 is right within 8 %; 3 reports a quarter too little, 9 takes in more of the photo.
_NEARBY: Final = 5
_LUMINANCE: Final = luminance(np.repeat(np.arange(256)[:, None], 3, axis=1))  # of the 256 greys

Grey = NDArray[np.uint8]
"""The grey of the same luminance, 0 to 255: ``[height, width]``."""


def measured_contrast(region: Rgb) -> float:
    """The contrast between lettering and its ground, 1 to 21.

    ``region`` is the part of the finished ad that the lettering fills. Otsu's threshold splits it into
    light and dark; at every pixel of the border between the two, the lightest and the darkest pixel
    nearby give the local contrast, and the answer is the one that three quarters of the border reach.
    Local, because a photo that is half bright and half dark has contrast enough of its own; three
    quarters, because lettering is read whole. A region in one colour has contrast 1.
    """
    grey = _grey(region)
    light = np.where(grey > _otsu(grey), np.uint8(255), np.uint8(0))
    border = _largest(light, 3) != _smallest(light, 3)
    if not border.any():
        return 1.0
    lightest = _LUMINANCE[_largest(grey, _NEARBY)[border]]
    darkest = _LUMINANCE[_smallest(grey, _NEARBY)[border]]
    return float(np.quantile(ratio(lightest, darkest), CONTOUR_SHARE))


def _grey(region: Rgb) -> Grey:
    levels = np.searchsorted(_LUMINANCE, luminance(region))
    return np.asarray(levels.clip(0, 255), dtype=np.uint8)


def _otsu(grey: Grey) -> int:
    """The grey level (dark up to and including it) that parts the two classes best."""
    share = np.bincount(grey.ravel(), minlength=256) / grey.size
    dark = np.cumsum(share)
    dark_sum = np.cumsum(share * np.arange(256))
    spread = dark * (1 - dark)
    between = (dark_sum[-1] * dark - dark_sum) ** 2 / np.where(spread > 1e-12, spread, np.inf)
    return int(between.argmax())


def _largest(grey: Grey, side: int) -> Grey:
    return np.asarray(cv2.dilate(grey, np.ones((side, side), np.uint8)), np.uint8)


def _smallest(grey: Grey, side: int) -> Grey:
    return np.asarray(cv2.erode(grey, np.ones((side, side), np.uint8)), np.uint8)
