"""Where a line may end: penalties between words, and the lines that have the least of them.

A break is bad where it parts words that are read in one breath (see ``bonds``), and where it leaves ragged lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise
from math import inf, sqrt
from typing import Final

from adstudio.vision.bonds import TIED, UNKNOWN, bond
from adstudio.vision.copytext import has_hangul

Measure = Callable[[str], float]
"""The width of a text in ems."""

ACCEPTABLE: Final = 2.0
"""The sum of penalties above which a setting looks wrong."""

_OWN_LINE_DIVIDED: Final = 1.5
_ENDS_INSIDE: Final = re.compile(r"[.!?…]\s+\S")  # a sentence that ends within one of several lines
_MOST_WORDS: Final = 14  # of a text whose every division is tried; longer ones are set as running text
_TIED_PARTED: Final = 3.0  # on top, for words that are one phrase: any smaller type looks better than that


def penalty(before: str, after: str) -> float:
    """How bad it is to end a line with ``before`` and begin the next with ``after``; negative is good."""
    held = bond(before, after)
    return held + (_TIED_PARTED if held >= TIED else 0.0)


def _parted(lines: Sequence[str]) -> float:
    """The penalties between lines. Two nouns side by side that nothing ties or parts are less a name of two words where
    each has another word on its line: ``가을 신상 / 트레킹화 출시``."""
    total = 0.0
    for upper, lower in pairwise(lines):
        cost = penalty(upper.split(" ")[-1], lower.split(" ")[0])
        total += 0.75 * cost if cost == UNKNOWN and " " in upper and " " in lower else cost
    return total


@dataclass(frozen=True, slots=True)
class Broken:
    """Lines, and how bad their breaks are."""

    lines: tuple[str, ...]
    badness: float


@lru_cache(maxsize=4096)
def _divisions(text: str, most: int) -> tuple[tuple[float, tuple[str, ...]], ...]:
    """Every way to set ``text`` on up to ``most`` lines, with the badness that does not depend on widths."""
    words = text.split(" ")
    found = []
    for count in range(1, min(most, len(words)) + 1):
        for cuts in combinations(range(1, len(words)), count - 1):
            lines = tuple(" ".join(words[a:b]) for a, b in zip((0, *cuts), (*cuts, len(words)), strict=True))
            found.append((_parted(lines) + _shape(lines), lines))
    return tuple(found)


def _shape(lines: Sequence[str]) -> float:
    if len(lines) == 1:
        return 0.0
    letters = [len(line.replace(" ", "")) for line in lines]
    ladder = len(lines) > 2 and sum(" " not in line for line in lines) >= 2
    words = sum(line.count(" ") + 1 for line in lines)
    chopped = 1.0 if words <= 3 and not any(map(has_hangul, lines)) else 0.0
    lone = " " not in lines[0] and lines[0].isalpha() and letters[0] < min(6, 0.5 * max(letters))
    stray = " " not in lines[-1] and letters[-1] < 0.5 * max(letters) and letters[-1] < 6
    inside = sum(_ENDS_INSIDE.search(line) is not None for line in lines)
    return (
        1.5 * inside
        + 0.35 * (len(lines) - 1)
        + 0.8 * (stray + lone)
        + 1.2 * (min(letters) < 3)
        + chopped
        + 1.2 * ladder
    )


def broken(text: str, measure: Measure, limit: float, most: int) -> Broken | None:
    """The best lines of ``text`` within ``limit`` ems, at most ``most``; None where there are none.

    The author's own line breaks are kept; each of his lines may be divided further only where it must.
    """
    own = text.split("\n")
    if len(own) > 1:
        return _authors(own, measure, limit, most)
    if len(text.split(" ")) > _MOST_WORDS:
        return _running(text, measure, limit, most)
    best: Broken | None = None
    for badness, lines in _divisions(text, most):
        if best is not None and badness >= best.badness:
            continue
        widths = [measure(line) for line in lines]
        if max(widths) <= limit:
            total = badness + (2.2 * _spread(widths) / max(widths) if len(widths) > 1 else 0.0)
            if best is None or total < best.badness:
                best = Broken(lines, total)
    return best


def _spread(widths: Sequence[float]) -> float:
    """The standard deviation; that of the library reckons with fractions and took half of the time of setting type."""
    mean = sum(widths) / len(widths)
    return sqrt(sum((width - mean) ** 2 for width in widths) / len(widths))


def _authors(own: list[str], measure: Measure, limit: float, most: int) -> Broken | None:
    lines: list[str] = []
    badness = 0.0
    for i, line in enumerate(own):
        part = broken(line, measure, limit, max(1, most - len(lines) - (len(own) - i - 1)))
        if part is None:
            return None
        lines += part.lines
        badness += _OWN_LINE_DIVIDED * (len(part.lines) > 1)
        badness += max(0.0, part.badness)
    return Broken(tuple(lines), badness) if len(lines) <= most else None


def _running(text: str, measure: Measure, limit: float, most: int) -> Broken | None:
    """Running text: the least sum of squared slack and penalties, line by line (the method of Knuth and Plass)."""
    words = text.split(" ")
    widths = [measure(word) for word in words]
    space = measure("n n") - 2 * measure("n")
    cost, begin = [0.0] + [inf] * len(words), [[0]] + [[] for _ in words]
    for end in range(1, len(words) + 1):
        used = -space
        for start in range(end - 1, -1, -1):
            used += space + widths[start]
            if used > limit * 1.0001:
                break
            slack = 0.0 if end == len(words) else ((limit - used) / limit) ** 2
            turn = penalty(words[end - 1], words[end]) if end < len(words) else 0.0
            total = cost[start] + 3 * slack + max(0.0, turn) * 0.5 + 0.35
            if total < cost[end]:
                cost[end], begin[end] = total, [*begin[start], end]
    if cost[-1] == inf or len(begin[-1]) - 1 > most:
        return None
    edges = begin[-1]
    return Broken(tuple(" ".join(words[a:b]) for a, b in pairwise(edges)), 0.0)


def badness_of(text: str, lines: Sequence[str]) -> float:
    """The penalties of a text that is set as ``lines``; the author's own breaks cost nothing, a divided word much."""
    own = {line.strip() for line in text.split("\n")}
    cost = _shape(lines) if not set(lines) <= own else 0.0
    ends = {line.split(" ")[-1] for line in own}
    for before, after in pairwise(lines):
        if before.split(" ")[-1] not in ends:
            cost += penalty(before.split(" ")[-1], after.split(" ")[0])
    return cost + (3.0 if " ".join(lines) != " ".join(text.split()) else 0.0)
