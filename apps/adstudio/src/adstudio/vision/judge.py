"""Is a finished ad fit to publish? Answered by measuring its pixels and by reading it, not by asking the planner."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Final

import cv2
import numpy as np

from adstudio.vision import ad_checks
from adstudio.vision.ad_copy import AdCopy
from adstudio.vision.ad_ink import LineInk, ink_mask, line_inks, line_region
from adstudio.vision.errors import Language
from adstudio.vision.formats import FORMATS, Format
from adstudio.vision.importance import bounds
from adstudio.vision.ink_contrast import measured_contrast
from adstudio.vision.layout import Layout, Line
from adstudio.vision.line_breaks import badness_of
from adstudio.vision.measured import conclude
from adstudio.vision.ocr import Ocr
from adstudio.vision.overlay import without_type
from adstudio.vision.parting import doubts
from adstudio.vision.read_back import letters, likeness
from adstudio.vision.scene import change_of
from adstudio.vision.second_look import SecondLook
from adstudio.vision.shapes import Box, Check, Mask, Rgb, Verdict
from adstudio.vision.typefaces import PLAIN_SIZE, PRETENDARD

_READ_MOST: Final = 4  # lines of small type that are read; the others are set like them
_VIEW: Final = 360


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """An ad with the views that it is judged by; ``bare`` is its picture without type."""

    ad: Rgb
    bare: Rgb
    ink: Mask
    lines: tuple[LineInk, ...]
    layout: Layout
    format: Format
    copy: AdCopy
    language: Language


def judge_ad(ad: Rgb, layout: Layout, photo: Rgb, copy: AdCopy, second: SecondLook, ocr: Ocr) -> Verdict:
    """The verdict on ``ad``, which was drawn by ``layout`` from ``photo``. Takes 0.2 to 0.5 s: call it in a thread.

    Raises ``ValueError`` where the ad is not of the layout's size.
    """
    bare = without_type(layout, photo)
    ink = ink_mask(ad, bare)
    case = _Case(ad, bare, ink, tuple(line_inks(ink, layout)), layout, FORMATS[layout.format], copy, copy.language)
    return conclude(
        [*_placed(case, photo, second), *_legible(case), *_composed(case), *_read(case, ocr)], case.language
    )


def judge_parting(copy: AdCopy) -> Check:
    """Whether the copy was read as its client wrote it. It is one for all formats, and no other layout mends it.

    A copy whose roles the client gave was not read.
    """
    signs = doubts(copy.original, copy) if copy.original is not None else ()
    return ad_checks.parting(signs, copy.language)


def _placed(case: _Case, photo: Rgb, second: SecondLook) -> Iterator[Check]:
    layout, language = case.layout, case.language
    shown = (layout.window.right - layout.window.left) * photo.shape[1]
    yield ad_checks.resolution(layout.width, layout.pane.width / max(1.0, shown), case.format, language)
    box = bounds(case.ink, trim=0.0)
    yield ad_checks.safe_area(_beyond(case, box), case.format, language)
    in_pane = case.ink.copy()
    in_pane[: layout.pane.top] = False
    in_pane[layout.pane.bottom :] = False
    in_pane[:, : layout.pane.left] = False
    in_pane[:, layout.pane.right :] = False
    on_photo = bounds(in_pane, trim=0.0)
    yield ad_checks.occlusion(second.under(layout, on_photo) if on_photo else 0.0, language)
    yield ad_checks.subject_kept(second.kept(layout), language)
    yield _faces(case, second)


def _beyond(case: _Case, box: Box | None) -> int:
    if box is None:
        return max(case.layout.width, case.layout.height)
    top, right, bottom, left = case.format.safe
    width, height = case.layout.width, case.layout.height
    return max(
        0,
        round(left * width) - box.left,
        round(top * height) - box.top,
        box.right - round((1 - right) * width),
        box.bottom - round((1 - bottom) * height),
    )


def _faces(case: _Case, second: SecondLook) -> Check:
    pane = case.layout.pane
    covered = cut = 0
    for face in second.faces_in(case.layout):
        inside = Box(
            max(face.left, pane.left),
            max(face.top, pane.top),
            min(face.right, pane.right),
            min(face.bottom, pane.bottom),
        )
        covered += int(case.ink[inside.top : inside.bottom, inside.left : inside.right].sum()) if inside.area else 0
        # A face that was cut in the photo itself, at the photo's edge, was cut by the photographer.
        cut += inside.width > 0 and inside.height > 0 and inside.area < 0.85 * face.area
    return ad_checks.faces(covered, cut, case.language)


def _legible(case: _Case) -> Iterator[Check]:
    language, seen = case.language, case.format.viewed / case.layout.width
    box = case.layout.text_box
    view = _VIEW / min(case.layout.width, case.layout.height)
    small = np.asarray(cv2.resize(case.bare, None, fx=view, fy=view, interpolation=cv2.INTER_AREA), np.uint8)
    under = change_of(small)[
        round(box.top * view) : round(box.bottom * view) + 1, round(box.left * view) : round(box.right * view) + 1
    ]
    busiest = [float(np.quantile(under, ad_checks.BUSIEST))] if under.size else [99.0]
    for line in case.layout.lines:
        part = under[
            max(0, round((line.y - 0.8 * line.size - box.top) * view)) : round(
                (line.y + 0.2 * line.size - box.top) * view
            ),
            max(0, round((line.x - box.left) * view)) : round((line.x + line.width - box.left) * view),
        ]
        busiest += [float(np.quantile(part, ad_checks.BUSIEST_OF_LINE))] if part.size else []
    yield ad_checks.readability(max(busiest), language)
    worst = (99.0, ad_checks.MIN_CONTRAST, "")
    for one in case.lines:
        if not letters(one.line.text):
            continue
        limit = ad_checks.MIN_CONTRAST_LARGE if one.line.size * seen >= ad_checks.LARGE else ad_checks.MIN_CONTRAST
        value = 1.0  # a line of which no ink is seen
        if one.box is not None:
            value = measured_contrast(case.ad[one.box.top : one.box.bottom, one.box.left : one.box.right])
        worst = min(worst, (value, limit, one.line.text), key=lambda found: found[0] / found[1])
    yield ad_checks.contrast(*worst, language)
    sizes = [
        (
            line.size * seen,
            ad_checks.LEAST_SEEN_LEGAL if line.role == "legal" or case.format.is_strip else ad_checks.LEAST_SEEN,
            line.text,
        )
        for line in case.layout.lines
    ]
    yield ad_checks.size(*min(sizes, key=lambda found: found[0] / found[1]), language)


def _composed(case: _Case) -> Iterator[Check]:
    language, layout = case.language, case.layout
    by_role: dict[str, list[LineInk]] = {}
    for one in case.lines:
        by_role.setdefault(one.line.role, []).append(one)
    size = {role: max(_ink_height(one) for one in found) for role, found in by_role.items()}
    headline = by_role["headline"][0].line.size
    sub = by_role["sub"][0].line.size if "sub" in by_role else None
    offer = max(one.line.size for one in by_role["offer"]) if "offer" in by_role else None
    drawn = all(value > 0 for value in size.values())
    yield ad_checks.hierarchy(
        (headline / sub if sub else None) if drawn else 0.0, offer / headline if offer else None, language
    )
    yield ad_checks.alignment(_ragged(case) / layout.width, language)
    whole = bounds(case.ink, trim=0.0)
    yield ad_checks.white_space(whole.area / (layout.width * layout.height) if whole else 0.0, language)
    lines = tuple(one.line.text for one in by_role["headline"])
    yield ad_checks.breaks(badness_of(case.copy.headline, lines), lines, language)
    set_ = "".join(letters(line.text) for line in layout.lines)
    roles = ("brand",) if layout.logo is not None else ()
    meant = "".join(letters(text) for role, text in _as_set(case.copy) if role not in roles)
    yield ad_checks.wording(set_ == meant, language)


def _as_set(copy: AdCopy) -> list[tuple[str, str]]:
    """The roles in the order in which they are set."""
    given = dict(copy.roles())
    order = ("brand", "headline", "sub", "offer", "note", "cta", "legal")
    return [(role, given[role]) for role in order if role in given]


def _ink_height(one: LineInk) -> int:
    return one.box.height if one.box else 0


def _ragged(case: _Case) -> float:
    """How far the lines' axes are apart, in pixels: left ends or middles; a button's type is inside its button."""
    found = [one for one in case.lines if one.box is not None and one.line.role != "cta"]
    if case.layout.align == "centre":
        places = [(one.box.left + one.box.right) / 2 for one in found if one.box]
    else:
        # Letters have side bearings that grow with their size: an eighth of an em at most.
        places = [
            max(0.0, abs(one.box.left - one.line.x) - 0.13 * one.line.size) + one.line.x for one in found if one.box
        ]
    return max(places) - min(places) if places else float(case.layout.width)


def _read(case: _Case, ocr: Ocr) -> Iterator[Check]:
    language = case.language
    read = [one.line for one in case.lines if letters(one.line.text)]
    read = sorted(read, key=lambda line: -line.size)[: _READ_MOST + 3]
    full = [(_read_as(line, case.ad, _where(case, line), ocr, language, ad_checks.LEAST_READ), line) for line in read]
    worst = min(full, key=lambda found: found[0])
    mean = _weighted(full)
    yield ad_checks.read_back(min(mean, worst[0] + 0.35), worst[1].text, language)
    factor = case.format.viewed / case.layout.width
    seen = np.asarray(cv2.resize(case.ad, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
    loud = []
    for line in read:
        if line.role in ("headline", "offer"):
            box = _where(case, line)
            box = Box(*(round(v * factor) for v in (box.left, box.top, box.right, box.bottom)))
            loud.append((_read_as(line, seen, box, ocr, language, ad_checks.LEAST_READ_SMALL), line))
    least = min(loud, key=lambda found: found[0])
    yield ad_checks.read_back(_weighted(loud), least[1].text, language, small=True)


def _where(case: _Case, line: Line) -> Box:
    """Where a line is read: its ink with some air, for a neighbour's descenders are letters to a reader; its place
    where no ink was found."""
    box = next((one.box for one in case.lines if one.line is line and one.line.role != "cta"), None)
    if box is None:
        return line_region(line, *case.ad.shape[:2])
    air = round(0.16 * line.size)
    height, width = case.ad.shape[:2]
    return Box(
        max(0, box.left - air), max(0, box.top - air), min(width, box.right + air), min(height, box.bottom + air)
    )


def _read_as(line: Line, picture: Rgb, box: Box, ocr: Ocr, language: Language, least: float) -> float:
    """How like ``line`` the text is that is read in ``box``. Where the reader fails on the same words in black on white
    too, the fault is the reader's: then how like that reading."""
    region = np.ascontiguousarray(picture[box.top : box.bottom, box.left : box.right])
    if not region.size:
        return 0.0
    readings: list[str] = []

    def heard() -> Iterator[str]:
        for one in ocr.line(region, line.text, language):
            readings.append(one)
            yield one

    found = likeness(line.text, heard())
    if found >= least or not PRETENDARD.can_set(line.text):
        return found
    plain: list[str] = []
    for size in (PLAIN_SIZE, max(12, round(region.shape[0] / 1.3))):
        plain += ocr.in_black(line.text, line.weight, size, language)
        if likeness(line.text, plain) >= least:
            return found
    return max(found, *(likeness(one, readings) for one in plain))


def _weighted(found: list[tuple[float, Line]]) -> float:
    """The mean likeness, every letter counted once."""
    counts = [len(letters(line.text)) for _, line in found]
    return fmean([value for value, _ in found], weights=counts) if found else 0.0
