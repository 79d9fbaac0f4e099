"""Is a finished ad fit to publish? Answered by measuring it and by trying to read it."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Final

from adstudio.vision import ad_checks
from adstudio.vision.ink_contrast import measured_contrast
from adstudio.vision.legibility import has_unreadable, in_reading_order, readable
from adstudio.vision.measured import conclude
from adstudio.vision.ocr import Ocr
from adstudio.vision.shapes import Box, Check, Mask, Rgb, Verdict

_SAMPLE: Final = 4  # readable letters amid unreadable ones; fewer say too little about the rest
_LEADING: Final = 1.2  # ems from line to line
_CAPITALS: Final = 0.72  # ems; the ink of a line without descenders
_SWELL: Final = 1.1  # ems; the detector draws no lower a box around a line


def judge_ad(
    ad: Rgb, *, forbidden: Mask, text_box: Box, copy: str, lines: tuple[str, ...], contrast: float, ocr: Ocr
) -> Verdict:
    """The verdict on ``ad``, a picture on which ``copy`` was set as ``lines``.

    ``text_box`` is the rectangle of the lettering's ink, ``forbidden`` the area of the ad that it must
    leave free, and ``contrast`` what the renderer says it achieved (WCAG, 1 to 21): the judge measures
    its own and holds on to the worse. Raises ``ValueError`` when ``forbidden`` is not of the ad's size.
    Takes 0.05 to 0.6 s, nearly all of it reading: call it in a thread.
    """
    if forbidden.shape != ad.shape[:2]:
        raise ValueError(f"the forbidden area is {forbidden.shape}, the ad {ad.shape[:2]}")
    placed, worded = ad_checks.placement(ad, text_box), ad_checks.wording(copy, lines)
    checks = [placed, worded]
    if placed.passed and lines:
        checks += _seen(ad, forbidden, text_box, copy, len(lines), contrast, ocr)
    return conclude(checks)


def _seen(ad: Rgb, forbidden: Mask, box: Box, copy: str, lines: int, contrast: float, ocr: Ocr) -> Iterator[Check]:
    """The checks that need the place of the lettering to exist."""
    margin = max(8, box.height // lines)  # lettering that fills a picture to its edges is hard to find
    look = Box(
        max(0, box.left - margin),
        max(0, box.top - margin),
        min(ad.shape[1], box.right + margin),
        min(ad.shape[0], box.bottom + margin),
    )
    excerpt = ad[look.top : look.bottom, look.left : look.right]
    inside = Box(box.left - look.left, box.top - look.top, box.right - look.left, box.bottom - look.top)
    regions = tuple(region for region in ocr.regions(excerpt) if _centred(region, inside))
    share = _font_size(inside, regions, lines) / min(ad.shape[:2])
    measured = measured_contrast(ad[box.top : box.bottom, box.left : box.right])

    yield ad_checks.overlap(forbidden[box.top : box.bottom, box.left : box.right])
    yield ad_checks.size(share)
    yield ad_checks.contrast(measured, contrast, share)
    meant, unreadable = readable(copy), has_unreadable(copy)
    if len(meant) >= (_SAMPLE if unreadable else 1):
        seen = (stretch for stretch in ocr.read(excerpt) if _centred(stretch.box, inside))
        yield ad_checks.legibility(meant, readable(in_reading_order(seen)), mixed=unreadable)
    if unreadable or not meant:
        yield ad_checks.visibility(_visible_share(inside, regions))


def _font_size(box: Box, regions: tuple[Box, ...], lines: int) -> float:
    """In pixels, rather too much than too little: what the box promises, or what the detector sees in it."""
    promised = box.height / (_LEADING * (lines - 1) + _CAPITALS)
    return min(promised, median(r.height for r in regions) / _SWELL) if regions else promised


def _visible_share(box: Box, regions: tuple[Box, ...]) -> float:
    """How much of the box's width and height some region crosses, the smaller of the two, 0 to 1."""
    columns: set[int] = set()
    rows: set[int] = set()
    for region in regions:
        columns.update(range(max(region.left, box.left), min(region.right, box.right)))
        rows.update(range(max(region.top, box.top), min(region.bottom, box.bottom)))
    return min(len(columns) / box.width, len(rows) / box.height)


def _centred(region: Box, box: Box) -> bool:
    """Whether ``region`` belongs to the lettering in ``box``, not to what the photo itself has beside it."""
    x, y = (region.left + region.right) / 2, (region.top + region.bottom) / 2
    return box.left <= x < box.right and box.top <= y < box.bottom
