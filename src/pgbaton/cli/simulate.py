"""``pgbaton simulate``: what would come of a file's limits, with time simulated."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgbaton.cli.common import AsJson, ConfigFile, app
from pgbaton.cli.speech import language
from pgbaton.cli.tables import Column, Format, print_json, print_rows

if TYPE_CHECKING:
    from pgbaton.model import Pipeline
    from pgbaton.scenario import Scenario
    from pgbaton.simulation import Simulated

TENANTS = [
    Column("stage", "단계"),
    Column("tenant", "테넌트"),
    Column("calls", "호출", number=True),
    Column("median_wait", "대기 중앙값", number=True),
    Column("p95_wait", "대기 p95", number=True),
    Column("longest_wait", "최대 대기", number=True),
]
PLACES = [
    Column("limit", "한도"),
    Column("places", "자리", number=True),
    Column("busy", "사용률", number=True),
    Column("lasted", "걸린 시간", number=True),
]


@app.command(examples=["pgbaton simulate rush.toml --config pgbaton.toml"])
def simulate(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO", help="The jobs that come, and the time calls take.")],
    config: ConfigFile,
    as_json: AsJson = False,
) -> None:
    """Try out the limits of a file: who would wait for how long, and what would stand idle.

    Nothing is called and no database of yours is touched: a Postgres of its own (pgbaton[embedded]) decides as workers
    do, with time simulated.
    """
    from pgbaton.config import load_pipeline
    from pgbaton.scenario import load_scenario

    pipeline = load_pipeline(config)
    found = load_scenario(scenario, pipeline)
    result = asyncio.run(_run(pipeline, found))
    waits, places = _waits(pipeline, result), _places(pipeline, result)
    if as_json:
        print_json(
            {
                "waits": [dict(zip((c.name for c in TENANTS), row, strict=True)) for row in waits],
                "limits": [dict(zip((c.name for c in PLACES), row, strict=True)) for row in places],
            }
        )
        return
    seconds = [[*row[:3], *(f"{wait:.1f} s" for wait in row[3:])] for row in waits]
    print_rows(TENANTS, seconds, Format.TABLE, language())
    if places:
        print()
        rows = [[name, size, f"{busy:.0%}", f"{lasted:.1f} s"] for name, size, busy, lasted in places]
        print_rows(PLACES, rows, Format.TABLE, language())


async def _run(pipeline: Pipeline, scenario: Scenario) -> Simulated:
    import asyncpg

    from pgbaton.embedded import EmbeddedPostgres
    from pgbaton.simulation import Arrival, Simulation

    with tempfile.TemporaryDirectory(prefix="pgbaton-simulate-") as folder:
        async with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as postgres:
            conn = await asyncpg.connect(postgres.dsn())
            try:
                simulation = Simulation(conn, pipeline, scenario.calls.__getitem__, scenario.capacity)
                await simulation.prepare()
                return await simulation.run([Arrival(*job) for job in scenario.jobs()])
            finally:
                await conn.close()


def _waits(pipeline: Pipeline, result: Simulated) -> list[tuple[str, str | None, int, float, float, float]]:
    from pgbaton.simulation import quantile

    return [
        (stage.step, tenant, len(waits), quantile(waits, 0.5), quantile(waits, 0.95), max(waits))
        for stage in pipeline.stages
        for tenant, waits in sorted(result.waits(stage.step).items(), key=lambda item: item[0] or "")
    ]


def _places(pipeline: Pipeline, result: Simulated) -> list[tuple[str, int, float, float]]:
    """Limits of calls at once, and the share of their place-seconds that was used until the last call had ended."""
    cost = {s.step: s.cost or 1 for s in pipeline.stages}
    limits = [(s.step, s.concurrency, [s.step]) for s in pipeline.stages if s.concurrency is not None]
    used = {step: result.busy([step]) for step in cost}
    found = [(step, size, sum(used[of] for of in stages)) for step, size, stages in limits]
    for pool in pipeline.pools:
        of = [s.step for s in pipeline.stages if s.pool == pool.name]
        found.append((f"pool {pool.name}", pool.size, sum(used[step] * cost[step] for step in of)))
    return [(name, size, busy / (size * result.lasted), result.lasted) for name, size, busy in found]
