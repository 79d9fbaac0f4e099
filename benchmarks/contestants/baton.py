"""pgbaton, without and with a channel on which every change is published."""

from __future__ import annotations

from typing import ClassVar

from pydantic import SecretStr

from benchmarks.contestants.base import Contestant, session
from benchmarks.jobs import ENTRY, IN_FLIGHT, STEPS
from pgbaton import Engine, Pipeline, Settings, Stage
from pgbaton.install.attach import attach
from pgbaton.install.migrate import migrate


class Pgbaton(Contestant):
    name = "pgbaton"
    label = "pgbaton without a channel"
    package = "pgbaton"
    jobs = 3000
    channel: ClassVar[str | None] = None

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
            stages=tuple(
                Stage(step=step, after=after, path=f"/{step}") for after, step in zip(afters, STEPS, strict=False)
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
