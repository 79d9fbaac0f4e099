"""The plan of ``attach``, as a value: made here from the installed state and the pipeline, rendered by the command.
Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pgbaton.model import FAILED, RUNNING, Passage, Pipeline
from pgbaton.model.graph import State
from pgbaton.rollout import Rollout

Kind = Literal["pipeline", "stage", "function", "trigger", "home", "rollout"]
What = Literal["install", "change", "remove"]
Fate = Literal["asked", "left_alone", "called", "recorded", "goes_on", "not_called", "stays", "waits"]
"""The fate of rows: ``asked``: an operator has to say; ``left_alone``: until they move; ``called``: by the backfill;
``recorded``: shadow mode; ``goes_on``: they have a dispatch, or get it when they are reconciled; ``not_called``: they
are in no stage's entry state, the next stage is called when they are done; ``stays``: no route leads on from there any
more; ``waits``: so, and their dispatch waits until its stage comes back."""


@dataclass(frozen=True, slots=True)
class InstalledStage:
    """A stage or passage as the database has it. ``limits``: as attached. ``detail``: a passage's own fields.
    ``open``: its dispatches that are not settled."""

    step: str
    after: str
    status: str
    position: int
    timeout: float
    attempts: int
    limits: Mapping[str, object]
    takes_turns: bool
    advance: str
    routed: bool
    open: int
    kind: str
    condition: str | None
    detail: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class Installed:
    """A pipeline as the database has it. ``settings``: table, columns and channel; None: it is not attached.
    ``adopting``: the mode of a walk over rows of the past that has not ended. ``left``: rows that are left alone.
    ``function`` and ``triggers``: whether each is as this version makes it (None: not there)."""

    settings: Mapping[str, object] | None
    stages: tuple[InstalledStage, ...]
    home: Literal["none", "here", "elsewhere"]
    rollout: Rollout | None
    adopting: Literal["ask", "now", "backfill"] | None
    left: int
    function: bool | None
    triggers: Mapping[str, bool | None]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one state. ``of``: how many have an open dispatch of which stage (None: none; ``""``: a look)."""

    of: Mapping[str | None, int]

    @property
    def all(self) -> int:
        return sum(self.of.values())

    @property
    def known(self) -> int:
        """How many have a duty or a call."""
        return self.all - self.of.get(None, 0)


NO_ROWS = Rows({})


@dataclass(frozen=True, slots=True)
class Change:
    """One part of the database, and the change to it (``what``)."""

    kind: Kind
    name: str
    what: What


@dataclass(frozen=True, slots=True)
class LockTaken:
    """``waits`` and ``tries`` in seconds: how long one try to get the lock lets the table's writers wait at most, and
    for how long it is tried. It is then held for a few milliseconds, in which no row of the table is read or
    written."""

    on: str
    mode: str
    waits: float
    tries: float


@dataclass(frozen=True, slots=True)
class Inside:
    """``count`` open dispatches of a stage that changes, whose rows stand at ``state``. ``fate``: ``instead``:
    ``stage`` is called there from now on; ``ends``: at work, and ends as before; ``waits``: until the stage comes
    back, or a person moves them; ``stays``: it is not called there any more, and nothing else is."""

    fate: Literal["instead", "ends", "waits", "stays"]
    count: int
    state: State
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class StagePlan:
    """``kind``: a call, or the kind of passage. ``was``: the step that it is called in place of. ``open``: dispatches
    of it, or of that, that are not settled; ``inside``: those of them that do not go on as before."""

    step: str
    change: Literal["added", "removed", "renamed", "changed", "kept"]
    open: int
    was: str | None = None
    kind: str = "call"
    inside: tuple[Inside, ...] = ()


@dataclass(frozen=True, slots=True)
class StateRows:
    """``rows`` of the table in one state, ``known`` of them in a duty or call. ``stage``: the one that is called there.
    ``new``: it was not called there before. ``fate``: of the rows that are not known. ``instead``: how many of the
    known are called there by ``stage`` in place of another one."""

    step: str
    status: str
    rows: int
    known: int
    stage: str | None
    new: bool
    fate: Fate
    instead: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """``question``: rows stand in states that become routed, and an operator has yet to decide about them.
    ``continues``: a walk that was broken off goes on."""

    pipeline: str
    table: str
    changes: tuple[Change, ...]
    locks: tuple[LockTaken, ...]
    stages: tuple[StagePlan, ...]
    states: tuple[StateRows, ...]
    home: Literal["none", "here", "elsewhere"]
    rollout: Rollout | None
    rollout_was: Rollout | None
    left: int
    continues: str | None
    question: bool

    @property
    def past(self) -> int:
        """How many rows the question is about."""
        return sum(s.rows - s.known for s in self.states if s.new)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"nothing_changes": not self.changes}


def plan_of(
    pipeline: Pipeline,
    settings: Mapping[str, object],
    function: str,
    has: Installed,
    rows: Mapping[State, Rows],
    *,
    past: Literal["now", "backfill"] | None,
    rollout: Rollout | None,
    lock: tuple[float, float],
) -> Plan:
    """The plan. ``settings``: as the pipeline has them; ``function``: the trigger's. ``rows``: of the table, by
    (step, status). ``lock``: seconds of one try, and of all."""
    changes = tuple(_changes(pipeline, settings, function, has, rollout))
    before = {(s.after, s.status) for s in has.stages if s.routed}
    fate: Fate = "recorded" if rollout and past is None else "asked"
    if past is not None:
        fate = "left_alone" if past == "now" else "called"
    gone = {s.step for s in has.stages if s.routed} - {node.step for node in pipeline.nodes}
    states = tuple(_states(pipeline, before, gone, rows, fate, undecided=has.adopting == "ask"))
    locks = any(c.kind == "trigger" for c in changes)
    question = past is None and rollout is None and any(s.new and s.rows > s.known for s in states)
    return Plan(
        pipeline.name,
        pipeline.table,
        changes,
        (LockTaken(pipeline.table, "SHARE ROW EXCLUSIVE", *lock),) if locks else (),
        tuple(_with_inside(pipeline, stage, rows) for stage in _stages(pipeline, has)),
        states,
        has.home,
        rollout,
        has.rollout,
        has.left,
        has.adopting if past is None and has.adopting != "ask" else None,
        question,
    )


def newly_routed(pipeline: Pipeline, has: Installed) -> bool:
    """Whether a state becomes routed by attaching, or an operator has yet to decide about its rows."""
    before = {(s.after, s.status) for s in has.stages if s.routed}
    return has.adopting == "ask" or any(node.entry not in before for node in pipeline.nodes)


def _changes(
    pipeline: Pipeline, settings: Mapping[str, object], function: str, has: Installed, rollout: Rollout | None
) -> Iterator[Change]:
    if has.settings is None:
        yield Change("pipeline", pipeline.name, "install")
    elif dict(has.settings) != dict(settings):
        yield Change("pipeline", pipeline.name, "change")
    for stage in _stages(pipeline, has):
        if stage.change in ("added", "renamed"):
            yield Change("stage", stage.step, "install")
        if stage.change == "changed":
            yield Change("stage", stage.step, "change")
        if stage.change == "removed" or stage.was is not None:
            yield Change("stage", stage.was or stage.step, "remove")
    if has.function is not True:
        yield Change("function", function, "install" if has.function is None else "change")
    for name, same in has.triggers.items():
        if same is not True:
            yield Change("trigger", name, "install" if same is None else "change")
    if has.home != "here":
        yield Change("home", "this database", "install" if has.home == "none" else "change")
    if has.rollout != rollout:
        yield Change("rollout", "shadow mode", "remove" if rollout is None else "change" if has.rollout else "install")


def _stages(pipeline: Pipeline, has: Installed) -> Iterator[StagePlan]:
    there = {s.step: s for s in has.stages}
    steps = {node.step for node in pipeline.nodes}
    gone = {(s.after, s.status, s.kind): s for s in has.stages if s.routed and s.step not in steps}
    renamed: set[str] = set()
    for position, stage in enumerate(pipeline.in_order, 1):
        old = there.get(stage.step)
        limits = stage.said_limits, pipeline.takes_turns(stage)
        detail = json.loads(json.dumps(stage.detail)) if isinstance(stage, Passage) else None
        does = stage.kind.value, stage.condition, detail
        wanted = (stage.entry, position, stage.timeout, stage.attempts, limits, stage.advance.value, True, does)
        if old is not None:
            entry, has_limits = (old.after, old.status), (dict(old.limits), old.takes_turns)
            did = old.kind, old.condition, old.detail
            now = (entry, old.position, old.timeout, old.attempts, has_limits, old.advance, old.routed, did)
            change: Literal["kept", "changed", "added"]
            change = "kept" if now == wanted else "changed" if old.routed else "added"
            yield StagePlan(stage.step, change, old.open, kind=stage.kind.value)
        elif (was := gone.get((*stage.entry, stage.kind.value))) is not None:
            renamed.add(was.step)
            yield StagePlan(stage.step, "renamed", was.open, was.step, stage.kind.value)
        else:
            yield StagePlan(stage.step, "added", 0, kind=stage.kind.value)
    for old in gone.values():
        if old.step not in renamed:
            yield StagePlan(old.step, "removed", old.open, kind=old.kind)


def _with_inside(pipeline: Pipeline, plan: StagePlan, rows: Mapping[State, Rows]) -> StagePlan:
    """What becomes of the open dispatches of a stage that changes, by the states of their rows."""
    if plan.change in ("kept", "added"):
        return plan
    name, led = plan.was or plan.step, _by_entry(pipeline)
    entry = None if plan.change in ("removed", "renamed") else pipeline.stage(plan.step).entry
    found: list[Inside] = []
    for state, of in sorted(rows.items()):
        count = of.of.get(name, 0)
        if not count or state == entry:
            continue
        if state[0] == name and state[1] == RUNNING:
            found.append(Inside("ends", count, state))
        elif state in led:
            found.append(Inside("instead", count, state, ", ".join(led[state])))
        elif entry is None:
            found.append(Inside("waits", count, state))
        elif state != (name, FAILED):  # that is called again
            found.append(Inside("stays", count, state))
    return replace(plan, inside=tuple(found))


def _states(
    pipeline: Pipeline,
    before: set[State],
    gone: set[str],
    rows: Mapping[State, Rows],
    fate: Fate,
    *,
    undecided: bool,
) -> Iterator[StateRows]:
    """The states that rows stand in, or may. ``before``: those that were routed; ``gone``: stages that leave."""
    told: set[State] = {node.entry for node in pipeline.nodes}
    for entry, nodes in _by_entry(pipeline).items():
        new, there = entry not in before or undecided, rows.get(entry, NO_ROWS)
        instead = sum(count for stage, count in there.of.items() if stage and stage not in nodes)
        known = there.all, there.known
        yield StateRows(*entry, *known, ", ".join(nodes), new, fate if new else "goes_on", instead)
    for node in pipeline.in_order:
        for status in (RUNNING, FAILED):
            state = node.step, status
            if state not in told and (there := rows.get(state, NO_ROWS)).all:
                told.add(state)
                yield StateRows(*state, there.all, there.known, None, False, "not_called")
    left = before | {(step, status) for step in gone for status in (RUNNING, FAILED)}
    for state in sorted(left - told):
        if (there := rows.get(state, NO_ROWS)).all:
            waits = any(there.of.get(step) for step in gone)
            yield StateRows(*state, there.all, there.known, None, False, "waits" if waits else "stays")


def _by_entry(pipeline: Pipeline) -> dict[State, list[str]]:
    """The stages and passages that each state leads to, by the row's columns where they are several."""
    led: dict[State, list[str]] = {}
    for node in pipeline.in_order:
        led.setdefault(node.entry, []).append(node.step)
    return led
