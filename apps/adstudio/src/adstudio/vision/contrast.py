"""Contrast as the Web Content Accessibility Guidelines 2.2 define it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

READABLE: Final = 4.5  # WCAG's level AA for text of any size


def luminance(colour: NDArray[np.generic]) -> NDArray[np.float64]:
    """Relative luminance, 0 (black) to 1 (white), of sRGB colours ``[..., 3]`` from 0 to 255."""
    share = colour.astype(np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    weighted: NDArray[np.float64] = linear @ np.array((0.2126, 0.7152, 0.0722))
    return weighted


def ratio(a: NDArray[np.float64] | float, b: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """The contrast of luminances, 1 (the same) to 21 (black and white)."""
    return np.asarray((np.maximum(a, b) + 0.05) / (np.minimum(a, b) + 0.05))
