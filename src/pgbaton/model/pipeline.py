"""Pipelines, their stages and passages, dispatches and their attempts. Frozen; no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    Field,
    PlainValidator,
    PrivateAttr,
    model_validator,
)

from pgbaton.model import graph
from pgbaton.model.fields import (
    FOR_EVER,
    At,
    Delay,
    EntryStatus,
    Frozen,
    Identifier,
    Rounds,
    Step,
    When,
    check_base_url,
    check_channel,
    check_key,
    check_name,
    check_path,
    check_table,
)
from pgbaton.model.limits import Limited, Pool, Tier
from pgbaton.model.routes import Gather, Parent, Route, Wait, check_bound
from pgbaton.model.states import (
    CANCELLED,
    DONE,
    DUE,
    FAILED,
    RUNNING,
    Advance,
    Kind,
)
from pgbaton.model.statuses import Statuses


class Stage(Limited):
    """One HTTP step, called when a row is at (``after``, ``status``).

    ``timeout`` is in seconds and runs from the call's start until the call, or a stage that was accepted,
    is given up. ``attempts`` counts failed ones. Its limits are those of
    :class:`~pgbaton.model.limits.Limited`. ``batch``: one call carries several jobs.
    ``when``, ``rounds``, ``then`` and ``delay`` as in :class:`Route`. ``only``: rows that do not fit skip the stage:
    the engine puts them to (``step``, done).
    """

    step: Step
    after: Step
    status: EntryStatus = DONE
    when: When | None = None
    only: When | None = None
    path: Annotated[str, AfterValidator(check_path)]
    timeout: float = Field(default=600, gt=0, le=7 * 86400, allow_inf_nan=False)
    attempts: int = Field(default=5, ge=1, le=1000)
    advance: Advance = Advance.STAGE
    rounds: Rounds | None = None
    then: At | None = None
    delay: Delay = 0.0
    _ends: frozenset[str] = PrivateAttr(default=frozenset({DONE}))

    @model_validator(mode="after")
    def _routes_of_its_own(self) -> Self:
        check_bound(self.rounds, self.then)
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
        """The condition that a row at the entry must fit for this stage to be called."""
        return (self.only or self.when) if self.entry == (self.after, self.status) else None


class Passage(Stage):
    """An act of the engine's own on a row at a state: move it on, let it wait, gather its children. In the
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
        """The fields that only passages have, as plain data."""
        names = ("to", "then", "rounds", "delay", "skips", "children", "done", "need", "failed")
        said = {name: getattr(self, name) for name in names if getattr(self, name)}
        return said | {"choices": list(self.choices.items())}  # pairs: they keep their order

    @classmethod
    def at(cls, name: str, state: tuple[str, str], kind: Kind, timeout: float = FOR_EVER, **rest: Any) -> Self:
        """A passage at ``state``."""
        whole = {"path": "/", "attempts": 1, "concurrency": None, "advance": Advance.STAGE, "then": None, **rest}
        return cls.model_construct(step=name, after=state[0], status=state[1], passes=kind, timeout=timeout, **whole)


class Pipeline(Frozen):
    """A table of jobs, its columns, the stages that its rows go through, and the ways from state to state.

    ``table`` is ``name`` or ``schema.name``, ``key`` a column or several; names are taken as they are, and quoted.
    ``statuses``: the table's own words, where they are not running, done and failed.
    ``channel``: publish every change there as JSON; absent: nothing is published.
    ``priority``: a column of small whole numbers; a smaller one is sooner among a tenant's own jobs. ``not_before``: a
    timestamptz column; the job is not called before it. ``tier``: a column that names the tenant's tier, of ``tiers``.
    ``pools``: the places that its stages share.
    ``parent``: its rows are children of another pipeline's rows.
    Raises pydantic's ``ValidationError`` on anything that cannot work.
    """

    name: Annotated[str, AfterValidator(check_name)]
    table: Annotated[str, AfterValidator(check_table)]
    key: Annotated[str | tuple[str, ...], PlainValidator(check_key)]
    tenant: Identifier | None = None
    step: Identifier
    status: Identifier
    priority: Identifier | None = None
    not_before: Identifier | None = None
    tier: Identifier | None = None
    tiers: dict[str, Tier] = Field(default_factory=dict)
    statuses: Statuses = Statuses()
    channel: Annotated[str, AfterValidator(check_channel)] | None = None
    base_url: Annotated[str, AfterValidator(check_base_url)]
    stages: tuple[Stage, ...] = Field(validation_alias=AliasChoices("stages", "stage"), min_length=1)
    pools: tuple[Pool, ...] = Field(default=(), validation_alias=AliasChoices("pools", "pool"))
    routes: tuple[Route, ...] = Field(default=(), validation_alias=AliasChoices("routes", "route"))
    waits: tuple[Wait, ...] = Field(default=(), validation_alias=AliasChoices("waits", "wait"))
    gathers: tuple[Gather, ...] = Field(default=(), validation_alias=AliasChoices("gathers", "gather"))
    parent: Parent | None = None

    @model_validator(mode="before")
    @classmethod
    def _further_tables_of_a_stage_are_routes(cls, given: Any) -> Any:
        """A second ``[[pipeline.stage]]`` of a step, without a path, is one more route to that stage."""
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
        if self.tier is not None and self.tenant is None:
            raise ValueError("tier needs tenants: name their column with tenant")
        if (self.tier is None) != (not self.tiers):
            alone = "tiers" if self.tiers else "tier"
            raise ValueError(
                f"{alone} stands alone: tier names a column, and [pipeline.tiers.NAME] what tenants have whose "
                "rows say NAME there"
            )
        return self

    def takes_turns(self, stage: Stage) -> bool:
        """Whether the jobs that wait for ``stage`` are kept in the order of their tenants' turns, which costs each of
        their writers an index entry: where something limits the stage and there are tenants, or jobs are ordered by a
        column, or called with accounts."""
        ordered = self.priority is not None or self.not_before is not None
        limited = self.tenant is not None and stage.is_limited
        return stage.kind is Kind.CALL and (ordered or limited or stage.account is not None)

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the key."""
        return (self.key,) if isinstance(self.key, str) else self.key

    def __hash__(self) -> int:
        return hash((self.name, self.table, self.base_url, self.stages))  # the tiers are a dict

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
