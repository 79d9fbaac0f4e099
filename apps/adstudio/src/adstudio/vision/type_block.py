"""The copy of an ad as one block of type: sizes by role, lines broken, stacked on one axis.

The scale is the headline's: sub line 0.46, offer 1.0, button 0.38, brand 0.36, legal line the least that can be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from adstudio.vision.ad_copy import OFFERS_JOINT, AdCopy
from adstudio.vision.formats import Format
from adstudio.vision.line_breaks import Broken, broken
from adstudio.vision.typefaces import Typeface, Weight

Role = Literal["logo", "brand", "headline", "sub", "offer", "note", "cta", "legal"]

LEADING: Final[dict[Role, float]] = {
    "brand": 1.2,
    "headline": 1.2,
    "sub": 1.36,
    "offer": 1.16,
    "note": 1.36,
    "cta": 2.15,
    "legal": 1.3,
}
"""Ems from line to line; the button's is its height."""

_WEIGHT: Final[dict[Role, Weight]] = {
    "brand": "Bold",
    "headline": "ExtraBold",
    "sub": "SemiBold",
    "offer": "Black",
    "note": "SemiBold",
    "cta": "Bold",
    "legal": "SemiBold",
}
_SCALE: Final[dict[Role, float]] = {"brand": 0.36, "sub": 0.46, "offer": 1.0, "note": 0.46, "cta": 0.38, "legal": 0.26}
_GAP: Final[dict[Role, float]] = {
    "brand": 0.0,
    "headline": 0.3,
    "sub": 0.2,
    "offer": 0.16,
    "note": 0.12,
    "cta": 0.36,
    "legal": 0.3,
}
"""Ems of the headline above a role, where something stands above it."""

LEGAL_LEAST: Final = 0.72  # of a format's least type: what the law asks for is small print
_SMALLER: Final = 0.955  # one size tried to the next
_OFFER_LEAST: Final = 0.72  # of the headline's size: an offer that shrinks further is none
PILL: Final = 0.85  # ems of the button's type at each of its ends
_BREAKS_COST: Final = 0.28
_LOGO: Final = 1.0  # height of a logo, of the headline's size
_SUB_LINES, _HEADLINE_LINES = 4, 3
_STATEMENT, _STATEMENT_LINES = 40, 4  # characters from which a headline is a whole sentence, and its lines
_WORD: Final = 3  # characters: a headline this short alone is set larger,
_WORD_LARGER: Final = 2.2  # times, or it is lost in the ad


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the block: its text, size in pixels, and the place of its box inside the block."""

    role: Role
    text: str
    weight: Weight
    size: int
    top: float
    height: float
    width: float


@dataclass(frozen=True, slots=True)
class Block:
    """``size`` is the headline's in pixels, ``badness`` how bad its line breaks are."""

    rows: tuple[Row, ...]
    size: int
    badness: float

    @property
    def width(self) -> float:
        return max(row.width for row in self.rows)

    @property
    def height(self) -> float:
        return self.rows[-1].top + self.rows[-1].height

    def lines(self, role: Role) -> tuple[str, ...]:
        """The lines of a role."""
        return tuple(row.text for row in self.rows if row.role == role)


@dataclass(frozen=True, slots=True)
class Scale:
    """The bounds that a format sets on type, in pixels."""

    largest: int
    smallest: int
    least: int

    @classmethod
    def of(cls, format_: Format, largest: float = 1.0) -> Scale:
        """``largest`` caps the headline, as a share of the format's own cap."""
        low, high = format_.headline
        top = max(low, high * largest)
        return cls(*(round(share * format_.short) for share in (top, low, format_.least_type)))


def set_block(
    copy: AdCopy, face: Typeface, scale: Scale, width: float, height: float, logo_ratio: float | None = None
) -> Block | None:
    """The copy set in ``width`` by ``height`` pixels: as large as it goes, but for breaks that look wrong.

    ``logo_ratio`` (width over height) puts a logo in the brand's place. None where the copy does not fit at all.
    """
    best: Block | None = None
    size = scale.largest
    if len(copy.headline) <= _WORD and not (copy.sub or copy.offer):
        size = round(size * _WORD_LARGER)
    while size >= scale.smallest:
        block = _at(copy, face, scale, size, width, height, logo_ratio)
        if block is not None and (best is None or _worth(block, scale) > _worth(best, scale)):
            best = block
        size = min(size - 1, int(size * _SMALLER))
    return best


def _worth(block: Block, scale: Scale) -> float:
    """Size against breaks: a headline may be a quarter smaller to be rid of one bad break."""
    return block.size / scale.largest - _BREAKS_COST * max(0.0, block.badness)


def _at(
    copy: AdCopy, face: Typeface, scale: Scale, size: int, width: float, height: float, logo_ratio: float | None
) -> Block | None:
    headline = _lines(
        copy.headline,
        face,
        "headline",
        size,
        width,
        _STATEMENT_LINES if len(copy.headline) > _STATEMENT else _HEADLINE_LINES,
    )
    if headline is None:
        return None
    rows: list[tuple[Role, str, int]] = []
    if copy.brand and logo_ratio is None:
        rows.append(("brand", copy.brand, _sized("brand", size, scale)))
    rows += [("headline", line, size) for line in headline.lines]
    badness = headline.badness
    if copy.sub:
        sub, sub_size = _shrunk(copy.sub, face, size, scale, width)
        if sub is None:
            return None
        rows += [("sub", line, sub_size) for line in sub.lines]
        badness += 0.3 * max(0.0, sub.badness)
    if copy.offer:
        offer = list(_offer(copy.offer, face, size, width))
        if min(fitting for _, fitting in offer) < _OFFER_LEAST * size:
            return None
        rows += [("offer", line, fitting) for line, fitting in offer]
    if copy.note:
        note, note_size = _shrunk(copy.note, face, size, scale, width)
        if note is None:
            return None
        rows += [("note", line, note_size) for line in note.lines]
        badness += 0.3 * max(0.0, note.badness)
    for role in ("cta", "legal"):
        text = getattr(copy, role)
        if text:
            rows += _small(role, text, face, _sized(role, size, scale), width)
    stacked = tuple(_stack(rows, face, size, logo_ratio))
    block = Block(stacked, size, round(badness, 2))
    return block if block.height <= height and block.width <= width + 0.5 else None


def _sized(role: Role, headline: int, scale: Scale) -> int:
    least = scale.least * (LEGAL_LEAST if role == "legal" else 1.0)
    return round(max(least, _SCALE[role] * headline) if role != "legal" else least)


def _lines(text: str, face: Typeface, role: Role, size: int, width: float, most: int) -> Broken | None:
    return broken(text, lambda part: face.width(part, _WEIGHT[role]), width / size, most)


def _shrunk(text: str, face: Typeface, headline: int, scale: Scale, width: float) -> tuple[Broken | None, int]:
    """The sub line at its size, or smaller down to the least where it would need too many lines."""
    size = _sized("sub", headline, scale)
    while True:
        found = _lines(text, face, "sub", size, width, _SUB_LINES)
        if size == scale.least or (found is not None and (len(found.lines) <= 2 or found.badness <= 1.0)):
            return found, size
        size = max(scale.least, int(size * 0.93))


def _offer(text: str, face: Typeface, headline: int, width: float) -> Iterator[tuple[str, int]]:
    """The offer on one line; its parts on lines of their own where that would make it too small."""
    size = int(_SCALE["offer"] * headline)
    fitting = int(min(size, width / face.width(text, _WEIGHT["offer"])))
    if fitting >= _OFFER_LEAST * headline or OFFERS_JOINT not in text:
        yield text, fitting
        return
    for part in text.split(OFFERS_JOINT):
        yield part, int(min(size, width / face.width(part, _WEIGHT["offer"])))


def _small(role: Role, text: str, face: Typeface, size: int, width: float) -> list[tuple[Role, str, int]]:
    if role == "cta":
        return [(role, text, int(min(size, width / (face.width(text, _WEIGHT[role]) + 2 * PILL))))]
    # Small print takes as few lines as it can, wherever they end.
    found = next((one for most in (1, 2, 3) if (one := _lines(text, face, role, size, width, most))), None)
    return [(role, line, size) for line in found.lines] if found else [(role, text, size)]


def _stack(rows: list[tuple[Role, str, int]], face: Typeface, headline: int, logo_ratio: float | None) -> Iterator[Row]:
    top = 0.0
    if logo_ratio is not None:
        high = _LOGO * headline * min(1.0, 4.0 / logo_ratio)
        yield Row("logo", "", "Bold", headline, 0.0, high, high * logo_ratio)
        top = high
    for role, lines in groupby(rows, key=lambda row: row[0]):
        if top:
            top += _GAP[role] * headline
        for _, text, size in lines:
            high = LEADING[role] * size
            wide = (face.width(text, _WEIGHT[role]) + (2 * PILL if role == "cta" else 0.0)) * size
            yield Row(role, text, _WEIGHT[role], size, top, high, wide)
            top += high
