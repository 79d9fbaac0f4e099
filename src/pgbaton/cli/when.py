"""Times and durations as operators type and read them, in their own time zone (``TZ``, or the machine's)."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgbaton.events import Language

_UNITS = {
    **dict.fromkeys(("s", "초"), 1),
    **dict.fromkeys(("m", "min", "분"), 60),
    **dict.fromkeys(("h", "시간"), 3600),
    **dict.fromkeys(("d", "일"), 86400),
    **dict.fromkeys(("w", "주"), 7 * 86400),
}
"""Seconds."""
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+|[가-힣]+)\s*")
_DAYS = {"today": 0, "오늘": 0, "yesterday": 1, "어제": 1}
LONGEST = 10**9
"""Seconds, about 31 years: nothing in a journal is older."""
Moment = datetime | float
"""A time, or how many seconds ago by the database's clock."""


def duration(text: str) -> float:
    """``600``, ``90s``, ``10m``, ``2h``, ``1h30m``, ``3d``, ``1w`` (and ``10분``, ``2시간``, ``3일``) in seconds.

    Raises :class:`ValueError` with a sentence."""
    wanted = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", wanted):
        seconds = float(wanted)
    else:
        parts = list(_PART.finditer(wanted))
        if not parts or "".join(p[0] for p in parts) != wanted or any(p[2] not in _UNITS for p in parts):
            raise ValueError(f"{text!r} is no duration: 90s, 10m, 2h, 3d, 1w, 1h30m, or seconds")
        seconds = sum(float(p[1]) * _UNITS[p[2]] for p in parts)
    if seconds >= LONGEST:
        raise ValueError(f"{text!r} is longer than 31 years")
    return seconds


def moment(text: str, now: datetime | None = None) -> Moment:
    """A time: ``10m`` (so long ago), ``03:00`` (the latest that is over), ``today``, ``yesterday`` (their beginnings),
    ``2026-11-28``, ``2026-11-28 03:00``, with ``Z`` or ``+09:00`` where another zone is meant.

    Raises :class:`ValueError` with a sentence."""
    now = (now or datetime.now()).astimezone()
    wanted = text.strip().lower()
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", wanted):
            clock = time.fromisoformat(wanted if wanted.index(":") == 2 else f"0{wanted}")
            today = datetime.combine(now.date(), clock).astimezone()
            return today if today <= now else datetime.combine(now.date() - timedelta(days=1), clock).astimezone()
        if re.match(r"\d{4}-\d{2}-\d{2}", wanted):
            return datetime.fromisoformat(wanted.upper()).astimezone()
        if wanted in _DAYS:
            return datetime.combine(now.date() - timedelta(days=_DAYS[wanted]), time()).astimezone()
        return duration(wanted)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time: 10m, 2h, 3d (ago), 03:00, today, yesterday, 2026-11-28, 2026-11-28 03:00"
        ) from None


def local(at: datetime) -> str:
    """``2026-11-28 21:03:10``, in the operator's time zone."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def zone() -> str:
    """The name of the operator's time zone: ``KST``."""
    return datetime.now().astimezone().tzname() or "UTC"


def short(seconds: float, language: Language = "en") -> str:
    """``0.3s``, ``93s``, ``12m``, ``5h``, ``4d``: as :func:`duration` reads it again."""
    korean = language == "ko"
    for length, unit, word in ((86400, "d", "일"), (3600, "h", "시간"), (60, "m", "분")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{word if korean else unit}"
    shown = f"{seconds:.1f}" if 0 <= seconds < 10 else f"{max(seconds, 0):.0f}"
    return shown + ("초" if korean else "s")
