"""Text as it will be set: composed, cleaned, and checked for characters that cannot be drawn."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable

from adstudio.vision.emoji import clusters, is_emoji
from adstudio.vision.errors import CopyError

_SPACES = re.compile(r"[^\S\n]+")
_BREAKS = re.compile(r"\s*\n\s*")
_KEPT = {"\u200d", "\ufe0f"}  # the joiner and the selector that an emoji is made with
_JOINER_ALONE = re.compile(r"(?<![\U0001F000-\U0001FAFF\u2000-\u2bff\ufe0f])\u200d|^\ufe0f")
_HANGUL = re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
_MOST_NAMED = 3  # scripts or characters named in a message

_SCRIPTS_KO = {
    "Arabic": "아랍",
    "Hebrew": "히브리",
    "Thai": "태국",
    "Cjk": "한자",
    "Devanagari": "데바나가리",
    "Cyrillic": "키릴",
}


def tidy(text: str) -> str:
    """``text`` composed (NFC, so that Hangul typed as loose jamo becomes syllables) and cleaned. May be empty.

    Line breaks stay, for they are the author's; other white space becomes single spaces. Controls, marks of
    direction and other characters that draw nothing are removed.
    """
    unified = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    visible = "".join(char for char in unified if char == "\n" or char.isspace() or not _draws_nothing(char))
    visible = _JOINER_ALONE.sub("", visible)
    return _BREAKS.sub("\n", _SPACES.sub(" ", visible)).strip()


def has_hangul(text: str) -> bool:
    """Whether any of it is Korean writing."""
    return bool(_HANGUL.search(text))


def check_drawable(text: str, covered: Container[int], emoji: Container[str]) -> None:
    """Raises ``CopyError`` where a character of ``text`` could not be drawn: nothing is left out silently.

    ``covered``: the typeface's code points; ``emoji``: the sequences of which there is a picture.
    """
    backward = [char for char in text if unicodedata.bidirectional(char) in ("R", "AL")]
    if backward:
        ko, en = _scripts(backward)
        raise CopyError(
            f"카피에 오른쪽에서 왼쪽으로 쓰는 {ko} 글자가 있습니다. 왼쪽에서 오른쪽으로 쓰는 글자만 넣을 수 있습니다.",
            f"The copy has {en} letters, which run right to left; only left-to-right scripts can be set.",
        )
    missing = [
        cluster
        for cluster in clusters(text)
        if not (cluster in emoji if is_emoji(cluster) else all(ord(c) in covered or c.isspace() for c in cluster))
    ]
    if missing:
        named = ", ".join(f"“{one}”" for one in list(dict.fromkeys(missing))[:_MOST_NAMED])
        letters = [one[0] for one in missing if one[0].isalpha()]
        ko, en = _scripts(letters) if letters else ("", "")
        raise CopyError(
            f"글꼴에 없는 {f'{ko} ' if ko else ''}문자가 카피에 있습니다: {named}. 빼거나 다른 문자로 바꿔 주세요.",
            f"The typeface cannot draw {f'{en} letters' if en else 'these characters'} of the copy: {named}. "
            "Leave them out or write them differently.",
        )


def says_something(text: str) -> bool:
    """Whether there is a letter or digit in it; emoji and punctuation alone are no copy."""
    return any(unicodedata.category(char)[0] in "LN" for char in text)


def _draws_nothing(char: str) -> bool:
    return (
        unicodedata.category(char) in ("Cc", "Cf", "Cs")
        and char not in _KEPT
        and not "\U000e0020" <= char <= "\U000e007f"
    )


def _scripts(letters: Iterable[str]) -> tuple[str, str]:
    """The scripts of the letters in Korean and in English, by the first word of their Unicode names."""
    names = dict.fromkeys(unicodedata.name(char, "unknown").split()[0].split("-")[0].capitalize() for char in letters)
    known = list(names)[:_MOST_NAMED]
    return ", ".join(_SCRIPTS_KO.get(name, name) for name in known), " and ".join(known)
