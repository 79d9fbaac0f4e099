"""The judge's own look at a photo: faces, things, and a subject map that the planner did not use.

The map is made when type lies on the photo, or nothing else is known of it. It joins two that go about it differently:
U²-Net on the mirrored photo, whose errors are others than on the photo as it is, and the distance of each colour from
the photo's mean (Achanta et al. 2009), which no network has learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from adstudio.vision.ad_copy import AdCopy
from adstudio.vision.boxes import intersection
from adstudio.vision.detector import Detector
from adstudio.vision.faces import FaceModel
from adstudio.vision.importance import look_small
from adstudio.vision.layout import Layout
from adstudio.vision.named_things import named_in
from adstudio.vision.reach import Reach, is_a_thing, main_pieces, reach_of
from adstudio.vision.scene import change_of, in_focus
from adstudio.vision.shapes import Box, Detected, Rgb
from adstudio.vision.subject import SubjectMap

_LOOK: Final = 480  # pixels of the longer side
_INSIDE: Final = 0.5  # of the network's map
_LEAST_SUBJECT, _MOST_SUBJECT = 0.01, 0.7  # of the photo: less is noise, more is a view
_REACHED: Final = 0.15  # of a side: a subject that takes up more of it goes on beyond the photo
_SURE_OF_IT: Final = 0.97  # of the network's surest pixel: less is a meadow of which it takes some part for the subject
_LEAST_FOCUS: Final = 0.2  # of what is in focus: less is blur, or a sky without its skyline
_HEAD_TO_HIP: Final = 0.6  # of a person's height: ads cut legs
_RIM: Final = 0.03  # of a thing's box, on each side
_CUT_ALREADY: Final = 0.5
_SURE: Final = 0.65  # probability of a thing that the copy does not speak of
_MOST_BOX: Final = 0.35  # of the photo: a larger box is a pattern or a table; the network's map knows its outline
_NAMED_SURE: Final = 0.45  # and of one that it does
_STANDS_OUT: Final = 2.6  # times the mean distance in colour, from which a pixel stands out as much as a subject


@dataclass(frozen=True, eq=False)
class SecondLook:
    """``small`` is the photo in small; ``faces`` and ``things`` are in its pixels. ``things`` are those that the
    copy names, or else those that are surely seen."""

    small: Rgb
    faces: tuple[Box, ...]
    things: tuple[Box, ...]
    model: SubjectMap

    @cached_property
    def _learnt(self) -> NDArray[np.float32]:
        """The network's map of the mirrored photo; half a second of one core."""
        return self.model.map(np.ascontiguousarray(self.small[:, ::-1]), _SURE_OF_IT)[:, ::-1]

    @cached_property
    def _reach(self) -> Reach | None:
        """How far the thing reaches that the photo shows; None of a view."""
        learnt = self._learnt
        if float((learnt > _INSIDE).mean()) < _LEAST_SUBJECT or not is_a_thing(learnt):
            return None
        return reach_of(main_pieces(learnt > _INSIDE))

    @cached_property
    def subject(self) -> NDArray[np.float32]:
        """The map, 0 to 1."""
        learnt = self._learnt
        return np.asarray(np.maximum(np.where(learnt > 0.5, learnt, 0), 0.5 * standing_out(self.small)), np.float32)

    def under(self, layout: Layout, box: Box) -> float:
        """The mean of the map under a box of the ad, 0 to 1; where no photo is, it is nothing."""
        part = self._part(layout, box)
        return float(part.sum()) / max(1.0, self._pixels(layout, box)) if part.size else 0.0

    def kept(self, layout: Layout) -> float:
        """The share of the things that the layout shows, 0 to 1; of the subject where no thing is known. Where nearly
        nothing that is in focus is shown, the share of that."""
        height, width = self.small.shape[:2]
        window = layout.window
        view = Box(
            round(window.left * width),
            round(window.top * height),
            round(window.right * width),
            round(window.bottom * height),
        )
        seen = _shown_of(self.things, view, Box(0, 0, width, height))
        focus = in_focus(change_of(self.small))
        sharp = float(focus.sum())
        focused = float(_cut_out(focus, view).sum()) / sharp if sharp else 1.0
        if focused < _LEAST_FOCUS:
            return min(seen, focused)
        if self.faces or self.things:
            return seen
        lost = self._reach.lost(view.left, view.top, view.right, view.bottom) if self._reach else 0.0
        return min(1 - lost, _thing_kept(self._learnt > _INSIDE, view))

    def faces_in(self, layout: Layout) -> list[Box]:
        """The faces that the layout shows, in pixels of the ad; one that is cut reaches beyond the pane."""
        window, pane = layout.window, layout.pane
        across, down = pane.width / (window.right - window.left), pane.height / (window.bottom - window.top)
        found = []
        height, width = self.small.shape[:2]
        for face in self.faces:
            left, right = (pane.left + (v / width - window.left) * across for v in (face.left, face.right))
            top, bottom = (pane.top + (v / height - window.top) * down for v in (face.top, face.bottom))
            found.append(Box(round(left), round(top), round(right), round(bottom)))
        return found

    def _pixels(self, layout: Layout, box: Box) -> float:
        window, pane = layout.window, layout.pane
        height, width = self.subject.shape
        across = (window.right - window.left) * width / pane.width
        down = (window.bottom - window.top) * height / pane.height
        return float(box.width * across * box.height * down)

    def _part(self, layout: Layout, box: Box) -> NDArray[np.float32]:
        window, pane = layout.window, layout.pane
        height, width = self.subject.shape
        across = (window.right - window.left) * width / pane.width
        down = (window.bottom - window.top) * height / pane.height
        a, b = (min(max(v, pane.left), pane.right) - pane.left for v in (box.left, box.right))
        c, d = (min(max(v, pane.top), pane.bottom) - pane.top for v in (box.top, box.bottom))
        x0, x1 = (min(max(round(window.left * width + v * across), 0), width) for v in (a, b))
        y0, y1 = (min(max(round(window.top * height + v * down), 0), height) for v in (c, d))
        return self.subject[y0:y1, x0:x1]


def _shown_of(things: Sequence[Box], view: Box, photo: Box) -> float:
    """The share of ``things`` inside ``view``, or of the main one where less of that is shown.

    A thing that the photo itself has cut counts half. The rim of its box does not count: a detector's boxes are loose.
    """
    total = seen = 0.0
    least = 1.0
    largest = max((thing.area for thing in things), default=0)
    for thing in things:
        rim_x, rim_y = round(_RIM * thing.width), round(_RIM * thing.height)
        heart = Box(thing.left + rim_x, thing.top + rim_y, thing.right - rim_x, thing.bottom - rim_y)
        shown = intersection(heart, view) / max(1, heart.area)
        whole = (
            thing.left > photo.left + 1
            and thing.top > photo.top + 1
            and thing.right < photo.right - 1
            and thing.bottom < photo.bottom - 1
        )
        weight = thing.area if whole else _CUT_ALREADY * thing.area
        total, seen = total + weight, seen + weight * shown
        if whole and thing.area > 0.5 * largest:
            least = min(least, shown)
    return min(least, seen / total) if total else 1.0


def _thing_kept(inside: NDArray[np.bool_], view: Box) -> float:
    """The share of a thing that ``view`` shows; 1 for noise, and for a view, of which any part will do: it reaches from
    one end of the photo to the other. What the photo itself cuts may be cut further."""
    share = float(inside.mean())
    ends = [float(side.mean()) for side in (inside[:, 0], inside[:, -1], inside[0], inside[-1])]
    if share < _LEAST_SUBJECT or share > _MOST_SUBJECT or min(ends[:2]) > _REACHED or min(ends[2:]) > _REACHED:
        return 1.0
    shown = float(_cut_out(inside, view).sum()) / float(inside.sum())
    return shown + _CUT_ALREADY * (1 - shown) * (max(ends) > _REACHED)


def _cut_out(field: NDArray[np.generic], view: Box) -> NDArray[Any]:
    return field[max(0, view.top) : max(0, view.bottom), max(0, view.left) : max(0, view.right)]


def look_again(photo: Rgb, copy: AdCopy, detector: Detector, subject: SubjectMap, faces: FaceModel) -> SecondLook:
    """The judge's own view of ``photo``, looked at mirrored."""
    small = look_small(photo, _LOOK)
    width = small.shape[1]
    seen = [
        (thing, _shown(thing, _mirrored(thing.box, width)))
        for thing in detector.detect(np.ascontiguousarray(small[:, ::-1]))
    ]
    named = named_in(copy.whole)
    spoken_of = tuple(box for thing, box in seen if thing.label in named and thing.score >= _NAMED_SURE)
    most = _MOST_BOX * small.shape[0] * width
    sure = tuple(box for thing, box in seen if thing.score >= _SURE and box.area <= most)
    return SecondLook(small, tuple(face.box for face in faces.find(small)), spoken_of or sure, subject)


def _shown(thing: Detected, box: Box) -> Box:
    """The part of a thing that has to be in the picture."""
    if thing.label != "person":
        return box
    return replace(box, bottom=box.top + round(_HEAD_TO_HIP * box.height))


def _mirrored(box: Box, width: int) -> Box:
    return Box(width - box.right, box.top, width - box.left, box.bottom)


def standing_out(photo: Rgb) -> NDArray[np.float32]:
    """How far each pixel's colour is from the photo's mean colour, 0 to 1; nothing in a photo of even colour."""
    lab = cv2.cvtColor(cv2.GaussianBlur(photo, (0, 0), 2.5), cv2.COLOR_RGB2LAB).astype(np.float32)
    distance = np.sqrt(((lab - lab.reshape(-1, 3).mean(axis=0)) ** 2).sum(axis=2))
    mean = float(distance.mean())
    if mean < 4:  # of Lab's units in eight bits: nothing stands out of a plain ground
        return np.zeros(distance.shape, np.float32)
    return np.asarray(np.clip((distance / mean - _STANDS_OUT * 0.75) / (_STANDS_OUT * 0.5), 0, 1), np.float32)
