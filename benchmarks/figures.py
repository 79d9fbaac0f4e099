"""Medians, spreads, percentiles, ratios. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Spread:
    """The median of several rounds, and the least and the most."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median(values), min(values), max(values))

    @property
    def percent(self) -> float:
        """Half of the way from the least to the most, in percent of the median."""
        return 0.0 if self.median == 0 else 50 * (self.high - self.low) / self.median


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this ``share`` (0 to 1) of all are not above."""
    ordered = sorted(values)
    at = max(0, -int(-share * len(ordered) // 1) - 1)
    return ordered[min(at, len(ordered) - 1)]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' ratios: two figures of one round were measured seconds apart, under one weather.

    Who dropped out has no figures for the last rounds: those are left out.
    """
    return median(a / b for a, b in zip(ours, theirs, strict=False))
