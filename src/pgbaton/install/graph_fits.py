"""Whether the user's tables fit a pipeline's graph: columns that its conditions can be asked of, and children that
name their parents and come to the state at which they are counted."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from pgbaton import sql
from pgbaton.errors import AttachError
from pgbaton.model import Pipeline
from pgbaton.model.condition import read
from pgbaton.model.routes import Parent
from pgbaton.sql import quoted
from pgbaton.table import JobTable, columns_of, fitting


async def check_graph(conn: asyncpg.Connection, pipeline: Pipeline, table: JobTable) -> None:
    """Raise :class:`AttachError` where a condition names no column, or compares it with a value that it cannot hold;
    where a column that names a parent is missing or has no index; and where no child can come to a gather's
    ``done``."""
    columns = await columns_of(conn, table)
    for node in pipeline.nodes:
        if node.condition is not None:
            await _check_condition(conn, table, node.condition, set(columns))
    for gather in pipeline.gathers:
        steps = await conn.fetchval(sql.read("install/steps_of.sql"), gather.children)
        if steps is not None and gather.done[0] not in steps:
            raise AttachError(
                f"pipeline.gather.done: no row of {gather.children!r} comes to ({', '.join(gather.done)}); "
                f"its steps are: {', '.join(steps)}"
            )
    if pipeline.parent is not None:
        await _check_parent(conn, pipeline.parent, table, columns)


async def _check_parent(
    conn: asyncpg.Connection, parent: Parent, table: JobTable, columns: Mapping[str, asyncpg.Record]
) -> None:
    shown = f"{table.schema}.{table.name}"
    for column in parent.keys:
        if column not in columns:
            raise AttachError(f"pipeline.parent.key: the table {shown} has no column {column!r}")
    key = await conn.fetchval(sql.read("install/key_of.sql"), parent.pipeline)
    if key is not None and len(key) != len(parent.keys):
        raise AttachError(
            f"pipeline.parent.key: names {len(parent.keys)} of the columns of {shown}, and the key of the pipeline "
            f"{parent.pipeline!r} has {len(key)}: {', '.join(key)}. Name one column for each, in that order"
        )
    if not await conn.fetchval(sql.read("install/indexed.sql"), table.qualified, list(parent.keys)):
        listed = ", ".join(parent.keys)
        raise AttachError(
            f"pipeline.parent.key: no index of {shown} begins with {listed!r}: a parent's children could only be found "
            f"by reading all: CREATE INDEX ON {table.qualified} ({', '.join(map(quoted, parent.keys))})"
        )


async def _check_condition(conn: asyncpg.Connection, table: JobTable, condition: str, columns: set[str]) -> None:
    said = read(condition)
    for comparison in said:
        if comparison.column not in columns:
            near = [name for name in columns if name.lower() == comparison.column.lower()]
            hint = f' (did you mean "{near[0]}"?)' if near else f" (it has {', '.join(sorted(columns))})"
            raise AttachError(f"when: {condition}: the table has no column {comparison.column!r}{hint}")
    try:
        parts = {"condition": fitting(said, "new"), "table": table.qualified}
        await conn.fetch(sql.render(sql.read("install/asks.sql"), parts))
    except asyncpg.PostgresError as error:
        raise AttachError(f"when: {condition}: Postgres cannot compare that: {error}") from None
