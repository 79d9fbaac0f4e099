"""Whether the user's table can hold the engine's words: refused with the column and the value before anything is
changed."""

from __future__ import annotations

import asyncpg

from pgbaton import sql
from pgbaton.errors import AttachError
from pgbaton.model import DONE, FAILED, RUNNING, Pipeline
from pgbaton.table import JobTable, columns_of, quoted


async def check_fits(conn: asyncpg.Connection, pipeline: Pipeline, table: JobTable) -> None:
    """Raise :class:`AttachError` where a column is generated, or its type, length or a simple CHECK refuses a step or
    one of ``running``, ``done``, ``failed``."""
    columns = await columns_of(conn, table)
    for role, column_name, fits, wanted in (
        ("priority", pipeline.priority, "is_whole", "a whole number: smallint, integer or bigint"),
        ("not_before", pipeline.not_before, "is_moment", "timestamptz"),
    ):
        if column_name is not None and not columns[column_name][fits]:
            raise AttachError(
                f"pipeline.{role}: the column {column_name!r} has the type {columns[column_name]['type']}, "
                f"and must be {wanted}"
            )
    steps = dict.fromkeys(step for stage in pipeline.stages for step in (stage.after, stage.step))
    for role, name, words in (
        ("step", table.step, tuple(steps)),
        ("status", table.status, (RUNNING, DONE, FAILED)),
    ):
        column = columns[name]
        where = f"pipeline.{role}: the column {name!r}"
        if column["is_generated"]:
            raise AttachError(f"{where} is generated: the engine could not write it")
        if not column["is_text"]:
            raise AttachError(f"{where} has the type {column['type']}, which cannot hold {words[0]!r}")
        for word in words:
            if column["labels"] is not None and word not in column["labels"]:
                raise AttachError(
                    f"{where} is an enum without {word!r}: ALTER TYPE {column['type']} ADD VALUE '{word}' adds it"
                )
            if column["length"] is not None and len(word) > column["length"]:
                raise AttachError(f"{where} holds {column['length']} characters, and {word!r} has {len(word)}")
            for check in column["checks"]:
                if await _refuses(conn, name, column["type"], check, word):
                    raise AttachError(f"{where} refuses {word!r}: {check}")


async def _refuses(conn: asyncpg.Connection, name: str, kind: str, check: str, word: str) -> bool:
    """Whether a CHECK of this column alone is false for ``word``; one that cannot be asked so refuses nothing."""
    condition = check.removeprefix("CHECK ").removesuffix(" NOT VALID").removesuffix(" NO INHERIT")
    query = sql.render(sql.read("install/refuses.sql"), {"condition": condition, "type": kind, "column": quoted(name)})
    try:
        said = await conn.fetchval(query, word)
    except asyncpg.PostgresError:
        return False
    return said is False
