"""Breaking copy into lines and finding the size that fills a box: pure arithmetic, in ems.

One em is the font size. The planner uses it with estimated widths to shape its boxes, the overlay with
the font's own to fill them, so that what is planned can be set.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf

from adstudio.vision.setting_text import clusters

Measure = Callable[[str], float]
"""The width of a text in ems."""

LEADING = 1.2  # baseline to baseline
LINE = 0.98  # height of a line's ink, from a Hangul or accented top to a descender
PAD_ACROSS, PAD_DOWN = 0.36, 0.26  # kept free inside the box, for a plate's rim or a shadow's fade
_SPACE = 0.23

_NARROW, _SLIM, _WIDE = frozenset("ijlI.,:;'|!·"), frozenset('frt-()[]/"“”1 '), frozenset("mwMW%@—…")


def smallest_legible(height: int, width: int) -> int:
    """The least font size, in pixels, legible on a photo: 3 % of the short side, at least 14."""
    return max(14, ceil(0.03 * min(height, width)))


def estimated_width(text: str) -> float:
    """About how wide a bold sans-serif sets ``text``, in ems; within some percent, without a font at hand."""
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> float:
    if char == " ":
        return _SPACE
    if "가" <= char <= "힣":
        return 0.87
    if unicodedata.combining(char):
        return 0.0
    if unicodedata.east_asian_width(char) in "WF" or unicodedata.category(char) == "So":
        return 1.0
    for kind, width in ((_NARROW, 0.29), (_SLIM, 0.42), (_WIDE, 0.93)):
        if char in kind:
            return width
    return 0.66 if char.isupper() else 0.64 if char.isdigit() else 0.58


@dataclass(frozen=True, slots=True)
class Piece:
    """What stays on one line, a word or part of one; ``gap`` is the space before it unless it begins one."""

    text: str
    width: float
    gap: float


def pieces(text: str, measure: Measure, widest: float = inf) -> list[Piece]:
    """The words of ``text``; one wider than ``widest`` ems is divided evenly between letters or syllables."""
    found: list[Piece] = []
    for word in text.split(" "):
        width = measure(word)
        letters = clusters(word) if width > widest else [word]
        parts = min(len(letters), ceil(width / widest) if width > widest else 1)
        while True:
            cuts = [round(i * len(letters) / parts) for i in range(parts + 1)]
            divided = ["".join(letters[a:b]) for a, b in pairwise(cuts)]
            widths = [measure(part) for part in divided] if parts > 1 else [width]
            if parts >= len(letters) or max(widths) <= widest:
                break
            parts += 1
        gaps = [_SPACE] + [0.0] * (parts - 1)
        found += [Piece(*each) for each in zip(divided, widths, gaps, strict=True)]
    return found


def lines_needed(row: Sequence[Piece], limit: float) -> float:
    """How many lines of ``limit`` ems the pieces fill; infinite when one alone is wider."""
    count, used = 0, inf
    for piece in row:
        used += piece.gap + piece.width
        if used > limit:
            count, used = count + 1, piece.width
            if used > limit:
                return inf
    return count


def narrowest(row: Sequence[Piece], lines: int) -> float:
    """The least line width, in ems, in which the pieces take at most ``lines`` lines."""
    low = max(piece.width for piece in row)
    high = sum(piece.width + piece.gap for piece in row)
    if lines_needed(row, low) <= lines:
        return low
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if lines_needed(row, middle) <= lines else (middle, high)
    return high


def balanced(row: Sequence[Piece], limit: float) -> tuple[str, ...]:
    """The pieces on as few lines of ``limit`` ems as can be, the lines as equal in width as can be.

    Minimises the sum of the squared widths (the method of Knuth and Plass with squares for badness).
    """
    count = len(row)
    # cost[i]: the least badness of setting the first i pieces on the lines so far
    cost = [0.0] + [inf] * count
    begins: list[list[int]] = []  # for each line, where it begins if it ends before piece i
    for _ in range(int(lines_needed(row, limit))):
        longer, begin = [inf] * (count + 1), [0] * (count + 1)
        for start in range(count):
            if cost[start] == inf:
                continue
            used = -row[start].gap
            for end in range(start + 1, count + 1):
                used += row[end - 1].gap + row[end - 1].width
                if used > limit:
                    break
                if cost[start] + used * used < longer[end]:
                    longer[end], begin[end] = cost[start] + used * used, start
        cost = longer
        begins.append(begin)
    lines: list[str] = []
    end = count
    for begin in reversed(begins):
        lines.append(_join(row[begin[end] : end]))
        end = begin[end]
    return tuple(reversed(lines))


def _join(row: Sequence[Piece]) -> str:
    return row[0].text + "".join((" " if piece.gap else "") + piece.text for piece in row[1:])


@dataclass(frozen=True, slots=True)
class Setting:
    """Copy broken into lines at a font size in pixels."""

    lines: tuple[str, ...]
    font_size: int


def largest_setting(text: str, measure: Measure, width: int, height: int, smallest: int) -> Setting | None:
    """The largest setting of ``text`` in a box of ``width`` by ``height`` pixels; None under ``smallest``.

    A word is divided only when it alone is wider than the box at the smallest size.
    """
    row = pieces(text, measure, max(0.01, _inner(width, smallest, PAD_ACROSS)))

    def fits(size: int) -> bool:
        room = _inner(height, size, PAD_DOWN)
        return lines_needed(row, _inner(width, size, PAD_ACROSS)) * LEADING - (LEADING - LINE) <= room

    if not fits(smallest):
        return None
    low, high = smallest, max(smallest + 1, height)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return Setting(balanced(row, _inner(width, low, PAD_ACROSS)), low)


def _inner(side: int, size: int, pad: float) -> float:
    """The ems between the paddings of a side."""
    return side / size - 2 * pad
