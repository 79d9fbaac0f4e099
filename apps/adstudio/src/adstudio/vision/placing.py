"""A block of type put at a place: every line's left end and baseline, the button's and the logo's boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from adstudio.vision.layout import Alignment, Line
from adstudio.vision.shapes import Box
from adstudio.vision.type_block import PILL, Block, Row

_MIDDLE: Final = 0.355
"""Ems from the middle of a line's box down to its baseline: half the height of capitals and of Hangul."""


@dataclass(frozen=True, slots=True)
class Placed:
    """``box`` is the place of the whole block."""

    lines: tuple[Line, ...]
    button: Box | None
    logo: Box | None
    box: Box


def place(block: Block, left: float, top: float, width: float, align: Alignment) -> Placed:
    """``block`` with its axis at ``left``, or in the middle of ``width`` pixels from there."""
    lines: list[Line] = []
    button = logo = None
    reach_left, reach_right = left + width, left
    for row in block.rows:
        x = left if align == "left" else left + (width - row.width) / 2
        y = top + row.top
        reach_left, reach_right = min(reach_left, x), max(reach_right, x + row.width)
        box = Box(round(x), round(y), round(x + row.width), round(y + row.height))
        if row.role == "logo":
            logo = box
            continue
        if row.role == "cta":
            button = box
        lines.append(_line(row, x, y))
    whole = Box(round(reach_left), round(top), round(reach_right), round(top + block.height))
    return Placed(tuple(lines), button, logo, whole)


def _line(row: Row, x: float, y: float) -> Line:
    pad = PILL * row.size if row.role == "cta" else 0.0
    return Line(
        role=row.role,
        text=row.text,
        weight=row.weight,
        size=row.size,
        x=round(x + pad),
        y=round(y + row.height / 2 + _MIDDLE * row.size),
        width=round(row.width - 2 * pad),
    )
