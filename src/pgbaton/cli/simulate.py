"""``pgbaton simulate``: try out a file's limits, with time simulated."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgbaton.cli.common import HERE, AsJson, ConfigFile, DatabaseUrl, app, read_by, with_table
from pgbaton.cli.speech import Sentence, language, told
from pgbaton.cli.tables import Column, Format, print_json, print_rows
from pgbaton.times import duration

if TYPE_CHECKING:
    import asyncpg

    from pgbaton.model import Pipeline
    from pgbaton.scenario import Played
    from pgbaton.simulation import Simulated
    from pgbaton.table import JobTable

WAITS: Sentence = ("호출이 기다린 시간, 테넌트별", "how long calls waited, by tenant")
TAKEN: Sentence = ("사용 중인 자리", "places taken")
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


@app.command(
    examples=[
        "pgbaton simulate rush.toml --config pgbaton.toml",
        "pgbaton simulate --last 24h --config tighter.toml --picture waits.svg",
    ]
)
def simulate(
    config: ConfigFile = HERE,
    scenario: Annotated[
        Path | None,
        typer.Argument(metavar="SCENARIO", help="The jobs that come, and the time calls take.", show_default=False),
    ] = None,
    last: Annotated[
        float | None,
        typer.Option(
            metavar="DURATION",
            parser=read_by(duration),
            help="Instead: the jobs and durations of the last 24h, say.",
        ),
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Write the waits and how full the limits are as SVG.")] = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Try out the limits of a file: how long each tenant's jobs would wait, and how many places would stand idle.

    Nothing is called and no database of yours is changed: a Postgres of its own (pgbaton[embedded]) decides as workers
    do, with time simulated. With --last, recent jobs are read from your database.
    """
    from pgbaton.config import load_pipeline
    from pgbaton.scenario import load_scenario

    pipeline = load_pipeline(config)
    if (scenario is None) == (last is None):
        raise typer.BadParameter("a scenario file, or --last 24h: one of them")
    if scenario is not None:
        played = load_scenario(scenario, pipeline).played
    else:
        played = _lately(pipeline, last or 0.0, database_url)
    result = asyncio.run(_run(pipeline, played))
    waits, places = _waits(pipeline, result), _places(pipeline, result)
    if picture is not None:
        _draw(picture, pipeline, result)
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


def _lately(pipeline: Pipeline, seconds: float, database_url: str | None) -> Played:
    from pgbaton.insights.lately import played_lately

    async def work(conn: asyncpg.Connection, _table: JobTable) -> Played:
        return await played_lately(conn, pipeline, seconds)

    return with_table(database_url, pipeline.name, work)


def _draw(path: Path, pipeline: Pipeline, result: Simulated) -> None:
    from pgbaton.errors import ConfigError
    from pgbaton.simulation_picture import picture

    limits = [
        (s.step, s.concurrency, [c for c in result.calls if c.stage == s.step], {s.step: 1})
        for s in pipeline.stages
        if s.concurrency is not None
    ]
    for pool in pipeline.pools:
        costs = {s.step: s.cost or 1 for s in pipeline.stages if s.pool == pool.name}
        limits.append((f"pool {pool.name}", pool.size, [c for c in result.calls if c.stage in costs], costs))
    try:
        path.write_text(picture(result.calls, limits, result.lasted, (told(WAITS), told(TAKEN))), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


async def _run(pipeline: Pipeline, played: Played) -> Simulated:
    import asyncpg

    from pgbaton.embedded import EmbeddedPostgres
    from pgbaton.simulation import Arrival, Simulation

    with tempfile.TemporaryDirectory(prefix="pgbaton-simulate-") as folder:
        async with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as postgres:
            conn = await asyncpg.connect(postgres.dsn())
            try:
                simulation = Simulation(conn, pipeline, played.takes, played.capacity)
                await simulation.prepare()
                return await simulation.run([Arrival(*job) for job in played.jobs])
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
