"""From single checks to a verdict: every check must pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from adstudio.vision.shapes import Check, Verdict

JUDGE: Final = "measured checks"
"""Who judged: nobody looked at the picture, it was measured."""


NOTE: Final = "Only the pixels were measured: no vision model looked at the picture."


def conclude(checks: Iterable[Check]) -> Verdict:
    """The verdict of ``checks``: passed when all did; the reasons are the failures', then what was not looked at."""
    checks = tuple(checks)
    failures = tuple(check.reason for check in checks if not check.passed)
    return Verdict(passed=not failures, judge=JUDGE, reasons=(*failures, NOTE), checks=checks)
