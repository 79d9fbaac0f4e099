"""Values in a sentence of two languages: durations and counts as people read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from pgbaton.counted import filled
from pgbaton.events import Language
from pgbaton.insights.listing import CAP, shown_count

Value = str | int | float | None
Timed = Value | datetime
Sentence = tuple[str, str]
"""In Korean and in English, with ``{name}`` where a value goes."""

_SECONDS = frozenset({"seconds", "since", "silent", "oldest", "work", "usual", "timeout", "age", "apart"})
_COUNTS = frozenset({"before", "count", "waiting", "running"})


Clock = Callable[[datetime], str]
"""Spells a time."""


def local_clock(at: datetime) -> str:
    """``09:12``, with its day where that is not today, in the time zone of this process."""
    here, now = at.astimezone(), datetime.now().astimezone()
    day = "" if here.date() == now.date() else f"{here:%m-%d} " if here.year == now.year else f"{here:%Y-%m-%d} "
    return f"{day}{here:%H:%M}"


def worded(sentence: Sentence, values: Mapping[str, Timed], language: Language) -> str:
    """The sentence with its values. They may hold text of others' making: escape the whole where that matters."""
    return filled(sentence[0 if language == "ko" else 1], words_of(values, language))


def words_of(values: Mapping[str, Timed], language: Language, clock: Clock = local_clock) -> dict[str, str]:
    """The values as a sentence spells them."""
    return {
        name: clock(value) if isinstance(value, datetime) else _word(name, value, language)
        for name, value in values.items()
    }


def _word(name: str, value: str | float | None, language: Language) -> str:
    if name == "about":  # what may be known, behind the rest of the sentence
        said = "" if value is None else in_words(float(value), language)
        return said and (f". 약 {said} 뒤에 호출됩니다" if language == "ko" else f"; called in about {said}")
    if name == "configured":
        said = "" if value is None else str(value)
        return said and (f"(설정값 {said}건)" if language == "ko" else f", {said} configured")
    if name == "users" and language == "ko" and value is not None:  # they come as "2 of cut, 1 of glue"
        return ", ".join(" ".join(reversed(part.split(" of ", 1))) for part in str(value).split(", "))
    if name in _SECONDS:
        return in_words(float(value or 0), language)
    if value is None:
        return "없음" if language == "ko" else "nothing"
    if name in _COUNTS and isinstance(value, int):
        return shown_count(min(value, CAP + 1))
    return str(value)


def in_words(seconds: float, language: Language) -> str:
    """``4 s``, ``12 min``, ``3 h``."""
    for length, unit, korean in ((86400, "d", "일"), (3600, "h", "시간"), (60, "min", "분")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{korean}" if language == "ko" else f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f}초" if language == "ko" else f"{max(seconds, 0):.0f} s"
