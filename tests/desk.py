"""An operator at a pipeline: for tests of what operators do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from journal_rows import kill
from line import Line, line
from pgbaton import insights
from pgbaton.table import JobTable, table_of


class Desk:
    """An operator's connection to a line."""

    def __init__(self, craft: Line, conn: asyncpg.Connection, table: JobTable) -> None:
        self.craft, self.conn, self.table = craft, conn, table

    async def audited(self) -> list[tuple[str, str, int]]:
        page = await insights.audit(self.conn, "craft")
        return [(e.who, e.action, e.jobs) for e in page.entries]

    async def kill(self, step: str = "made", *, tenant: str = "acme", error: str = "HTTP 500 boom") -> str:
        """A job that died at the stage behind ``step``."""
        job = str(
            await self.conn.fetchval(
                "INSERT INTO jobs (current_step, status, tenant_id) VALUES ($1, 'done', $2) RETURNING job_id",
                step,
                tenant,
            )
        )
        stage = {"made": "cut", "cut": "glue"}[step]
        await kill(self.conn, job, stage, error=error)
        assert await self.craft.states(job) == [(stage, "dead")]
        return job


@asynccontextmanager
async def desk(dsn: str, *behave: object, **changes: object) -> AsyncIterator[Desk]:
    async with line(dsn, *behave, **changes) as craft, craft.db.acquire() as conn:
        yield Desk(craft, conn, await table_of(conn, None))
