"""The user's table as SQL: the only place where its names enter a statement, and where they are quoted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import asyncpg

from pgbaton import sql
from pgbaton.errors import AttachError, ConfigError, DatabaseError
from pgbaton.key import Key
from pgbaton.model import CANCELLED, DONE, FAILED, QUARANTINED, RUNNING, Pipeline, Stage, Statuses
from pgbaton.model.condition import Condition, read
from pgbaton.rollout import Rollout
from pgbaton.sql import literal, quoted

PRIORITY_WEIGHT = 300
"""Seconds that one step of priority is worth: a job goes before one of the next lower priority that came up to so much
earlier, and no later job passes one that has waited for longer. So no job starves, and the order never changes."""
PRIORITY_BOUND = 100
"""Priorities beyond it, on both sides of 0, count as the bound itself."""


def meaning(words: Statuses, text: str) -> str:
    """The SQL of a status's meaning to the engine; ``text`` is the SQL of the table's own word. Operators are
    qualified: this stands in the trigger, too."""
    if words.plain:
        return text
    meant = {word: name for name, all_of_it in words.by_meaning.items() for word in all_of_it}
    # A word of the table that only reads like one of the engine's must not be taken for it.
    strangers = {word: f'"{word}"' for word in (RUNNING, DONE, FAILED, CANCELLED, QUARANTINED) if word not in meant}
    cases = (
        f"WHEN {text} OPERATOR(pg_catalog.=) {literal(a)} THEN {literal(b)}" for a, b in (meant | strangers).items()
    )
    return f"CASE {' '.join(cases)} ELSE {text} END"


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where a row comes to a stage or passage, ``node``: at (``step``, ``status``), if it fits ``condition``."""

    node: str
    step: str
    status: str
    condition: Condition | None = None
    calls: bool = True

    @classmethod
    def of(cls, stage: Stage) -> Self:
        said = None if stage.condition is None else read(stage.condition)
        return cls(stage.step, *stage.entry, said, stage.kind == "call")


def fitting(condition: Condition | None, row: str) -> str:
    """``condition`` in SQL, about the columns of ``row`` (``NEW``, or an alias); constants take their column's type."""
    if condition is None:
        return "true"
    parts = []
    for c in condition:
        column = f"{row}.{quoted(c.column)}"
        if c.constants:
            sign = "=" if c.sign == "in" else c.sign
            ways = " OR ".join(f"{column} OPERATOR(pg_catalog.{sign}) {literal(constant)}" for constant in c.constants)
            parts.append(f"({ways})")
        else:
            parts.append(f"{column} {c.sign.upper()}")
    return " AND ".join(parts)


class Session(Protocol):
    """The way of statements to the database: a pool, or one connection."""

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]: ...
    async def fetchval(self, query: str, *args: Any) -> Any: ...


@dataclass(frozen=True)
class JobTable:
    """The names of a pipeline's table, ready for a statement; types as ``format_type`` spells them. ``channel``: where
    its trigger publishes every change, if it does; ``words``: the meanings of its statuses; ``routes``: where rows come
    to its stages and passages, in the order in which those of one state are tried. ``parent``: the pipeline whose
    children its rows are, and their column; ``rollout``: shadow mode, where it is in that. ``beside``: another pipeline
    of this table was attached before, and its triggers have the usual names. ``in_turn``: the stages whose duties get a
    rank, by ``priority``, and ``not_before``: where there are such columns. ``tier``: the column with the tenant's
    tier; ``accounts``: stages with the column that names the provider's account.
    """

    pipeline: str
    schema: str
    name: str
    key: Key
    tenant: str | None
    step: str
    status: str
    step_type: str = "text"
    status_type: str = "text"
    has_updated_at: bool = False
    channel: str | None = None
    words: Statuses = field(default_factory=Statuses)
    routes: tuple[Entrance, ...] = ()
    in_turn: tuple[str, ...] = ()
    priority: str | None = None
    not_before: str | None = None
    tier: str | None = None
    accounts: tuple[tuple[str, str], ...] = ()
    rollout: Rollout | None = None
    parent: tuple[str, Key] | None = None
    beside: bool = False
    _rendered: dict[tuple[str, bool], str] = field(init=False, default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self:
        """The table that ``pipeline`` names, before its columns' types are known."""
        schema, _, name = pipeline.table.rpartition(".")
        return cls(
            pipeline.name,
            schema or "public",
            name,
            Key(pipeline.keys),
            pipeline.tenant,
            pipeline.step,
            pipeline.status,
            channel=pipeline.channel,
            words=pipeline.statuses,
            routes=tuple(Entrance.of(stage) for stage in pipeline.in_order),
            in_turn=tuple(stage.step for stage in pipeline.in_order if pipeline.takes_turns(stage)),
            priority=pipeline.priority,
            not_before=pipeline.not_before,
            tier=pipeline.tier,
            accounts=tuple((s.step, s.account) for s in pipeline.stages if s.account is not None),
            parent=(pipeline.parent.pipeline, Key(pipeline.parent.keys)) if pipeline.parent else None,
        )

    @property
    def qualified(self) -> str:
        """``"schema"."table"``"""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    def rank(self, row: str) -> str:
        """Where a job stands among its tenant's own that wait for the same stage: its time, moved by its priority."""
        now = "pg_catalog.clock_timestamp()"
        if self.priority is None:
            return now
        clamped = f"LEAST(GREATEST(COALESCE({row}.{quoted(self.priority)}, 0), -{PRIORITY_BOUND}), {PRIORITY_BOUND})"
        seconds = f"({clamped})::pg_catalog.float8 OPERATOR(pg_catalog.*) {PRIORITY_WEIGHT}::pg_catalog.float8"
        return f"{now} OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => {seconds})"

    def later(self, row: str) -> str:
        """Until when a job is not to be called; NULL: at once."""
        if self.not_before is None:
            return "NULL"
        at = f"{row}.{quoted(self.not_before)}::pg_catalog.timestamptz"
        return f"CASE WHEN {at} OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp() THEN {at} END"

    def account(self, row: str, column: str) -> str:
        """The provider's account that a job is called with; '' where the row names none. Without the character that
        parts it from the tenant in the name of a lane, and no longer than an index bears."""
        named = f"pg_catalog.replace({row}.{quoted(column)}::pg_catalog.text, pg_catalog.chr(31), '')"
        return f"COALESCE(pg_catalog.left({named}, 200), '')"

    def tenants_tier(self, row: str) -> str:
        """The tier of a job's tenant; NULL where the pipeline has none."""
        return "NULL::pg_catalog.text" if self.tier is None else f"{row}.{quoted(self.tier)}::pg_catalog.text"

    @property
    def columns(self) -> list[tuple[str, str]]:
        """The columns that the pipeline names, as (role, name)."""
        named = [*(("key", name) for name in self.key.columns), ("step", self.step), ("status", self.status)]
        roles = ("tenant", "priority", "not_before", "tier")
        also = ((role, getattr(self, role)) for role in roles)
        accounts = (("stage.account", column) for _, column in self.accounts)
        return [*named, *((role, name) for role, name in also if name is not None), *accounts]

    def parts(self) -> dict[str, str]:
        """The named parts that a query file may use. ``{row}``: the columns that a worker reads of a job's row,
        ``j``. ``{put_status}``: give it the status that ``s.target_status`` means."""
        step, status = quoted(self.step), quoted(self.status)
        tenant = "NULL::text" if self.tenant is None else f"j.{quoted(self.tenant)}::text"
        # The engine's names are compared byte by byte, so the user's are, too, in spite of a column's collation.
        step_text, word = f'j.{step}::text COLLATE "C"', f'j.{status}::text COLLATE "C"'
        status_text = word if self.words.plain else f'({meaning(self.words, word)}) COLLATE "C"'
        here = f"{tenant} AS tenant, {step_text} AS step, {status_text} AS status, {word} AS word"
        accounts = ", ".join(f"{literal(step)}::text, {self.account('j', column)}" for step, column in self.accounts)
        return self.key.parts() | {
            "table": self.qualified,
            "step": step,
            "status": status,
            "tenant": tenant,
            "step_text": step_text,
            "status_text": status_text,
            "step_type": self.step_type,
            "put_status": f"{status} = {self._written('s.target_status')}::{self.status_type}",
            "class_of": sql.DURATION_CLASS,
            "touch": ", updated_at = clock_timestamp()" if self.has_updated_at else "",
            "updated_at": "j.updated_at::timestamptz" if self.has_updated_at else "NULL::timestamptz",
            "rank": self.rank("j"),
            "account": f"jsonb_build_object({accounts})",
            "tier": self.tenants_tier("j"),
            "later": f"({self.later('j')})::timestamptz",
            "parent_key": self.parent[1].text("j") if self.parent else "",
            "has_parent": f"{self.parent[1].present('j')} AND {self.parent[1].parts()['key_fits']}"
            if self.parent
            else "",
            "parent_is": self.parent[1].parts()["job_is"] if self.parent else "",
            "routed_to": self._routed_to(step_text, status_text),
            "leads_on": self._leads_on(step_text, status_text),
            "row": f"{self.key.present('j')} AS present, {here}",
        }

    def _routed_to(self, step: str, status: str) -> str:
        """The stage or passage that the state of ``j`` leads to, by its columns and the database's routes as they are
        now; null: none. ``$1`` is the pipeline."""
        fit = ", ".join(
            f"CASE WHEN {fitting(r.condition, 'j')} THEN {literal(r.node)} END" for r in self.routes if r.condition
        )
        return sql.render(sql.read("routed_to.sql"), {"step": step, "status": status, "fit": fit}).strip()

    def _leads_on(self, step: str, status: str) -> str:
        """The same by the routes that were read with this table, which costs a row less."""
        cases = " ".join(
            f"WHEN {step} = {literal(r.step)} AND {status} = {literal(r.status)} AND {fitting(r.condition, 'j')} "
            f"THEN {literal(r.node)}"
            for r in self.routes
        )
        return f"(CASE {cases} END)" if cases else "NULL::text"

    def _written(self, status: str) -> str:
        """The SQL of the table's word for ``status``, an SQL expression of the meaning."""
        if self.words.plain:
            return status
        cases = (
            f"WHEN {literal(name)} THEN {literal(words[0])}"
            for name, words in self.words.by_meaning.items()
            if words != (name,)
        )
        return f"(CASE {status} {' '.join(cases)} ELSE {status} END)"

    def query(self, name: str, *, admitted: bool = False) -> str:
        """The statement ``{name}.sql`` (``worker/turn``) for this table; ``admitted``: a claim where something limits
        or orders the calls."""
        if (name, admitted) not in self._rendered:
            parts = self.parts() | sql.claim_parts(name, admitted=admitted)
            self._rendered[name, admitted] = sql.render(sql.read(f"{name}.sql"), parts)
        return self._rendered[name, admitted]


def child_table(r: asyncpg.Record, routes: list[asyncpg.Record]) -> JobTable:
    """The table of a parent's children, from a record of ``worker/child_table.sql``."""
    return JobTable(
        r["name"],
        r["schema"],
        r["table"],
        Key(tuple(r["key_columns"])),
        None,
        r["step_column"],
        r["status_column"],
        words=Statuses.model_validate(json.loads(r["statuses"])),
        routes=_entrances(routes),
        parent=(r["parent"], Key(tuple(r["parent_key"]), tuple(r["parent_types"]))),
    )


def _entrances(routes: list[asyncpg.Record]) -> tuple[Entrance, ...]:
    return tuple(
        Entrance(r["step"], r["after"], r["status"], read(r["condition"]) if r["condition"] else None, r["calls"])
        for r in routes
    )


async def read_table(conn: asyncpg.Connection, pipeline: Pipeline) -> JobTable:
    """The user's table as it is. Raises :class:`AttachError` where it does not fit the pipeline."""
    return await with_types(conn, JobTable.of(pipeline))


async def columns_of(conn: Session, table: JobTable) -> dict[str, asyncpg.Record]:
    """The columns of ``table`` by name, as ``install/columns.sql`` tells them. Raises :class:`AttachError` where there
    is no such table."""
    columns = {r["name"]: r for r in await conn.fetch(sql.read("install/columns.sql"), table.schema, table.name)}
    if columns:
        return columns
    shown = f"{table.schema}.{table.name}"
    kind = await conn.fetchval(sql.read("install/kind.sql"), table.schema, table.name)
    if kind is not None:
        raise AttachError(
            f"pipeline.table: {shown!r} is a {kind}, and triggers see its changes only on the table beneath"
        )
    near = await conn.fetchval(sql.read("install/like.sql"), table.schema, table.name)
    hint = f" (did you mean {near!r}?)" if near else ""
    raise AttachError(f"pipeline.table: there is no table {shown!r} in this database{hint}")


async def with_types(conn: Session, table: JobTable) -> JobTable:
    """``table`` with its columns' types. Raises :class:`AttachError` where it is not there or its key not unique."""
    columns = await columns_of(conn, table)
    shown = f"{table.schema}.{table.name}"
    for role, column in table.columns:
        if column not in columns:
            near = [name for name in columns if name.lower() == column.lower()]
            hint = f" (did you mean {near[0]!r}?)" if near else f" (it has {', '.join(sorted(columns))})"
            raise AttachError(f"pipeline.{role}: the table {shown!r} has no column {column!r}{hint}")
    return replace(
        table,
        key=await _unique_key(conn, table, columns),
        step_type=columns[table.step]["type"],
        status_type=columns[table.status]["type"],
        has_updated_at="updated_at" in columns and columns["updated_at"]["is_time"],
    )


async def _unique_key(conn: Session, table: JobTable, columns: Mapping[str, asyncpg.Record]) -> Key:
    """The key with its types. Raises :class:`AttachError` where it does not tell jobs apart, or can be spelled in more
    than one way."""
    names, shown = table.key.columns, f"{table.schema}.{table.name}"
    indexes = await conn.fetch(sql.read("install/unique.sql"), table.schema, table.name)
    walked = [tuple(r["columns"]) for r in indexes if set(r["columns"]) == set(names)]
    if not walked:
        said, on = f"the column {names[0]!r} of {shown!r} is not unique by itself", "on it alone"
        if len(names) > 1:
            said, on = (
                f"the columns {', '.join(map(repr, names))} of {shown!r} are not unique together",
                "on just these",
            )
        others = next((list(r["columns"]) for r in indexes if r["is_primary"] and len(r["columns"]) > 1), None)
        hint = f"; its primary key is key = {json.dumps(others, ensure_ascii=False)}" if others else ""
        raise AttachError(f"pipeline.key: {said}: a primary key or a unique index {on} is needed{hint}")
    for name in names:
        if columns[name]["is_ambiguous"] or (len(names) == 1 and columns[name]["is_moment"]):
            raise AttachError(
                f"pipeline.key: the column {name!r} has the type {columns[name]['type']}, whose values are written in "
                "several ways, as each session has it set: another unique column is needed"
            )
    return replace(table.key, types=tuple(columns[name]["type"] for name in names), walked=walked[0])


def chosen(names: Iterable[str], pipeline: str | None) -> list[str]:
    """The attached pipelines that are meant (``None``: all). Raises :class:`ConfigError` where there is none of that
    name."""
    known = list(names)
    if pipeline is not None and pipeline not in known:
        raise ConfigError(f"there is no pipeline {pipeline!r}; there are: {', '.join(known)}")
    return known if pipeline is None else [pipeline]


async def table_of(conn: asyncpg.Connection, pipeline: str | None) -> JobTable:
    """The table of an attached pipeline; without a name, of the only one that is not another's children.

    Raises :class:`ConfigError` where the name is needed or unknown.
    """
    attached = {r["name"]: r for r in await conn.fetch(sql.read("read/pipelines.sql"))}
    if not attached:
        raise DatabaseError("no pipeline is attached in this database: run pgbaton attach")
    own = [name for name, r in attached.items() if r["parent"] not in attached]
    if pipeline is None and len(own) != 1:
        raise ConfigError(f"there are several pipelines, name one with --pipeline: {', '.join(attached)}")
    [name] = chosen(attached, pipeline or own[0])
    r = attached[name]
    table = JobTable(
        name,
        r["schema"],
        r["table"],
        Key(tuple(r["key_columns"])),
        r["tenant_column"],
        r["step_column"],
        r["status_column"],
        channel=r["channel"],
        in_turn=tuple(r["in_turn"]),
        priority=r["priority_column"],
        not_before=r["not_before_column"],
        tier=r["tier_column"],
        accounts=tuple((step, column) for step, column in json.loads(r["accounts"])),
        words=Statuses.model_validate(json.loads(r["statuses"])),
        rollout=Rollout.of(r["rollout"]),
        routes=_entrances(await conn.fetch(sql.read("install/routes.sql"), name)),
        parent=(r["parent"], Key(tuple(r["parent_key"]))) if r["parent"] else None,
        beside=r["beside"],
    )
    return await with_types(conn, table)
