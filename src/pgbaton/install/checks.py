"""Whether a pipeline is attached as it says."""

from __future__ import annotations

import asyncpg

from pgbaton import sql
from pgbaton.errors import AttachError, NotAtHome
from pgbaton.install.names import TRIGGERS
from pgbaton.model import Pipeline
from pgbaton.table import JobTable


async def check_attached(conn: asyncpg.Connection, pipeline: Pipeline, table: JobTable) -> None:
    """Raise :class:`AttachError` unless ``pipeline`` is attached to ``table`` with the routes that it has, and this
    role sees all rows; and :class:`NotAtHome` where that was done in another database."""
    attached = await conn.fetchrow(sql.read("install/attached.sql"), pipeline.name, table.qualified, list(TRIGGERS))
    if not attached["here"]:
        raise AttachError(f"the pipeline {pipeline.name!r} is not attached to {pipeline.table!r}: run pgbaton attach")
    if not attached["at_home"]:
        raise NotAtHome(
            f"the pipeline {pipeline.name!r} was attached in another database, of which this may be a copy: "
            "nothing is called here. If this is its home now, run pgbaton attach --here"
        )
    if await conn.fetchval(sql.read("install/hides_rows.sql"), table.qualified):
        raise AttachError(
            f"row-level security of {pipeline.table!r} holds for this role, and a row that it hides would look like a "
            "job that is gone: ALTER ROLE … BYPASSRLS, or connect as the table's owner (without FORCE ROW LEVEL "
            "SECURITY)"
        )
    found = await conn.fetch(sql.read("install/routes.sql"), pipeline.name)
    routes = {(r["step"], (r["after"], r["status"]), r["condition"]) for r in found}
    missing = [s.step for s in pipeline.nodes if (s.step, s.entry, s.condition) not in routes]
    if missing:
        raise AttachError(f"the routes of {', '.join(missing)} are not in the database: run pgbaton attach")


async def unseeing_triggers(conn: asyncpg.Connection, pipeline: str) -> list[str]:
    """The triggers that are missing or disabled: changes of jobs are not seen, though everything else is attached."""
    return [r["name"] for r in await conn.fetch(sql.read("install/unseeing.sql"), pipeline)]
