"""What attach writes down of limits, and what the trigger leaves beside a duty where tenants take turns."""

from __future__ import annotations

import json

from pgbaton.model import Pipeline, Stage
from pgbaton.table import JobTable, literal


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


def turn_columns(table: JobTable) -> dict[str, str]:
    """What the trigger writes besides where stages take turns: nothing, for the others."""
    if not table.in_turn:
        return {"turn_columns": "", "turn_values": ""}
    steps = ", ".join(literal(step) for step in table.in_turn)
    ranked = f"next_stage OPERATOR(pg_catalog.=) ANY (ARRAY[{steps}])"
    rank, not_before = table.rank("NEW"), table.later("NEW")
    values = f", CASE WHEN ({not_before}) IS NULL AND {ranked} THEN {rank} END"
    if table.not_before is None:
        return {"turn_columns": ", rank", "turn_values": values}
    return {
        "turn_columns": ", rank, not_before",
        "turn_values": f"{values}, CASE WHEN {ranked} THEN {not_before} END",
    }


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
