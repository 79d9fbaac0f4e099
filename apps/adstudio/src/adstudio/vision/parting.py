"""Is a copy that came as one string parted into roles as its author meant it? An independent view.

Nothing here knows the rules (or the model) that parted it: each role's words are found again in the original, and every
cut between two roles is looked at for a sign of the author's: a line break, a sentence's end, a dash, a bracket, a
comma. A cut without such a sign, a sentence that ends in its middle, another order than the author's: each is a doubt.
A parting with a doubt is no pass; a person has to confirm it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from adstudio.vision.ad_copy import OFFERS_JOINT, AdCopy
from adstudio.vision.bonds import PARTED, PRICE, TIED, bond
from adstudio.vision.copytext import has_hangul, tidy
from adstudio.vision.emoji import clusters, is_emoji
from adstudio.vision.errors import Language

SET_ORDER: Final = ("brand", "headline", "sub", "offer", "note", "cta", "legal")
"""The roles from the top of an ad to its foot."""

_LONGEST_HEADLINE: Final = {"ko": 30, "en": 64}  # characters: more is not read at a glance
_CLOSE: Final = 2.5  # the bond of a number, a determiner or a bound noun: not even a price may stand between
_LONE: Final = 3  # syllables of a word that says nothing alone above a price: 커플, 이후
_SHOWN: Final = 16  # characters of the copy in a sentence

_HARD: Final = re.compile(r"[\n.!?…|·•:;()\[\]/—–]|\s[-~]\s|→|->|▶|※|\*|#|\s\+\s|\^|~\s|[ㅋㅎㅠㅜ]")
"""Between two words: the author has parted them."""

_TWO_SAYINGS: Final = re.compile(r"\d(?:원|만원|천원)\s+\d+[가-힣]")  # 배터리 교체 5,000원 10분이면 됩니다
_SMILE: Final = re.compile(r"[:;]-?[()]")
_SPACED: Final = re.compile(r"[^\W\d]\s[!?.,]")  # a mark that was left over when its word was taken out
_FIGURE: Final = re.compile(r"\d|반값|무료|공짜|half|free", re.IGNORECASE)
_PRICE: Final = re.compile(
    r"[₩$€£¥]\s?\d[\d,.]*|\d[\d,.]*\s?(?:억|천만|백만|만|천)?\s?\d*\s?(?:만|천)?\s?(?:원|유로|달러|엔)(?![가-힣]{2})"
    r"|\d[\d,.]*\s?(?:%|퍼센트|percent)"
)

_UNFINISHED_KO: Final = re.compile(r"(?:[가-힣](?:면서|니까|는데|려고|도록|의|을|를|와|과|랑))$")
"""A word before a comma that wants the rest of its sentence."""

ENDINGS_KO: Final = "니다|세요|시죠|네요|까요|어요|아요|해요|려요|예요|이죠"
"""Of Korean sentences, each two syllables."""

ENDED_KO: Final = re.compile(rf"[가-힣](?:{ENDINGS_KO})(?=\s+\w)")
"""The end of a Korean sentence that its author gave no full stop."""

_GOES_ON_EN: Final = re.compile(
    r"(?!(?:now|from|only|up|just|for|in|on|at|until|till|when|with|per|all|save|by)\b)[a-z]"
)
"""A word that goes on a sentence; one can breathe before a preposition."""

_GOES_ON_KO: Final = re.compile(
    r"^(?:이상|이하|미만|초과|정도|추가|할인|적립|증정|포함|별도|상당|대|씩|당|기준|한정|선착순|안에|만에|이내|동안|동시|전후)"
)
_UNTIL_KO: Final = re.compile(r"(?:까지|한정|마감|만|행사|특가|부터|무료|가능)[.!]?$")


@dataclass(frozen=True, slots=True)
class Doubt:
    """A sign that a copy was misread: its name, and a sentence in Korean and in English."""

    sign: str
    ko: str
    en: str

    def told(self, language: Language) -> str:
        """The sentence."""
        return self.ko if language == "ko" else self.en


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of the original, from letter ``start`` to ``end`` of it, and the role that it was given."""

    role: str
    text: str
    start: int
    end: int


def doubts(original: str, copy: AdCopy) -> tuple[Doubt, ...]:
    """The signs that ``copy`` is not what the author of ``original`` meant; none where it is sure."""
    text = tidy(original)
    language = "ko" if has_hangul(text) else "en"
    places = [at for at, char in enumerate(text) if char.isalnum()]
    pieces, astray = _found(text, places, copy)
    signs = [_astray(one) for one in astray]
    covered = sum(one.end - one.start for one in pieces)
    if not astray and covered < len(places):
        signs.append(Doubt("missing", "원문의 일부가 광고에 없습니다.", "Part of the copy is not in the ad."))
    signs += [doubt for a, b in pairwise(pieces) if (doubt := _cut(text, places, a, b, language))]
    signs += _moved(text, places, pieces)
    signs += _own(copy, language)
    return tuple(dict.fromkeys(signs))


def _found(text: str, places: list[int], copy: AdCopy) -> tuple[list[_Piece], list[str]]:
    """Each role's stretches in the original, in its order, and the texts that are nowhere in it as they stand."""
    letters = "".join(text[at] for at in places)
    taken = [False] * len(letters)
    wanted = [(role, part) for role, said in copy.roles() for part in re.split(rf"\n|{OFFERS_JOINT}", said)]
    pieces, astray = [], []
    for role, part in sorted(wanted, key=lambda one: -len(one[1])):
        bare = "".join(char for char in part if char.isalnum())
        if not bare:
            continue
        start = letters.find(bare)
        while start >= 0 and any(taken[start : start + len(bare)]):
            start = letters.find(bare, start + 1)
        if start < 0 or _SPACED.search(part):
            astray.append(part)
            continue
        taken[start : start + len(bare)] = [True] * len(bare)
        pieces.append(_Piece(role, part, start, start + len(bare)))
    return sorted(pieces, key=lambda one: one.start), astray


def _cut(text: str, places: list[int], before: _Piece, after: _Piece, language: str) -> Doubt | None:
    """The doubt about the cut between two neighbours."""
    gap = text[places[before.end - 1] + 1 : places[after.start]]
    if before.role == after.role and "," in gap:
        return None
    if _HARD.search(gap) or any(is_emoji(one) for one in clusters(gap)):
        return None
    first = text.rfind(" ", 0, places[after.start]) + 1
    left, right = text[:first].split()[-1], text[first:].split()[0]
    if ENDED_KO.search(f"{left} x"):
        return None
    return _cut_told(before, after) if _leans(left, right, "," in gap, before, after, language) else None


def _leans(left: str, right: str, comma: bool, before: _Piece, after: _Piece, language: str) -> bool:
    """Whether ``left`` and ``right``, parted by no more than a comma or a space, belong together."""
    roles = (before.role, after.role)
    held = bond(left.rstrip(","), right)
    if language == "en":
        goes_on = bool(_GOES_ON_EN.match(right))
        if comma:
            return goes_on
        return goes_on or held >= TIED if "offer" in roles else held > PARTED
    if comma:
        return bool(_UNFINISHED_KO.search(left))
    if roles[0] == "brand":
        return left.isascii() == right.isascii()
    if held >= (_CLOSE if "offer" in roles else TIED):
        return True
    if _PRICE.search(before.text) and roles[1] == "offer":
        return False
    if roles[0] == "offer":
        return bool(_GOES_ON_KO.match(right)) or not (held <= PARTED or _UNTIL_KO.search(after.text))
    if roles[1] == "offer":
        clause = re.split(r"[,.!?…\n]", before.text)[-1].split()
        named = roles[0] == "headline" and len(before.text.split()) == 1  # 무화과 / 특가 12,900원
        return len(clause) == 1 and len(left) <= _LONE and not (named or left.isupper())
    # Only a space, and no price: the author has not parted them.
    return held > PARTED or PRICE.fullmatch(right) is not None


def _moved(text: str, places: list[int], pieces: list[_Piece]) -> list[Doubt]:
    """Whether the ad says things in another order than the author; a line of the author's own may move."""
    ranks = [SET_ORDER.index(one.role) for one in pieces]
    for i, (a, b) in enumerate(pairwise(ranks)):
        if a > b and not (_own_line(text, places, pieces[i]) and _own_line(text, places, pieces[i + 1])):
            return [
                Doubt(
                    "order",
                    f"“{_short(pieces[i + 1].text)}”의 순서가 원문과 다릅니다.",
                    f"“{_short(pieces[i + 1].text)}” stands in another place than in the copy.",
                )
            ]
    return []


def _own_line(text: str, places: list[int], piece: _Piece) -> bool:
    before, after = text[: places[piece.start]].rstrip(" ₩$€£¥~※*"), text[places[piece.end - 1] + 1 :]
    return (not before or before.endswith("\n")) and bool(re.match(r"[^\w\n]*(?:\n|$)", after))


def _own(copy: AdCopy, language: str) -> list[Doubt]:
    """The doubts about a role by itself."""
    signs = []
    last = copy.headline.rstrip(" .!?…~").split()[-1:] or [""]
    open_end = copy.headline[-1:].isalpha() and bool(copy.sub or copy.offer)
    tied = (
        re.search(r"[가-힣](?:의|을|를|은|는)$", last[0]) if language == "ko" else bond(last[0] or "x", "it") > _CLOSE
    )
    if (open_end and tied) or ENDED_KO.search(copy.headline) or _TWO_SAYINGS.search(copy.headline):
        signs.append(_fragment(copy.headline))
    if len(copy.headline) > _LONGEST_HEADLINE[language]:
        signs.append(
            Doubt(
                "long",
                f"헤드라인이 {len(copy.headline)}자로 한눈에 읽기에 깁니다.",
                f"The headline has {len(copy.headline)} characters: too long to be read at a glance.",
            )
        )
    if copy.offer and not _FIGURE.search(copy.offer):
        signs.append(
            Doubt(
                "offer",
                f"혜택 “{_short(copy.offer)}”에 가격이나 할인율이 없습니다.",
                f"The offer “{_short(copy.offer)}” holds no price or percentage.",
            )
        )
    elsewhere = [said for role, said in copy.roles() if role in ("headline", "sub", "cta")]
    others = [price for said in elsewhere for price in _PRICE.finditer(said) if not price.group().startswith("100")]
    for price in others[:1] if copy.offer and not _PRICE.match(copy.headline) else ():
        signs.append(
            Doubt(
                "prices",
                f"“{price.group().strip()}”이(가) 다른 가격과 떨어져 있습니다.",
                f"“{price.group().strip()}” is parted from the other price.",
            )
        )
    for _, said in copy.roles():
        said = _SMILE.sub("", said)
        if said.count("(") != said.count(")") or said.count("“") != said.count("”"):
            signs.append(_fragment(said))
    return signs


def _astray(part: str) -> Doubt:
    return Doubt(
        "joined",
        f"“{_short(part)}”은(는) 원문에서 이어진 말이 아닙니다.",
        f"The words of “{_short(part)}” do not follow each other in the copy.",
    )


def _cut_told(before: _Piece, after: _Piece) -> Doubt:
    a, b = _end(before.text), _short(after.text)
    return Doubt(
        "cut",
        f"“{a}”와(과) “{b}”은(는) 원문에서 이어진 말인데 나뉘었습니다.",
        f"“{a}” and “{b}” are parted, though the copy has them in one.",
    )


def _fragment(text: str) -> Doubt:
    return Doubt(
        "fragment", f"“{_short(text)}”이(가) 말 중간에서 끝납니다.", f"“{_short(text)}” ends in the middle of a phrase."
    )


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else f"{flat[: _SHOWN - 1]}…"


def _end(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else f"…{flat[1 - _SHOWN :]}"
