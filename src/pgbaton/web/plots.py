"""Small plots over time, as inline SVG: bars, a bin each, with a title that the pointer shows; the page has the same as
a table. Only numbers draw; every text in it is escaped by :class:`Markup`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from pgbaton.insights import Bin, Mark, Trend
from pgbaton.web.context import View
from pgbaton.web.messages import duration, text

WIDTH, HEIGHT = 600.0, 72.0
"""Units of the drawing, which the page scales to its width."""


@dataclass(frozen=True, slots=True)
class Plot:
    """``top``: the value of the highest bar, in words."""

    svg: Markup
    top: str


def calls(view: View, trend: Trend, marks: Sequence[Mark] = ()) -> Plot:
    """Completed, and on top of them those that died. ``marks``: drawn as lines, where they lie in the span."""

    def said(one: Bin) -> str:
        return text(view.language, "trends.calls", done=f"{one.completed:,}", dead=f"{one.dead:,}")

    stacks = [(("ok", float(one.completed)), ("bad", float(one.dead))) for one in trend.bins]
    most = max((one.completed + one.dead for one in trend.bins), default=0)
    return Plot(
        _bars(trend.bins, stacks, said, _label(view, trend, "trends.of_calls"), _lines(view, trend, marks)), f"{most:,}"
    )


def waits(view: View, trend: Trend, marks: Sequence[Mark] = ()) -> Plot:
    """From due to called: the median, and on top of it the 95th percentile."""
    return _quantiles(view, trend, "wait", marks)


def works(view: View, trend: Trend, marks: Sequence[Mark] = ()) -> Plot:
    """From called to completed."""
    return _quantiles(view, trend, "work", marks)


def said_of(view: View, mark: Mark) -> str:
    """The change, in words."""
    return text(view.language, f"trends.mark.{mark.what}", was=mark.was, now=mark.is_now)


def _quantiles(view: View, trend: Trend, which: str, marks: Sequence[Mark]) -> Plot:
    def of(one: Bin) -> tuple[float | None, float | None]:
        seen = one.wait if which == "wait" else one.work
        return seen.p50, seen.p95

    def said(one: Bin) -> str:
        p50, p95 = of(one)
        return f"p50 {duration(view.language, p50)}, p95 {duration(view.language, p95)}"

    stacks = [(("mid", p50 or 0.0), ("far", (p95 or 0.0) - (p50 or 0.0))) for p50, p95 in map(of, trend.bins)]
    most = max((of(one)[1] or 0.0 for one in trend.bins), default=0.0)
    label = _label(view, trend, f"trends.of_{which}")
    return Plot(
        _bars(trend.bins, stacks, said, label, _lines(view, trend, marks)),
        duration(view.language, most) if most else "–",
    )


def _label(view: View, trend: Trend, key: str) -> str:
    return text(view.language, key, name=trend.name)


def _lines(view: View, trend: Trend, marks: Sequence[Mark]) -> Markup:
    begins = [one.at for one in trend.bins]
    if len(begins) < 2:
        return Markup()
    step = (begins[1] - begins[0]).total_seconds()
    parts = []
    for mark in marks:
        at = (mark.at - begins[0]).total_seconds() / (step * len(begins))
        if 0 <= at <= 1:
            parts.append(
                Markup(
                    '<g><title>{0}: {1}</title><line class="mark" x1="{2:.1f}" x2="{2:.1f}" y1="0" y2="{3}"/></g>'
                ).format(_spelled(mark.at), said_of(view, mark)[:300], at * WIDTH, HEIGHT)
            )
    return Markup("").join(parts)


def _bars(
    bins: Sequence[Bin],
    stacks: Sequence[Sequence[tuple[str, float]]],
    said: Callable[[Bin], str],
    label: str,
    lines: Markup,
) -> Markup:
    top = max((sum(value for _, value in stack) for stack in stacks), default=0.0) or 1.0
    width = WIDTH / max(len(bins), 1)
    parts = []
    for i, (one, stack) in enumerate(zip(bins, stacks, strict=True)):
        x, y, drawn = i * width, HEIGHT, []
        for kind, value in stack:
            if value > 0:
                height = max(1.5, value / top * (HEIGHT - 4))
                y -= height
                drawn.append(
                    Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                        kind, x + 0.75, max(y, 0), max(width - 1.5, 1), height
                    )
                )
        parts.append(
            Markup(
                '<g><title>{}: {}</title><rect class="hit" x="{:.1f}" y="0" width="{:.1f}" height="{}"/>{}</g>'
            ).format(_spelled(one.at), said(one), x, width, HEIGHT, Markup("").join(drawn))
        )
    return Markup(
        '<svg class="chart plot" viewBox="0 0 {:.0f} {:.0f}" preserveAspectRatio="none" height="{:.0f}" role="img" '
        'aria-label="{}"><line class="base" x1="0" y1="{}" x2="600" y2="{}"/>{}{}</svg>'
    ).format(WIDTH, HEIGHT + 1, HEIGHT + 1, label, HEIGHT + 0.5, HEIGHT + 0.5, Markup("").join(parts), lines)


def _spelled(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
