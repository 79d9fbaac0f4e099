"""Triggers that have drifted are mended; those of the user are left alone."""

from __future__ import annotations

import asyncpg
import pytest

from attaching import add, again, dispatches, traces
from line import attached, two_stages
from pgbaton.errors import AttachError

# -- drift ----------------------------------------------------------------------------------------

CHANGE = "CREATE OR REPLACE TRIGGER job_state_change_trigger AFTER {} ON jobs FOR EACH ROW {} EXECUTE FUNCTION {}"
OURS = "notify_job_state_change('updated_at')"


@pytest.mark.parametrize(
    "drift",
    [
        "ALTER TABLE jobs DISABLE TRIGGER job_state_change_trigger",
        "ALTER TABLE jobs DISABLE TRIGGER ALL",
        "ALTER TABLE jobs ENABLE REPLICA TRIGGER job_state_change_trigger",
        "ALTER TABLE jobs DISABLE TRIGGER job_state_insert_trigger",
        "DROP TRIGGER job_state_change_trigger ON jobs",
        "DROP TRIGGER job_state_insert_trigger ON jobs",
        "DROP FUNCTION notify_job_state_change() CASCADE",
        CHANGE.format("UPDATE", "", OURS),
        CHANGE.format("INSERT OR DELETE OR UPDATE OF current_step, status", "", OURS),
        CHANGE.format("INSERT OR UPDATE", "WHEN (NEW.status = 'done')", OURS),
        CHANGE.format("INSERT OR UPDATE OR DELETE", "", "notify_job_state_change()"),
        CHANGE.format("INSERT OR UPDATE OR DELETE", "", "notify_job_state_change('note')"),
        "ALTER FUNCTION notify_job_state_change() SECURITY INVOKER",
        "ALTER FUNCTION notify_job_state_change() RESET search_path",
        "ALTER FUNCTION notify_job_state_change() SET search_path = public",
        "ALTER FUNCTION notify_job_state_change() SET role = 'postgres'",
    ],
)
async def test_a_trigger_that_has_drifted_is_mended(database: str, drift: str) -> None:
    async with attached(database) as db:
        await db.execute("CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        tidy = (
            "SELECT array_agg(pg_get_triggerdef(oid) || tgenabled::text ORDER BY tgname) FROM pg_trigger "
            "WHERE tgrelid = 'jobs'::regclass"
        )
        whole = "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = 'notify_job_state_change'"
        wanted = await db.fetchval(tidy), await db.fetchval(whole)
        try:
            await db.execute(drift)
        except (asyncpg.InvalidParameterValueError, asyncpg.UndefinedObjectError):
            pytest.skip("not a thing that this server can do")
        await again(db)
        assert (await db.fetchval(tidy), await db.fetchval(whole)) == wanted
        await add(db)
        await db.execute("UPDATE jobs SET current_step = 'cut'")
        assert await dispatches(db) == [("cut", "completed"), ("glue", "available")]


@pytest.mark.parametrize(
    ("change", "whose"),
    [
        (CHANGE.format("INSERT OR UPDATE OR DELETE", "", "suppress()"), "the trigger job_state_change_trigger"),
        (
            "CREATE OR REPLACE FUNCTION notify_job_state_change() RETURNS trigger LANGUAGE plpgsql "
            "AS 'BEGIN RETURN NEW; END'",
            "the function",
        ),
    ],
)
async def test_a_trigger_or_function_of_the_users_under_our_name_is_not_replaced(
    database: str, change: str, whose: str
) -> None:
    async with attached(database) as db:
        await db.execute("CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        await db.execute(change)
        before = await traces(db)
        with pytest.raises(AttachError, match=f"{whose} .* is not pgbaton's"):
            await again(db)
        assert await traces(db) == before


async def test_a_trigger_that_also_fires_in_replicas_is_left_so(database: str) -> None:
    async with attached(database) as db:
        await db.execute("ALTER TABLE jobs ENABLE ALWAYS TRIGGER job_state_change_trigger")
        before = await traces(db)
        await again(db)
        assert await traces(db) == before


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "text"])
async def test_an_updated_at_that_comes_later_is_published_once_attached_again(database: str, kind: str) -> None:
    pipeline = two_stages(table="orders", tenant=None)
    ddl = "CREATE TABLE orders (job_id int PRIMARY KEY, current_step text, status text)"
    async with attached(database, pipeline, ddl) as db:
        nargs = "SELECT tgnargs FROM pg_trigger WHERE tgname = 'job_state_change_trigger'"
        assert await db.fetchval(nargs) == 0
        await db.execute(f"ALTER TABLE orders ADD updated_at {kind}")
        await again(db, pipeline)
        assert await db.fetchval(nargs) == (0 if kind == "text" else 1)
        await db.execute("ALTER TABLE orders DROP updated_at")
        await again(db, pipeline)
        assert await db.fetchval(nargs) == 0
        await db.execute("INSERT INTO orders VALUES (1, 'made', 'done')")
        assert await dispatches(db) == [("cut", "available")]


async def test_the_trigger_of_an_earlier_listener_is_replaced(database: str) -> None:
    async with asyncpg.create_pool(database, min_size=1) as db:
        await db.execute("""
            CREATE FUNCTION notify_job_state_change() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_notify('job_state_changed', row_to_json(NEW)::text); RETURN NEW; END $$;
            CREATE TRIGGER job_state_change_trigger AFTER UPDATE ON jobs FOR EACH ROW
                WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION notify_job_state_change();
        """)
        await again(db)
        await add(db)
        assert await dispatches(db) == [("cut", "available")]
