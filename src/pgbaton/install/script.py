"""The script that attaches a pipeline, for any client: its routes as rows, two triggers with one function."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Literal

from pgbaton import sql
from pgbaton.install.limits import limits_sql, pools_sql, ranks_sql, tiers_sql
from pgbaton.install.migrate import LOCK, migrate_sql
from pgbaton.install.names import trigger_function, trigger_names
from pgbaton.install.trigger import listed, trigger_body, trigger_body_md5
from pgbaton.model import Passage, Pipeline, Stage
from pgbaton.rollout import Rollout
from pgbaton.sql import literal, quoted
from pgbaton.table import JobTable, fitting

LOCK_TIMEOUT = "3s"
"""How long the plain script waits for a lock."""

Decided = Literal["now", "backfill"]
"""The two ways with rows that stand in a routed state already: left alone until they move, or called."""


def pipeline_sql(pipeline: Pipeline, *, beside: bool = False) -> str:
    """The text that ``pgbaton sql`` prints: all statements of migrate and attach, for plain psql. ``beside``:
    the table has another pipeline already, whose triggers have the usual names."""
    head = (
        f"-- The schema of pgbaton, then the routes and the trigger of the pipeline {pipeline.name}.\n"
        "-- For plain psql. Safe to run again, and beside running workers. Printed by `pgbaton sql`.\n"
    )
    return f"{head}{migrate_sql()}\n{attach_sql(pipeline, beside=beside)}"


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


def detach_sql(table: JobTable, lock_timeout: str = LOCK_TIMEOUT) -> tuple[str, str]:
    """The scripts that detach a pipeline, a transaction each: its triggers first, then its open dispatches."""
    parts = _trigger_parts(table) | {
        "pipeline": literal(table.pipeline),
        "table_literal": literal(table.qualified),
        "function_literal": literal(f"{trigger_function(table)}()"),
        "tag": _free_tag(table.qualified),
        "lock": LOCK,
        "lock_timeout": lock_timeout,
    }
    first, second = (sql.render(sql.read(f"install/{name}.sql"), parts) for name in ("detach", "end_open"))
    return first, second


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
        "keys": f"ARRAY[{listed(pipeline.keys)}]",
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
        "parent_key": f"ARRAY[{listed(table.parent[1].columns)}]" if table.parent else "NULL::text[]",
        "conditions": ", ".join(("true", *(fitting(r.condition, "new") for r in table.routes if r.condition))),
        "table_name": literal(f"{table.schema}.{table.name}"),
        "column_names": listed(c for _, c in table.columns),
        "stage_rows": ",\n       ".join(stages),
        "stage_routes": ", ".join(routes),
        "entries": ", ".join(f"({literal(s.entry[0])}, {literal(s.entry[1])})" for s in pipeline.nodes),
        "function": function,
        "function_name": literal(function),
        "function_literal": literal(f"{function}()"),
        **_trigger_parts(table),
        "tag": _free_tag(table.qualified + function + trigger_body(table)),
        "body": trigger_body(table),
        "body_md5": trigger_body_md5(table),
    }


def _trigger_parts(table: JobTable) -> dict[str, str]:
    on_update, on_insert = trigger_names(table)
    return {
        "triggers": f"ARRAY[{listed((on_update, on_insert))}]",
        "on_update": literal(on_update),
        "on_insert": literal(on_insert),
        "update_trigger": quoted(on_update),
        "insert_trigger": quoted(on_insert),
    }


def _stage_row(pipeline: Pipeline, position: int, s: Stage) -> str:
    detail = literal(json.dumps(s.detail, ensure_ascii=False)) if isinstance(s, Passage) else "NULL"
    return (
        f"({literal(pipeline.name)}, {literal(s.step)}, {literal(s.entry[0])}, {literal(s.entry[1])}, "
        f"{literal(s.condition)}, {literal(s.kind.value)}, {detail}::jsonb, {position}, "
        f"interval '{s.timeout:f} s', {s.attempts}, {literal(s.advance.value)}, {limits_sql(s)}, "
        f"{str(pipeline.takes_turns(s)).lower()})"
    )


def _free_tag(names: str) -> str:
    """A tag for the script's dollar quotes, so that no name in it can end one; nearly always empty."""
    return next(tag for tag in ("", *(f"_{n}" for n in range(100))) if f"{tag}$" not in names)
