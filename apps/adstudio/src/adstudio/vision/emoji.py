"""Emoji: which parts of a text are one, and their pictures, from Noto Color Emoji.

An emoji can be a sequence (a family, a flag, a skin tone). The font's own ligature table says which sequences are
one picture, so no shaping engine is needed. Sources: Unicode Technical Standard 51; OpenType tables cmap, GSUB, CBDT.
"""

from __future__ import annotations

import io
import re
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from fontTools.ttLib import TTFont
from PIL import Image

WIDTH = 1.14
"""Ems from one emoji to the next: its square and a little air."""

_FONT = "assets/fonts/NotoColorEmoji.ttf"
_SELECTOR = "\ufe0f"
_PICTURE = (
    r"[\U0001F000-\U0001FAFF\u2300-\u23ff\u25aa-\u27bf\u2934-\u2935\u2b05-\u2b55"
    r"\u3030\u303d\u3297\u3299\u203c\u2049\u2139]"
)
_EMOJI = re.compile(
    r"[\U0001F1E6-\U0001F1FF]{2}"  # a flag
    rf"|[0-9#*]{_SELECTOR}?\u20e3"  # a keycap
    rf"|{_PICTURE}(?:[{_SELECTOR}\U0001F3FB-\U0001F3FF]|[\U000E0020-\U000E007F])*"
    rf"(?:\u200d{_PICTURE}[{_SELECTOR}\U0001F3FB-\U0001F3FF]*)*"
)
# Drawn by the typeface as ordinary signs unless the writer asks for the picture with a selector.
_SIGNS = frozenset("▶◀★☆♥♡✓←↑↓→①②③④⑤⑥⑦⑧⑨■□▲△▼▽◆◇○●▪▫◼◻‼⁉™©®")


@cache
def _font() -> TTFont:
    return TTFont(str(files("adstudio") / _FONT), lazy=True)


@cache
def _glyphs() -> dict[tuple[str, ...], str]:
    """Glyph names by the sequence of glyphs that they stand for, of one glyph or of several."""
    font = _font()
    found: dict[tuple[str, ...], str] = {(name,): name for name in font.getBestCmap().values()}
    for lookup in font["GSUB"].table.LookupList.Lookup:
        for table in lookup.SubTable:
            inner: Any = getattr(table, "ExtSubTable", table)
            for first, ligatures in getattr(inner, "ligatures", {}).items():
                for ligature in ligatures:
                    found[(first, *ligature.Component)] = ligature.LigGlyph
    return found


class Pictures:
    """The emoji of which there is a picture: ``in`` tells. The font is read when an emoji is first asked for."""

    def __contains__(self, sequence: object) -> bool:
        return isinstance(sequence, str) and _glyph(sequence) is not None


PICTURES = Pictures()


def is_emoji(cluster: str) -> bool:
    """Whether one of :func:`clusters` is a picture, not a sign of the typeface."""
    return bool(_EMOJI.fullmatch(cluster)) and cluster not in _SIGNS


def clusters(text: str) -> list[str]:
    """``text`` in pieces: each emoji sequence whole, every other character by itself."""
    found: list[str] = []
    at = 0
    for match in _EMOJI.finditer(text):
        found += [*text[at : match.start()], match.group()]
        at = match.end()
    return [*found, *text[at:]]


def without_emoji(text: str) -> str:
    """``text`` less its emoji, as a reader of letters sees it."""
    return "".join(one for one in clusters(text) if not is_emoji(one))


@lru_cache(maxsize=64)
def picture(sequence: str) -> Image.Image:
    """The emoji as RGBA, 136 by 128 pixels; ``KeyError`` where there is none."""
    glyph = _glyph(sequence)
    if glyph is None:
        raise KeyError(sequence)
    stored = _font()["CBDT"].strikeData[0][glyph]
    with Image.open(io.BytesIO(stored.imageData)) as image:
        return image.convert("RGBA")


@lru_cache(maxsize=512)
def _glyph(sequence: str) -> str | None:
    cmap = _font().getBestCmap()
    plain = [char for char in sequence if char != _SELECTOR]
    names = tuple(cmap.get(ord(char)) for char in plain)
    found = None if None in names else _glyphs().get(names)
    return found if found is not None and found in _font()["CBDT"].strikeData[0] else None
