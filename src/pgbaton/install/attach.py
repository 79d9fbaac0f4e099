"""Attach a pipeline to the user's table: routes as rows, two triggers with one function; only where something
differs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable

import asyncpg

from pgbaton import sql
from pgbaton.errors import AttachError, LockNotHad
from pgbaton.install.fits import check_fits
from pgbaton.install.holders import holders
from pgbaton.install.limits import limits_sql, pools_sql, ranks_sql, turn_columns
from pgbaton.install.migrate import LOCK, migrate_sql
from pgbaton.model import DONE, FAILED, RUNNING, Pipeline
from pgbaton.sql import literal, quoted
from pgbaton.table import JobTable, meaning, read_table

TRIGGERS = ("job_state_change_trigger", "job_state_insert_trigger")
LOCK_TIMEOUT = "3s"


def trigger_function(table: JobTable) -> str:
    """The qualified name of the trigger function: one for each table, the contract's own for ``jobs``."""
    name = "notify_job_state_change"
    if table.name != "jobs":
        name = f"notify_{table.name}_state_change"
        if len(name.encode()) > 63 or table.name == "job":
            name = f"notify_{hashlib.sha256(table.name.encode()).hexdigest()[:16]}_state_change"
    return f"{quoted(table.schema)}.{quoted(name)}"


def _free_tag(names: str) -> str:
    """What to append to the script's dollar quotes so that no name in it can end one; nearly always nothing."""
    return next(tag for tag in ("", *(f"_{n}" for n in range(100))) if f"{tag}$" not in names)


def attach_sql(pipeline: Pipeline) -> str:
    """The script that attaches ``pipeline``: plain SQL, idempotent, one transaction."""
    table = JobTable.of(pipeline)
    name = literal(pipeline.name)
    function = trigger_function(table)
    stages = (
        f"({name}, {literal(s.step)}, {literal(s.after)}, {position}, interval '{s.timeout:f} s', {s.attempts}, "
        f"{literal(s.advance.value)}, {limits_sql(s)}, {str(pipeline.takes_turns(s)).lower()})"
        for position, s in enumerate(pipeline.in_order, 1)
    )
    routes = (f"({literal(s.step)}, {literal(s.after)})" for s in pipeline.stages)
    parts = {
        "pipeline": name,
        "table": table.qualified,
        "table_literal": literal(table.qualified),
        "keys": f"ARRAY[{_listed(pipeline.keys)}]",
        "tenant_literal": literal(pipeline.tenant),
        "step_literal": literal(pipeline.step),
        "status_literal": literal(pipeline.status),
        "priority_literal": literal(pipeline.priority),
        "not_before_literal": literal(pipeline.not_before),
        "pools": pools_sql(pipeline),
        "takes_turns": str(bool(table.in_turn)).lower(),
        "ranks": ranks_sql(table),
        "statuses": f"{literal(json.dumps(pipeline.statuses.by_meaning, ensure_ascii=False))}::jsonb",
        "channel": literal(pipeline.channel),
        "table_name": literal(f"{table.schema}.{table.name}"),
        "column_names": _listed(c for _, c in table.columns),
        "stage_rows": ",\n       ".join(stages),
        "stage_routes": ", ".join(routes),
        "function": function,
        "function_name": literal(function),
        "function_literal": literal(f"{function}()"),
        "tag": _free_tag(table.qualified + function + _trigger_body(table)),
        "body": _trigger_body(table),
        "body_md5": trigger_body_md5(table),
        "lock": LOCK,
        "lock_timeout": LOCK_TIMEOUT,
    }
    return sql.render(sql.read("install/attach.sql"), parts)


def _trigger_body(table: JobTable) -> str:
    tenant = "NULL" if table.tenant is None else f"NEW.{quoted(table.tenant)}::pg_catalog.text"
    old_status = meaning(table.words, _old(table.status))
    new_status = meaning(table.words, _new(table.status))
    read = ", ".join((table.key.text("NEW"), _new(table.step), new_status, tenant, _new(table.status)))
    names = {
        "new_key": table.key.text("NEW"),
        "new_key_size": table.key.size("NEW").replace(table.key.text("NEW"), "key"),
        "key_is_null": "key IS NULL" if len(table.key.columns) == 1 else f"({table.key.present('NEW')}) IS NOT TRUE",
        "new_word": _new(table.status),
        "new_status": new_status,
        "old_step": _old(table.step),
        "old_status": old_status if table.words.plain else f"({old_status})",
        "unchanged": _unchanged(table),
        "compared_anew": literal(f"SELECT {_unchanged(table)} FROM (SELECT ($1).*) AS new, (SELECT ($2).*) AS old"),  # noqa: S608
        "read_anew": literal(f"SELECT {read} FROM (SELECT ($1).*) AS new"),  # noqa: S608
        "foreign": _foreign(table),
        "and_moved": _and_moved(table),
        "pipeline": literal(table.pipeline),
        "channel": literal(table.channel),
        "new_tenant": tenant,
        "routes": _cases("step", table.routes, lambda step, after: (after, step)),
        "entry_of": _cases("step", table.routes, lambda step, after: (step, after)),
        "entries": ", ".join(literal(after) for _, after in table.routes),
        "stages": ", ".join(literal(step) for step, _ in table.routes),
        **turn_columns(table),
    }
    return sql.render(sql.read("trigger.sql"), table.parts() | names)


def _and_moved(table: JobTable) -> str:
    """A change that is published, from one word to another of the same meaning, is no change of the job."""
    if table.words.plain or table.channel is None:
        return ""
    pairs = [("step", _old(table.step)), ("status", f"({meaning(table.words, _old(table.status))})")]
    pairs += [(_new(c), _old(c)) for c in table.key.columns]
    same = " AND ".join(f"{new} OPERATOR(pg_catalog.=) {old}" for new, old in pairs)
    return f"\n       AND (TG_OP OPERATOR(pg_catalog.=) 'INSERT' OR ({same}) IS NOT TRUE)"


def _cases(subject: str, routes: Iterable[tuple[str, str]], pair: Callable[[str, str], tuple[str, str]]) -> str:
    pairs = (pair(step, after) for step, after in routes)
    return " ".join(f"WHEN {subject} OPERATOR(pg_catalog.=) {literal(a)} THEN {literal(b)}" for a, b in pairs)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(literal(word) for word in words)


def _old(column: str) -> str:
    """A column's value before the UPDATE, as text compared byte by byte, whatever its type and collation."""
    return f'OLD.{quoted(column)}::pg_catalog.text COLLATE pg_catalog."C"'


def _new(column: str) -> str:
    return f"NEW.{quoted(column)}::pg_catalog.text"


def _unchanged(table: JobTable) -> str:
    """Whether an UPDATE left status, step and key as they were; the one that changes most often is compared first.
    Where words are published, another word of the same meaning is a change."""
    status = (_new(table.status), _old(table.status))
    if not table.words.plain and table.channel is None:
        status = (f"({meaning(table.words, status[0])})", f"({meaning(table.words, status[1])})")
    pairs = [status, *((_new(c), _old(c)) for c in (table.step, *table.key.columns))]
    return " AND ".join(
        f"({new} OPERATOR(pg_catalog.=) {old} OR {new} IS NULL AND {old} IS NULL)" for new, old in pairs
    )


def _foreign(table: JobTable) -> str:
    """Whether neither status is one that stages write, and nothing is published."""
    if table.channel is not None:
        return "false"
    old = meaning(table.words, _old(table.status))
    words = " AND ".join(f"({old}) OPERATOR(pg_catalog.<>) {literal(word)}" for word in (DONE, RUNNING, FAILED))
    return f"status OPERATOR(pg_catalog.<>) {literal(DONE)} AND {words}"


def trigger_body_md5(table: JobTable) -> str:
    """The fingerprint of the trigger function's body, to tell whether the one in the database is ours."""
    return hashlib.md5(_trigger_body(table).encode(), usedforsecurity=False).hexdigest()


def pipeline_sql(pipeline: Pipeline) -> str:
    """What ``pgbaton sql`` prints: everything that migrate and attach would run, for plain psql."""
    head = (
        f"-- The schema of pgbaton, then the routes and the trigger of the pipeline {pipeline.name}.\n"
        "-- For plain psql. Safe to run again, and beside running workers. Printed by `pgbaton sql`.\n"
    )
    return f"{head}{migrate_sql()}\n{attach_sql(pipeline)}"


async def attach(conn: asyncpg.Connection, pipeline: Pipeline) -> None:
    """Install or update routes and trigger; the schema must be migrated.

    Raises :class:`AttachError` where the table does not fit or a right is missing (nothing was changed then), and
    :class:`LockNotHad` where the table was busy.
    """
    table = await read_table(conn, pipeline)
    await check_fits(conn, pipeline, table)
    try:
        attached = await conn.fetchrow(sql.read("install/attached.sql"), pipeline.name, table.qualified)
    except asyncpg.InsufficientPrivilegeError as error:
        raise AttachError(f"no right to attach to {pipeline.table!r}: {error}") from None
    if attached["elsewhere"] is not None:
        raise AttachError(
            f"pipeline.name: {pipeline.name!r} is attached to {attached['elsewhere']}: detach it from there first"
        )
    if attached["other"] is not None:
        raise AttachError(f"pipeline.table: {pipeline.table!r} is attached to the pipeline {attached['other']!r}")
    await _run(conn, attach_sql(pipeline), pipeline)


async def detach(conn: asyncpg.Connection, pipeline: Pipeline) -> None:
    """Remove the trigger, its function and the routes; dispatches stay as history, open ones are
    cancelled. The user's table is left as it is. Raises as :func:`attach`."""
    table = JobTable.of(pipeline)
    parts = {
        "pipeline": literal(pipeline.name),
        "table": table.qualified,
        "table_literal": literal(table.qualified),
        "function": trigger_function(table),
        "tag": _free_tag(table.qualified),
        "lock": LOCK,
        "lock_timeout": LOCK_TIMEOUT,
    }
    await _run(conn, sql.render(sql.read("install/detach.sql"), parts), pipeline)


async def _run(conn: asyncpg.Connection, script: str, pipeline: Pipeline) -> None:
    try:
        await conn.execute(script)
    except asyncpg.LockNotAvailableError:
        await conn.execute("ROLLBACK")
        table = JobTable.of(pipeline).qualified
        raise LockNotHad(
            f"the table {pipeline.table!r} was busy for {LOCK_TIMEOUT}: {await holders(conn, table)}. "
            "Nothing was changed; try again when that has ended"
        ) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise AttachError(f"no right to attach to {pipeline.table!r}: {error}") from None
    except asyncpg.DuplicateObjectError as error:
        raise AttachError(f"pipeline.table: {error.message}") from None
    finally:
        if conn.is_in_transaction():
            await conn.execute("ROLLBACK")
