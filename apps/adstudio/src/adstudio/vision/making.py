"""An ad made step by step, from files and models alone, for the stages and for the quality run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from adstudio.vision.ad_copy import AdCopy
from adstudio.vision.detector import Detector
from adstudio.vision.errors import InputError
from adstudio.vision.faces import FaceModel
from adstudio.vision.formats import Format
from adstudio.vision.importance import Weights, importance, look_small, with_lights
from adstudio.vision.judge import judge_ad
from adstudio.vision.kit import Kit
from adstudio.vision.layout import Layout, to_hex
from adstudio.vision.named_things import named_in
from adstudio.vision.ocr import Ocr
from adstudio.vision.opened import opened
from adstudio.vision.overlay import draw
from adstudio.vision.palette import backdrop_of, hues_of
from adstudio.vision.photo import encode_jpeg, has_cut_out, open_photo
from adstudio.vision.planner import CANDIDATES, plan
from adstudio.vision.scene import LOOK, look_at
from adstudio.vision.second_look import SecondLook, look_again
from adstudio.vision.shapes import Box, Detected, Rgb, Verdict
from adstudio.vision.subject import SubjectMap

SURE: Final = 0.5
"""The least probability with which a detector's word counts here: below, it sees birds in dandelions."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """The contents of a photo: things and faces in pixels of the opened photo, and the weights, smaller."""

    width: int
    height: int
    found: tuple[Detected, ...]
    faces: tuple[Detected, ...]
    weights: Weights


@dataclass(frozen=True, slots=True)
class Planned:
    """The layouts, those of each format together and best first; the formats that cannot be, each with its reason."""

    layouts: tuple[Layout, ...]
    refused: tuple[tuple[Format, InputError], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A drawn layout as a JPEG; ``place`` 0 is the one chosen for its format. ``verdict``: once it was judged."""

    layout: Layout
    place: int
    jpeg: bytes
    verdict: Verdict | None = None


def detect(file: bytes, copy: AdCopy, detector: Detector, subject: SubjectMap, faces: FaceModel) -> Detection:
    """The parts of the photo that must not be covered, given the things that the copy names. Raises ``PhotoError``."""
    photo = opened(file)
    small = look_small(photo, LOOK)
    factor = small.shape[1] / photo.shape[1]
    seen_at_all = detector.detect(small)
    things = [thing for thing in seen_at_all if thing.score >= SURE]
    guesses = [thing.box for thing in seen_at_all if thing.score < SURE]
    seen = faces.find(photo)
    weights = importance(
        subject.map(small),
        things,
        [_sized(face, factor) for face in seen],
        small.shape[:2],
        named_in(copy.whole),
        guesses,
    )
    return Detection(
        width=photo.shape[1],
        height=photo.shape[0],
        found=tuple(_sized(thing, 1 / factor) for thing in things),
        faces=tuple(seen),
        weights=with_lights(weights, small),
    )


def plan_all(
    file: bytes, detection: Detection, copy: AdCopy, formats: Sequence[Format], kit: Kit, most: int = CANDIDATES
) -> Planned:
    """Layouts for every format that can be, ``most`` for each. Raises the first format's reason where none can, and
    ``PhotoError``."""
    backdrop = backdrop_for(file, kit)
    photo = opened(file, backdrop)
    scene = look_at(photo, detection.weights, [face.box for face in detection.faces])
    plans = [plan(copy, scene, format_, kit, backdrop, most) for format_ in formats]
    refused = tuple((one.format, one.reason) for one in plans if one.reason is not None)
    if len(refused) == len(plans):
        raise refused[0][1]
    return Planned(tuple(layout for one in plans for layout in one.layouts), refused)


def draw_all(file: bytes, layouts: Sequence[Layout], copy: AdCopy, kit: Kit) -> list[Picture]:
    """Every layout drawn; within a format the first one has place 0. Raises ``PhotoError``."""
    photo = opened(file, layouts[0].backdrop if layouts else None)
    places: dict[str, int] = {}
    pictures = []
    for layout in layouts:
        place = places.setdefault(layout.format, 0)
        places[layout.format] += 1
        pictures.append(Picture(layout, place, encode_jpeg(draw(layout, photo, copy, kit))))
    return pictures


def judge_all(
    file: bytes,
    pictures: Sequence[Picture],
    copy: AdCopy,
    detector: Detector,
    subject: SubjectMap,
    faces: FaceModel,
    ocr: Ocr,
) -> list[Picture]:
    """The pictures judged. Where a format's choice fails, its next is judged too, and chosen if it passes."""
    photo = opened(file, pictures[0].layout.backdrop if pictures else None)
    second = look_again(photo, copy, detector, subject, faces)
    judged: list[Picture] = []
    for format_ in dict.fromkeys(picture.layout.format for picture in pictures):
        ranked = sorted((one for one in pictures if one.layout.format == format_), key=lambda one: one.place)
        judged += _choose(ranked, photo, copy, second, ocr)
    return judged


def _choose(ranked: list[Picture], photo: Rgb, copy: AdCopy, second: SecondLook, ocr: Ocr) -> list[Picture]:
    for i, picture in enumerate(ranked):
        verdict = judge_ad(open_photo(picture.jpeg), picture.layout, photo, copy, second, ocr)
        ranked[i] = replace(picture, verdict=verdict)
        if verdict.passed:
            ranked.insert(0, ranked.pop(i))
            break
    return [replace(picture, place=place) for place, picture in enumerate(ranked)]


def backdrop_for(file: bytes, kit: Kit) -> str | None:
    """The colour to set the photo on, where it is a subject cut out of its ground. Raises ``PhotoError``."""
    if not has_cut_out(file):
        return None
    grey = open_photo(file, backdrop=(128, 128, 128))
    clear = (open_photo(file, backdrop=(0, 0, 0)).astype(np.int16) - grey).min(axis=2) < -100
    solid = grey[~clear] if (~clear).any() else grey.reshape(-1, 3)
    light = float((solid.astype(np.float32) @ np.array((0.2126, 0.7152, 0.0722), np.float32)).mean() / 255)
    return to_hex(backdrop_of(hues_of(solid[None, :: max(1, len(solid) // 4096)]), light, kit.colour))


def chosen_of(pictures: Sequence[Picture]) -> list[Picture]:
    """The picture chosen for each format, in the order of the formats."""
    return [picture for picture in pictures if picture.place == 0]


def _sized(thing: Detected, factor: float) -> Detected:
    box = thing.box
    return replace(thing, box=Box(*(round(v * factor) for v in (box.left, box.top, box.right, box.bottom))))
