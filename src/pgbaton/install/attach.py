"""Attach a pipeline to the user's table: routes as rows, two triggers with one function; only where something
differs. :func:`planned` says before how it would change the database; ``past.py`` sees to the rows that are there
already."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal

import asyncpg

from pgbaton import sql
from pgbaton.counted import Counted
from pgbaton.errors import AttachError, NotAtHome, PastRows
from pgbaton.install.fits import check_fits
from pgbaton.install.graph_fits import check_graph
from pgbaton.install.holders import holders
from pgbaton.install.limits import limits_sql, pools_sql, ranks_sql, tiers_sql, turn_columns
from pgbaton.install.migrate import LOCK, migrate_sql
from pgbaton.install.names import TRIGGERS, trigger_function, trigger_names
from pgbaton.install.past import RATE, Progress, walk
from pgbaton.install.plan import Plan, newly_routed, plan_of
from pgbaton.install.survey import busy, installed, installed_settings, rows_by_state
from pgbaton.model import DONE, FAILED, RUNNING, Passage, Pipeline, Stage
from pgbaton.rollout import Rollout
from pgbaton.sql import literal, quoted
from pgbaton.table import Entrance, JobTable, fitting, meaning, read_table

LOCK_TIMEOUT = "3s"
"""How long the plain script waits for a lock."""
LOCK_TRY = "30ms"
"""How long one try waits: as long as the writers of the table wait behind it, which are to wait for 50 ms at most."""
LOCK_PATIENCE = 10.0
"""Seconds of such tries, with pauses of ``LOCK_PAUSE`` to ``LOCK_PAUSE_CAP`` seconds, in which writers go on."""
LOCK_PAUSE = 0.05
"""Seconds of the first pause between two tries; the pauses double."""
LOCK_PAUSE_CAP = 0.5
"""Seconds of the longest pause."""

Decided = Literal["now", "backfill"]
"""The two ways with rows that stand in a routed state already: left alone until they move, or called."""


def _free_tag(names: str) -> str:
    """A tag for the script's dollar quotes, so that no name in it can end one; nearly always empty."""
    return next(tag for tag in ("", *(f"_{n}" for n in range(100))) if f"{tag}$" not in names)


def attach_sql(
    pipeline: Pipeline,
    *,
    decided: Decided | Literal["none", "ask"] = "ask",
    rollout: Rollout | None = None,
    rollout_was: Rollout | None = None,
    moving: bool = False,
    beside: bool = False,
    lock_timeout: str = LOCK_TIMEOUT,
) -> str:
    """The script that attaches ``pipeline``: plain SQL, idempotent, one transaction.

    ``decided``: the decision about rows of the past (``none``: there are none). ``rollout``: shadow mode, in place of
    ``rollout_was``. ``moving``: this database is the pipeline's home from now on. ``beside``: another pipeline has
    the names of the contract on this table."""
    table = replace(JobTable.of(pipeline), rollout=rollout, beside=beside)
    parts = attach_parts(pipeline, table)
    parts |= {
        "mode": literal(decided),
        "rollout": literal(rollout.as_json() if rollout else None),
        "rollout_was": literal(rollout_was.as_json() if rollout_was else None),
        "moving": str(moving).lower(),
        "lock": LOCK,
        "lock_timeout": lock_timeout,
    }
    past = {"none": "", "ask": "asking", "now": "decided", "backfill": "decided"}[decided]
    adopting = (f"install/{name}.sql" for name in ("adopting", past) if name)
    parts["adopting"] = "".join(sql.render(sql.read(name), parts) for name in adopting)
    for name in ("placing", "wanted_triggers"):
        parts[name] = sql.render(sql.read(f"install/{name}.sql"), parts)
    return sql.render(sql.read("install/attach.sql"), parts)


def attach_parts(pipeline: Pipeline, table: JobTable) -> dict[str, str]:
    """The values that the scripts of attaching are rendered with."""
    name = literal(pipeline.name)
    function = trigger_function(table)
    stages = (_stage_row(pipeline, position, s) for position, s in enumerate(pipeline.in_order, 1))
    routes = (
        f"({literal(s.step)}, {literal(s.entry[0])}, {literal(s.entry[1])}, {literal(s.condition)})"
        for s in pipeline.nodes
    )
    return table.parts() | {
        "pipeline": name,
        "table_literal": literal(table.qualified),
        "keys": f"ARRAY[{_listed(pipeline.keys)}]",
        "tenant_literal": literal(pipeline.tenant),
        "step_literal": literal(pipeline.step),
        "status_literal": literal(pipeline.status),
        "priority_literal": literal(pipeline.priority),
        "not_before_literal": literal(pipeline.not_before),
        "tier_literal": literal(pipeline.tier),
        "pools": pools_sql(pipeline),
        "tiers": tiers_sql(pipeline),
        "takes_turns": str(bool(table.in_turn)).lower(),
        "ranks": ranks_sql(table),
        "statuses": f"{literal(json.dumps(pipeline.statuses.by_meaning, ensure_ascii=False))}::jsonb",
        "channel": literal(pipeline.channel),
        "parent": literal(table.parent[0] if table.parent else None),
        "parent_key": f"ARRAY[{_listed(table.parent[1].columns)}]" if table.parent else "NULL::text[]",
        "conditions": ", ".join(("true", *(fitting(r.condition, "new") for r in table.routes if r.condition))),
        "table_name": literal(f"{table.schema}.{table.name}"),
        "column_names": _listed(c for _, c in table.columns),
        "stage_rows": ",\n       ".join(stages),
        "stage_routes": ", ".join(routes),
        "entries": ", ".join(f"({literal(s.entry[0])}, {literal(s.entry[1])})" for s in pipeline.nodes),
        "function": function,
        "function_name": literal(function),
        "function_literal": literal(f"{function}()"),
        **_trigger_parts(table),
        "tag": _free_tag(table.qualified + function + _trigger_body(table)),
        "body": _trigger_body(table),
        "body_md5": trigger_body_md5(table),
    }


def _trigger_parts(table: JobTable) -> dict[str, str]:
    on_update, on_insert = trigger_names(table)
    return {
        "triggers": f"ARRAY[{_listed((on_update, on_insert))}]",
        "on_update": literal(on_update),
        "on_insert": literal(on_insert),
        "update_trigger": quoted(on_update),
        "insert_trigger": quoted(on_insert),
    }


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
        "unless_shadow": "",
        "end_unless": "",
        "routed": _among("status", _statuses(table)),
        "routes": _routes(table, table.routes),
        "routes_without_columns": _routes(table, _unconditional(table)) or "WHEN false THEN ''",
        "or_unlike": " OR data_exception" if any(r.condition for r in table.routes) else "",
        "left_an_entry": "\n           OR ".join(_left_an_entry(table, status) for status in _statuses(table)),
        "stages": ", ".join(literal(r.node) for r in table.routes if r.calls),
        "parent": _parent(table),
        "parent_declared": "    parent pg_catalog.text;\n" if table.parent else "",
        "parent_read": _parent_read(table),
        "and_no_parent": "" if table.parent is None else " AND false",
        **turn_columns(table),
    }
    if table.rollout is not None:
        live = [f"pgbaton.share_of(key) OPERATOR(pg_catalog.<) {table.rollout.share!r}::pg_catalog.float8"]
        if table.rollout.tenants:
            among = ", ".join(literal(tenant) for tenant in table.rollout.tenants)
            live.append(f"tenant OPERATOR(pg_catalog.=) ANY (ARRAY[{among}])")
        urls = table.rollout.urls.items()
        names |= {"live": " OR ".join(live), "urls": _urls(urls)}
        names["unless_shadow"] = sql.render(sql.read("install/unless_shadow.sql"), names).rstrip(" ")
        names["end_unless"] = "\n        END IF;"
    return sql.render(sql.read("trigger.sql"), table.parts() | names)


def _stage_row(pipeline: Pipeline, position: int, s: Stage) -> str:
    detail = literal(json.dumps(s.detail, ensure_ascii=False)) if isinstance(s, Passage) else "NULL"
    return (
        f"({literal(pipeline.name)}, {literal(s.step)}, {literal(s.entry[0])}, {literal(s.entry[1])}, "
        f"{literal(s.condition)}, {literal(s.kind.value)}, {detail}::jsonb, {position}, "
        f"interval '{s.timeout:f} s', {s.attempts}, {literal(s.advance.value)}, {limits_sql(s)}, "
        f"{str(pipeline.takes_turns(s)).lower()})"
    )


def _statuses(table: JobTable) -> list[str]:
    """The statuses that routes lead from."""
    return list(dict.fromkeys(r.status for r in table.routes))


def _equal(a: str, b: str) -> str:
    return f"{a} OPERATOR(pg_catalog.=) {literal(b)}"


def _among(subject: str, values: Iterable[str]) -> str:
    values = list(values)
    if len(values) == 1:
        return _equal(subject, values[0])
    return f"{subject} OPERATOR(pg_catalog.=) ANY (ARRAY[{', '.join(map(literal, values))}])"


def _unconditional(table: JobTable) -> tuple[Entrance, ...]:
    """The routes of states that do not ask for other columns of the row."""
    asked = {(r.step, r.status) for r in table.routes if r.condition}
    return tuple(r for r in table.routes if (r.step, r.status) not in asked)


def _routes(table: JobTable, routes: Sequence[Entrance]) -> str:
    """The first route of the row's state that its columns fit."""
    one_status = len(_statuses(table)) == 1
    cases = []
    for r in routes:
        parts = [_equal("step", r.step)]
        parts += [] if one_status else [_equal("status", r.status)]
        parts += [fitting(r.condition, "NEW")] if r.condition else []
        cases.append(f"WHEN {' AND '.join(parts)} THEN {literal(r.node)}")
    return " ".join(cases)


def _left_an_entry(table: JobTable, status: str) -> str:
    """Whether the row was at an entry with this status, and has not begun the stage that is called from there."""
    here = [r for r in table.routes if r.status == status]
    step = _old(table.step)
    calls = " ".join(f"WHEN {_equal('step', r.node)} THEN {literal(r.step)}" for r in here if r.calls)
    begun = (
        f" AND ({_equal('status', RUNNING)} AND {step} OPERATOR(pg_catalog.=) CASE {calls} END) IS NOT TRUE"
        if calls
        else ""
    )
    left = _equal(f"({meaning(table.words, _old(table.status))})", status)
    return f"{left} AND {_among(step, dict.fromkeys(r.step for r in here))}{begun}"


def _parent_read(table: JobTable) -> str:
    """Of several columns null where one of them is: the child has no parent."""
    if table.parent is None:
        return ""
    text, present = table.parent[1].text("NEW"), table.parent[1].present("NEW")
    read = text if len(table.parent[1].columns) == 1 else f"CASE WHEN {present} THEN {text} END"
    return f"    parent := {read};\n"


def _parent(table: JobTable) -> str:
    if table.parent is None:
        return ""
    return sql.render(sql.read("trigger_parent.sql"), {"parent_pipeline": literal(table.parent[0])})


def _and_moved(table: JobTable) -> str:
    """A change that is published, from one word to another of the same meaning, is no change of the job."""
    if table.words.plain or table.channel is None:
        return ""
    pairs = [("step", _old(table.step)), ("status", f"({meaning(table.words, _old(table.status))})")]
    pairs += [(_new(c), _old(c)) for c in table.key.columns]
    same = " AND ".join(f"{new} OPERATOR(pg_catalog.=) {old}" for new, old in pairs)
    return f"\n       AND (TG_OP OPERATOR(pg_catalog.=) 'INSERT' OR ({same}) IS NOT TRUE)"


def _urls(urls: Iterable[tuple[str, str]]) -> str:
    return " ".join(f"WHEN next_stage OPERATOR(pg_catalog.=) {literal(s)} THEN {literal(url)}" for s, url in urls)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(literal(word) for word in words)


def _old(column: str) -> str:
    """A column's value before the UPDATE, as text compared byte by byte, for any type and collation."""
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
    """Whether neither status is one that stages write, or that a route leads from, and nothing is published."""
    if table.channel is not None or table.parent is not None:
        return "false"  # a child's end may have any status
    routed = _statuses(table)
    words = {
        f'{_new(table.status)} COLLATE pg_catalog."C"': routed,
        _old(table.status): [*dict.fromkeys((*routed, DONE, RUNNING, FAILED))],
    }
    return " AND ".join(
        f"({meaning(table.words, status)}) OPERATOR(pg_catalog.<>) ALL (ARRAY[{_listed(unlike)}])"
        for status, unlike in words.items()
    )


def trigger_body_md5(table: JobTable) -> str:
    """The fingerprint of the trigger function's body, to tell whether the one in the database is ours."""
    return hashlib.md5(_trigger_body(table).encode(), usedforsecurity=False).hexdigest()


def pipeline_sql(pipeline: Pipeline, *, beside: bool = False) -> str:
    """The text that ``pgbaton sql`` prints: all statements of migrate and attach, for plain psql. ``beside``:
    the table has another pipeline already, whose triggers have the usual names."""
    head = (
        f"-- The schema of pgbaton, then the routes and the trigger of the pipeline {pipeline.name}.\n"
        "-- For plain psql. Safe to run again, and beside running workers. Printed by `pgbaton sql`.\n"
    )
    return f"{head}{migrate_sql()}\n{attach_sql(pipeline, beside=beside)}"


async def planned(
    conn: asyncpg.Connection,
    pipeline: Pipeline,
    *,
    past: Decided | None = None,
    rollout: Rollout | Literal["keep"] | None = "keep",
    counting: bool = True,
) -> Plan:
    """The plan of :func:`attach`; changes nothing. Counts the table's rows, in about a second for 5 million;
    ``counting`` false: only where a state becomes routed.

    ``rollout``: shadow mode as it is to be; ``keep``: as it is. Raises :class:`AttachError` where the table does not
    fit, and :class:`LockNotHad` where it cannot be read.
    """
    table = await read_table(conn, pipeline)
    await check_fits(conn, pipeline, table)
    await check_graph(conn, pipeline, table)
    try:
        attached = await _attached(conn, table)
        row = await installed_settings(conn, pipeline, table.parts() | {"table_literal": literal(table.qualified)})
    except asyncpg.InsufficientPrivilegeError as error:
        raise AttachError(f"no right to attach to {pipeline.table!r}: {error}") from None
    if attached["elsewhere"] is not None:
        raise AttachError(
            f"pipeline.name: {pipeline.name!r} is attached to {attached['elsewhere']}: detach it from there first"
        )
    table = replace(table, beside=attached["beside"])
    kept = Rollout.of(row["rollout"]) if rollout == "keep" else rollout
    if kept is not None:
        kept = kept.calling(pipeline)
    parts = attach_parts(pipeline, replace(table, rollout=kept))
    has = await installed(conn, row, parts)
    settings = {
        "table": row["table"],
        "key": list(pipeline.keys),
        "tenant": pipeline.tenant,
        "step": pipeline.step,
        "status": pipeline.status,
        "channel": pipeline.channel,
        "priority": pipeline.priority,
        "not_before": pipeline.not_before,
        "tier": pipeline.tier,
        "tiers": {name: tier.said_limits for name, tier in pipeline.tiers.items()},
        "pools": {p.name: p.size for p in pipeline.pools if any(s.pool == p.name for s in pipeline.stages)},
        "statuses": {meant: list(words) for meant, words in pipeline.statuses.by_meaning.items()},
    }
    lock = (float(LOCK_TRY.removesuffix("ms")) / 1000, LOCK_PATIENCE)
    rows = (
        await rows_by_state(conn, pipeline, has, parts, LOCK_PATIENCE)
        if counting or newly_routed(pipeline, has)
        else {}
    )
    return plan_of(pipeline, settings, trigger_function(table), has, rows, past=past, rollout=kept, lock=lock)


async def attach(
    conn: asyncpg.Connection,
    pipeline: Pipeline,
    *,
    past: Decided | None = None,
    rate: float = RATE,
    rollout: Rollout | Literal["keep"] | None = "keep",
    here: bool = False,
    told: Callable[[Progress], None] | None = None,
) -> Plan:
    """Install or update routes and trigger; the schema must be migrated. Returns the plan that was carried out.

    ``past``: the decision about rows that stand in a routed state without a dispatch: ``now`` leaves them alone until
    they move, ``backfill`` calls them, ``rate`` a second; ``told`` hears how far that is. ``here``: this database, a
    copy of the one that the pipeline was attached in, is its home from now on.

    Raises :class:`AttachError` where the table does not fit or a right is missing, :class:`PastRows` where rows stand
    in states that become routed and ``past`` is not given, :class:`NotAtHome` in a copy without ``here`` (nothing was
    changed in any of these), and :class:`LockNotHad` where the table was busy.
    """
    plan = await planned(conn, pipeline, past=past, rollout=rollout, counting=False)
    if plan.home == "elsewhere" and not here:
        raise NotAtHome(
            f"the pipeline {pipeline.name!r} was attached in another database, of which this is a copy: "
            "its workers would call the same stages. pgbaton attach --here makes this its home"
        )
    if plan.question:
        raise PastRows(
            f"{Counted(f'{plan.past:,}'):# row of|# rows of} {pipeline.table!r} "
            f"{Counted(plan.past):stands|stand} in routed states already: "
            "pgbaton attach --from now leaves them alone until they move, --backfill --rate 100/s calls them"
        )
    if rollout != "keep":
        past = past or "now"
    script = attach_sql(
        pipeline,
        decided=past or "none",
        rollout=plan.rollout,
        rollout_was=plan.rollout_was,
        moving=here,
        beside=(await _attached(conn, JobTable.of(pipeline)))["beside"],
        lock_timeout=LOCK_TRY,
    )
    await run_script(conn, script, pipeline)
    async for progress in walk(conn, replace(await read_table(conn, pipeline), rollout=plan.rollout), rate):
        if told is not None:
            told(progress)
    return plan


async def detach(conn: asyncpg.Connection, pipeline: Pipeline) -> None:
    """Remove the trigger, its function and the routes; dispatches stay as history, open ones are
    cancelled. The user's table is left as it is. Raises as :func:`attach`.

    The triggers go first: open dispatches end in a transaction of their own, while no writer waits for the table. To
    detach again finishes one that was broken off. A table that was renamed since is found by attach's own record."""
    table = JobTable.of(pipeline)
    table = replace(table, beside=(await _attached(conn, table))["beside"])
    parts = _trigger_parts(table) | {
        "pipeline": literal(pipeline.name),
        "table_literal": literal(table.qualified),
        "function_literal": literal(f"{trigger_function(table)}()"),
        "tag": _free_tag(table.qualified),
        "lock": LOCK,
        "lock_timeout": LOCK_TRY,
    }
    for script in ("detach", "end_open"):
        await run_script(conn, sql.render(sql.read(f"install/{script}.sql"), parts), pipeline, "detach from")


async def _attached(conn: asyncpg.Connection, table: JobTable) -> asyncpg.Record:
    return await conn.fetchrow(sql.read("install/attached.sql"), table.pipeline, table.qualified, list(TRIGGERS))


async def run_script(conn: asyncpg.Connection, script: str, pipeline: Pipeline, act: str = "attach to") -> None:
    """Run a script whose every wait for a lock is short, until it had all of them: while it waits, writers of the table
    wait behind it. ``act``: what is done to the table, for the error of a right that is missing."""
    end = time.monotonic() + LOCK_PATIENCE
    pause = LOCK_PAUSE
    while True:
        try:
            return await _run(conn, script, pipeline, act)
        except asyncpg.LockNotAvailableError:
            if time.monotonic() > end:
                raise busy(pipeline, LOCK_PATIENCE, await holders(conn, JobTable.of(pipeline).qualified)) from None
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
        pause = min(2 * pause, LOCK_PAUSE_CAP)


async def _run(conn: asyncpg.Connection, script: str, pipeline: Pipeline, act: str) -> None:
    try:
        await conn.execute(script)
    except asyncpg.InsufficientPrivilegeError as error:
        raise AttachError(f"no right to {act} {pipeline.table!r}: {error}") from None
    except asyncpg.DuplicateObjectError as error:
        raise AttachError(f"pipeline.table: {error.message}") from None
    except asyncpg.PostgresError as error:
        if error.sqlstate == "PB003":
            raise AttachError(error.message) from None
        raise
    finally:
        if conn.is_in_transaction():
            await conn.execute("ROLLBACK")
