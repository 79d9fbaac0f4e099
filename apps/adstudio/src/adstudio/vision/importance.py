"""How much each part of a photo must not be covered: faces most, then the subject, then the rest of a person.

A detector's word counts for the subject only where the subject map agrees with it; alone, its box weighs little.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from io import BytesIO
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adstudio.vision.masks import dilate
from adstudio.vision.shapes import Box, Detected, Rgb

FACE: Final = 3.0
SUBJECT: Final = 1.0
PERSON: Final = 0.5
LONE_BOX: Final = 0.25
LIGHT: Final = 0.25
GUESS: Final = 3 / 255
"""Where a thing may be: a box of which the detector is not sure, whatever it calls it, and what the subject map hints
at. It is the least weight that can be stored and less than type may cover; crops keep their edges off it."""

HINTED: Final = 0.12  # of the subject map: from there to INSIDE it hints at a thing
_LARGE: Final = 0.35  # of the photo: a larger guess is a table or a view
INSIDE: Final = 0.4  # of the subject map: above that a pixel is the subject's
_REACHES: Final = 0.2  # of the subject map: a spire or a stalk that leads out of the subject is the subject's
_AGREES: Final = 0.3  # IoU of a box and the subject's own bounds inside it, from which they are of one thing
_MOST_OF_VIEW: Final = 0.3  # of the photo, and
_VIEW: Final = 0.55
"""Pixels in between for each one of the subject, from which a large subject is a view, a sky: it has no outline."""
_ONE_THING: Final = 0.75  # IoU from which box and subject are one: the legs of a chair are the chair's
_BLOWN: Final = 250  # of 255, in every channel
_SMALL_LIGHT: Final = 0.08  # of the photo
_NEAR: Final = 0.004  # of the photo: a face this large is of a person whom the photo is about
_LEAST_PIECE: Final = 0.004  # of the photo: the largest piece of a subject is no smaller
LEAST_FIGURE: Final = 0.0007  # of the photo: a lone thing, a walker on a ridge or a kite, may be as small
_LONE: Final = 0.6  # the share of all that is marked, from which a piece is a lone thing
_CRUMB: Final = 0.08  # of the largest piece
_AIR: Final = 0.012  # of the longer side: the subject needs some air

Weights = NDArray[np.float32]
"""``[height, width]``, 0 where anything may go to 3 on a face."""


def importance(
    subject: NDArray[np.float32],
    things: Sequence[Detected],
    faces: Sequence[Detected],
    shape: tuple[int, int],
    named: Collection[str] = (),
    guesses: Sequence[Box] = (),
) -> Weights:
    """The weights of a photo of ``shape`` (height, width). ``subject`` is the map of the same shape, 0 to 1.

    ``named`` are the labels of things that the copy speaks of: where one is seen, it is the subject. Of a person
    with a face, head and shoulders are the subject, the rest is not. ``guesses`` are boxes of which the detector is not
    sure. Raises ``ValueError`` where the map is of another
    shape.
    """
    if subject.shape != shape:
        raise ValueError(f"the subject map is {subject.shape}, the photo {shape}")
    inside = _grown(_pieces(subject > INSIDE), subject > _REACHES)
    if inside.mean() > _MOST_OF_VIEW and mush_of(subject) > _VIEW:
        inside = np.zeros_like(inside)
    weights = np.where(dilate(inside, round(max(shape) * _AIR)), SUBJECT, 0.0).astype(np.float32)
    if any(face.box.area > _NEAR * shape[0] * shape[1] for face in faces):
        weights = np.minimum(weights, np.float32(PERSON))
        for face in faces:
            _at_least(weights, _bust(face.box, shape), SUBJECT, where=inside)
    spoken_of = [thing for thing in things if thing.label in named]
    if spoken_of:
        weights = np.minimum(weights, np.float32(PERSON))
        for thing in spoken_of:
            _at_least(weights, thing.box, SUBJECT)
    for thing in things:
        box = thing.box
        part = inside[box.top : box.bottom, box.left : box.right]
        least = PERSON if thing.label == "person" else LONE_BOX
        agreement = _agreement(part)
        if agreement >= _AGREES and part.mean() > 0.5:
            least = max(least, SUBJECT if agreement >= _ONE_THING and thing.label != "person" else PERSON)
        _at_least(weights, box, least)
    for face in faces:
        _at_least(weights, face.box, FACE)
    np.maximum(weights, np.float32(GUESS), out=weights, where=subject > HINTED)
    for box in guesses:
        if box.area <= _LARGE * subject.size:
            _at_least(weights, box, GUESS)
    return weights


def mush_of(subject: NDArray[np.float32]) -> float:
    """The pixels of a subject map that are neither the subject's nor its ground's, for each one of the subject's: a
    thing has 0.03 to 0.32, a forest, a meeting or a starry sky 0.36 and more."""
    inside = int((subject > 0.5).sum())
    return float(((subject > 0.15) & (subject < 0.85)).sum() / max(1, inside))


def _pieces(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``inside`` without its crumbs; none of it where it is crumbs only: blades, waves, a guard rail, no subject. One
    small piece by itself is no crumb."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    largest = int(areas.max()) if count > 1 else 0
    least = LEAST_FIGURE if largest > _LONE * int(areas.sum()) else _LEAST_PIECE
    if largest < least * inside.size:
        return np.zeros_like(inside)
    return np.asarray((areas >= _CRUMB * largest)[pieces], np.bool_)


def _grown(inside: NDArray[np.bool_], around: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``inside`` and the pieces of ``around`` that it lies in."""
    _, pieces = cv2.connectedComponents(around.astype(np.uint8), connectivity=8)
    reached = np.unique(pieces[inside])
    return np.asarray(inside | np.isin(pieces, reached[reached > 0]), np.bool_)


def with_lights(weights: Weights, photo: Rgb) -> Weights:
    """``weights``, and a little for every small blown-out light of ``photo`` (of the same shape): the sun, a lamp.

    Type over it cannot be read and looks like a mistake; a white ground is larger and is left alone.
    """
    blown = dilate(photo.min(axis=2) >= _BLOWN, round(max(photo.shape[:2]) * _AIR * 2))
    return np.maximum(weights, np.where(blown, np.float32(LIGHT), 0)) if blown.mean() < _SMALL_LIGHT else weights


def _agreement(part: NDArray[np.bool_]) -> float:
    """How much of a box the subject's bounds inside it fill, 0 to 1."""
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    if not rows.size:
        return 0.0
    return float((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1) / part.size)


def _bust(face: Box, shape: tuple[int, int]) -> Box:
    """Head and shoulders of the person whose face it is."""
    return Box(
        max(0, face.left - round(0.8 * face.width)),
        max(0, face.top - round(0.4 * face.height)),
        min(shape[1], face.right + round(0.8 * face.width)),
        min(shape[0], face.bottom + round(0.9 * face.height)),
    )


def _at_least(weights: Weights, box: Box, weight: float, where: NDArray[np.bool_] | None = None) -> None:
    part = weights[box.top : box.bottom, box.left : box.right]
    inside = True if where is None else where[box.top : box.bottom, box.left : box.right]
    np.maximum(part, np.float32(weight), out=part, where=inside)


def encode_weights(weights: Weights) -> bytes:
    """The weights as an 8-bit grey PNG, 255 on a face."""
    stored = BytesIO()
    Image.fromarray(np.rint(weights * (255 / FACE)).astype(np.uint8)).save(stored, "PNG")
    return stored.getvalue()


def decode_weights(stored: bytes) -> Weights:
    """The weights that ``encode_weights`` stored; raises ``ValueError`` where the bytes are something else."""
    try:
        with Image.open(BytesIO(stored), formats=["PNG"]) as image:
            if image.mode != "L":
                raise ValueError(f"weights are an 8-bit grey PNG, this one is of mode {image.mode}")
            return np.asarray(image, np.float32) * np.float32(FACE / 255)
    except OSError as error:
        raise ValueError(f"not stored weights: {error}") from error


def bounds(region: NDArray[np.bool_], trim: float = 0.004) -> Box | None:
    """The box of a region's pixels, a ``trim`` share of stray ones left out on each side; None for none."""
    if not region.any():
        return None
    across, down = (np.cumsum(region.sum(axis=axis)) for axis in (0, 1))
    total = float(across[-1])
    left, top = (int(np.searchsorted(sums, trim * total, side="right")) for sums in (across, down))
    right, bottom = (int(np.searchsorted(sums, (1 - trim) * total, side="left")) for sums in (across, down))
    return Box(left, top, right + 1, bottom + 1)


def look_small(photo: Rgb, longest: int) -> Rgb:
    """``photo`` shrunk for measuring, quickly: an average of the pixels, not a fine filter."""
    height, width = photo.shape[:2]
    if max(height, width) <= longest:
        return photo
    factor = longest / max(height, width)
    image = Image.fromarray(photo).resize(
        (max(1, round(width * factor)), max(1, round(height * factor))), Image.Resampling.BOX, reducing_gap=2.0
    )
    return np.asarray(image)
