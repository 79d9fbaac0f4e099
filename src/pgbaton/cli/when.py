"""Times and durations as the command shows them, in the operator's time zone (``TZ``, or the machine's)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgbaton.events import Language


def local(at: datetime) -> str:
    """``2026-11-28 21:03:10``, in the operator's time zone."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def zone() -> str:
    """The name of the operator's time zone: ``KST``."""
    return datetime.now().astimezone().tzname() or "UTC"


def short(seconds: float, language: Language = "en") -> str:
    """``0.3s``, ``93s``, ``12m``, ``5h``, ``4d``: as :func:`pgbaton.times.duration` reads it again."""
    korean = language == "ko"
    for length, unit, word in ((86400, "d", "일"), (3600, "h", "시간"), (60, "m", "분")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{word if korean else unit}"
    shown = f"{seconds:.1f}" if 0 <= seconds < 10 else f"{max(seconds, 0):.0f}"
    return shown + ("초" if korean else "s")
