"""The picture: hops a second, and CPU a hop, as bars. SVG by hand, for light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from statistics import median

from benchmarks.figures import Spread
from benchmarks.hops import Entry
from benchmarks.report.table import figure

LEFT, BAR, GAP, ROW = 250, 250, 70, 30
TOP = 74
WIDTH = LEFT + 2 * (BAR + GAP)
STYLE = """
    .panel { fill: #f6f8fa; stroke: #d0d7de }
    .ours { fill: #0969da } .theirs { fill: #8c959f } .limit { fill: #1a7f37 }
    .engine { fill: #bf8700 } .postgres { fill: #8250df } .reach { stroke: #1f2328; stroke-width: 1.5 }
    text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
    .name { text-anchor: end } .head { font-weight: 600 } .small { font-size: 12px; fill: #57606a }
    @media (prefers-color-scheme: dark) {
      .panel { fill: #161b22; stroke: #30363d }
      .ours { fill: #58a6ff } .theirs { fill: #6e7681 } .limit { fill: #3fb950 }
      .engine { fill: #d29922 } .postgres { fill: #a371f7 } .reach { stroke: #e6edf3 }
      text { fill: #e6edf3 } .small { fill: #9da7b3 }
    }
"""


def chart(entries: Sequence[Entry]) -> str:
    """Hops/s with the spread of the rounds to the left, engine's and Postgres' CPU a hop to the right; a bar that does
    not fit is cut off, its figure is not."""
    shown = sorted((entry for entry in entries if entry.runs), key=lambda entry: -median(entry.speeds))
    if not shown:
        return ""
    most = max(max(entry.speeds) for entry in shown)
    # The naive listener's CPU would make hairlines of all the others.
    dearest = max((median(entry.cpu) for entry in shown if entry.name != "naive"), default=1.0)
    height = TOP + ROW * len(shown) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' role="img" aria-labelledby="title text">',
        '<title id="title">pgbaton beside its peers</title>',
        f'<desc id="text">{escape(", ".join(f"{e.label}: {figure(median(e.speeds))} hops/s" for e in shown))}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="panel" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        f'<text class="head" x="{LEFT}" y="28">hops a second</text>',
        f'<text class="small" x="{LEFT}" y="47">median of the rounds; the line: least to most</text>',
        f'<text class="head" x="{LEFT + BAR + GAP}" y="28">CPU, ms a hop</text>',
        *legend(LEFT + BAR + GAP, 38, (("engine", "engine"), ("postgres", "Postgres"))),
        f'<text class="small" x="{LEFT + BAR + GAP + 165}" y="47">(what does not fit is cut)</text>',
    ]
    for at, entry in enumerate(shown):
        parts += row(entry, TOP + ROW * at, most, dearest)
    return "\n".join([*parts, "</svg>", ""])


def row(entry: Entry, y: int, most: float, dearest: float) -> list[str]:
    kind = "limit" if entry.name == "limit" else "ours" if entry.name.startswith("pgbaton") else "theirs"
    speed = Spread.of(entry.speeds)
    low, high = (LEFT + BAR * value / most for value in (speed.low, speed.high))
    engine, postgres = (median(getattr(run, part) for run in entry.runs) for part in ("engine", "postgres"))
    right = LEFT + BAR + GAP
    first = min(BAR, BAR * engine / dearest)
    second = min(BAR - first, BAR * postgres / dearest)
    return [
        f'<text class="name" x="{LEFT - 12}" y="{y + 15}">{escape(entry.label.partition(":")[0])}</text>',
        bar(kind, LEFT, y, BAR * speed.median / most),
        f'<line class="reach" x1="{low:.1f}" x2="{high:.1f}" y1="{y + 10}" y2="{y + 10}"/>',
        f'<text class="small" x="{high + 6:.1f}" y="{y + 15}">{figure(speed.median)}</text>',
        bar("engine", right, y, first),
        bar("postgres", right + first, y, second),
        f'<text class="small" x="{right + first + second + 6:.1f}" y="{y + 15}">{figure(engine + postgres)}</text>',
    ]


def bar(kind: str, x: float, y: int, width: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{max(width, 0.5):.1f}" height="20"/>'


def legend(x: int, y: int, names: Sequence[tuple[str, str]]) -> list[str]:
    parts = []
    for at, (kind, label) in enumerate(names):
        left = x + 80 * at
        parts.append(f'<rect class="{kind}" x="{left}" y="{y}" width="10" height="10"/>')
        parts.append(f'<text class="small" x="{left + 15}" y="{y + 9}">{label}</text>')
    return parts
