"""What there is: pipelines, their stages and passages, dispatches and their attempts. Frozen; no I/O."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    field_validator,
    model_validator,
)

from pgbaton import condition, graph
from pgbaton.limits import Limited, Pool

DONE, RUNNING, FAILED, CANCELLED, QUARANTINED = "done", "running", "failed", "cancelled", "quarantined"
"""What a row's status means to the engine, whatever the word is that the table has for it."""
DUE = "due"
"""The status in which a stage is called whose route waits or is counted: the engine brings the row there."""
WAKE_CHANNEL = "pgbaton_wake"


class State(StrEnum):
    """States of a dispatch; those in :data:`OPEN` are not settled yet."""

    AVAILABLE = "available"
    RUNNING = "running"
    RETRYABLE = "retryable"
    COMPLETED = "completed"
    DEAD = "dead"
    CANCELLED = "cancelled"


OPEN = (State.AVAILABLE, State.RUNNING, State.RETRYABLE)


class Outcome(StrEnum):
    """How an attempt ended. ``accepted`` and ``unknown`` are not the end of it: the stage may work on."""

    COMPLETED = "completed"
    FAILED = "failed"
    ACCEPTED = "accepted"
    UNKNOWN = "unknown"
    DEFERRED = "deferred"
    REJECTED = "rejected"
    BREACH = "breach"
    TIMEOUT = "timeout"
    LOST = "lost"
    RELEASED = "released"
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    MOVED = "moved"
    SKIPPED = "skipped"
    WAITING = "waiting"
    DECIDED = "decided"
    EXPIRED = "expired"
    GATHERED = "gathered"
    EXHAUSTED = "exhausted"


PASSED = frozenset(
    {
        Outcome.MOVED,
        Outcome.SKIPPED,
        Outcome.WAITING,
        Outcome.DECIDED,
        Outcome.EXPIRED,
        Outcome.GATHERED,
        Outcome.EXHAUSTED,
    }
)
"""The outcomes of passages: no stage was called."""


class Advance(StrEnum):
    """The writer of ``running`` and ``done``: the stage itself, or the engine on its behalf."""

    STAGE = "stage"
    ENGINE = "engine"


_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _check_identifier(value: str) -> str:
    if not value or len(value.encode()) > 63 or _CONTROL.search(value) or '"' in value:
        raise ValueError("must be a column or channel name of 1 to 63 bytes without quotes or control characters")
    return value


def _check_key(value: Any) -> str | tuple[str, ...]:
    columns = value if isinstance(value, list | tuple) else [value]
    if not 1 <= len(columns) <= 8 or not all(isinstance(column, str) for column in columns):
        raise ValueError("must be a column name, or a list of at most 8 of them")
    names = tuple(_check_identifier(column) for column in columns)
    return names if len(names) > 1 else names[0]


def _check_table(value: str) -> str:
    parts = value.split(".")
    if len(parts) > 2:
        raise ValueError("must be a table name, or schema.table")
    for part in parts:
        _check_identifier(part)
    return value


def _check_channel(value: str) -> str:
    _check_identifier(value)
    if value == WAKE_CHANNEL:
        raise ValueError(f"{WAKE_CHANNEL} is the engine's own channel")
    return value


def _check_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("must be 1 to 48 lower-case letters, digits and underscores, a letter first")
    return value


def _check_step(value: str) -> str:
    if not value or value != value.strip() or len(value.encode()) > 200 or _CONTROL.search(value):
        raise ValueError("must be 1 to 200 bytes, with no space around it and no control characters")
    return value


def _check_path(value: str) -> str:
    if not value.startswith("/") or value.startswith("//") or re.search(r"[\s#\\\x00-\x1f\x7f]", value):
        raise ValueError("must be a path such as /api/detect")
    return value


def _check_base_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname or re.search(r"[\s\\\x00-\x1f\x7f]", value):
        raise ValueError("must be an http:// or https:// address")
    if url.username is not None or "?" in value or "#" in value:
        raise ValueError("must hold no user, password, query or fragment")
    _ = url.port  # raises ValueError on a port that is none
    return value.rstrip("/")


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")


def _in_seconds(value: object) -> object:
    """``"10m"`` as seconds; numbers are seconds."""
    if isinstance(value, str):
        found = _LENGTH.fullmatch(value.strip())
        if not found:
            raise ValueError('must be seconds, or a length such as "90s", "10m", "8h" or "3d"')
        return float(found[1]) * _UNITS[found[2]]
    return value


def _check_condition(value: str) -> str:
    return condition.shown(condition.read(value))


def _check_entry_status(value: str) -> str:
    if value == RUNNING:
        raise ValueError("a stage is at work on a row that is running: no route leads from there")
    return _check_step(value)


Identifier = Annotated[str, AfterValidator(_check_identifier)]
Step = Annotated[str, AfterValidator(_check_step)]
At = tuple[Step, Step]
"""A state of a row: (step, status)."""
EntryStatus = Annotated[str, AfterValidator(_check_entry_status)]
When = Annotated[str, AfterValidator(_check_condition)]
Delay = Annotated[float, BeforeValidator(_in_seconds), Field(ge=0, le=366 * 86400, allow_inf_nan=False)]
Deadline = Annotated[float, BeforeValidator(_in_seconds), Field(gt=0, le=3660 * 86400, allow_inf_nan=False)]
Rounds = Annotated[int, Field(ge=1, le=1000)]
FOR_EVER = 36600 * 86400.0
"""Seconds that a wait without a deadline lasts: a hundred years, so that it is a time like any other."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)


def _as_words(value: Any) -> Any:
    """One word or several; a number or a boolean is the word that Postgres shows for it."""
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, int | str):
        return (str(value),)
    return tuple(_as_words(each)[0] if isinstance(each, int) else each for each in value)


Words = Annotated[tuple[Step, ...], BeforeValidator(_as_words)]


class Statuses(_Frozen):
    """The table's own words for what a status means: one, or several of which the engine writes the first.

    Whole numbers and booleans are taken as Postgres shows them. A word that is not named here means nothing, also where
    it reads like one of the engine's. ``waiting`` only gives such words one name.
    """

    running: Words = Field(default=(RUNNING,), min_length=1)
    done: Words = Field(default=(DONE,), min_length=1)
    failed: Words = Field(default=(FAILED,), min_length=1)
    cancelled: Words = Field(default=(CANCELLED,), min_length=1)
    quarantined: Words = Field(default=(QUARANTINED,), min_length=1)
    waiting: Words = ()

    @model_validator(mode="after")
    def _one_meaning_each(self) -> Self:
        seen: dict[str, str] = {}
        for meaning, words in self.by_meaning.items():
            for word in words:
                if word in seen:
                    what = f"twice {meaning!r}" if seen[word] == meaning else f"both {seen[word]!r} and {meaning!r}"
                    raise ValueError(f"the word {word!r} is said to mean {what}")
                seen[word] = meaning
        return self

    @property
    def by_meaning(self) -> dict[str, tuple[str, ...]]:
        """The words of each meaning that has any."""
        return {name: words for name in type(self).model_fields if (words := getattr(self, name))}

    @property
    def plain(self) -> bool:
        """Whether the table's words are the engine's own."""
        return all(words == (meaning,) for meaning, words in self.by_meaning.items())

    def word(self, meaning: str | None) -> str | None:
        """What the engine writes for ``meaning``; what is none of its meanings stands for itself."""
        return self.by_meaning.get(meaning, (meaning,))[0] if meaning is not None else None


class Route(_Frozen):
    """A way on from a state: to a stage (it is called), or to a state that the engine writes.

    ``when``: only rows that fit; the first route of a state that fits is taken, and the one without ``when`` is for
    the rest. ``rounds``: how often a job may come this way; then it goes to ``then``. ``delay``: seconds (or "10m")
    that it waits there first; any other move of the row cancels that.
    """

    after: Step
    status: EntryStatus = DONE
    when: When | None = None
    to: Step | At
    rounds: Rounds | None = None
    then: At | None = None
    delay: Delay = 0.0

    @model_validator(mode="after")
    def _bound_has_an_end(self) -> Self:
        _check_bound(self.rounds, self.then)
        return self


class Wait(_Frozen):
    """A state ``at`` in which nothing is called: the row waits for a person or a program to move it on.

    ``choices``: the names that people choose by, and the state that each of them means. After ``deadline`` seconds
    (or "8h") the row goes to ``then``.
    """

    at: At
    choices: dict[str, At] = Field(default_factory=dict)
    deadline: Deadline | None = None
    then: At | None = None

    @field_validator("choices")
    @classmethod
    def _names_are_words(cls, choices: dict[str, At]) -> dict[str, At]:
        for name in choices:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} must be 1 to 48 lower-case letters, digits and underscores")
        return choices

    @model_validator(mode="after")
    def _deadline_has_a_target(self) -> Self:
        _check_deadline(self.deadline, self.then)
        return self


class Gather(_Frozen):
    """A state ``at`` in which a row waits for its children: rows of the pipeline ``children``, whose table names its
    parent. Once enough of them are at ``done`` the row goes to ``to``; where that cannot be any more, or after
    ``deadline``, to ``then``.

    ``need``: ``"all"``, ``"any"``, or how many. ``failed``: a child that ended elsewhere lets the parent ``"fail"`` at
    once, or is left out of the count (``"ignore"``).
    """

    at: At
    children: Annotated[str, AfterValidator(_check_name)]
    done: At
    need: Literal["all", "any"] | Annotated[int, Field(ge=1, le=1_000_000)] = "all"
    failed: Literal["fail", "ignore"] = "fail"
    to: At
    then: At
    deadline: Deadline | None = None


class Parent(_Frozen):
    """The pipeline whose rows a table's rows are children of, and the column that names the parent's key."""

    pipeline: Annotated[str, AfterValidator(_check_name)]
    key: Identifier


def _check_bound(rounds: int | None, then: At | None) -> None:
    if rounds is not None and then is None:
        raise ValueError('rounds needs then: the state of a job that has used them up, such as ["judge", "given_up"]')
    if rounds is None and then is not None:
        raise ValueError("then needs rounds: how often a job may come this way before it goes there")


def _check_deadline(deadline: float | None, then: At | None) -> None:
    if deadline is not None and then is None:
        raise ValueError(
            'deadline needs then: where the row goes when nobody has moved it, such as ["review", "expired"]'
        )
    if deadline is None and then is not None:
        raise ValueError('then needs deadline: when the row goes there, such as "8h"')


class Stage(Limited):
    """One HTTP step, called when a row is at (``after``, ``status``).

    ``timeout`` is in seconds and runs from the call's start until the call, or a stage that was accepted,
    is given up. ``attempts`` counts failed ones. Its limits are those of :class:`~pgbaton.limits.Limited`. ``batch``:
    one call carries several jobs.
    ``when``, ``rounds``, ``then`` and ``delay`` as in :class:`Route`. ``only``: rows that do not fit skip the stage:
    the engine puts them to (``step``, done).
    """

    step: Step
    after: Step
    status: EntryStatus = DONE
    when: When | None = None
    only: When | None = None
    path: Annotated[str, AfterValidator(_check_path)]
    timeout: float = Field(default=600, gt=0, le=7 * 86400, allow_inf_nan=False)
    attempts: int = Field(default=5, ge=1, le=1000)
    advance: Advance = Advance.STAGE
    rounds: Rounds | None = None
    then: At | None = None
    delay: Delay = 0.0
    _ends: frozenset[str] = PrivateAttr(default=frozenset({DONE}))

    @model_validator(mode="after")
    def _routes_of_its_own(self) -> Self:
        _check_bound(self.rounds, self.then)
        if self.only is not None and self.when is not None:
            raise ValueError(
                "only and when do not go together: when leads here, only lets the other rows skip the stage"
            )
        return self

    @property
    def kind(self) -> Kind:
        return Kind.CALL

    @property
    def ends(self) -> frozenset[str]:
        """The statuses that end it well: done, and words of its own that something leads on from."""
        return self._ends

    def ending(self, words: Iterable[str]) -> Self:
        """This stage, with words of its own for an end."""
        ends = frozenset({DONE, *words}) - {RUNNING, FAILED, CANCELLED, DUE}
        if ends != self._ends and self.kind is Kind.CALL:
            object.__setattr__(self, "__pydantic_private__", {"_ends": ends})
        return self

    @property
    def entry(self) -> tuple[str, str]:
        """The row's (step, status) in which this stage is due."""
        return (self.step, DUE) if self.delay or self.rounds else (self.after, self.status)

    @property
    def condition(self) -> str | None:
        """What a row at the entry must fit for this stage to be called."""
        return (self.only or self.when) if self.entry == (self.after, self.status) else None


class Kind(StrEnum):
    """What happens to a row in a routed state."""

    CALL = "call"
    MOVE = "move"
    WAIT = "wait"
    GATHER = "gather"


class Passage(Stage):
    """What the engine does with a row at a state by itself: move it on, let it wait, gather its children. In the
    journal it stands where a stage does, under the name ``step``; no call is made for it."""

    passes: Kind = Kind.MOVE
    to: At | None = None
    skips: bool = False
    choices: dict[str, At] = Field(default_factory=dict)
    children: str | None = None
    done: At | None = None
    need: str | int = "all"
    failed: str = "fail"

    @property
    def kind(self) -> Kind:
        return self.passes

    @property
    def entry(self) -> tuple[str, str]:
        return self.after, self.status

    @property
    def condition(self) -> str | None:
        return self.when

    @property
    def detail(self) -> dict[str, Any]:
        """All of it but what every stage has, as plain data."""
        names = ("to", "then", "rounds", "delay", "skips", "children", "done", "need", "failed")
        said = {name: getattr(self, name) for name in names if getattr(self, name)}
        return said | {"choices": list(self.choices.items())}  # pairs: they keep their order

    @classmethod
    def at(cls, name: str, state: tuple[str, str], kind: Kind, timeout: float = FOR_EVER, **rest: Any) -> Self:
        """A passage at ``state``."""
        whole = {"path": "/", "attempts": 1, "concurrency": None, "advance": Advance.STAGE, "then": None, **rest}
        return cls.model_construct(step=name, after=state[0], status=state[1], passes=kind, timeout=timeout, **whole)


class Pipeline(_Frozen):
    """A table of jobs, its columns, the stages that its rows go through, and what leads from state to state.

    ``table`` is ``name`` or ``schema.name``, ``key`` a column or several; names are taken as they are, and quoted.
    ``statuses``: the table's own words, where they are not running, done and failed.
    ``channel``: publish every change there as JSON; absent: nothing is published.
    ``priority``: a column of small whole numbers; a smaller one is sooner among a tenant's own jobs. ``not_before``: a
    timestamptz column; the job is not called before it. ``pools``: what its stages share.
    ``parent``: its rows are children of another pipeline's.
    Raises pydantic's ``ValidationError`` on anything that cannot work.
    """

    name: Annotated[str, AfterValidator(_check_name)]
    table: Annotated[str, AfterValidator(_check_table)]
    key: Annotated[str | tuple[str, ...], PlainValidator(_check_key)]
    tenant: Identifier | None = None
    step: Identifier
    status: Identifier
    priority: Identifier | None = None
    not_before: Identifier | None = None
    statuses: Statuses = Statuses()
    channel: Annotated[str, AfterValidator(_check_channel)] | None = None
    base_url: Annotated[str, AfterValidator(_check_base_url)]
    stages: tuple[Stage, ...] = Field(validation_alias=AliasChoices("stages", "stage"), min_length=1)
    pools: tuple[Pool, ...] = Field(default=(), validation_alias=AliasChoices("pools", "pool"))
    routes: tuple[Route, ...] = Field(default=(), validation_alias=AliasChoices("routes", "route"))
    waits: tuple[Wait, ...] = Field(default=(), validation_alias=AliasChoices("waits", "wait"))
    gathers: tuple[Gather, ...] = Field(default=(), validation_alias=AliasChoices("gathers", "gather"))
    parent: Parent | None = None

    @model_validator(mode="before")
    @classmethod
    def _further_tables_of_a_stage_are_routes(cls, given: Any) -> Any:
        """A second ``[[pipeline.stage]]`` of a step, without a path, says what else leads there."""
        stages = given.get("stages", given.get("stage")) if isinstance(given, dict) else None
        if not isinstance(stages, list):
            return given
        known: set[Any] = set()
        kept, more = [], []
        for stage in stages:
            step = stage.get("step") if isinstance(stage, dict) and "path" not in stage else None
            if isinstance(step, str) and step in known:
                more.append({"to": step, **{k: v for k, v in stage.items() if k != "step"}})
                continue
            kept.append(stage)
            if isinstance(stage, dict) and isinstance(stage.get("step"), str):
                known.add(stage["step"])
        if not more:
            return given
        others = {k: v for k, v in given.items() if k not in ("stages", "stage", "routes", "route")}
        routes = given.get("routes", given.get("route", []))
        return {**others, "stages": kept, "routes": [*routes, *more] if isinstance(routes, list) else routes}

    @model_validator(mode="after")
    def _routes_make_sense(self) -> Self:
        columns = [*self.keys, self.step, self.status]
        if self.tenant is not None and not (len(self.keys) > 1 and self.tenant in self.keys):
            columns.append(self.tenant)
        columns += [c for c in (self.priority, self.not_before) if c is not None]
        _refuse_repeated(columns, "the column {} is named twice")
        _refuse_repeated((s.step for s in self.stages), "the step {} is performed by two stages")
        steps = {s.step for s in self.stages}
        for route in self.routes:
            if isinstance(route.to, str) and route.to not in steps:
                raise ValueError(
                    f"a route leads to {route.to!r}, which no stage performs; there are: {', '.join(sorted(steps))}"
                )
        _refuse_repeated(
            (n.step for n in self.nodes),
            "two stages, waits or gathers are called {}; one that follows a stage has a step of its own, and a "
            'route to it, such as after = "draw", to = ["review", "waiting"]',
        )
        graph.check(as_graph(self.nodes))
        return self

    @model_validator(mode="after")
    def _limits_make_sense(self) -> Self:
        _refuse_repeated((p.name for p in self.pools), "the pool {} is there twice")
        sizes = {pool.name: pool.size for pool in self.pools}
        for s in self.stages:
            if s.pool is not None and s.pool not in sizes:
                raise ValueError(
                    f"the stage {s.step!r}: there is no pool {s.pool!r}: add it as [[pool]] with name and size"
                )
            if s.pool is not None and (s.cost or 1) > sizes[s.pool]:
                raise ValueError(
                    f"the stage {s.step!r} can never be called: its cost is {s.cost}, and the pool {s.pool!r} "
                    f"has {sizes[s.pool]}"
                )
            for key in ("per_tenant", "rate_per_tenant"):
                if getattr(s, key) is not None and self.tenant is None:
                    raise ValueError(f"the stage {s.step!r}: {key} needs tenants: name their column with tenant")
        return self

    def takes_turns(self, stage: Stage) -> bool:
        """Whether the jobs that wait for ``stage`` are kept in the order of their tenants' turns, which costs each of
        their writers an index entry: where something limits the stage and there are tenants, or jobs are ordered by a
        column."""
        ordered = self.priority is not None or self.not_before is not None
        return stage.kind is Kind.CALL and (ordered or (self.tenant is not None and stage.is_limited))

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the key."""
        return (self.key,) if isinstance(self.key, str) else self.key

    def stage(self, step: str) -> Stage:
        """The stage that performs ``step``, or the passage of that name; raises ``KeyError`` where there is none."""
        return self._by_step[step]

    @cached_property
    def _by_step(self) -> dict[str, Stage]:
        nodes = self.nodes
        return {s.step: s.ending(n.entry[1] for n in nodes if n.entry[0] == s.step) for s in nodes}

    @property
    def nodes(self) -> tuple[Stage, ...]:
        """The stages, and the passages between them; those of one state in the order in which they are tried."""
        found: list[Stage] = []
        entries = {s.step: s.entry for s in self.stages}

        def lead(way: Stage | Route, when: str | None, to: graph.State) -> None:
            name = _free_name(f"{way.after}.{way.status}", found)
            rest: dict[str, Any] = {"rounds": way.rounds, "then": way.then, "delay": way.delay}
            found.append(Passage.at(name, (way.after, way.status), Kind.MOVE, when=when, to=to, **rest))

        for s in self.stages:
            if s.delay or s.rounds:
                lead(s, s.when or s.only, s.entry)
            found.append(s)
        for r in self.routes:
            lead(r, r.when, entries[r.to] if isinstance(r.to, str) else r.to)
        for s in self.stages:
            if s.only is not None:
                name, to = _free_name(f"{s.step}.skipped", found), (s.step, DONE)
                found.append(Passage.at(name, (s.after, s.status), Kind.MOVE, to=to, skips=True))
        for w in self.waits:
            found.append(Passage.at(w.at[0], w.at, Kind.WAIT, w.deadline or FOR_EVER, then=w.then, choices=w.choices))
        for g in self.gathers:
            rest = {"to": g.to, "then": g.then, "children": g.children, "done": g.done, "need": g.need}
            found.append(Passage.at(g.at[0], g.at, Kind.GATHER, g.deadline or FOR_EVER, failed=g.failed, **rest))
        return tuple(sorted(found, key=lambda n: n.condition is None))

    @property
    def in_order(self) -> tuple[Stage, ...]:
        """The stages and passages along the pipeline, the first first."""
        named = {node.step: node for node in self.nodes}
        return tuple(named[name] for name in graph.order(as_graph(self.nodes)))


def as_graph(nodes: Sequence[Stage]) -> list[graph.Node]:
    """Stages and passages with the states that they lead to."""
    entries: dict[str, set[graph.State]] = {}
    for n in nodes:
        entries.setdefault(n.entry[0], set()).add(n.entry)
    return [
        graph.Node(n.step, n.kind, n.entry, n.condition, _leads_to(n, entries.get(n.step, set()) - {n.entry}))
        for n in nodes
    ]


def _leads_to(node: Stage, own: set[graph.State]) -> tuple[graph.Edge, ...]:
    """Where a row may go from ``node``. ``own``: states of its step that something begins at: it may write any."""
    if not isinstance(node, Passage):
        return tuple(graph.Edge(state) for state in sorted({(node.step, DONE), *own}))
    edges = [graph.Edge(node.to, bounded=node.rounds is not None)] if node.to else []
    edges += [graph.Edge(node.then, label="then")] if node.then else []
    if node.kind is Kind.WAIT:
        chosen = {**{state: state[1] for state in own}, **{state: name for name, state in node.choices.items()}}
        edges += [graph.Edge(state, bounded=True, label=name) for state, name in sorted(chosen.items())]
    return tuple(edges)


def _free_name(name: str, taken: list[Stage]) -> str:
    names = {s.step for s in taken}
    return next(n for n in (name, *(f"{name}.{i}" for i in range(2, len(names) + 3))) if n not in names)


def _refuse_repeated(names: Iterable[str], sentence: str) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise ValueError(sentence.format(repr(name)))


@dataclass(frozen=True, slots=True)
class Row:
    """The user's row as it was read: where the job is now. ``status``: what it means; ``word``: as the table has it,
    for people, where that is known."""

    tenant: str | None
    step: str | None
    status: str | None
    word: str | None = None

    @property
    def at(self) -> tuple[str | None, str | None]:
        return self.step, self.status

    @property
    def shown(self) -> tuple[str | None, str | None]:
        """``at``, in the table's own words."""
        return self.step, self.status if self.word is None else self.word


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One duty to call one stage for one job, as it was claimed, with the job's row beside it.

    ``attempt`` names the call that may settle it. ``run``: the first dispatch of this run of the job. ``made``: when it
    was made, in microseconds since 1970 by the database's clock. ``probing``: it
    was claimed to find out whether its stage, which was down, is back. ``waited``: seconds between due and claimed.
    """

    id: int
    job_key: str
    stage: str
    attempt: int
    run: int
    row: Row
    made: int = 0
    probing: bool = False
    waited: float = 0.0

    @property
    def name(self) -> tuple[int, int]:
        """What tells this attempt from all others: dispatch id and attempt."""
        return self.id, self.attempt

    def idempotency_key(self, pipeline: str) -> str:
        """The same for every attempt of this dispatch, and for no other.

        An id alone repeats after a restore, and in another installation; together with the time it does not."""
        return f"{pipeline}-{self.id}-{self.made:x}"


def trace_id(pipeline: str, job_key: str, run: int) -> str:
    """The trace of a run of a job through the pipeline, in hexadecimal. Derived, so that nothing is stored for it."""
    return blake2b(f"{pipeline}:{job_key}:{run}".encode(), digest_size=16).hexdigest()
