"""What attach writes down of limits, and what the trigger leaves beside a duty where tenants take turns."""

from __future__ import annotations

import json

from pgbaton.model import Pipeline, Stage
from pgbaton.table import JobTable, literal, quoted


def limits_sql(stage: Stage) -> str:
    said = {key: value for key, value in stage.as_attached().items() if value is not None}
    return f"{literal(json.dumps(said))}::jsonb"


def pools_sql(pipeline: Pipeline) -> str:
    """A pool that an operator has resized keeps that size."""
    if not pipeline.pools:
        return ""
    rows = ", ".join(f"({literal(p.name)}, {p.size})" for p in sorted(pipeline.pools, key=lambda p: p.name))
    return (
        f"INSERT INTO pgbaton.pools AS p (name, attached) VALUES {rows}\n"  # noqa: S608 (quoted literals)
        "ON CONFLICT (name) DO UPDATE SET attached = EXCLUDED.attached WHERE p.attached <> EXCLUDED.attached;\n"
    )


PRIORITY_WEIGHT = 300
"""Seconds that one step of priority is worth: a job goes before one of the next lower priority that came up to so much
earlier, and no later job passes one that has waited for longer. So nothing starves, and the order never changes."""
PRIORITY_BOUND = 100
"""Priorities beyond it count as it, on both sides of 0."""


def turn_columns(table: JobTable) -> dict[str, str]:
    """What the trigger writes besides where stages take turns: nothing, for the others."""
    if not table.in_turn:
        return {"turn_columns": "", "turn_values": ""}
    now = "pg_catalog.clock_timestamp()"
    rank = now
    if table.priority is not None:
        clamped = f"LEAST(GREATEST(COALESCE(NEW.{quoted(table.priority)}, 0), -{PRIORITY_BOUND}), {PRIORITY_BOUND})"
        seconds = f"({clamped})::pg_catalog.float8 OPERATOR(pg_catalog.*) {PRIORITY_WEIGHT}::pg_catalog.float8"
        rank = f"{now} OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => {seconds})"
    steps = ", ".join(literal(step) for step in table.in_turn)
    ranked = f"next_stage OPERATOR(pg_catalog.=) ANY (ARRAY[{steps}])"
    columns, values = ", rank", f", CASE WHEN {ranked} THEN {rank} END"
    if table.not_before is not None:
        at = f"NEW.{quoted(table.not_before)}::pg_catalog.timestamptz"
        later = f"{at} OPERATOR(pg_catalog.>) {now}"
        columns += ", not_before"
        values = (
            f", CASE WHEN ({later}) IS NOT TRUE AND {ranked} THEN {rank} END, "
            f"CASE WHEN {later} AND {ranked} THEN {at} END"
        )
    return {"turn_columns": columns, "turn_values": values}


def ranks_sql(table: JobTable) -> str:
    """Duties from before the stages took turns get their rank by their time."""
    if not table.in_turn:
        return "\n"
    steps = ", ".join(literal(step) for step in table.in_turn)
    return (
        "\n-- Duties from before these stages took turns.\n"
        f"UPDATE pgbaton.due SET rank = created_at WHERE pipeline = {literal(table.pipeline)} AND stage IN ({steps})\n"
        "   AND rank IS NULL AND not_before IS NULL;\n"
    )
