"""Is what was read the same as what was meant? Pure comparisons of text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

from adstudio.vision.ocr import Seen

# What is compared, by the first word of the Unicode character names. The recogniser was trained on
# Chinese too, but takes Hangul for Chinese characters that look like it: what it says of those is noise.
_COMPARED: Final = frozenset({"LATIN", "DIGIT"})


def readable(text: str) -> str:
    """The Latin letters and digits of ``text``, without case, accents and anything between them."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in plain if _letter(character) in _COMPARED)


def has_unreadable(text: str) -> bool:
    """Whether ``text`` has letters that cannot be compared (Hangul, Cyrillic, Chinese, …)."""
    plain = unicodedata.normalize("NFKC", text)
    return any(_letter(character) not in _COMPARED | {""} for character in plain)


def in_reading_order(seen: Iterable[Seen]) -> str:
    """The stretches' text, line by line from the top, each line from the left."""
    lines: list[list[Seen]] = []
    for stretch in sorted(seen, key=lambda s: s.box.top + s.box.bottom):
        middle = (stretch.box.top + stretch.box.bottom) / 2
        if lines and lines[-1][0].box.top <= middle < lines[-1][0].box.bottom:
            lines[-1].append(stretch)
        else:
            lines.append([stretch])
    return " ".join(s.text for line in lines for s in sorted(line, key=lambda s: s.box.left))


def similarity(meant: str, read: str) -> float:
    """1 for the same text, down to 0: one less the edit distance over the longer text's length."""
    longer = max(len(meant), len(read))
    return 1.0 - _edits(meant, read) / longer if longer else 1.0


def found_share(meant: str, read: str) -> float:
    """How much of ``meant`` is in ``read`` in its order, 0 to 1; what else was read does not count.

    For copy in which unreadable letters stand between the readable ones and come out as anything.
    """
    common = [0] * (len(read) + 1)
    for m in meant:
        diagonal = 0
        for i, r in enumerate(read, start=1):
            diagonal, common[i] = common[i], diagonal + 1 if m == r else max(common[i], common[i - 1])
    return common[-1] / len(meant) if meant else 1.0


def _edits(a: str, b: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def _letter(character: str) -> str:
    """The script of a letter or digit, as its name begins; empty for anything else."""
    return unicodedata.name(character, "?").split(" ", 1)[0] if character.isalnum() else ""
