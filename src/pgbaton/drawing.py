"""A pipeline as a drawing: layers from left to right, for Mermaid, DOT and SVG. Pure.

Stages, waits and gathers are the boxes, and so are the states where a row stays; routes and choices are the arrows. The
boxes are laid out by layers: each as far from the beginning as its longest way there, ways back drawn beneath.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from pgbaton.model import Kind, Passage, Stage, as_graph, graph


@dataclass(frozen=True, slots=True)
class Box:
    """``kind``: ``state`` (an end, or a beginning), or that of the stage or passage: see :class:`Kind`."""

    name: str
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Arrow:
    source: str
    target: str
    label: str = ""
    dotted: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def drawing(nodes: Sequence[Stage]) -> Drawing:
    """Stages, waits and gathers as boxes; routes as arrows; the states where a row stays as boxes, too.
    ``nodes`` in their order."""
    drawn = {node.name: node for node in as_graph(nodes)}
    at: dict[tuple[str, str], list[Stage]] = {}
    for node in nodes:
        at.setdefault(node.entry, []).append(node)
    boxes: dict[str, Box] = {}
    arrows: list[Arrow] = []

    def lead(source: str, state: tuple[str, str], label: str, dotted: bool, seen: tuple[str, ...] = ()) -> None:
        """Arrows from a box to where a row at ``state`` comes: through routes, which are no boxes."""
        there = at.get(state, [])
        if not there:
            name = f"{state[0]} {state[1]}"
            boxes.setdefault(name, Box(name, "state", f"{state[0]}: {state[1]}"))
            arrows.append(Arrow(source, name, label, dotted))
        for node in there:
            said = ", ".join(part for part in (label, node.condition or "") if part)
            if not isinstance(node, Passage) or node.kind is not Kind.MOVE:
                arrows.append(Arrow(source, node.step, said, dotted))
            elif node.step not in seen and node.to is not None:
                delay = f"after {node.delay:g} s" if node.delay else ""
                rounds = f"{node.rounds}×" if node.rounds else ""
                skips = "skipped" if node.skips else ""
                more = ", ".join(part for part in (said, skips, delay, rounds) if part)
                lead(source, node.to, more, dotted or node.skips, (*seen, node.step))
                if node.then is not None:
                    lead(
                        source,
                        node.then,
                        ", ".join(part for part in (said, "used up") if part),
                        True,
                        (*seen, node.step),
                    )

    for node in nodes:
        if not isinstance(node, Passage) or node.kind is not Kind.MOVE:
            title = node.step if not isinstance(node, Passage) else f"{node.entry[0]}: {node.entry[1]}"
            boxes.setdefault(node.step, Box(node.step, node.kind.value, title))
    beginnings = graph.starts(list(drawn.values()))
    for state in at:
        if state[0] in beginnings[:1] and at[state][0].kind not in (Kind.WAIT, Kind.GATHER):
            name = f"{state[0]} {state[1]}"
            boxes[name] = Box(name, "state", f"{state[0]}: {state[1]}")
            lead(name, state, "", False)
    for node in nodes:
        if isinstance(node, Passage) and node.kind is Kind.MOVE:
            continue
        for edge in drawn[node.step].leads_to:
            status = edge.to[1] if not isinstance(node, Passage) and edge.to[1] != "done" else ""
            lead(node.step, edge.to, edge.label or status, edge.label == "then")
    return Drawing(tuple(boxes.values()), _merged(arrows))


def _merged(arrows: Iterable[Arrow]) -> tuple[Arrow, ...]:
    """One arrow from a box to another, with all that it stands for."""
    between: dict[tuple[str, str], list[Arrow]] = {}
    for arrow in arrows:
        between.setdefault((arrow.source, arrow.target), []).append(arrow)
    return tuple(
        Arrow(
            source,
            target,
            " / ".join(dict.fromkeys(arrow.label for arrow in same if arrow.label)),
            all(arrow.dotted for arrow in same),
        )
        for (source, target), same in between.items()
    )


def mermaid(drawn: Drawing) -> str:
    """For ``mermaid`` blocks of Markdown."""
    ids = {box.name: f"n{number}" for number, box in enumerate(drawn.boxes)}
    shapes = {"state": ("([", "])"), "wait": ("{{", "}}"), "gather": ("[[", "]]")}
    lines = ["flowchart LR"]
    for box in drawn.boxes:
        left, right = shapes.get(box.kind, ("[", "]"))
        lines.append(f"    {ids[box.name]}{left}{_mermaid(box.title)}{right}")
    for arrow in drawn.arrows:
        line = "-.->" if arrow.dotted else "-->"
        label = f"|{_mermaid(arrow.label)}|" if arrow.label else ""
        lines.append(f"    {ids[arrow.source]} {line}{label} {ids[arrow.target]}")
    return "\n".join(lines) + "\n"


def _mermaid(text: str) -> str:
    return '"' + text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;") + '"'


def dot(drawn: Drawing) -> str:
    """For Graphviz."""
    shapes = {"state": "oval", "call": "box", "wait": "hexagon", "gather": "box3d"}
    lines = ["digraph pipeline {", "    rankdir=LR;"]
    lines += [f"    {_dot(box.name)} [label={_dot(box.title)}, shape={shapes[box.kind]}];" for box in drawn.boxes]
    for arrow in drawn.arrows:
        style = ", style=dashed" if arrow.dotted else ""
        lines.append(f"    {_dot(arrow.source)} -> {_dot(arrow.target)} [label={_dot(arrow.label)}{style}];")
    return "\n".join([*lines, "}"]) + "\n"


def _dot(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


WIDTH, HEIGHT, ACROSS, DOWN, MARGIN = 150, 44, 240, 90, 40
"""Pixels: a box, from box to box, and around."""


def layers(drawn: Drawing) -> dict[str, tuple[int, int]]:
    """Column and row of each box: its longest way from a beginning that goes through no box twice, and the order of
    the configuration within it."""
    leads: dict[str, list[str]] = {}
    for arrow in drawn.arrows:
        leads.setdefault(arrow.source, []).append(arrow.target)
    forward, done = _forward(drawn, leads)
    column = dict.fromkeys(done, 0)
    for name in reversed(done):  # boxes that lead to another one come before it
        for target in leads.get(name, ()):
            if (name, target) in forward:
                column[target] = max(column[target], column[name] + 1)
    taken: dict[int, int] = {}
    found = {}
    for box in drawn.boxes:
        at = column[box.name]
        found[box.name] = (at, taken.get(at, 0))
        taken[at] = taken.get(at, 0) + 1
    return found


def _forward(drawn: Drawing, leads: Mapping[str, Sequence[str]]) -> tuple[set[tuple[str, str]], list[str]]:
    """The arrows that lead on and not back, and the boxes, each behind all that it leads on to."""
    targets = {arrow.target for arrow in drawn.arrows}
    firsts = [box.name for box in drawn.boxes if box.name not in targets]
    forward: set[tuple[str, str]] = set()
    done: dict[str, None] = {}
    for first in (*firsts, *(box.name for box in drawn.boxes)):
        way: list[tuple[str, list[str]]] = [(first, list(leads.get(first, ())))] if first not in done else []
        while way:
            name, left = way[-1]
            if not left:
                done[name] = None
                way.pop()
                continue
            target = left.pop(0)
            if any(target == on_way for on_way, _ in way):
                continue
            forward.add((name, target))
            if target not in done:
                way.append((target, list(leads.get(target, ()))))
    return forward, list(done)


def svg(drawn: Drawing, counts: Mapping[str, str] | None = None, links: Mapping[str, str] | None = None) -> str:
    """The drawing by itself. ``counts``: the text beneath a box's title; ``links``: where a box leads. Everything
    is escaped."""
    places = layers(drawn)
    columns = 1 + max(column for column, _ in places.values())
    rows = 1 + max(row for _, row in places.values())
    back = sum(places[a.target][0] <= places[a.source][0] for a in drawn.arrows)
    width = 2 * MARGIN + (columns - 1) * ACROSS + WIDTH
    height = 2 * MARGIN + (rows - 1) * DOWN + HEIGHT + (20 + 16 * back if back else 0)
    parts = [
        f'<svg class="graph" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker></defs>',
    ]
    parts += _arrows(drawn.arrows, places, 2 * MARGIN + (rows - 1) * DOWN + HEIGHT)
    for box in drawn.boxes:
        x, y = _corner(places[box.name])
        title = box.title if len(box.title) <= 20 else box.title[:19] + "…"
        said = (counts or {}).get(box.name, "")
        shape = (
            f'<rect class="{box.kind}" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" '
            f'rx="{HEIGHT // 2 if box.kind == "state" else 6}"/>'
            f'<text x="{x + WIDTH // 2}" y="{y + (19 if said else 27)}" text-anchor="middle">{escape(title)}</text>'
        )
        if said:
            shape += f'<text class="count" x="{x + WIDTH // 2}" y="{y + 36}" text-anchor="middle">{escape(said)}</text>'
        whole = f"<title>{escape(box.title)}</title>{shape}"
        link = (links or {}).get(box.name)
        parts.append(f'<a href="{escape(link, quote=True)}">{whole}</a>' if link else f"<g>{whole}</g>")
    return "".join([*parts, "</svg>"])


def _corner(place: tuple[int, int]) -> tuple[int, int]:
    return MARGIN + place[0] * ACROSS, MARGIN + place[1] * DOWN


def _arrows(arrows: Iterable[Arrow], places: Mapping[str, tuple[int, int]], beneath: int) -> list[str]:
    parts, lane = [], beneath + 12
    for number, arrow in enumerate(arrows):
        (x1, y1), (x2, y2) = _corner(places[arrow.source]), _corner(places[arrow.target])
        dotted = ' stroke-dasharray="5 4"' if arrow.dotted else ""
        if places[arrow.target][0] > places[arrow.source][0]:
            x1, y1, y2 = x1 + WIDTH, y1 + HEIGHT // 2, y2 + HEIGHT // 2
            over = 70 if places[arrow.target][0] - places[arrow.source][0] > 1 else 0  # over what is between them
            way = f"M{x1} {y1} C{x1 + 40} {y1 - over} {x2 - 40} {y2 - over} {x2} {y2}"
            label_x, label_y = (x1 + x2) // 2, (y1 + y2 - 3 * over // 2) // 2 - 6 + 12 * (number % 2)
        else:  # a way back goes beneath everything
            x1, x2, y1, y2 = x1 + WIDTH // 2, x2 + WIDTH // 2, y1 + HEIGHT, y2 + HEIGHT
            down, up = f"C{x1} {lane} {x1} {lane} {x1 - 20} {lane}", f"C{x2} {lane} {x2} {lane} {x2} {y2}"
            way = f"M{x1} {y1} {down} L{x2 + 20} {lane} {up}"
            label_x, label_y = (x1 + x2) // 2, lane - 4
            lane += 16
        parts.append(f'<path class="way" d="{way}" fill="none" marker-end="url(#head)"{dotted}/>')
        if arrow.label:
            label = arrow.label if len(arrow.label) <= 40 else arrow.label[:39] + "…"
            parts.append(
                f'<text class="label" x="{label_x}" y="{label_y}" text-anchor="middle">{escape(label)}'
                f"<title>{escape(arrow.label)}</title></text>"
            )
    return parts
