"""How sharp the sharpest of a photo is: the steepness of its edges, which mist and a soft ground do not change."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_AROUND: Final = 9  # pixels: an edge that is wider than that is soft wherever it is looked at
_LEAST_STEP: Final = 0.05  # of full scale: a smaller step may be a JPEG's block or a sky's band
_MOST_NOISE: Final = 0.2  # of full scale: a larger step is an edge, however grainy the photo
_ABOVE_NOISE: Final = 10.0  # standard deviations of the noise: grain spans 5 of them in 9 by 9 pixels
_GRAIN: Final = 3.0  # standard deviations of the noise, that grain adds to the change of an edge
_QUIET: Final = 0.1  # the share of the photo whose detail is taken for noise
_TILE: Final = 16  # pixels
_LAPLACE_OF_NOISE: Final = 20**0.5  # standard deviation of the Laplacian of white noise of 1
_ENOUGH: Final = 0.001  # of the photo has to be as sharp: lashes of a face, the one tree that stands before the mist


def sharpness(luma: NDArray[np.float32]) -> float:
    """How steep the steepest edges of ``luma`` (0 to 1, ``[height, width]``) are: their change from one pixel to the
    next over their whole height, 0 to 1.

    A step has 0.6 to 1 at any contrast, blurred by 2 pixels 0.2 to 0.3: a photo is blurred where nothing in it is
    steeper. Steps no higher than its noise are not looked at, for grain is steep in a blurred photo too.
    """
    height, width = luma.shape
    change = np.zeros_like(luma)
    change[:, :-1] = np.abs(np.diff(luma, axis=1))
    change[:-1] = np.maximum(change[:-1], np.abs(np.diff(luma, axis=0)))
    square = np.ones((_AROUND, _AROUND), np.uint8)
    noise = _noise(luma)
    change = np.maximum(change - _GRAIN * noise, 0)
    step = cv2.dilate(luma, square) - cv2.erode(luma, square)
    least = max(_LEAST_STEP, min(_MOST_NOISE, _ABOVE_NOISE * noise))
    steep = np.where(step >= least, change / np.maximum(step, least), 0)
    rim = _AROUND // 2
    if min(height, width) > 4 * rim:
        steep = steep[rim:-rim, rim:-rim]  # a frame around the photo is no edge of anything in it
    return float(np.quantile(steep, 1 - _ENOUGH))


def _noise(luma: NDArray[np.float32]) -> float:
    """The standard deviation of the grain, as the calmest tiles have it."""
    rows, columns = (length // _TILE for length in luma.shape)
    if not rows or not columns:
        return 0.0
    laplacian = cv2.Laplacian(luma, cv2.CV_32F)[: rows * _TILE, : columns * _TILE]
    tiles = laplacian.reshape(rows, _TILE, columns, _TILE).std(axis=(1, 3))
    return float(np.quantile(tiles, _QUIET)) / _LAPLACE_OF_NOISE
