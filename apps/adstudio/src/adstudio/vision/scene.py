"""A photo as the planner sees it: small, so that a look costs little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from adstudio.vision.importance import LEAST_FIGURE, PERSON, SUBJECT, Weights, bounds, look_small
from adstudio.vision.layout import Edge
from adstudio.vision.masks import integral
from adstudio.vision.palette import Hues, hues_of
from adstudio.vision.reach import Reach, main_pieces, reach_of
from adstudio.vision.shapes import Box, Rgb

LOOK: Final = 640  # pixels of the longer side
PLAIN_RIM: Final = 0.03
"""Of the side: the strip along an edge that says whether the photo can be continued there."""

_SMOOTH: Final = 1.6  # grey levels a pixel, mean in the strip: more is texture, which smears when it is continued
_ROUGH: Final = 2.0  # and what a hundredth of it may have: the joints of a wall would end where it is continued
_UNEVEN: Final = 7.0  # grey levels, spread along the edge beside a steady slope: more becomes stripes
_ONE_COLOUR: Final = 3  # grey levels in every channel: a larger step is seen along a straight edge
_MOST_OF_RIM: Final = 0.85
_FOCUS: Final = 0.9  # the share of the photo that changes less than what is in focus
_CROWN: Final = 0.3  # of a face's height: the hair above it
_ALL_SUBJECT: Final = 0.9

Sums = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """``subject`` and ``faces`` are in pixels of ``photo``, which is the small one; ``full`` is the real one's size
    (width, height). ``plain`` are the edges beyond which the photo can be continued."""

    photo: Rgb
    weights: Weights
    faces: tuple[Box, ...]
    subject: Box | None
    reach: Reach | None
    """How far the subject reaches, a person's body included."""
    middle: tuple[float, float]
    """Of the subject; of what is in focus where there is none."""
    plain: frozenset[Edge]
    rim: tuple[int, int, int] | None
    """The colour of the photo's rim where nearly all of it is of one: a panel of it has no visible edge."""
    hues: Hues
    full: tuple[int, int]
    weight_sums: Sums
    kept_sums: Sums
    """Of the weights that a crop must keep: a lamp may be left out that type must not cover."""
    change_sums: Sums
    focus_sums: Sums
    """Of what is in focus: the change above that of nine tenths of the photo."""
    colour_sums: Sums
    """Of the three channels of Lab, ``[height + 1, width + 1, 3]``."""

    @property
    def width(self) -> int:
        return int(self.photo.shape[1])

    @property
    def height(self) -> int:
        return int(self.photo.shape[0])


def look_at(photo: Rgb, weights: Weights, faces: Sequence[Box]) -> Scene:
    """The scene of ``photo``; ``weights`` may be of any size with its proportions, ``faces`` are in its pixels."""
    small = look_small(photo, LOOK)
    height, width = small.shape[:2]
    fitted = np.asarray(cv2.resize(weights, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    change = change_of(small)
    subject, focus_sums = _subject(fitted), integral(in_focus(change))
    factor = width / photo.shape[1]
    scaled = tuple(
        Box(*(round(v * factor) for v in (face.left, max(0, face.top - _CROWN * face.height), face.right, face.bottom)))
        for face in faces
    )
    return Scene(
        photo=small,
        weights=fitted,
        faces=scaled,
        subject=subject,
        reach=_reach(fitted) if subject else None,
        middle=_middle(subject, focus_sums),
        plain=_plain(small, change, fitted),
        rim=_rim(small),
        hues=hues_of(small),
        full=(photo.shape[1], photo.shape[0]),
        weight_sums=integral(fitted),
        kept_sums=integral(np.where(fitted >= 0.9 * PERSON, fitted, 0).astype(np.float32)),
        change_sums=integral(change),
        focus_sums=focus_sums,
        colour_sums=np.asarray(cv2.integral(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), sdepth=cv2.CV_64F), np.float64),
    )


def change_of(photo: Rgb) -> NDArray[np.float32]:
    """How fast the grey changes at each pixel, in grey levels a pixel."""
    grey = cv2.GaussianBlur(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 0.8)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *axis, scale=0.125) for axis in ((1, 0), (0, 1)))
    return np.asarray(cv2.magnitude(across, down), np.float32)


def in_focus(change: NDArray[np.float32]) -> NDArray[np.float32]:
    """The change that stands out, where the lens and the light put the weight: a leaf before a blur, a skyline under a
    sky."""
    return np.asarray(np.maximum(change - np.quantile(change, _FOCUS), 0), np.float32)


def _rim(photo: Rgb) -> tuple[int, int, int] | None:
    """The colour of nearly all of the outermost pixels; a subject may touch them in places."""
    rim = np.concatenate([photo[:2].reshape(-1, 3), photo[-2:].reshape(-1, 3), photo[:, :2].reshape(-1, 3),
                          photo[:, -2:].reshape(-1, 3)]).astype(np.int16)  # fmt: skip
    middle = np.median(rim, axis=0)
    alike = np.abs(rim - middle).max(axis=1) <= _ONE_COLOUR
    red, green, blue = (round(float(channel)) for channel in middle)
    return (red, green, blue) if float(alike.mean()) >= _MOST_OF_RIM else None


def _subject(weights: Weights) -> Box | None:
    inside = weights >= SUBJECT * 0.98
    share = float(inside.mean())
    return bounds(inside) if LEAST_FIGURE <= share <= _ALL_SUBJECT else None


def _reach(weights: Weights) -> Reach | None:
    return reach_of(main_pieces(weights >= 0.9 * PERSON))


def _middle(subject: Box | None, focus_sums: Sums) -> tuple[float, float]:
    if subject is not None:
        return (subject.left + subject.right) / 2, (subject.top + subject.bottom) / 2
    half = focus_sums[-1, -1] / 2
    return float(np.searchsorted(focus_sums[-1], half)), float(np.searchsorted(focus_sums[:, -1], half))


def _plain(photo: Rgb, change: NDArray[np.float32], weights: Weights) -> frozenset[Edge]:
    height, width = change.shape
    down, across = max(3, round(PLAIN_RIM * height)), max(3, round(PLAIN_RIM * width))
    strips: dict[Edge, tuple[slice, slice]] = {
        "top": (slice(0, down), slice(None)),
        "bottom": (slice(height - down, None), slice(None)),
        "left": (slice(None), slice(0, across)),
        "right": (slice(None), slice(width - across, None)),
    }
    return frozenset(
        edge
        for edge, strip in strips.items()
        if float(change[strip].mean()) < _SMOOTH
        and float(np.quantile(change[strip], 0.99)) < _ROUGH
        and float(weights[strip].max()) < SUBJECT / 2
        and _unevenness(photo[strip], 0 if edge in ("top", "bottom") else 1) < _UNEVEN
    )


def _unevenness(strip: Rgb, across: int) -> float:
    """How far the colour along a strip (``[along, channel]`` once averaged) strays from a steady slope."""
    along = strip.astype(np.float32).mean(axis=across)
    places = np.linspace(-1, 1, len(along))
    slopes = np.polyfit(places, along, 1)
    return float((along - (places[:, None] * slopes[0] + slopes[1])).std(axis=0).max())
