"""A moment as a person writes it: so long ago, or a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from pgbaton.errors import ConfigError

Moment = datetime | float
"""A time, or how many seconds ago by the database's clock."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGO = re.compile(r"(\d{1,9})([smhdw]?)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?", re.ASCII)
LONGEST_AGO = 10**9
"""Seconds, about 31 years: beyond it a time is a slip of the hand."""


def moment_of(text: str) -> Moment:
    """``10m``, ``2h``, ``7d``, ``90`` (seconds) ago; or ``2026-11-28``, ``2026-11-28 03:00``, with a zone behind it
    (``+09:00``, ``Z``) or in UTC. Raises :class:`ConfigError` on anything else."""
    given = text.strip()
    if found := _AGO.fullmatch(given):
        seconds = int(found[1]) * _UNITS[found[2] or "s"]
        if seconds < LONGEST_AGO:
            return float(seconds)
    elif _DATE.fullmatch(given):
        try:
            at = datetime.fromisoformat(given)
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            at.astimezone(UTC)  # the first and the last day of the calendar have no such time
        except (ValueError, OverflowError):
            pass
        else:
            return at
    raise ConfigError(f"{text!r} is no time: write 10m, 2h, 7d, or 2026-11-28 03:00 (UTC, or with +09:00 behind it)")


def at_or_ago(moment: Moment | None) -> tuple[datetime | None, float | None]:
    """The two parameters of a statement that a moment is given in: a time, or so many seconds ago."""
    return (moment, None) if isinstance(moment, datetime) else (None, moment)
