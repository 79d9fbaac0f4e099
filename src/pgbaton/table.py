"""The user's table as SQL: the only place where its names enter a statement, and where they are quoted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

import asyncpg

from pgbaton import sql
from pgbaton.errors import AttachError, ConfigError, DatabaseError
from pgbaton.model import Pipeline

PRIORITY_WEIGHT = 300
"""Seconds that one step of priority is worth: a job goes before one of the next lower priority that came up to so much
earlier, and no later job passes one that has waited for longer. So nothing starves, and the order never changes."""
PRIORITY_BOUND = 100
"""Priorities beyond it count as it, on both sides of 0."""


def quoted(name: str) -> str:
    """``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | None) -> str:
    """``value`` as an SQL string literal (or NULL), under either setting of ``standard_conforming_strings``."""
    if value is None:
        return "NULL"
    doubled = value.replace("'", "''")
    return f"'{doubled}'" if "\\" not in doubled else "E'" + doubled.replace("\\", "\\\\") + "'"


@dataclass(frozen=True)
class JobTable:
    """The names of a pipeline's table, ready for a statement; types as ``format_type`` spells them. ``channel``: where
    its trigger publishes every change, if it does; ``routes``: its stages in order, as (step, after), for the trigger's
    text; ``in_turn``: those whose duties get a rank, by ``priority``, and ``not_before``, where there are such
    columns."""

    pipeline: str
    schema: str
    name: str
    key: str
    tenant: str | None
    step: str
    status: str
    key_type: str = "text"
    step_type: str = "text"
    status_type: str = "text"
    has_updated_at: bool = False
    channel: str | None = None
    routes: tuple[tuple[str, str], ...] = ()
    in_turn: tuple[str, ...] = ()
    priority: str | None = None
    not_before: str | None = None
    _rendered: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self:
        """The table that ``pipeline`` names, before its columns' types are known."""
        schema, _, name = pipeline.table.rpartition(".")
        return cls(
            pipeline.name,
            schema or "public",
            name,
            pipeline.key,
            pipeline.tenant,
            pipeline.step,
            pipeline.status,
            channel=pipeline.channel,
            routes=tuple((stage.step, stage.after) for stage in pipeline.in_order),
            in_turn=tuple(stage.step for stage in pipeline.in_order if pipeline.takes_turns(stage)),
            priority=pipeline.priority,
            not_before=pipeline.not_before,
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

    def parts(self) -> dict[str, str]:
        """The named parts that a query file may use. ``{row}``: the columns that a worker reads of a job's row,
        ``j``."""
        key, step, status = quoted(self.key), quoted(self.step), quoted(self.status)
        tenant = "NULL::text" if self.tenant is None else f"j.{quoted(self.tenant)}::text"
        # The engine's names are compared byte by byte, so the user's are, too, in spite of a column's collation.
        step_text, status_text = f'j.{step}::text COLLATE "C"', f'j.{status}::text COLLATE "C"'
        return {
            "table": self.qualified,
            "key": key,
            "step": step,
            "status": status,
            "tenant": tenant,
            "step_text": step_text,
            "status_text": status_text,
            "key_type": self.key_type,
            "step_type": self.step_type,
            "status_type": self.status_type,
            "touch": ", updated_at = clock_timestamp()" if self.has_updated_at else "",
            "updated_at": "j.updated_at::timestamptz" if self.has_updated_at else "NULL::timestamptz",
            "rank": self.rank("j"),
            "later": f"({self.later('j')})::timestamptz",
            "row": f"j.{key} IS NOT NULL AS present, {tenant} AS tenant, {step_text} AS step, {status_text} AS status",
        }

    def query(self, name: str) -> str:
        """The statement ``{name}.sql`` (``worker/turn``) for this table."""
        if name not in self._rendered:
            self._rendered[name] = sql.render(sql.read(f"{name}.sql"), self.parts())
        return self._rendered[name]

    def admitted_query(self, name: str) -> str:
        """The claim ``{name}.sql`` for this table, as it is made where something limits or orders the calls."""
        if f"admitted {name}" not in self._rendered:
            self._rendered[f"admitted {name}"] = sql.render(sql.admitted(f"{name}.sql"), self.parts())
        return self._rendered[f"admitted {name}"]


async def read_table(conn: asyncpg.Connection, pipeline: Pipeline) -> JobTable:
    """The user's table as it is. Raises :class:`AttachError` where it does not fit the pipeline."""
    return await with_types(conn, JobTable.of(pipeline))


async def columns_of(conn: asyncpg.Connection, table: JobTable) -> dict[str, asyncpg.Record]:
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


async def with_types(conn: asyncpg.Connection, table: JobTable) -> JobTable:
    """``table`` with its columns' types. Raises :class:`AttachError` where it is not there or its key not unique."""
    columns = await columns_of(conn, table)
    shown = f"{table.schema}.{table.name}"
    for role in ("key", "tenant", "step", "status", "priority", "not_before"):
        column = getattr(table, role)
        if column is not None and column not in columns:
            near = [name for name in columns if name.lower() == column.lower()]
            hint = f" (did you mean {near[0]!r}?)" if near else f" (it has {', '.join(sorted(columns))})"
            raise AttachError(f"pipeline.{role}: the table {shown!r} has no column {column!r}{hint}")
    if not columns[table.key]["is_unique"]:
        raise AttachError(
            f"pipeline.key: the column {table.key!r} of {shown!r} is not unique by itself: "
            "a primary key or a unique index on it alone is needed"
        )
    return replace(
        table,
        key_type=columns[table.key]["type"],
        step_type=columns[table.step]["type"],
        status_type=columns[table.status]["type"],
        has_updated_at="updated_at" in columns and columns["updated_at"]["is_time"],
    )


async def table_of(conn: asyncpg.Connection, pipeline: str | None) -> JobTable:
    """The table of an attached pipeline; without a name, of the only one there is.

    Raises :class:`ConfigError` where the name is needed or unknown.
    """
    attached = {r["name"]: r for r in await conn.fetch(sql.read("read/pipelines.sql"))}
    if not attached:
        raise DatabaseError("no pipeline is attached in this database: run pgbaton attach")
    if pipeline is None and len(attached) > 1:
        raise ConfigError(f"there are several pipelines, name one with --pipeline: {', '.join(attached)}")
    name = pipeline or next(iter(attached))
    if name not in attached:
        raise ConfigError(f"there is no pipeline {name!r}; there are: {', '.join(attached)}")
    r = attached[name]
    table = JobTable(
        name,
        r["schema"],
        r["table"],
        r["key_column"],
        r["tenant_column"],
        r["step_column"],
        r["status_column"],
        channel=r["channel"],
        in_turn=tuple(r["in_turn"]),
        priority=r["priority_column"],
        not_before=r["not_before_column"],
    )
    return await with_types(conn, table)
