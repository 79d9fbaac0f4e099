"""From single checks to a verdict, told in the job's language: every check must pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from adstudio.vision.errors import Language
from adstudio.vision.shapes import Check, Verdict

JUDGE: Final = "measured checks"
"""The judge's name where no model looked at the picture: it was measured."""

NOTE: Final[dict[Language, str]] = {
    "ko": "픽셀만 측정했습니다. 취향, 그리고 사진과 카피가 서로 어울리는지는 판단하지 못합니다.",
    "en": "Only the pixels were measured: taste, and whether photo and copy suit each other, cannot be.",
}


def check(
    name: str, value: float, limit: float, unit: str, language: Language, ko: str, en: str, *, passed: bool
) -> Check:
    """A check with its reason in ``language``."""
    return Check(name, passed, round(float(value), 4), limit, unit, ko if language == "ko" else en)


def conclude(checks: Iterable[Check], language: Language) -> Verdict:
    """The verdict of ``checks``: passed when all did; the reasons are the failures', then those of checks that were not
    made."""
    checks = tuple(checks)
    failures = tuple(check.reason for check in checks if not check.passed)
    return Verdict(passed=not failures, judge=JUDGE, reasons=(*failures, NOTE[language]), checks=checks)
