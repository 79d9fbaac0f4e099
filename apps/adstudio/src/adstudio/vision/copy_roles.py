"""One string read as an ad: which part is the headline, the offer, the call to action.

Line breaks are the author's word for it. Where there are none, a sentence's end, a comma, a dash or an emoji parts
it. Prices and percents are the offer, a known invitation or an address is the call to action.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from adstudio.vision.ad_copy import OFFERS_JOINT, AdCopy, copy_of_fields
from adstudio.vision.bonds import CLOSED, PARTED, PRICE, bond
from adstudio.vision.copy_patterns import (
    ADDRESS,
    DATED,
    DIVIDER,
    EDGES,
    LEGAL,
    TAG,
    call_in,
    is_call_line,
    lead_of,
    leading_brand,
    offers,
    whole_offer,
)
from adstudio.vision.copytext import has_hangul, tidy
from adstudio.vision.emoji import clusters, is_emoji
from adstudio.vision.errors import CopyError

MOST_CHARACTERS: Final = 240
"""Of a copy in one string; more is a text, not an ad."""

_WHOLE: Final = {"ko": 13, "en": 24}  # characters: a phrase this short is one headline, whatever commas it has
HEADLINE: Final = {"ko": 26, "en": 44}
"""Characters: a longer part is a sentence, not a headline,"""

STATEMENT: Final = {"ko": 30, "en": 64}
"""unless it is all there is: half a sentence is worse than a long headline."""

_UNPARTED: Final = {"ko": 30, "en": 64}  # characters up to which a copy that nothing parts is set whole
_MOST_PHRASES, _LEAST_PHRASE = 3, 4  # lines of a sub line, and the characters of each, that phrases make
_SLOGAN_LINE: Final = {"ko": 9, "en": 16}  # two lines this short are one slogan
_IDEAL: Final = {"ko": 12, "en": 22}  # where a headline had best end


_COMMA: Final = re.compile(r"(?<=,)\s+")
_SENTENCES: Final = re.compile(r"(?<=[.!?…])\s+")
_ENDS_INSIDE: Final = re.compile(r"[.!?…]\s+\S")
_PLUS: Final = {"+", "&"}
_ARROWS: Final = {"→", "->", "▶", "⇒", "➜", "➡", "➡️"}


@dataclass
class _Found:
    offers: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    legal: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def parted_copy(text: str) -> AdCopy:
    """The roles of ``text``, by rules. Raises ``CopyError`` for one that is empty, too long or cannot be drawn."""
    tidied = tidy(text)
    if len(tidied) > MOST_CHARACTERS:
        raise CopyError(
            f"카피가 너무 깁니다: {len(tidied)}자이며 {MOST_CHARACTERS}자까지 넣을 수 있습니다.",
            f"The copy is too long: it has {len(tidied)} characters, at most {MOST_CHARACTERS} can be set.",
        )
    language = "ko" if has_hangul(tidied) else "en"
    found = _Found()
    parts = _take_apart(tidied, language, found)
    if not parts:  # something has to be the headline
        taken = (found.notes, found.offers, found.calls, found.addresses, found.legal)
        source = next((one for one in taken if one), [""])
        parts = [source.pop(0)]
    brand, parts = leading_brand(parts)
    headline, rest = _headline(parts, language, bool(found.offers))
    return copy_of_fields(
        headline=headline,
        sub=_joined([*rest, *found.addresses], language).rstrip("," if found.offers else ""),
        offer=OFFERS_JOINT.join(found.offers),
        note=_joined(found.notes, language),
        cta=" ".join(found.calls),
        brand=brand,
        legal=" ".join(found.legal),
    )


def _take_apart(text: str, language: str, found: _Found) -> list[str]:
    """The rest of the text, in parts, in order, when offer, call and legal line have been taken out."""
    lines = text.split("\n")
    parts: list[str] = []
    for number, line in enumerate(lines):
        if LEGAL.match(line) and len(lines) > 1:
            found.legal.append(line)
            continue
        if number and number == len(lines) - 1 and is_call_line(line):
            found.calls.append(line)
            continue
        ends = _ENDS_INSIDE.search(line) and (offers(line) or len(line) > 2 * _SLOGAN_LINE[language])
        own = len(lines) > 1 and not (ends or (offers(line) and _emoji_inside(line)))
        pieces = [line] if own else _divided(line, language)
        for piece in pieces:
            inside = language == "en" and piece is not pieces[-1]  # ``Carry less. See more.``, and the sentence goes on
            parts += _without_call_and_offer(piece, found, below=bool(parts), calls=not inside)
    return parts


def _divided(line: str, language: str) -> list[str]:
    """A single line at the dividers that part a headline from the rest; short ones stay whole."""
    strong = [match.span() for match in DIVIDER.finditer(line)] + _emoji_inside(line)
    ends = [match.span() for match in re.finditer(r"(?<=[.!?…])\s+", line)]
    weak = ends if language == "en" and ends else [match.span() for match in re.finditer(r"(?<=[,.!?…])\s+", line)]
    if len(line) <= _WHOLE[language] and not offers(line):
        return [line]
    for cuts in (strong, weak):
        inner = [(a, b) for a, b in cuts if len(line[:a].strip()) >= 3 and len(line[b:].strip()) >= 3]
        if inner:
            a, b = min(inner, key=lambda cut: abs(cut[0] - min(_IDEAL[language], 0.45 * len(line))))
            head, rest = line[:a].strip(), line[b:].strip()
            return [head, *(_divided(rest, language) if cuts is strong else [rest])]
    return [line]


def _emoji_inside(line: str) -> list[tuple[int, int]]:
    """After each emoji that stands between words: authors use them as full stops."""
    spans, at = [], 0
    pieces = clusters(line)
    for i, piece in enumerate(pieces):
        at += len(piece)
        if is_emoji(piece) and i + 1 < len(pieces) and not is_emoji(pieces[i + 1]) and pieces[i + 1] == " ":
            spans.append((at, at + 1))
    return spans


def _without_call_and_offer(part: str, found: _Found, *, below: bool, calls: bool) -> list[str]:
    """``part`` less its offer and call, and less what follows the offer, which is a note. ``below``: there is a
    headline above it. ``calls``: it may hold a call."""
    if match := ADDRESS.search(part):
        found.addresses.append(match.group().strip(" ▶→"))
        part = f"{part[: match.start()]} {part[match.end() :]}"
    if calls and (match := call_in(part)):
        found.calls.append(match.group().strip(" ▶→>·|"))
        part = f"{part[: match.start()]}\n{part[match.end() :]}"
    fragments: list[tuple[str, bool]] = []  # each with whether an offer stands before it
    earlier = len(found.offers)
    for piece in part.split("\n"):
        at = 0
        stated = offers(piece)
        if earlier and _conditional(piece, stated):
            stated = []  # a second offer keeps the words on which it depends
        for match in stated:
            start, end = whole_offer(piece, match)
            if end <= at:
                continue
            start = max(at, lead_of(piece, start, end) if below else start)
            between = piece[at:start]
            sign = between.strip() if at else ""  # from one price to another, or both: the arrow or plus says so
            joins = sign in _ARROWS or sign in _PLUS
            if at and not joins and _says(between):
                break  # a second offer keeps its own words: ``월 29,900원, 설치비 0원``
            fragments += [(one, bool(found.offers)) for one in ([""] if joins else _from_last_sentence(between))]
            while piece[end : end + 1] in ("!", "?"):
                end += 1
            if joins:
                found.offers[-1] += f" {'→' if sign in _ARROWS else sign} {piece[start:end].strip()}"
            else:
                found.offers.append(piece[start:end].strip())
            at = end
        fragments.append((piece[at:], bool(found.offers)))
    whole = len(fragments) == 1  # nothing came out of it, so nothing dangles at its edges
    kept: list[str] = []
    for raw, follows in fragments:
        fragment = " ".join(raw.split()) if whole else _trimmed(" ".join(raw.split()))
        if fragment and _says(fragment) and follows:
            found.notes.append(fragment)
        elif fragment and not _says(fragment) and kept:  # an emoji that stood after the price
            kept[-1] = f"{kept[-1]} {fragment}"
        elif len(found.offers) > earlier and not _says(fragment) and not _only_signs(fragment):
            found.offers[-1] = f"{found.offers[-1]} {fragment}"
        elif fragment and not _only_signs(fragment):
            kept.append(fragment)
    return kept


def _from_last_sentence(text: str) -> list[str]:
    """``text`` parted before its last sentence, of which an offer may be the end."""
    ends = list(_SENTENCES.finditer(text))
    return [text[: ends[-1].start()], text[ends[-1].end() :]] if ends else [text]


def _conditional(piece: str, stated: list[re.Match[str]]) -> bool:
    """Whether ``piece`` says more than its offers: ``11월 계약 시 10% 할인``."""
    rest = piece
    for match in stated:
        rest = rest.replace(match.group(), " ", 1)
    return bool(stated) and _says(rest)


def _trimmed(fragment: str) -> str:
    """Without the signs that only joined it; the ``~`` of ``~12.20`` says something."""
    bare = fragment.strip(EDGES).lstrip(".!?)")
    return f"~{bare}" if bare[:1].isdigit() and f"~{bare}" in fragment else bare


def _says(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _only_signs(text: str) -> bool:
    return not _says(text) and not any(is_emoji(one) for one in clusters(text))


def _headline(parts: list[str], language: str, has_offer: bool) -> tuple[str, list[str]]:
    short = _SLOGAN_LINE[language]
    if len(parts) == 2 and not has_offer and max(map(len, parts)) <= short:
        return "\n".join(parts), []
    if not parts:
        return "", []
    first, rest = parts[0], parts[1:]
    most = HEADLINE if rest or has_offer else STATEMENT
    if len(first) > most[language] or ((match := DATED.search(first)) and match.start() >= 4):
        first, tail = shortened(first, language)
        rest = [tail, *rest] if tail else rest
    if len(rest) > 0 and TAG.fullmatch(first) and not TAG.fullmatch(rest[0]):
        first, rest = rest[0], [first, *rest[1:]]  # a hashtag is no headline where there are words
    return (first.rstrip(",") if rest or has_offer else first), rest


def shortened(text: str, language: str) -> tuple[str, str]:
    """A sentence as a headline and the rest: at its date, a dash, its end or a comma, or else near the ideal length
    where a sign parts two words; whole where none does."""
    if (match := DATED.search(text)) and match.start() >= 4:
        return text[: match.start()].strip(EDGES), text[match.start() :].strip()
    for sign in (DIVIDER, _SENTENCES, _COMMA):
        inner = [one.span() for one in sign.finditer(text) if one.start() >= 3 and len(text) - one.end() >= 3]
        if inner:
            a, b = min(inner, key=lambda cut: abs(cut[0] - _IDEAL[language]))
            return text[:a].strip(EDGES), text[b:].strip()
    words = text.split(" ")
    cuts = [(bond(*words[i - 1 : i + 1]), len(" ".join(words[:i])), i) for i in range(1, len(words))]
    sure = [one for one in cuts if one[0] <= PARTED and one[1] >= 3 and not PRICE.fullmatch(words[one[2]])]
    cuts = sure or (cuts if len(text) > _UNPARTED[language] else [])
    if not cuts:
        return text, ""
    _, _, cut = min(cuts, key=lambda one: abs(one[1] - _IDEAL[language]) * 0.35 + 3 * one[0])
    return " ".join(words[:cut]), " ".join(words[cut:])


def _joined(parts: list[str], language: str) -> str:
    """The rest as one sub line; parts that were lines of their own stay so where all are short, and a few phrases that
    nothing but a space parts (``바비큐 포함 11월 한정``) get lines of their own."""
    if len(parts) == 1:
        parts = phrases(parts[0]) or parts
    if len(parts) > 1 and all(len(part) <= 2 * _IDEAL[language] for part in parts):
        return "\n".join(parts)
    return " ".join(parts)


def phrases(text: str) -> list[str]:
    """``text`` by its closed phrases; nothing where that is one, or many."""
    found = [""]
    words = text.split(" ")
    for word, after in pairwise([*words, ""]):
        found[-1] = f"{found[-1]} {word}".strip()
        if after and CLOSED.match(word.rstrip(".!?")) and bond(word, after) <= PARTED:
            found.append("")
    return found if 1 < len(found) <= _MOST_PHRASES and min(map(len, found)) >= _LEAST_PHRASE else []
