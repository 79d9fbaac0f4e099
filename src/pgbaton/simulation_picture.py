"""The result of a simulation as one SVG: how long each call waited, by tenant, and how full the limits were. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from pgbaton.simulation import Called

WIDTH, HEIGHT, LEFT, GAP = 720, 150, 60, 46
COLOURS = ("#0a7d5a", "#c2410c", "#1d4ed8", "#a21caf", "#a16207", "#475569")
"""Of tenants, in the order of their names; the sixth and all behind it are grey."""

Full = tuple[str, int, Sequence[Called], Mapping[str, int]]
"""A limit: its name, its places, the calls that take them, and how many a call of each stage takes."""


def picture(calls: Sequence[Called], limits: Sequence[Full], lasted: float, titles: tuple[str, str]) -> str:
    """An SVG. ``titles``: of the waits and of the limits."""
    tenants = sorted({call.tenant or "" for call in calls})
    colour = {tenant: COLOURS[min(n, len(COLOURS) - 1)] for n, tenant in enumerate(tenants)}
    panels = [_waits(calls, colour, lasted, titles[0])]
    panels += [_full(limit, lasted, titles[1]) for limit in limits]
    legend = "".join(
        f'<tspan fill="{colour[tenant]}" dx="{12 if n else 0}">● {escape(tenant or "–")}</tspan>'
        for n, tenant in enumerate(tenants[: len(COLOURS)])
    )
    height = 30 + len(panels) * (HEIGHT + GAP)
    drawn = "".join(f'<g transform="translate({LEFT} {40 + n * (HEIGHT + GAP)})">{p}</g>' for n, p in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}" '
        f'font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="{escape(titles[0])}">'
        f'<rect width="100%" height="100%" fill="#fff"/><text x="{LEFT}" y="18">{legend}</text>{drawn}</svg>\n'
    )


def _frame(title: str, top: str, lasted: float) -> str:
    return (
        f'<text y="-6" fill="#333">{escape(title)}</text>'
        f'<path d="M0 0V{HEIGHT}H{WIDTH}" fill="none" stroke="#999"/>'
        f'<text x="-6" y="10" text-anchor="end" fill="#555">{escape(top)}</text>'
        f'<text x="-6" y="{HEIGHT}" text-anchor="end" fill="#555">0</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 15}" text-anchor="end" fill="#555">{lasted:.0f} s</text>'
    )


def _waits(calls: Sequence[Called], colour: dict[str, str], lasted: float, title: str) -> str:
    most = max((call.waited for call in calls), default=0.0) or 1.0
    dots = "".join(
        f'<circle cx="{WIDTH * call.due / lasted:.1f}" cy="{HEIGHT * (1 - call.waited / most):.1f}" r="2" '
        f'fill="{colour[call.tenant or ""]}" fill-opacity="0.6"/>'
        for call in calls
    )
    return _frame(title, f"{most:.0f} s", lasted) + dots


def _full(limit: Full, lasted: float, title: str) -> str:
    name, places, calls, cost = limit
    changes = sorted(change for c in calls for change in ((c.began, cost[c.stage]), (c.ended, -cost[c.stage])))
    taken, steps = 0, [f"M0 {HEIGHT}"]
    for at, by in changes:
        taken += by
        steps.append(f"H{WIDTH * at / lasted:.1f}V{HEIGHT * (1 - min(1.0, taken / places)):.1f}")
    area = f'<path d="{"".join(steps)}H{WIDTH}V{HEIGHT}Z" fill="#0a7d5a" fill-opacity="0.25" stroke="#0a7d5a"/>'
    return _frame(f"{title}: {name}", str(places), lasted) + area
