"""The same as a file: what `pgbaton sql` prints, fed to psql."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import asyncpg
import pytest

from attaching import ADSTUDIO, ROOT, again, dispatches, traces
from line import two_stages
from pgbaton import Pipeline, Stage, load_pipeline
from pgbaton.install.checks import check_attached
from pgbaton.install.migrate import migrate
from pgbaton.install.script import pipeline_sql
from pgbaton.table import read_table
from tools.write_init_sql import INIT, init_sql

# -- the same as a file ---------------------------------------------------------------------------


def test_the_files_for_the_database_container_are_what_pgbaton_sql_prints() -> None:
    for file, pipeline in INIT.items():
        assert file.read_text() == init_sql(pipeline), "refresh it: make schema"


def test_the_tables_of_the_database_container_are_adstudios_own() -> None:
    assert (ROOT / "db/init/01_schema.sql").read_text() == (ADSTUDIO / "sql/schema.sql").read_text()


async def feed(dsn: str, file: Path) -> None:
    """As `psql -f`; by a session of our own where there is no psql."""
    psql = shutil.which("psql")
    if psql is None:
        conn = await asyncpg.connect(dsn)
        await conn.execute(file.read_text())
        await conn.close()
        return
    command = [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(file), dsn]
    environment = {
        "PATH": os.environ["PATH"],
        "PGCLIENTENCODING": "UTF8",
        "PGOPTIONS": "-c client_min_messages=warning",
    }
    fed = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment
    )
    said, _ = await fed.communicate()
    assert fed.returncode == 0, said.decode()
    assert b"psql:" not in said, said.decode()


async def test_the_files_fed_to_psql_are_enough_to_be_attached(empty_database: str) -> None:
    files = sorted((ROOT / "db/init").glob("*.sql"))
    assert [f.name[:3] for f in files] == ["01_", "02_", "03_"]
    for file in files:
        await feed(empty_database, file)
    pipeline, variants = (load_pipeline(ADSTUDIO / f"{name}.toml") for name in ("pgbaton", "ad_variants"))
    async with asyncpg.create_pool(empty_database, min_size=1) as db:
        once = await traces(db)
        for file in files:
            await feed(empty_database, file)
        await again(db, pipeline)
        await again(db, variants)
        assert await traces(db) == once, "fed again, or attached by the command, it is the same"
        async with db.acquire() as conn:
            await check_attached(conn, pipeline, await read_table(conn, pipeline))
        await db.execute("INSERT INTO jobs (tenant_id, current_step, status) VALUES ('acme', 'img_gen', 'done')")
        assert await dispatches(db) == [("vlm_analyze", "available")]


@pytest.mark.parametrize(
    "setting", ["standard_conforming_strings = off", "search_path = ''", "client_encoding = 'LATIN1'"]
)
async def test_the_script_means_the_same_under_any_setting_of_the_session(database: str, setting: str) -> None:
    async with asyncpg.create_pool(database, min_size=1) as db:
        async with db.acquire() as conn:
            try:
                await conn.execute(f"SET {setting}")
            except asyncpg.FeatureNotSupportedError:
                pytest.skip("gone from this server")
            await conn.execute(pipeline_sql(two_stages(cut_after="back\\slash 'n' all")))
        await db.execute("INSERT INTO jobs (current_step, status) VALUES ($1, 'done')", "back\\slash 'n' all")
        assert await dispatches(db) == [("cut", "available")]
        before = await traces(db)
        async with db.acquire() as conn:
            await conn.execute(f"SET {setting}")
            await conn.execute(pipeline_sql(two_stages(cut_after="back\\slash 'n' all")))
        assert await traces(db) == before


async def test_a_pipeline_of_one_stage_and_no_options_is_attached(empty_database: str) -> None:
    pipeline = Pipeline(
        name="p",
        table="t",
        key="id",
        step="step",
        status="status",
        base_url="http://127.0.0.1:9",
        stages=[Stage(step="only", after="begun", path="/")],
    )
    async with asyncpg.create_pool(empty_database, min_size=1) as db:
        await db.execute("CREATE TABLE t (id int PRIMARY KEY, step text, status text)")
        async with db.acquire() as conn:
            await migrate(conn)
        await again(db, pipeline)
        await db.execute("INSERT INTO t VALUES (1, 'begun', 'done')")
        assert await dispatches(db) == [("only", "available")]
