"""Whether the user's table can hold the engine's words: refused with the column and the value before anything is
changed."""

from __future__ import annotations

from collections.abc import Iterable

import asyncpg

from pgbaton import sql
from pgbaton.errors import AttachError
from pgbaton.model import DONE, FAILED, RUNNING, Passage, Pipeline, Stage
from pgbaton.sql import quoted
from pgbaton.table import JobTable, columns_of

BESIDE = "; a column of text beside it can, kept by a trigger of the table's own: examples/timestamps"
OTHER_WORDS = "; where the table has other words, pipeline.statuses names them"


async def check_fits(conn: asyncpg.Connection, pipeline: Pipeline, table: JobTable) -> None:
    """Raise :class:`AttachError` where a column is generated, or its type, length or a simple CHECK refuses a step or
    a word that is written for ``running``, ``done`` or ``failed``; and where a word is named that it cannot have."""
    columns = await columns_of(conn, table)
    for role, column_name, fits, wanted in (
        ("priority", pipeline.priority, "is_whole", "a whole number: smallint, integer or bigint"),
        ("not_before", pipeline.not_before, "is_timestamptz", "timestamptz"),
    ):
        if column_name is not None and not columns[column_name][fits]:
            raise AttachError(
                f"pipeline.{role}: the column {column_name!r} has the type {columns[column_name]['type']}, "
                f"and must be {wanted}"
            )
    states = [state for node in pipeline.nodes for state in _states(node)]
    steps = tuple(dict.fromkeys(step for step, _ in states))
    words = pipeline.statuses
    written = tuple(words.by_meaning[meaning][0] for meaning in (RUNNING, DONE, FAILED))
    written = tuple(dict.fromkeys((*written, *(words.word(status) or "" for _, status in states))))
    named = [word for meaning in words.model_fields_set for word in words.by_meaning.get(meaning, ())]
    await _check(conn, "step", table.step, columns[table.step], steps, ())
    await _check(conn, "status", table.status, columns[table.status], written, named)


async def _check(
    conn: asyncpg.Connection,
    role: str,
    name: str,
    column: asyncpg.Record,
    written: tuple[str, ...],
    named: Iterable[str],
) -> None:
    where = f"pipeline.{role}: the column {name!r}"
    hint = OTHER_WORDS if role == "status" else ""
    if column["is_generated"]:
        raise AttachError(f"{where} is generated: the engine could not write it")
    for word in dict.fromkeys((*written, *named)):
        if column["labels"] is not None and word not in column["labels"]:
            raise AttachError(
                f"{where} is an enum without {word!r}: ALTER TYPE {column['type']} ADD VALUE '{word}' adds it{hint}"
            )
        if not column["is_text"] and not await _shown_as(conn, column["type"], word):
            beside = BESIDE if role == "status" and (column["is_moment"] or column["type"] == "boolean") else hint
            raise AttachError(f"{where} has the type {column['type']}, which cannot hold {word!r}{beside}")
        if column["length"] is not None and len(word) > column["length"]:
            raise AttachError(f"{where} holds {column['length']} characters, and {word!r} has {len(word)}{hint}")
    for word in written:
        for check in column["checks"]:
            if await _refuses(conn, name, column["type"], check, word):
                raise AttachError(f"{where} refuses {word!r}: {check}{hint}")


async def _shown_as(conn: asyncpg.Connection, kind: str, word: str) -> bool:
    """Whether a value of the type is shown as ``word``, so that the engine reads the word that it wrote."""
    try:
        return bool(await conn.fetchval(f"SELECT $1::text::{kind}::text = $1", word))
    except asyncpg.PostgresError:
        return False


def _states(node: Stage) -> list[tuple[str, str]]:
    """The states of a row that this stage or passage asks for, or brings about."""
    if not isinstance(node, Passage):
        return [node.entry, (node.step, DONE)]
    return [node.entry, *(state for state in (node.to, node.then, *node.choices.values()) if state)]


async def _refuses(conn: asyncpg.Connection, name: str, kind: str, check: str, word: str) -> bool:
    """Whether a CHECK of this column alone is false for ``word``; one that cannot be asked so refuses nothing."""
    condition = check.removeprefix("CHECK ").removesuffix(" NOT VALID").removesuffix(" NO INHERIT")
    query = sql.render(sql.read("install/refuses.sql"), {"condition": condition, "type": kind, "column": quoted(name)})
    try:
        said = await conn.fetchval(query, word)
    except asyncpg.PostgresError:
        return False
    return said is False
