"""Sentences that do not flap: a finding is held until it has been untrue for a while. Pure."""

from __future__ import annotations

from dataclasses import replace

from pgbaton.health.finding import Finding, Health, worst_first

HOLD = 5.0
"""Seconds that a finding must have been untrue before it is gone: a stage that answers every other call is not well."""
HELD = frozenset(
    {
        "circuit_open",
        "retrying",
        "not_now",
        "full",
        "behind",
        "slower",
        "workers_differ",
        "trigger_missing",
        "trigger_disabled",
        "locked",
        "stage_unknown",
        "late_worker",
        "lost_worker",
    }
)
"""Codes that come and go by themselves. All others are said as they are: a trouble that a person has mended is gone at
once."""


class Steady:
    """The health of one pipeline as it was told before. One for each teller."""

    def __init__(self, hold: float = HOLD) -> None:
        self._hold = hold
        self._last: dict[tuple[str, str], tuple[Finding, float]] = {}

    def told(self, health: Health, now: float, *, acted: bool = False) -> Health:
        """``health``, with findings that were told less than a hold ago. ``now``: seconds of a clock that only goes
        forward. ``acted``: a person has just acted on it and wants to see the result, so no finding is held."""
        fresh = {(f.code, f.subject): f for f in health.findings}
        if acted:
            self._last.clear()
        self._last |= {key: (f, now) for key, f in fresh.items() if f.code in HELD}
        self._last = {key: (f, at) for key, (f, at) in self._last.items() if now - at < self._hold}
        held = [f for key, (f, _) in self._last.items() if key not in fresh]
        return replace(health, findings=tuple(worst_first([*health.findings, *held]))) if held else health
