"""Admission under made-up arrivals, limits and durations, with time simulated: no limit is ever passed, no place stays idle while
somebody could take it, and nobody starves. The rules are reckoned here once more, by counting, in Python."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from line import attached, two_stages
from pgbaton import Pipeline
from pgbaton.errors import ConfigError
from pgbaton.insights.lately import played_lately
from pgbaton.model.limits import Pool, per_second
from pgbaton.scenario import load_scenario
from pgbaton.simulation import Arrival, Called, Simulated, Simulation, quantile
from pgbaton.simulation_picture import picture

PGBATON = Path(sys.executable).with_name("pgbaton")
SECONDS = 1e-6
"""How exactly times are kept."""


async def simulated(
    conn: asyncpg.Connection, pipeline: Pipeline, arrivals: list[Arrival], takes: dict[str, float]
) -> Simulated:
    await conn.execute("DROP SCHEMA IF EXISTS pgbaton CASCADE; DROP TABLE IF EXISTS jobs CASCADE")
    simulation = Simulation(conn, pipeline, lambda stage: takes[stage])
    await simulation.prepare()
    return await simulation.run(arrivals)


def overlapping(calls: list[Called], now: float) -> list[Called]:
    return [c for c in calls if c.began <= now + SECONDS and c.ended > now + SECONDS]


def passed(pipeline: Pipeline, calls: list[Called]) -> list[str]:
    """The limits that are passed at some moment, by counting calls that overlap, or began within a second."""
    found = []
    for now in {c.began for c in calls}:
        running = overlapping(calls, now)
        for stage in pipeline.stages:
            mine = [c for c in running if c.stage == stage.step]
            if stage.concurrency is not None and len(mine) > stage.concurrency:
                found.append(f"{stage.step}: concurrency")
            if (
                stage.per_tenant is not None
                and max(Counter(c.tenant for c in mine).values(), default=0) > stage.per_tenant
            ):
                found.append(f"{stage.step}: per_tenant")
            if stage.rate is not None:
                rate = per_second(stage.rate)
                for length in (0.5, 1.0, 3.0):
                    begun = [c for c in calls if c.stage == stage.step and now - length < c.began <= now]
                    if len(begun) > max(rate, 1) + rate * length + 1e-3:
                        found.append(f"{stage.step}: rate")
        for pool in pipeline.pools:
            costs = {s.step: s.cost or 1 for s in pipeline.stages if s.pool == pool.name}
            if sum(costs.get(c.stage, 0) for c in running) > pool.size:
                found.append(f"pool {pool.name}")
    return found


def idle(pipeline: Pipeline, calls: list[Called]) -> list[str]:
    """Moments at which a call waited though no limit kept it: only where there are no rates, and no call costs more than
    one place (a pool is kept for a dear call on purpose)."""
    found = []
    for now in sorted({c.began for c in calls} | {c.ended for c in calls}):
        running = overlapping(calls, now)
        for call in (c for c in calls if c.due <= now - SECONDS and c.began > now + SECONDS):
            stage = pipeline.stage(call.stage)
            mine = [c for c in running if c.stage == call.stage]
            kept = stage.concurrency is not None and len(mine) >= stage.concurrency
            kept |= stage.per_tenant is not None and sum(c.tenant == call.tenant for c in mine) >= stage.per_tenant
            if stage.pool is not None:
                size = next(p.size for p in pipeline.pools if p.name == stage.pool)
                kept |= sum(pipeline.stage(c.stage).pool == stage.pool for c in running) >= size
            if not kept:
                found.append(f"{call} at {now}")
    return found


some = st.one_of(st.none(), st.integers(1, 4))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Pipeline, list[Arrival], dict[str, float], bool]:
    shared = draw(st.booleans())
    dear = shared and draw(st.booleans())
    rate = draw(st.one_of(st.none(), st.sampled_from(["2/s", "30/min", "5/s"])))
    limits: dict[str, Any] = {
        "cut_concurrency": draw(some),
        "cut_per_tenant": draw(some),
        "glue_per_tenant": draw(some),
    }
    if shared:
        limits |= {"pools": (Pool(name="gpu", size=draw(st.integers(2, 4))),), "cut_pool": "gpu", "glue_pool": "gpu"}
        limits |= {"glue_cost": 2} if dear else {}
    pipeline = two_stages(**limits, cut_rate=rate)
    times = st.floats(0, 5).map(lambda t: round(t, 2))
    arrivals = draw(
        st.lists(st.builds(Arrival, times, st.sampled_from(["a", "b", "c", None])), min_size=1, max_size=25)
    )
    takes = {"cut": draw(st.sampled_from([0.1, 1.0])), "glue": draw(st.sampled_from([0.3, 2.0]))}
    return pipeline, arrivals, takes, not dear and rate is None


def test_for_any_arrivals_and_limits_no_limit_is_passed_and_no_place_is_idle(database: str) -> None:
    with asyncio.Runner() as runner:
        conn = runner.run(asyncpg.connect(database))

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
        @given(cases())
        def holds(case: tuple[Pipeline, list[Arrival], dict[str, float], bool]) -> None:
            pipeline, arrivals, takes, work_conserving = case
            calls = runner.run(simulated(conn, pipeline, arrivals, takes)).calls
            assert len(calls) == 2 * len(arrivals), "somebody starves"
            assert passed(pipeline, calls) == []
            if work_conserving:
                assert idle(pipeline, calls) == []

        holds()
        runner.run(conn.close())


async def test_a_single_job_behind_many_waits_for_its_turn_and_not_for_their_end(database: str) -> None:
    conn = await asyncpg.connect(database)
    pipeline = two_stages(cut_concurrency=2)
    arrivals = [Arrival(0, "big")] * 60 + [Arrival(5, "small")]
    result = await simulated(conn, pipeline, arrivals, {"cut": 1.0, "glue": 0.1})
    await conn.close()
    waits = result.waits("cut")
    assert waits["small"][0] <= 2.0
    assert quantile(waits["big"], 1) > 25
    assert result.busy(["cut"]) == pytest.approx(61)


SCENARIO = '[calls]\ncut = 1\nglue = 0.5\n[[arrivals]]\ntenant = "big"\njobs = 3\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SCENARIO.replace("glue = 0.5\n", ""), "calls: say how many seconds a call of glue takes"),
        (SCENARIO.replace("glue =", "glaze ="), "calls.glaze: no such stage; there are: cut, glue"),
        (SCENARIO.replace("jobs = 3", "jobs = 0"), "arrivals.0.jobs"),
        (SCENARIO.replace("jobs = 3", "jobs = 20000\n[[arrivals]]\njobs = 1"), "20001 jobs together; at most 20000"),
        (SCENARIO.replace("cut = 1", "cut = 0"), "calls.cut"),
        (SCENARIO + "priority = 2\n", "arrivals.0.priority: the pipeline has no column of priorities"),
        (SCENARIO + "at = \n", "Invalid value"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "rush.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        load_scenario(file, two_stages())
    assert str(file) in str(refused.value)


async def test_jobs_of_late_are_played_again_with_the_durations_that_there_were(database: str) -> None:
    async with attached(database, two_stages()) as db:
        await db.execute(
            "INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, run, outcome, state, "
            "                             created_at, started_at, ended_at) "
            "SELECT 2 * n + (s = 'glue')::int, 1, true, 'craft', n::text, 'a', s, 2 * n, 'completed', 'completed', t, t, "
            "       t + CASE s WHEN 'cut' THEN interval '2 s' ELSE interval '3 s' END "
            "  FROM generate_series(1, 4) AS n, unnest(ARRAY['cut', 'glue']) AS s, "
            "       LATERAL (SELECT now() - (n * 10 || ' min')::interval AS t) AS o"
        )
        async with db.acquire() as conn:
            played = await played_lately(conn, two_stages(), 1900)
            with pytest.raises(ConfigError, match="ask for a longer one"):
                await played_lately(conn, two_stages(), 60)
        assert [(round(at), tenant) for at, tenant, _ in played.jobs] == [(0, "a"), (600, "a"), (1200, "a")]
        assert (played.takes("cut"), played.takes("glue")) == (pytest.approx(2), pytest.approx(3))


def test_a_picture_shows_the_waits_and_escapes_the_names() -> None:
    calls = [Called("cut", "<b>", 0, 1, 3), Called("cut", None, 0, 0, 2)]
    drawn = picture(calls, [("cut", 2, calls, {"cut": 1})], 3, ("waits", "taken"))
    assert "&lt;b&gt;" in drawn
    assert "<b>" not in drawn
    assert drawn.count("<circle") == 2


def test_the_command_says_who_waits_and_what_is_idle(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    config = root / "apps/adstudio/src/adstudio/pgbaton.toml"
    rush = str(root / "examples/simulate/rush.toml")
    ran = subprocess.run(
        [PGBATON, "simulate", rush, "--config", str(config), "--json", "--picture", str(tmp_path / "rush.svg")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (tmp_path / "rush.svg").read_text(encoding="utf-8").startswith("<svg")
    said = json.loads(ran.stdout)
    waits = {(row["stage"], row["tenant"]): row["longest_wait"] for row in said["waits"]}
    assert waits["vlm_analyze", "dallae"] <= 2 < waits["vlm_analyze", "hanbit"]
    (pool,) = [row for row in said["limits"] if row["limit"] == "pool vision"]
    assert 0.5 < pool["busy"] <= 1
