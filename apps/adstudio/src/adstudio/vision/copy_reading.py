"""One string read as an ad: by roles where that is sure, otherwise as a headline and running text.

A misread role spoils every format of an ad, and running text spoils none: so a parting that shows a sign of doubt
gives way to the author's own words in the author's own order.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final

from adstudio.vision.ad_copy import AdCopy, copy_of_fields
from adstudio.vision.copy_patterns import LEGAL, offers
from adstudio.vision.copy_roles import HEADLINE, STATEMENT, parted_copy, phrases, shortened
from adstudio.vision.copytext import has_hangul, tidy
from adstudio.vision.errors import CopyError
from adstudio.vision.parting import ENDED_KO, ENDINGS_KO, doubts

_MOST_LINES: Final = 3  # of running text that keep the author's breaks; more would be a ladder
_MOST_OFFERED: Final = 18  # characters of a price with what it is for
_SENTENCE: Final = re.compile(rf"(?:(?<=[.!?…])|(?<={ENDINGS_KO}))(?:\s*(?::\)|\^\^|ㅎㅎ|~))?\s+")


def read_copy(text: str) -> AdCopy:
    """The copy in ``text``, with the text as its ``original``. Raises ``CopyError`` for one that is empty, too long or
    cannot be drawn."""
    try:
        copy = parted_copy(text)
    except CopyError as error:  # two offers may be too long for one; running text takes them
        with suppress(CopyError):
            return plain_copy(text).model_copy(update={"original": text})
        raise error
    if signs := doubts(text, copy):
        with suppress(CopyError):  # too long for running text
            plain = plain_copy(text)
            if len(doubts(text, plain)) <= len(signs):
                copy = plain
    return copy.model_copy(update={"original": text})


def plain_copy(text: str) -> AdCopy:
    """The first sentence or line of ``text`` as the headline, the rest as running text. Raises ``CopyError``."""
    lines = tidy(text).split("\n")
    language = "ko" if has_hangul(text) else "en"
    legal = lines.pop() if len(lines) > 1 and LEGAL.match(lines[-1]) else None
    first, rest = lines[0], lines[1:]
    if len(first) > (HEADLINE if rest else STATEMENT)[language] or ENDED_KO.search(first):
        sentence, *others = _parted(first)
        if len(sentence) > STATEMENT[language] or not others:
            sentence, tail = shortened(first, language)
            others = [tail] if tail else []
        first, rest = sentence, [*others, *rest]
    if len(rest) == 1:
        rest = phrases(rest[0]) or rest
    offer = rest.pop() if rest and _is_offer(rest[-1]) else None
    sub = ("\n" if len(rest) <= _MOST_LINES else " ").join(rest)
    return copy_of_fields(headline=first, sub=sub, offer=offer, legal=legal)


def _is_offer(text: str) -> bool:
    """Whether ``text`` is a price with a few words before it: ``100장 25,000원``."""
    found = offers(text)
    return len(found) == 1 and found[0].end() == len(text) <= _MOST_OFFERED


def _parted(line: str) -> list[str]:
    """``line`` after its first sentence, whose signs (``:)``) stay with it."""
    end = _SENTENCE.search(line)
    return [line] if end is None else [line[: end.end()].strip(), line[end.end() :]]
