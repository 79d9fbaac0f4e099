"""Times and durations as people write them: in a pipeline's file, on the command line and on the page. No I/O."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta, tzinfo

_UNITS = {
    "ms": 0.001,
    **dict.fromkeys(("s", "초"), 1),
    **dict.fromkeys(("m", "min", "분"), 60),
    **dict.fromkeys(("h", "시간"), 3600),
    **dict.fromkeys(("d", "일"), 86400),
    **dict.fromkeys(("w", "주"), 7 * 86400),
}
"""Seconds."""
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+|[가-힣]+)\s*", re.ASCII)
_SECONDS = re.compile(r"\d+(\.\d+)?", re.ASCII)
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([t ]\d{2}:\d{2}.*)?", re.ASCII)
_DAYS = {"today": 0, "오늘": 0, "yesterday": 1, "어제": 1}
LONGEST = 10**9
"""Seconds, about 31 years: nothing in a journal is older."""
Moment = datetime | float
"""A time, or how many seconds ago by the database's clock."""


def duration(text: str) -> float:
    """``600``, ``200ms``, ``90s``, ``10m``, ``2h``, ``1h30m``, ``3d``, ``1w`` (and ``10분``, ``2시간``, ``3일``) in
    seconds.

    Raises :class:`ValueError` with a sentence."""
    wanted = text.strip().lower()
    if _SECONDS.fullmatch(wanted):
        seconds = float(wanted)
    else:
        parts = list(_PART.finditer(wanted))
        if not parts or "".join(p[0] for p in parts) != wanted or any(p[2] not in _UNITS for p in parts):
            raise ValueError(f"{text!r} is no duration: 90s, 10m, 2h, 3d, 1w, 1h30m, or seconds")
        seconds = sum(float(p[1]) * _UNITS[p[2]] for p in parts)
    if seconds >= LONGEST:
        raise ValueError(f"{text!r} is longer than 31 years")
    return seconds


def moment(text: str, now: datetime | None = None, zone: tzinfo | None = None) -> Moment:
    """A time: ``10m`` (so long ago), ``03:00`` (the latest that is over), ``today``, ``yesterday`` (their beginnings),
    ``2026-11-28``, ``2026-11-28 03:00``, with ``Z`` or ``+09:00`` where another zone than ``zone`` is meant (None: the
    machine's, or that of ``TZ``).

    Raises :class:`ValueError` with a sentence."""

    def here(naive: datetime) -> datetime:
        return naive.replace(tzinfo=zone) if zone else naive.astimezone()

    now = (now or datetime.now().astimezone()).astimezone(zone)
    wanted = text.strip().lower()
    try:
        if _CLOCK.fullmatch(wanted):
            clock = time.fromisoformat(wanted if wanted.index(":") == 2 else f"0{wanted}")
            today = here(datetime.combine(now.date(), clock))
            return today if today <= now else here(datetime.combine(now.date() - timedelta(days=1), clock))
        if _DATE.fullmatch(wanted):
            at = datetime.fromisoformat(wanted.upper())
            return (at if at.tzinfo else here(at)).astimezone(zone)  # raises on the calendar's first and last day
        if wanted in _DAYS:
            return here(datetime.combine(now.date() - timedelta(days=_DAYS[wanted]), time()))
        return duration(wanted)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time: 10m, 2h, 3d (ago), 03:00, today, yesterday, 2026-11-28, 2026-11-28 03:00"
        ) from None
