"""What attach writes down of limits, and what the trigger leaves beside a duty where tenants take turns."""

from __future__ import annotations

import json

from pgbaton.model import Pipeline, Stage
from pgbaton.sql import literal
from pgbaton.table import JobTable


def limits_sql(stage: Stage) -> str:
    return f"{literal(json.dumps(stage.said_limits))}::jsonb"


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
    """What the trigger reads and writes besides where stages take turns: nothing, for the others. A duty without a rank
    would wait for ever, so it gets one even where the row could not be read."""
    if not table.in_turn:
        return dict.fromkeys(("turn_declared", "turn_read", "turn_columns", "turn_values"), "")
    steps = ", ".join(literal(step) for step in table.in_turn)
    ranked = f"next_stage OPERATOR(pg_catalog.=) ANY (ARRAY[{steps}])"
    later = table.not_before is not None
    at_once = " AND not_before IS NULL" if later else ""
    rank = f"CASE WHEN {ranked}{at_once} THEN COALESCE(rank, pg_catalog.clock_timestamp()) END"
    return {
        "turn_declared": _lines("rank pg_catalog.timestamptz;", later and "not_before pg_catalog.timestamptz;"),
        "turn_read": _lines(f"rank := {table.rank('NEW')};", later and f"not_before := {table.later('NEW')};"),
        "turn_columns": ", rank" + (", not_before" if later else ""),
        "turn_values": f", {rank}" + (f", CASE WHEN {ranked} THEN not_before END" if later else ""),
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


def _lines(*statements: str | bool) -> str:
    return "".join(f"\n    {said}" for said in statements if said)
