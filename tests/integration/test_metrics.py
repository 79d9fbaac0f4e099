"""The metrics of a worker and of its pipeline, read as Prometheus would read them."""

from __future__ import annotations

from prometheus_client import REGISTRY

from line import line, until
from stage_server import Call, Say, StageServer, work


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"database": "", "pipeline": "craft", **labels}) or 0.0


async def test_counts_waits_repeats_and_the_dead_are_reported(database: str) -> None:
    async def fail_at_glue(server: StageServer, call: Call) -> Say:
        return await work(server, call) if call.path == "/cut" else Say(500)

    names = {
        "completed": ("pgbaton_attempts_total", {"stage": "cut", "outcome": "completed"}),
        "failed": ("pgbaton_attempts_total", {"stage": "glue", "outcome": "failed"}),
        "repeated": ("pgbaton_repeated_calls_total", {"stage": "glue"}),
        "dead": ("pgbaton_dead_letters_total", {"stage": "glue"}),
        "waits": ("pgbaton_dispatch_wait_seconds_count", {"stage": "glue"}),
        "tenant": ("pgbaton_tenant_attempts_total", {"stage": "cut", "tenant": "acme", "outcome": "completed"}),
    }
    before = {what: value(name, **labels) for what, (name, labels) in names.items()}
    async with (
        line(database, fail_at_glue, glue_attempts=2) as craft,
        craft.worker(metrics_every=0.05, metrics_by_tenant=True),
    ):
        job = await craft.add()
        await craft.until_state(job, "glue", "dead")

        async def counted() -> bool:
            return value("pgbaton_dispatches", stage="glue", state="dead") == 1

        await until(counted, "the gauge shows the dead one")
    gained = {what: value(name, **labels) - before[what] for what, (name, labels) in names.items()}
    assert gained == {"completed": 1, "failed": 2, "repeated": 1, "dead": 1, "waits": 2, "tenant": 1}


async def test_pauses_circuits_and_the_oldest_wait_are_reported(database: str) -> None:
    async with line(database) as craft:
        await craft.add()
        await craft.db.execute("UPDATE pgbaton.due SET created_at = now() - interval '70 s'")
        await craft.db.execute("UPDATE pgbaton.stages SET paused_at = now(), strikes = 1 WHERE step = 'cut'")
        async with craft.worker(metrics_every=0.05):

            async def told() -> bool:
                return value("pgbaton_oldest_ready_seconds", stage="cut") >= 70

            await until(told, "the gauges were refreshed")
        assert value("pgbaton_circuit_state", stage="cut") == 1
        assert value("pgbaton_stage_paused", stage="cut") == 1
        assert value("pgbaton_dispatches", stage="cut", state="available") == 1
        assert value("pgbaton_circuit_state", stage="glue") == 0


async def test_a_lease_that_lapsed_is_counted(database: str) -> None:
    async with line(database) as craft, craft.worker(lease=3):
        before = value("pgbaton_lease_losses_total")
        await craft.db.execute("DELETE FROM pgbaton.workers")

        async def counted() -> bool:
            return value("pgbaton_lease_losses_total") > before

        await until(counted, "the worker found its lease gone")
