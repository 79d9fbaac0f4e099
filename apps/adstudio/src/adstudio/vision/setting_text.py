"""The copy as it will be set: cleaned, composed, and only what the font can draw."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from adstudio.vision.errors import CopyError

_NO_BREAK_SPACE = "\u00a0"
_SPACES = re.compile(rf"[^\S{_NO_BREAK_SPACE}]+")
_VARIATION_SELECTORS = frozenset(range(0xFE00, 0xFE10)) | frozenset(range(0xE0100, 0xE01F0))
_MOST_NAMED = 3  # scripts named in a message


@dataclass(frozen=True, slots=True)
class Drawable:
    """``text`` is what is set; ``dropped`` the characters left out because the font lacks them."""

    text: str
    dropped: tuple[str, ...]


def tidy(copy: str) -> str:
    """The copy composed (NFC, so that Hangul typed as loose jamo becomes syllables) and cleaned.

    Controls, joiners and other characters that draw nothing are removed; any run of white space, line
    breaks too, becomes one space, for the lines are broken to fit the box. May be empty.
    """
    spaced = _SPACES.sub(" ", copy)
    visible = "".join(char for char in spaced if not _draws_nothing(char))
    return _SPACES.sub(" ", unicodedata.normalize("NFC", visible)).strip()


def drawable(copy: str, covered: Iterable[int]) -> Drawable:
    """The part of ``copy`` that a font with the code points ``covered`` can draw.

    Raises ``CopyError`` for an empty copy, for one with right-to-left letters (naming the script), and
    when nothing but punctuation is left to draw.
    """
    tidied = tidy(copy)
    if not tidied:
        raise CopyError("the copy is empty")
    backward = [char for char in tidied if unicodedata.bidirectional(char) in ("R", "AL")]
    if backward:
        raise CopyError(
            f"the copy has {_scripts(backward)} letters, which run right to left; only left-to-right scripts can be set"
        )
    known = frozenset(covered)
    dropped = tuple(dict.fromkeys(char for char in tidied if ord(char) not in known and char != " "))
    text = tidy("".join(char for char in tidied if ord(char) in known or char == " "))
    if not any(unicodedata.category(char)[0] in "LNS" for char in text):
        lost = [char for char in dropped if unicodedata.category(char)[0] == "L"]
        reason = f": it has no {_scripts(lost)} letters" if lost else ""
        raise CopyError(f"nothing of the copy can be drawn with this font{reason}")
    return Drawable(text, dropped)


def clusters(word: str) -> list[str]:
    """What a word may be broken between, as a last resort: letters or syllables.

    Combining marks and closing punctuation stay with what they follow, opening punctuation with what
    follows it.
    """
    parts: list[str] = []
    for char in word:
        opened = bool(parts) and unicodedata.category(parts[-1][-1]) in ("Ps", "Pi")
        if parts and (opened or unicodedata.category(char) in ("Mn", "Mc", "Me", "Pe", "Pf", "Po")):
            parts[-1] += char
        else:
            parts.append(char)
    return parts


def _draws_nothing(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs") or ord(char) in _VARIATION_SELECTORS


def _scripts(letters: Iterable[str]) -> str:
    """The scripts of the letters, by the first word of their Unicode names: ``Arabic``, ``Hebrew``."""
    names = dict.fromkeys(unicodedata.name(char, "unknown").split()[0].split("-")[0].capitalize() for char in letters)
    return " and ".join(list(names)[:_MOST_NAMED])
