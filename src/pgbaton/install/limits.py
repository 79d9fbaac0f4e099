"""The limits that attach writes down, and the rank that the trigger leaves beside a duty where tenants take turns."""

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


def tiers_sql(pipeline: Pipeline) -> str:
    """The tiers of the file, and no others."""
    kept = ", ".join(["''", *(literal(name) for name in pipeline.tiers)])
    said = "".join(
        "INSERT INTO pgbaton.tiers AS t (pipeline, tier, weight, per_tenant, rate_per_tenant)\n"
        f"SELECT {literal(pipeline.name)}, {literal(name)}, n.*\n"
        f"  FROM jsonb_to_record({literal(json.dumps(tier.said_limits))}) "
        "AS n (weight integer, per_tenant integer, rate_per_tenant float8)\n"
        "ON CONFLICT (pipeline, tier) DO UPDATE SET weight = EXCLUDED.weight, per_tenant = EXCLUDED.per_tenant,\n"
        "       rate_per_tenant = EXCLUDED.rate_per_tenant\n"
        " WHERE (t.weight, t.per_tenant, t.rate_per_tenant)\n"
        "       IS DISTINCT FROM (EXCLUDED.weight, EXCLUDED.per_tenant, EXCLUDED.rate_per_tenant);\n"
        for name, tier in sorted(pipeline.tiers.items())
    )
    these = f"pipeline = {literal(pipeline.name)} AND tier NOT IN ({kept})"
    return f"DELETE FROM pgbaton.tiers WHERE {these};\n{said}"  # noqa: S608 (quoted literals)


def turn_columns(table: JobTable) -> dict[str, str]:
    """The trigger's reads and writes where tenants take turns; none for other stages. A duty gets a rank even where the
    row could not be read: without one it would wait for ever."""
    if not table.in_turn:
        return dict.fromkeys(("turn_declared", "turn_read", "turn_columns", "turn_values"), "")
    steps = ", ".join(literal(step) for step in table.in_turn)
    ranked = f"next_stage OPERATOR(pg_catalog.=) ANY (ARRAY[{steps}])"
    later = table.not_before is not None
    at_once = " AND not_before IS NULL" if later else ""
    rank = f"CASE WHEN {ranked}{at_once} THEN COALESCE(rank, pg_catalog.clock_timestamp()) END"
    accounts = " ".join(
        f"WHEN next_stage OPERATOR(pg_catalog.=) {literal(step)} THEN {table.account('NEW', column)}"
        for step, column in table.accounts
    )
    more = {
        "not_before": (later, "timestamptz", table.later("NEW"), f"CASE WHEN {ranked} THEN not_before END"),
        "account": (bool(accounts), "text", f"CASE {accounts} END", "account"),
        "tier": (table.tier is not None, "text", table.tenants_tier("NEW"), f"CASE WHEN {ranked} THEN tier END"),
    }
    asked = {name: rest for name, (wanted, *rest) in more.items() if wanted}
    return {
        "turn_declared": _lines(
            "rank pg_catalog.timestamptz;", *(f"{n} pg_catalog.{t};" for n, (t, _, _) in asked.items())
        ),
        "turn_read": _lines(f"rank := {table.rank('NEW')};", *(f"{n} := {read};" for n, (_, read, _) in asked.items())),
        "turn_columns": "".join(f", {name}" for name in ("rank", *asked)),
        "turn_values": "".join(f", {value}" for value in (rank, *(left for _, _, left in asked.values()))),
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
