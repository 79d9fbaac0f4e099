"""The cost of children: the command behind ``make bench-families``.

Two shares of the rate of plain rows, medians of rounds that take turns: parents with three children each, and one
parent with ten thousand. A child goes through two calls, as a plain row does; calls are answered at once, and the
engine writes running and done (``advance = "engine"``). The clock of families runs from the start of their engines to
the last parent's move. One process runs both engines of the families, as it runs the one of the plain rows.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
from pydantic import SecretStr

from benchmarks.ground import Ground
from benchmarks.jobs import IN_FLIGHT, TABLE
from benchmarks.stage_server import StageServer
from pgbaton import Engine, Pipeline, Settings
from pgbaton.install.attach import attach
from pgbaton.install.migrate import migrate

PARENTS, CHILDREN, MANY = 1000, 3, 10_000
FEWEST_OF_THREE, FEWEST_OF_MANY = 0.8, 0.9
"""Shares of the plain rows' rate that families have to reach."""
PATIENCE = 60.0
TABLES = """
CREATE TABLE parents (id bigint PRIMARY KEY, step text NOT NULL, status text NOT NULL) WITH (fillfactor = 70);
CREATE TABLE kids (id bigint PRIMARY KEY, parent bigint NOT NULL, step text NOT NULL, status text NOT NULL)
  WITH (fillfactor = 70);
CREATE INDEX ON kids (parent);
CREATE TABLE plain (LIKE kids INCLUDING ALL) WITH (fillfactor = 70);
"""


def line(name: str, table: str, url: str, **rest: Any) -> Pipeline:
    """Rows through two calls, of which the engine keeps the state."""
    stages = [
        {"step": step, "after": after, "path": "/count", "advance": "engine"}
        for after, step in (("made", "draw"), ("draw", "judge"))
    ]
    given = {"name": name, "table": table, "key": "id", "step": "step", "status": "status", "base_url": url}
    return Pipeline.model_validate(given | {"stage": stages} | rest)


def parents(url: str) -> Pipeline:
    gather = {
        "at": ["kids", "waiting"],
        "children": "kids",
        "done": ["judge", "done"],
        "to": ["kids", "done"],
        "then": ["kids", "failed"],
    }
    route = {"after": "start", "to": ["kids", "waiting"]}
    stage = {"step": "never", "after": "kids", "status": "failed", "path": "/count"}
    return line("parents", "parents", url, stage=[stage], route=[route], gather=[gather])


async def rate(ground: Ground, families: int, children: int, *, related: bool) -> float:
    """Calls a second of ``families`` × ``children`` rows, until the last row, or the last parent, is at its end."""
    name = f"families_{time.monotonic_ns()}"
    await ground.execute(f"CREATE DATABASE {name}")
    dsn = ground.dsn(name)
    db = await asyncpg.connect(dsn)
    try:
        await db.execute(f"{TABLE};{TABLES}")  # the stage server prepares its statements for jobs
        async with StageServer.on(ground, dsn) as stage, AsyncExitStack() as stack:
            lines = [line("plain", "plain", stage.url)]
            if related:
                of = {"pipeline": "parents", "key": "parent"}
                lines = [line("kids", "kids", stage.url, parent=of), parents(stage.url)]
            await migrate(db)
            for pipeline in lines:
                await attach(db, pipeline)
            await db.execute(
                f"INSERT INTO {'kids' if related else 'plain'} "
                "SELECT n, n % $1::int, 'made', 'done' FROM generate_series(1, $1::int * $2::int) AS n",
                *(families, children),
            )
            if related:
                await db.execute(
                    "INSERT INTO parents SELECT n, 'kids', 'waiting' FROM generate_series(0, $1::int - 1) AS n",
                    families,
                )
            await db.execute("ANALYZE")
            began = time.monotonic()
            for pipeline in lines:
                settings = Settings(database_url=SecretStr(dsn), capacity=IN_FLIGHT)
                await stack.enter_async_context(Engine(pipeline, settings))
            left = "SELECT NOT EXISTS (SELECT FROM plain WHERE (step, status) <> ('judge', 'done'))"
            if related:
                left = "SELECT NOT EXISTS (SELECT FROM parents WHERE (step, status) <> ('kids', 'done'))"
            async with asyncio.timeout(PATIENCE):
                while not await db.fetchval(left):
                    await asyncio.sleep(0.02)
            return 2 * families * children / (time.monotonic() - began)
    finally:
        await db.close()
        await ground.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def measure(size: float, rounds: int, only: str | None = None) -> bool:
    """Print what was measured; whether both shares are reached."""
    reached = True
    async with Ground.prepared() as ground:
        for name, what, families, children, fewest in (
            ("three", "parents with 3 children each", round(PARENTS * size), CHILDREN, FEWEST_OF_THREE),
            ("many", "one parent with all of them", 1, round(MANY * size), FEWEST_OF_MANY),
        ):
            if only not in (None, name):
                continue
            plain: list[float] = []
            related: list[float] = []
            for _ in range(rounds):
                plain.append(await rate(ground, families, children, related=False))
                related.append(await rate(ground, families, children, related=True))
            share = statistics.median(related) / statistics.median(plain)
            reached = reached and share >= fewest
            print(
                f"{what}, {families * children} rows: {statistics.median(related):.0f} calls/s, "
                f"plain rows {statistics.median(plain):.0f} calls/s: {share:.2f} (at least {fewest})",
                flush=True,
            )
    return reached


def main() -> int:
    import uvloop

    parser = argparse.ArgumentParser(prog="benchmarks.families", description=__doc__)
    parser.add_argument("--size", type=float, default=1.0, help="share of the usual amount, for a quick look")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("three", "many"), help="parents with three children, or one with many")
    given = parser.parse_args()
    return 0 if uvloop.run(measure(given.size, given.rounds, given.only)) else 1


if __name__ == "__main__":
    sys.exit(main())
