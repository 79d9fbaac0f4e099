"""Whether the user's tables have what a pipeline's graph asks for: columns that its conditions can be asked of, and
children that name their parents."""

from __future__ import annotations

import asyncpg

from pgbaton import sql
from pgbaton.errors import AttachError
from pgbaton.model import Pipeline
from pgbaton.model.condition import read
from pgbaton.sql import quoted
from pgbaton.table import JobTable, columns_of, fitting


async def check_graph(conn: asyncpg.Connection, pipeline: Pipeline, table: JobTable) -> None:
    """Raise :class:`AttachError` where a condition names no column, or compares it with what it cannot hold, and where
    the column that names a parent is missing or has no index."""
    columns = await columns_of(conn, table)
    for node in pipeline.nodes:
        if node.condition is not None:
            await _check_condition(conn, table, node.condition, set(columns))
    if pipeline.parent is not None:
        column = pipeline.parent.key
        if column not in columns:
            raise AttachError(f"pipeline.parent.key: the table {table.schema}.{table.name} has no column {column!r}")
        if not await conn.fetchval(sql.read("install/indexed.sql"), table.qualified, column):
            raise AttachError(
                f"pipeline.parent.key: no index of {table.schema}.{table.name} begins with {column!r}: a parent's "
                f"children could only be found by reading all: CREATE INDEX ON {table.qualified} ({quoted(column)})"
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
