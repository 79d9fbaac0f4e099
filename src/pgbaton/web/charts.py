"""The charts of the first page and of a job, as inline SVG. Only numbers are drawn as shapes; every text is escaped by
:class:`Markup`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from pgbaton.insights import JobDetail, Overview, Segment
from pgbaton.web.context import View
from pgbaton.web.messages import duration, text

MOST_LANES = 40
"""Dispatches in a job's timeline, the newest."""
OUTCOMES = {
    "completed": "completed",
    "failed": "failed",
    "rejected": "failed",
    "breach": "failed",
    "timeout": "failed",
    "lost": "failed",
}


def last_hour(view: View, seen: Overview) -> Markup:
    """Done and dead by minute."""
    done, dead = sum(m.completed for m in seen.minutes), sum(m.failed for m in seen.minutes)
    title = text(view.language, "last_hour.chart", done=done, dead=dead)
    return sparkline([(m.completed, m.failed) for m in seen.minutes], title)


def timeline(view: View, job: JobDetail) -> Markup | None:
    """A lane for each dispatch, the newest that fit."""
    shown = [d for d in job.dispatches if d.timeline][-MOST_LANES:]
    if not shown:
        return None
    begin = min(segment.start for d in shown for segment in d.timeline)
    lanes = [Lane(d.stage, tuple(_bar(view, segment, begin) for segment in d.timeline)) for d in shown]
    title = text(view.language, "job.timeline.alt", count=len(shown))
    return gantt(lanes, title, lambda seconds: duration(view.language, seconds) if seconds else "0")


def _bar(view: View, segment: Segment, begin: datetime) -> Bar:
    start, end = (segment.start - begin).total_seconds(), (segment.end - begin).total_seconds()
    kind: str = "waiting" if segment.kind == "parked" else segment.kind
    words = text(view.language, f"seg.{segment.kind}")
    if segment.kind == "running":
        if not segment.open:
            kind = OUTCOMES.get(segment.outcome or "", "other")
        key = f"outcome.{segment.outcome}"
        words = text(view.language, key) if segment.outcome in OUTCOMES else words
        words = f"{text(view.language, 'call.attempt')} {segment.attempt}: {words}"
    return Bar(kind, start, end, f"{words}, {duration(view.language, end - start)}")


SPARK_HEIGHT = 56.0
"""Pixels."""


def sparkline(points: Sequence[tuple[float, float]], title: str) -> Markup:
    """Bars, the oldest first: (well, badly) for each slice of time."""
    top = max((well + badly for well, badly in points), default=0) or 1
    width = 600 / max(len(points), 1)
    bars = []
    for i, (well, badly) in enumerate(points):
        x, y = i * width, SPARK_HEIGHT
        for kind, value in (("ok", well), ("bad", badly)):
            if value > 0:
                height = max(1.5, value / top * (SPARK_HEIGHT - 4))
                y -= height
                bars.append(
                    Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                        kind, x, y, max(width - 1.5, 1), height
                    )
                )
    return Markup(
        '<svg class="chart spark" viewBox="0 0 600 57" preserveAspectRatio="none" height="57" role="img">'
        '<title>{}</title><line class="base" x1="0" y1="56.5" x2="600" y2="56.5"/>{}</svg>'
    ).format(title, Markup("").join(bars))


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of a lane, in seconds since the chart's beginning. ``kind``: a class of the style sheet."""

    kind: str
    start: float
    end: float
    title: str


@dataclass(frozen=True, slots=True)
class Lane:
    name: str
    bars: tuple[Bar, ...]


TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200)
LANE, TOP = 34, 26
"""Height of a lane and of the axis in pixels, as the style sheet has them for the names beside."""


def gantt(lanes: Sequence[Lane], title: str, spell: Callable[[float], str]) -> Markup:
    """Lanes below each other on one axis of time. ``spell``: seconds to text. Widths are in percent, so that the
    text keeps its size on any screen."""
    length = max((bar.end for lane in lanes for bar in lane.bars), default=0) or 1
    tick = next((t for t in TICKS if length / t <= 6), 86400 * max(1, round(length / 6 / 86400)))
    scale = 100 / length
    height = TOP + LANE * len(lanes)
    parts = []
    at = 0.0
    while at <= length * 1.0001:
        x = at * scale
        parts.append(
            Markup(
                '<line class="grid" x1="{0:.2f}%" x2="{0:.2f}%" y1="{1}" y2="{2}"/>'
                '<text x="{0:.2f}%" y="14" text-anchor="middle">{3}</text>'
            ).format(x, TOP - 6, height, spell(at))
        )
        at += tick
    for i, lane in enumerate(lanes):
        y = TOP + i * LANE
        for bar in lane.bars:
            thin = bar.kind in ("waiting", "backoff")
            parts.append(
                Markup(
                    '<rect class="{}" x="{:.3f}%" y="{}" width="{:.3f}%" height="{}" rx="2"><title>{}</title></rect>'
                ).format(
                    bar.kind,
                    bar.start * scale,
                    y + (12 if thin else 7),
                    max((bar.end - bar.start) * scale, 0.25),
                    8 if thin else 18,
                    bar.title,
                )
            )
    names = Markup("").join(Markup("<li>{}</li>").format(shortened(lane.name, 40)) for lane in lanes)
    return Markup(
        '<div class="lanes"><ul aria-hidden="true">{}</ul>'
        '<svg class="chart gantt" height="{}" role="img" aria-label="{}"><title>{}</title>{}</svg></div>'
    ).format(names, height, title, title, Markup("").join(parts))


def shortened(text: str, most: int) -> str:
    """``text``, cut to ``most`` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
