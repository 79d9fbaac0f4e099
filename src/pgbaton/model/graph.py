"""A pipeline as a graph: stages and passages are its nodes, states of a row lead from one to the next. Pure.

A pipeline that could go round for ever, that has a node which nothing leads to, or a state with two ways out at once,
is refused, with the path written out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

State = tuple[str, str]
"""(step, status)."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A state that a node may leave a row in. ``bounded``: a job comes this way so often and no more, or only where a
    person sends it. ``label``: for a drawing."""

    to: State
    bounded: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """``entry``: the state in which a row comes to it, if it fits ``condition``."""

    name: str
    kind: str
    entry: State
    condition: str | None
    leads_to: tuple[Edge, ...]


def shown(state: State) -> str:
    """``(step, status)``."""
    return f"({state[0]}, {state[1]})"


def check(nodes: Sequence[Node]) -> None:
    """Raise ``ValueError`` where a row could not find its way, with a sentence that says where."""
    _check_ways_out(nodes)
    _check_reach(nodes)
    _check_bounds(nodes)
    _check_targets(nodes)


def _at(nodes: Iterable[Node]) -> Mapping[State, list[Node]]:
    found: dict[State, list[Node]] = defaultdict(list)
    for node in nodes:
        found[node.entry].append(node)
    return found


def _check_ways_out(nodes: Sequence[Node]) -> None:
    for state, there in _at(nodes).items():
        rest = [node for node in there if node.condition is None]
        if len(rest) > 1:
            raise ValueError(
                f"two routes lead from the state {shown_in_words(state)}: {' and '.join(n.name for n in rest)}; "
                "give all but one of them a condition (when)"
            )
        if not rest:
            raise ValueError(
                f"a row at {shown(state)} that fits none of its conditions would stay there: give it one route "
                f'without when, such as after = "{state[0]}", status = "{state[1]}", to = ["{state[0]}", "left"]'
            )
        said = [node.condition for node in there if node.condition is not None]
        for condition in {c for c in said if said.count(c) > 1}:
            raise ValueError(
                f"two routes lead from the state {shown(state)} when {condition}: the second is never taken"
            )
        for node in there:
            if node.kind in ("wait", "gather") and len(there) > 1:
                raise ValueError(f"a row waits at {shown(state)}, so that no route can lead from there, too")


def shown_in_words(state: State) -> str:
    """``('step', status)``, for messages."""
    return f"({state[0]!r}, {state[1]})"


def starts(nodes: Sequence[Node]) -> tuple[str, ...]:
    """The steps that rows come in at: no stage performs them. Where there is none, those at which a row
    waits, the one that no route leads to first."""
    performed = {node.name for node in nodes if node.kind == "call"}
    waited = {node.entry[0] for node in nodes if node.kind in ("wait", "gather")}
    steps = (node.entry[0] for node in nodes if node.kind == "call" or node.kind == "move")
    found = dict.fromkeys(step for step in steps if step not in performed | waited)
    if found:
        return tuple(found)
    led = {edge.to for node in nodes for edge in node.leads_to}
    waits = sorted((n.entry in led, n.entry[0]) for n in nodes if n.kind in ("wait", "gather"))
    return tuple(dict.fromkeys(step for _, step in waits))


def _check_reach(nodes: Sequence[Node]) -> None:
    first = starts(nodes)
    at = _at(nodes)
    reached: set[State] = {state for state in at if first and state[0] == first[0]}
    names: set[str] = set()
    before = -1
    while before != len(names):
        before = len(names)
        for node in nodes:
            if node.entry in reached:
                names.add(node.name)
                reached |= {edge.to for edge in node.leads_to}
    stages = {node.name for node in nodes if node.kind == "call"}
    by_name = {node.name: node for node in nodes}
    for node in nodes:
        if node.name in names:
            continue
        what = "stage" if node.kind == "call" else {"move": "route", "wait": "wait", "gather": "gather"}[node.kind]
        step, status = node.entry
        if first and step in first[1:]:
            why = f"no stage performs {step!r}; there are: {', '.join(sorted(stages))}"
        elif step in stages and status not in ("done", "due") and by_name[step].name in names:
            why = f"nothing brings a row to {shown(node.entry)}"
        elif step in stages or (step in by_name and step != node.name):
            why = "it follows itself" if _follows_itself(node, nodes) else f"{step!r} is unreachable itself"
        else:
            why = f"nothing brings a row to {shown(node.entry)}"
        raise ValueError(f"the {what} {node.name!r} is unreachable: {why}")


def _follows_itself(node: Node, nodes: Sequence[Node]) -> bool:
    at, seen = _at(nodes), set()
    todo = [edge.to for edge in node.leads_to]
    while todo:
        state = todo.pop()
        if state == node.entry:
            return True
        if state not in seen:
            seen.add(state)
            todo += [edge.to for next_node in at.get(state, ()) for edge in next_node.leads_to]
    return False


def _check_bounds(nodes: Sequence[Node]) -> None:
    """Without its bounded edges the graph has no way round."""
    at = _at(nodes)
    done: set[str] = set()

    def follow(node: Node, path: list[Node]) -> None:
        if node in path:
            circle = [*path[path.index(node) :], node]
            raise ValueError(
                f"a job could go round for ever: {' → '.join(shown(n.entry) for n in circle)}. Give a route of this "
                "circle rounds (how often) and then (where it goes after that)"
            )
        if node.name in done:
            return
        for edge in node.leads_to:
            if not edge.bounded:
                for following in at.get(edge.to, ()):
                    follow(following, [*path, node])
        done.add(node.name)

    for node in nodes:
        follow(node, [])


def _check_targets(nodes: Sequence[Node]) -> None:
    """A state that the engine writes has a known step: a row at a misspelt one would stand there unseen."""
    known = {node.entry[0] for node in nodes} | {node.name for node in nodes if node.kind in ("call", "wait", "gather")}
    for node in nodes:
        for edge in node.leads_to if node.kind != "call" else ():
            if edge.to[0] not in known:
                raise ValueError(
                    f"{node.name!r} leads to {shown(edge.to)}, and no stage, wait or gather has the step "
                    f"{edge.to[0]!r}; there are: {', '.join(sorted(known))}"
                )
            if edge.to == node.entry:
                raise ValueError(f"{node.name!r} leads from {shown(node.entry)} to itself")
            if edge.to[1] == "running":
                raise ValueError(f"{node.name!r} leads to {shown(edge.to)}: only a stage that is at work is running")


def order(nodes: Sequence[Node]) -> list[str]:
    """The names along the graph: nodes nearer to the start first; a way back counts for nothing."""
    at = _at(nodes)
    first = starts(nodes)
    depth: dict[str, int] = {}
    level = [node for node in nodes if first and node.entry[0] == first[0]]
    far = 0
    while level and far <= len(nodes):
        following: list[Node] = []
        for node in level:
            if node.name not in depth:
                depth[node.name] = far
                following += [n for edge in node.leads_to for n in at.get(edge.to, ())]
        level, far = following, far + 1
    return sorted((node.name for node in nodes), key=lambda name: depth.get(name, far))
