"""Every text of the page, in Korean and in English."""

from __future__ import annotations

from pgbaton.counted import filled
from pgbaton.events import Language
from pgbaton.web.messages.acts import ACTS
from pgbaton.web.messages.screens import SCREENS

LANGUAGES: dict[Language, str] = {"ko": "한국어", "en": "English"}
MESSAGES = SCREENS | ACTS
"""Each in Korean and in English."""


def text(language: Language, key: str, **values: object) -> str:
    """The message, with its values put in. Raises ``KeyError`` for an unknown key."""
    korean, english = MESSAGES[key]
    message = korean if language == "ko" else english
    return filled(message, values) if values else message


def preferred(accepted: str, default: Language = "en") -> Language:
    """The language of an ``Accept-Language`` header that comes first among ours."""
    best: tuple[float, Language] | None = None
    for part in accepted[:500].split(","):
        name, _, rest = part.strip().partition(";")
        try:
            weight = float(rest.strip().removeprefix("q=")) if rest else 1.0
        except ValueError:
            continue
        for language in LANGUAGES:
            if name.lower().split("-")[0] == language and weight > 0 and (best is None or weight > best[0]):
                best = (weight, language)
    return best[1] if best else default


def duration(language: Language, seconds: float | None) -> str:
    """``320 ms``, ``4.2 s``, ``12 min``: two figures at a glance."""
    if seconds is None:
        return MESSAGES["none"][0]
    for unit, length, until, digits in (
        ("ms", 0.001, 0.9995, 0),
        ("s", 1, 9.95, 1),
        ("s", 1, 119.5, 0),
        ("min", 60, 7170, 0),
        ("h", 3600, 172800, 0),
        ("d", 86400, float("inf"), 0),
    ):
        if seconds < until:
            return text(language, f"unit.{unit}", n=f"{max(seconds, 0) / length:.{digits}f}")
    raise AssertionError(seconds)
