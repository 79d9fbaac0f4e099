"""``pgbaton limit``: see every limit and what fills it, and change one while everything runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import asyncpg
import typer

from pgbaton import adjust
from pgbaton.cli.common import (
    AsJson,
    DatabaseUrl,
    PipelineName,
    TenantName,
    Who,
    app,
    in_seconds,
    new_table,
    out,
    person,
    plain,
    print_json,
    with_table,
)
from pgbaton.insights.limit_use import LimitSeen, limits
from pgbaton.limits import per_second
from pgbaton.table import JobTable

NUMBER = "A whole number, or none."
RATE = "Such as 10/s, 600/min, 1000/h, or none."
MOST = 100_000


@app.command()
def limit(
    stage: Annotated[str | None, typer.Argument(help="A stage.", show_default=False)] = None,
    concurrency: Annotated[str | None, typer.Option(help=f"Its calls at once. {NUMBER}")] = None,
    per_tenant: Annotated[str | None, typer.Option(help=f"One tenant's calls at once. {NUMBER}")] = None,
    rate: Annotated[str | None, typer.Option(help=f"Its calls that may begin. {RATE}")] = None,
    rate_per_tenant: Annotated[str | None, typer.Option(help=f"One tenant's calls that may begin. {RATE}")] = None,
    pool: Annotated[str | None, typer.Option(help="Instead of a stage: a pool.")] = None,
    size: Annotated[str | None, typer.Option(help="Its places.")] = None,
    tenant: TenantName = None,
    weight: Annotated[int | None, typer.Option(min=1, max=100, help="The tenant's calls in one turn.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Back to the file's; forget what a 429 has taught.")] = False,
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show every limit and what fills it; with a stage, a pool or a tenant: change its limits, at once and for all
    workers."""
    of_stage = {"concurrency": _count("--concurrency", concurrency), "rate": _rate("--rate", rate)}
    of_tenant = {
        "per_tenant": _count("--per-tenant", per_tenant),
        "rate_per_tenant": _rate("--rate-per-tenant", rate_per_tenant),
    }
    given: dict[str, float | int | None] = {
        key: None if isinstance(value, str) else value
        for key, value in (of_stage | of_tenant).items()
        if value is not None
    }
    places = _count("--size", size)
    named = [name for name in (stage, pool, tenant) if name is not None]
    if len(named) > 1:
        raise typer.BadParameter("a stage, a pool or a tenant: one of them")
    if not named and (given or places or weight or reset):
        raise typer.BadParameter("name a stage, or a pool with --pool, or a tenant with --tenant")
    if named and not (given or places or weight or reset):
        raise typer.BadParameter("say what to change: --concurrency 4, for example, or --reset")
    if weight is not None and tenant is None:
        raise typer.BadParameter("--weight is a tenant's: name it with --tenant")
    if ((places is not None) and pool is None) or (pool is not None and given):
        raise typer.BadParameter("a pool has a --size, and a --size is a pool's")
    if tenant is not None and (set(given) - set(of_tenant) or None in given.values()):
        raise typer.BadParameter("a tenant has --per-tenant, --rate-per-tenant and --weight; --reset takes them away")

    async def work(conn: asyncpg.Connection, table: JobTable) -> list[LimitSeen] | dict[str, float | int]:
        by = person(who)
        if stage is not None:
            return await adjust.limit_stage(conn, table, stage, given, reset=reset, who=by)
        if pool is not None:
            return {"size": await adjust.limit_pool(conn, table, pool, _whole(places), who=by)}
        if tenant is not None:
            own = {"per_tenant": _whole(given.get("per_tenant")), "rate_per_tenant": given.get("rate_per_tenant")}
            return await adjust.limit_tenant(conn, table, tenant, weight=weight, **own, reset=reset, who=by)  # type: ignore[arg-type]
        return await limits(conn, table.pipeline)

    found = with_table(database_url, pipeline, work)
    if isinstance(found, list):
        _show(found, as_json)
    elif as_json:
        print_json({"of": named[0], "limits": found})
    else:
        said = ", ".join(f"{key} {value:g}" for key, value in found.items()) or "no limit"
        out.print(f"{plain(named[0])}: {said}")


def _show(found: list[LimitSeen], as_json: bool) -> None:
    if as_json:
        print_json([asdict(limit) for limit in found])
        return
    table = new_table("limit", "used", "of", "per tenant", "rate", "tenant's rate", "")
    for seen in found:
        table.add_row(
            plain(seen.limit),
            str(seen.used),
            "-" if seen.size is None else str(seen.size),
            "" if seen.per_tenant is None else str(seen.per_tenant),
            "" if seen.rate is None else f"{seen.rate:g}/s",
            "" if seen.rate_per_tenant is None else f"{seen.rate_per_tenant:g}/s",
            _remark(seen),
        )
    out.print(table if found else "no limits")


def _remark(seen: LimitSeen) -> str:
    said = []
    if seen.of_pool is not None:
        said.append(f"takes {seen.cost} of the pool {seen.of_pool}")
    if seen.ceiling is not None:
        configured = f", {seen.concurrency} configured" if seen.concurrency is not None else ""
        said.append(f"answers 429: {seen.ceiling} at once now{configured}")
    if seen.held_for is not None:
        said.append(f"held back for {in_seconds(seen.held_for)}")
    if seen.operated:
        said.append("set by an operator")
    return "; ".join(said)


def _count(option: str, value: str | None) -> int | str | None:
    if value is None or value == "none":
        return value
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= MOST:
        raise typer.BadParameter(f"{option}: must be a whole number from 1 to {MOST:,}, or none (it is {value!r:.50})")
    return int(value)


def _rate(option: str, value: str | None) -> float | str | None:
    if value is None or value == "none":
        return value
    try:
        return per_second(value)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error} (it is {value!r:.50})") from None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
