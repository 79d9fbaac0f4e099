"""Attaching, again and again, and what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg

from line import two_stages
from pgbaton import Pipeline
from pgbaton.install.attach import attach
from pgbaton.install.script import Decided

ROOT = Path(__file__).parents[1]
ADSTUDIO = ROOT / "apps/adstudio/src/adstudio"


async def traces(db: asyncpg.Pool | asyncpg.Connection) -> dict[str, list[Any]]:
    """Everything that attach writes, with what tells an untouched row from a rewritten one."""
    queries = {
        "triggers": "SELECT oid, xmin, * FROM pg_trigger WHERE tgname LIKE 'job_state_%' ORDER BY oid",
        "functions": "SELECT oid, xmin, * FROM pg_proc WHERE proname LIKE 'notify_%' ORDER BY oid",
        "pipelines": "SELECT xmin, * FROM pgbaton.pipelines ORDER BY name",
        "stages": "SELECT xmin, * FROM pgbaton.stages ORDER BY pipeline, position",
    }
    return {what: [tuple(r) for r in await db.fetch(query)] for what, query in queries.items()}


async def stages(db: asyncpg.Pool) -> list[tuple[str, str, bool]]:
    return [tuple(r) for r in await db.fetch("SELECT step, after, routed FROM pgbaton.stages ORDER BY position, step")]


async def dispatches(db: asyncpg.Pool) -> list[tuple[str, str]]:
    return [tuple(r) for r in await db.fetch("SELECT stage, state FROM pgbaton.dispatches ORDER BY id")]


async def add(db: asyncpg.Pool, step: str = "made") -> None:
    await db.execute("INSERT INTO jobs (current_step, status) VALUES ($1, 'done')", step)


async def again(db: asyncpg.Pool, pipeline: Pipeline | None = None, past: Decided | None = None) -> None:
    async with db.acquire() as conn:
        await attach(conn, pipeline or two_stages(), past=past)
