"""Variants of an ad: which layouts each of them tries, and which of them is the best. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Final

from adstudio.vision.layout import Layout
from adstudio.vision.making import Picture

VARIANTS: Final = 3
ROUNDS: Final = 3
"""How often a variant is planned: once, and twice more where it is rejected. ``ad_variants.toml`` bounds it."""
CANDIDATES: Final = VARIANTS * ROUNDS
"""Layouts of a format that are planned, so that no two variants and rounds need the same."""


def layouts_for(proposals: Sequence[Layout], number: int, before: int, good: Collection[str]) -> list[Layout]:
    """The layouts of variant ``number`` (from 1) after ``before`` rounds: of each format that is not ``good`` yet the
    next layout that no variant had. The first round has every format, of one with few layouts the last one again; a
    later one has those formats of which a layout is left."""
    found = []
    for format_ in dict.fromkeys(layout.format for layout in proposals):
        ranked = [layout for layout in proposals if layout.format == format_]
        index = number - 1 + VARIANTS * before
        if format_ not in good and (index < len(ranked) or before == 0):
            found.append(ranked[min(index, len(ranked) - 1)])
    return found


def best(pictures: Sequence[Picture], passed: Sequence[int]) -> int:
    """Of the places in ``passed`` the one whose layouts have the best mean score; the first of equals."""
    return max(passed, key=lambda at: (fmean(p.layout.score for p in pictures if p.place == at), -at))


def winner_first(pictures: Sequence[Picture], winner: int) -> list[Picture]:
    """The pictures in the same order, those at ``winner`` with place 0 and the others after them."""
    order = sorted({p.place for p in pictures}, key=lambda place: (place != winner, place))
    return [replace(p, place=order.index(p.place)) for p in pictures]
