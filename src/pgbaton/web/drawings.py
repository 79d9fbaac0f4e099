"""What the charts show, taken from what was read."""

from __future__ import annotations

from datetime import datetime

from markupsafe import Markup

from pgbaton.insights import JobDetail, Overview, Segment
from pgbaton.web.charts import Bar, Lane, gantt, sparkline
from pgbaton.web.messages import duration, text
from pgbaton.web.site import View

MOST_LANES = 40
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
