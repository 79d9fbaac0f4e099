"""pgbaton, without and with a channel on which every change is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import SecretStr

from benchmarks.contestants.base import Contestant, session
from benchmarks.jobs import ENTRY, IN_FLIGHT, STEPS
from pgbaton import Engine, Pipeline, Settings, Stage
from pgbaton.install.attach import attach
from pgbaton.install.migrate import migrate
from pgbaton.model.limits import Pool


class Pgbaton(Contestant):
    name = "pgbaton"
    label = "pgbaton without a channel"
    package = "pgbaton"
    jobs = 3000
    channel: ClassVar[str | None] = None
    limits: ClassVar[Mapping[str, Any]] = {}
    pools: ClassVar[tuple[Pool, ...]] = ()

    def pipeline(self, url: str) -> Pipeline:
        """Five hops to the stages at ``url``."""
        afters = (ENTRY, *STEPS)
        return Pipeline(
            name="bench",
            table="public.jobs",
            key="job_id",
            tenant="tenant_id",
            step="current_step",
            status="status",
            channel=self.channel,
            base_url=url,
            pools=self.pools,
            stages=tuple(
                Stage(step=step, after=after, path=f"/{step}", **self.limits)
                for after, step in zip(afters, STEPS, strict=False)
            ),
        )

    async def install(self, dsn: str) -> None:
        async with session(dsn) as db:
            await migrate(db)
            await attach(db, self.pipeline("http://127.0.0.1:9"))
            await db.execute("UPDATE pgbaton.pipelines SET home_database = NULL")  # runs work in copies

    async def work(self, dsn: str, url: str) -> None:
        async with Engine(self.pipeline(url), Settings(database_url=SecretStr(dsn), capacity=IN_FLIGHT)) as engine:
            print("at work", flush=True)
            await engine.wait()


class PgbatonChannel(Pgbaton):
    name = "pgbaton-channel"
    label = "pgbaton with a channel"
    jobs = 2000
    channel = "job_state_changed"


class PgbatonLimited(Pgbaton):
    """Counted in Postgres for all workers, and never reached: what the counting costs."""

    name = "pgbaton-limited"
    label = "pgbaton, concurrency and per_tenant"
    limits: ClassVar[Mapping[str, Any]] = {"concurrency": IN_FLIGHT, "per_tenant": IN_FLIGHT}


class PgbatonAllLimits(Pgbaton):
    name = "pgbaton-all-limits"
    label = "pgbaton, limits of every kind"
    limits: ClassVar[Mapping[str, Any]] = {
        **PgbatonLimited.limits,
        "rate": "100000/s",
        "rate_per_tenant": "100000/s",
        "pool": "all",
    }
    pools: ClassVar[tuple[Pool, ...]] = (Pool(name="all", size=len(STEPS) * IN_FLIGHT),)
