"""From single checks to a verdict: every check must pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from adstudio.vision.shapes import Check, Verdict

JUDGE: Final = "measured checks"
"""Who judged: nobody looked at the picture, it was measured."""


def conclude(checks: Iterable[Check], *notes: str) -> Verdict:
    """The verdict of ``checks``: passed when all did; the reasons are the failures', then ``notes``."""
    checks = tuple(checks)
    failures = tuple(check.reason for check in checks if not check.passed)
    return Verdict(passed=not failures, judge=JUDGE, reasons=failures + notes, checks=checks)
