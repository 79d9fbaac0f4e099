"""Is the text that was read the one that was set? Pure comparisons of text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

from adstudio.vision.emoji import without_emoji

_WELL_READ: Final = 0.9  # a reading this like is not tried again


def letters(text: str) -> str:
    """The letters and digits of ``text``, without case, width and anything between them."""
    plain = unicodedata.normalize("NFKC", without_emoji(text)).casefold()
    return "".join(character for character in plain if character.isalnum())


def likeness(meant: str, readings: Iterable[str]) -> float:
    """1 where some reading has the letters of ``meant``, down to 0: one less the edits over the longer text."""
    wanted, best = _strokes(meant), 0.0
    for reading in readings:  # no further than needed: each one costs
        best = max(best, _alike(wanted, _strokes(reading)))
        if best >= _WELL_READ:
            break
    return best


def _strokes(text: str) -> str:
    """The letters with Hangul taken apart: a misread final consonant is a slip of one letter in seven, not of one
    syllable in three."""
    return unicodedata.normalize("NFD", letters(text))


def _alike(meant: str, read: str) -> float:
    longer = max(len(meant), len(read))
    return 1.0 - _edits(meant, read) / longer if longer else 1.0


def _edits(a: str, b: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
