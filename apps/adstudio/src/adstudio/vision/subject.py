"""The photo's main subject by U²-Net-p.

Source: U²-Net (Qin et al. 2020, Apache-2.0). It marks the most salient thing of any kind, which
makes up for things that a small detector does not know.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adstudio.vision.errors import ModelError
from adstudio.vision.network import Network
from adstudio.vision.shapes import Rgb

_SIDE = 320
LEAST_SURE: Final = 0.5
"""Of the network's surest pixel: under that it sees no subject. A stormy sky gives 0.01, a plank 0.04, peaks 0.34, and
a thing that stands in a photo 0.98 or more."""
_MEAN = np.array((0.485, 0.456, 0.406), np.float32)  # ImageNet's
_SPREAD = np.array((0.229, 0.224, 0.225), np.float32)


class SubjectMap(Protocol):
    """A model that marks the main subject of a photo as :class:`SubjectModel` does."""

    def map(self, photo: Rgb, least_sure: float = LEAST_SURE) -> NDArray[np.float32]: ...


class SubjectModel:
    """Marks the main subject of a photo; loaded once, safe to call from several threads."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        """Loads ``path``; raises ``ModelError`` when it is not a U²-Net of 320 by 320 pixels."""
        self._network = Network(path, threads=threads)
        self._turn = threading.Lock()  # a run needs 300 MB: two at once would be most of what the server takes
        # As declared: a trial run would double the time that the application takes to start.
        taken, given = self._network.input_shape, self._network.output_shapes
        if taken != (1, 3, _SIDE, _SIDE) or given[:1] != [(1, 1, _SIDE, _SIDE)]:
            raise ModelError(f"{path}: not a U²-Net model, it takes {taken} and gives {given}")

    def map(self, photo: Rgb, least_sure: float = LEAST_SURE) -> NDArray[np.float32]:
        """How much each pixel is the main subject's, 0 to 1: nothing anywhere where the network is less than
        ``least_sure`` of its surest pixel. A photo of one flat colour has no subject."""
        height, width = photo.shape[:2]
        if photo.min() == photo.max():
            return np.zeros((height, width), np.float32)
        stretched = Image.fromarray(photo).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
        pixels = np.asarray(stretched, np.float32)
        image = (pixels / max(float(pixels.max()), 1.0) - _MEAN) / _SPREAD
        with self._turn:
            salience = self._network.run(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))[0][0, 0]
        # The map is relative: the network marks the thing that stands out most, and not how sure it is.
        low, high = float(salience.min()), float(salience.max())
        if high < least_sure:
            return np.zeros((height, width), np.float32)
        normal = Image.fromarray((salience - low) / max(high - low, 1e-6))
        return np.asarray(normal.resize((width, height), Image.Resampling.BILINEAR))
