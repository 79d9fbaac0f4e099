"""Troubles of rows, triggers, routes and Postgres, played for real; see test_night_stages."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import asyncpg
from night import night
from test_night_stages import add

from line import until
from pgbaton import Pipeline, Stage
from pgbaton.install.attach import attach

OFF = "ALTER TABLE jobs DISABLE TRIGGER ALL"


async def test_a_trigger_that_was_disabled_and_the_rows_that_it_did_not_see(
    cluster: Any, template: str, browser: Any
) -> None:
    async with night(cluster, template, browser) as at:
        async with at.craft.worker(reconcile_every=0):
            await at.well()
            await at.craft.db.execute(OFF)
            await at.says("Changes of jobs are not seen", 4)
            await at.craft.add_many(4)
            async with at.craft.db.acquire() as conn:
                await attach(conn, at.craft.pipeline)
            await at.says("4 rows are due at cut, and no dispatch was made", 15)
            await at.press("no dispatch was made", "Reconcile")
            await at.well()
        assert await at.craft.db.fetchval("SELECT count(*) FROM jobs WHERE current_step = 'glue'") == 4
        assert await at.craft.db.fetchval("SELECT jobs FROM pgbaton.audit WHERE action = 'reconcile'") == 4


async def test_workers_create_what_no_trigger_saw_within_a_census(cluster: Any, template: str, browser: Any) -> None:
    async with night(cluster, template, browser) as at, at.craft.worker():
        await at.craft.db.execute(OFF)
        await at.craft.add_many(4)
        await at.says("Changes of jobs are not seen", 4)
        async with at.craft.db.acquire() as conn:
            await attach(conn, at.craft.pipeline)
        await at.well()
        assert await at.craft.db.fetchval("SELECT count(*) FROM jobs WHERE current_step = 'glue'") == 4


async def test_rows_that_were_edited_by_hand_are_named_and_put_right(cluster: Any, template: str, browser: Any) -> None:
    async with night(cluster, template, browser) as at, at.craft.worker():
        await at.well()
        for step, status in (("glue", "running"), ("cutt", "done"), ("cut", "DONE")):
            for _ in range(3):
                await at.craft.add(step, status)
        await at.says("3 rows stand at (glue, running), and no call holds them", 12)
        await at.says("3 rows stand at (cutt, done), which is nearly (cut, done)", 3)
        await at.says("3 rows stand at (cut, DONE), which is nearly (cut, done)", 3)
        for text in ("no call holds them", "(cutt, done)", "(cut, DONE)"):
            await at.press(text, "Put the rows right")
            await at.page.wait_for_selector("#flash")
        await at.well()
        query = "SELECT count(*) FROM jobs WHERE (current_step, status) = ('glue', 'done')"
        assert await at.craft.db.fetchval(query) == 9


async def test_a_database_that_accepts_no_writes_is_the_cause(cluster: Any, template: str, browser: Any) -> None:
    async with night(cluster, template, browser) as at, at.craft.worker(lease=2):
        await at.well()
        admin = await asyncpg.connect(at.craft.dsn)
        try:
            await admin.execute("SET default_transaction_read_only = off")
            await admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            await admin.execute("SELECT pg_reload_conf()")
            said = await at.says("The database accepts no writes", 8)
            assert "default_transaction_read_only" in said
            assert "No worker" not in await at.page.inner_text("#findings")
        finally:
            await admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await admin.execute("SELECT pg_reload_conf()")
            await admin.close()
        await at.well()


async def test_a_session_that_locks_the_table_is_named(cluster: Any, template: str, browser: Any) -> None:
    async with night(cluster, template, browser) as at, at.craft.worker():
        await at.well()
        async with at.craft.db.acquire() as holder:
            pid = holder.get_server_pid()
            async with holder.transaction():
                await holder.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
                at.oracle.clear()  # it would wait for the lock itself
                adding = asyncio.create_task(add(at, 1))
                await at.says(re.compile(rf"Session {pid} \(.*\) holds a lock on public.jobs"), 12)
            await adding
            at.oracle.set()
        await at.well()


async def test_a_stage_that_no_living_worker_knows_and_the_way_back(cluster: Any, template: str, browser: Any) -> None:
    async with night(cluster, template, browser) as at:
        old = at.craft.pipeline
        cut, _ = old.stages
        paste = Stage(step="paste", after="cut", path="/glue")
        renamed = Pipeline(**{name: getattr(old, name) for name in Pipeline.model_fields} | {"stages": (cut, paste)})
        async with at.craft.worker():
            await at.well()
            async with at.craft.db.acquire() as conn:
                await attach(conn, renamed)
            await add(at, 5)
            await at.says("No living worker knows the stage paste; 5 wait for it", 8)
        at.craft.pipeline = renamed
        at.craft.server.steps["/glue"] = "paste"
        async with at.craft.worker():
            await until(lambda: _at(at, "paste", 5), "the new worker calls it")


async def _at(at: Any, step: str, count: int) -> bool:
    query = "SELECT count(*) = $2 FROM jobs WHERE current_step = $1 AND status = 'done'"
    return bool(await at.craft.db.fetchval(query, step, count))


async def test_a_worker_that_stood_still_is_told_of_and_what_it_held_goes_on(
    cluster: Any, template: str, browser: Any, tmp_path: Path
) -> None:
    async with (
        night(cluster, template, browser) as at,
        at.craft.worker(),
        at.worker_process(tmp_path) as other,
    ):
        await at.well()
        other.send_signal(19)
        await at.says(re.compile("has not renewed its lease|was lost"), 15)
        await add(at, 3)
        await until(lambda: _at(at, "glue", 3), "the jobs go on")
        other.send_signal(18)
        await at.well()


async def test_a_worker_that_calls_another_address_is_named_with_it(
    cluster: Any, template: str, browser: Any, tmp_path: Path
) -> None:
    async with night(cluster, template, browser) as at, at.craft.worker():
        await at.well()
        async with at.worker_process(tmp_path, base_url="http://127.0.0.1:9") as wrong:
            said = await at.says("Workers differ in base_url", 8)
            assert f":{wrong.pid}" in said
            assert "http://127.0.0.1:9" in said
            assert at.craft.server.base_url in said
        await at.well()


async def test_without_a_worker_what_is_due_is_told_and_goes_on_with_one(
    cluster: Any, template: str, browser: Any
) -> None:
    async with night(cluster, template, browser) as at:
        await add(at, 2)
        await at.says("No worker is alive: nothing is being called", 5)
        async with at.craft.worker():
            await at.well()


async def test_a_census_that_is_stale_withholds_that_all_is_well(cluster: Any, template: str, browser: Any) -> None:
    async with night(cluster, template, browser) as at, at.craft.worker():
        await at.well()
        await at.craft.db.execute(
            "UPDATE pgbaton.watches SET until = now() + interval '1 h' WHERE task = 'census';"
            "UPDATE pgbaton.census SET whole_began_at = now() - interval '1 h', whole_ended_at = now() - interval '1 h'"
        )
        said = await at.says("Not everything could be checked: rows", 5)
        assert re.search(r"the last look ended 36\d\d s ago", said), said
        await at.craft.db.execute("UPDATE pgbaton.watches SET until = now()")
        await at.well()


async def test_an_index_that_is_gone_is_told(cluster: Any, template: str, browser: Any) -> None:
    async with night(cluster, template, browser) as at, at.craft.worker():
        await at.well()
        definition = await at.craft.db.fetchval("SELECT pg_get_indexdef('pgbaton.history_lately'::regclass)")
        await at.craft.db.execute("DROP INDEX pgbaton.history_lately")
        await at.says("The index pgbaton.history_lately is missing", 5)
        await at.craft.db.execute(definition)
        await at.well()


async def test_a_sentence_holds_until_it_has_been_untrue_for_a_while(cluster: Any, template: str, browser: Any) -> None:
    async with night(cluster, template, browser) as at, at.craft.worker():
        await at.well()
        changes = 0
        before = ""
        for n in range(24):
            await at.craft.db.execute(f"UPDATE pgbaton.stages SET strikes = {3 * (n % 2)} WHERE step = 'glue'")
            await asyncio.sleep(0.25)
            said = re.sub(r"\d+", "", await at.page.inner_text("#findings"))
            said = "does not answer" if "does not answer" in said else "well"
            changes, before = changes + (said != before), said
        assert changes <= 2, "it was said, and taken back, and said"
        await at.craft.db.execute("UPDATE pgbaton.stages SET strikes = 0")
        await at.well()
