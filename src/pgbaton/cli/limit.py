"""``pgbaton limit``: see every limit and the calls that fill it, and change one while everything runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pgbaton.cli.common import AsJson, DatabaseUrl, PipelineName, TenantName, Who, app, person, with_table
from pgbaton.cli.speech import Sentence, language, tell, told
from pgbaton.cli.tables import Column, Format, plain, print_json, print_rows

if TYPE_CHECKING:
    import asyncpg

    from pgbaton.insights.limit_use import LimitSeen
    from pgbaton.table import JobTable

NO_LIMITS: Sentence = ("한도가 없습니다", "no limits")
NO_LIMIT: Sentence = ("한도 없음", "no limit")
TAKES: Sentence = ("풀 {pool}에서 {cost} 사용", "takes {cost} of the pool {pool}")
LEARNED: Sentence = ("429로 응답: 지금은 동시 {ceiling}건", "answers 429: {ceiling} at once now")
CONFIGURED: Sentence = ("(설정값 {concurrency}건)", ", {concurrency} configured")
HELD: Sentence = ("호출 멈춤, {seconds}초 뒤 재개", "held back for {seconds} s")
OPERATED: Sentence = ("운영자가 설정함", "set by an operator")
LIMITS = [
    Column("limit", "한도"),
    Column("used", "사용 중", number=True),
    Column("of", "최대", number=True),
    Column("per_tenant", "테넌트당", number=True),
    Column("rate", "속도", number=True),
    Column("rate_per_tenant", "테넌트당 속도", number=True),
    Column("remark", "비고", text=True),
]
NUMBER = "A whole number, or none."
RATE = "Such as 10/s, 600/min, 1000/h, or none."


@app.command(
    examples=["pgbaton limit", "pgbaton limit planner --concurrency 4", "pgbaton limit --tenant acme --weight 3"]
)
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
    reset: Annotated[bool, typer.Option("--reset", help="Back to the file's; forget answers 429.")] = False,
    who: Who = None,
    pipeline: PipelineName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show every limit and the calls that fill it, or change one.

    With a stage, a pool or a tenant: its limits are changed at once, for all workers, until --reset.
    """
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
        from pgbaton.insights.limit_use import limits
        from pgbaton.operate import adjust

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
        said = ", ".join(f"{key} {value:g}" for key, value in found.items()) or told(NO_LIMIT)
        print(f"{plain(named[0])}: {said}")


def _show(found: list[LimitSeen], as_json: bool) -> None:
    if as_json:
        print_json([asdict(limit) for limit in found])
        return
    if not found:
        tell(NO_LIMITS)
        return
    rows = [
        [s.limit, s.used, s.size, s.per_tenant, _a_second(s.rate), _a_second(s.rate_per_tenant), _remark(s)]
        for s in found
    ]
    print_rows(LIMITS, rows, Format.TABLE, language())


def _a_second(rate: float | None) -> str | None:
    return None if rate is None else f"{rate:g}/s"


def _remark(seen: LimitSeen) -> str:
    said = []
    if seen.of_pool is not None:
        said.append(told(TAKES, cost=seen.cost, pool=seen.of_pool))
    if seen.ceiling is not None:
        configured = "" if seen.concurrency is None else told(CONFIGURED, concurrency=seen.concurrency)
        said.append(told(LEARNED, ceiling=seen.ceiling) + configured)
    if seen.held_for is not None:
        said.append(told(HELD, seconds=f"{seen.held_for:.0f}"))
    if seen.operated:
        said.append(told(OPERATED))
    return "; ".join(said)


def _count(option: str, value: str | None) -> int | str | None:
    from pgbaton.model.limits import MOST_AT_ONCE

    if value is None or value == "none":
        return value
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= MOST_AT_ONCE:
        said = f"must be a whole number from 1 to {MOST_AT_ONCE:,}, or none (it is {value!r:.50})"
        raise typer.BadParameter(f"{option}: {said}")
    return int(value)


def _rate(option: str, value: str | None) -> float | str | None:
    from pgbaton.model.limits import read_rate

    return value if value in (None, "none") else read_rate(option, value)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
