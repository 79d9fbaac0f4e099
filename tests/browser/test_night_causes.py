"""Troubles whose cause is outside the engine's own tables: rights, open transactions, swaps, circles, connections. See
test_night_stages."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from night import night
from test_night_stages import Mood, add

from line import until
from pgbaton import Pipeline
from pgbaton.install.attach import attach, detach
from stage_server import Call, Say, StageServer, work

RIGHTS = """
GRANT USAGE ON SCHEMA pgbaton TO {0};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pgbaton TO {0};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pgbaton TO {0};
GRANT SELECT, UPDATE ON public.jobs TO {0};
"""
THROUGH = "SELECT count(*) = $1 FROM jobs WHERE (current_step, status) = ('glue', 'done')"


@asynccontextmanager
async def role(at: Any) -> AsyncIterator[tuple[str, str]]:
    """A role with the rights of a worker, and the URL with which it connects."""
    name, password = f"worker_{secrets.token_hex(4)}", secrets.token_hex(8)
    await at.craft.db.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'; {RIGHTS.format(name)}")
    url = urlsplit(at.craft.dsn)
    try:
        yield name, url._replace(netloc=f"{name}:{password}@{url.hostname}:{url.port}").geturl()
    finally:
        await at.craft.db.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1", name
        )
        await at.craft.db.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


async def through(at: Any, count: int) -> None:
    async def are() -> bool:
        return bool(await at.craft.db.fetchval(THROUGH, count))

    await until(are, f"{count} jobs are through", 20)


@pytest.mark.parametrize(
    ("broken", "mended", "words"),
    [
        ("REVOKE UPDATE ON jobs FROM {0}", "GRANT UPDATE ON jobs TO {0}", "permission denied for table jobs"),
        (
            "ALTER TABLE jobs ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY",
            "row-level security",
        ),
    ],
    ids=["rights", "row level security"],
)
async def test_a_worker_that_postgres_refuses_is_named_with_what_it_is_refused(
    cluster: Any, template: str, browser: Any, broken: str, mended: str, words: str
) -> None:
    """It lives and renews its lease, so nothing else of it looks wrong; a stage's failure cannot be written either."""
    mood = Mood()

    async def fails(server: StageServer, call: Call) -> Say:
        return Say(500)

    async with (
        night(cluster, template, browser, mood) as at,
        role(at) as (name, url),
        at.craft.worker(database_url=url),
    ):
        await at.well()
        mood.behave = fails
        await at.craft.db.execute(broken.format(name))
        await add(at, 3)
        said = await at.says("cannot do its work, Postgres refuses it", 9)
        assert words in said
        assert "Pause" not in await at.page.inner_text("#findings"), "whose jobs wait has nothing to do with it"
        mood.behave = work
        await at.craft.db.execute(mended.format(name))
        await through(at, 3)
        await at.well(30)


async def test_limits_that_a_role_has_for_people_do_not_end_a_workers_statements(
    cluster: Any, template: str, browser: Any
) -> None:
    """The worker was ended again and again, kept its lease, and the page was green."""
    async with night(cluster, template, browser) as at, role(at) as (name, url), at.craft.worker(database_url=url):
        await at.well()
        await at.craft.db.execute(
            f"ALTER ROLE {name} SET statement_timeout = '1ms'; ALTER ROLE {name} SET idle_session_timeout = '200ms'"
        )
        await at.craft.db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", name)
        await add(at, 3)
        await through(at, 3)
        await at.well()


async def test_a_session_that_left_its_transaction_open_is_named_with_the_rows_that_it_holds(
    cluster: Any, template: str, browser: Any
) -> None:
    async with night(cluster, template, browser) as at, at.craft.worker():
        await at.well()
        async with at.craft.db.acquire() as holder:
            await holder.execute("SET application_name = 'psql'")
            transaction = holder.transaction()
            await transaction.start()
            job = await at.craft.add("made", "running")
            await holder.execute(f"SELECT FROM jobs WHERE job_id = '{job}' FOR UPDATE")
            other = await at.craft.add("made", "done")  # of one that holds nothing it is not said that it waits
            pid = holder.get_server_pid()
            await at.craft.until_row(other, "glue", "done")
            open_since = rf"Session {pid} \(psql, idle in transaction\) has left a transaction open"
            said = await at.says(re.compile(f"{open_since}.*Sessions that wait for it: 0", re.S), 20)
            assert f"pg_terminate_backend({pid})" in said
            await transaction.rollback()
        await at.well()


async def test_a_session_that_a_stage_waits_for_is_told_before_the_call_looks_silent(
    cluster: Any, template: str, browser: Any
) -> None:
    mood = Mood()

    async with night(cluster, template, browser, mood) as at, at.craft.worker():
        await at.well()
        async with at.craft.db.acquire() as holder:
            transaction = holder.transaction()
            await transaction.start()

            async def locked(server: StageServer, call: Call) -> Say:
                """Somebody looks at the row while the stage works on it, and leaves the session open."""
                await holder.execute(f"SELECT FROM jobs WHERE job_id = '{call.job_id}' FOR UPDATE")
                mood.behave = work
                return await work(server, call)

            mood.behave = locked
            await add(at, 1)
            await at.says(re.compile("that touched rows of public.jobs.*Sessions that wait for it: 1", re.S), 9)
            await transaction.rollback()
        await through(at, 1)
        await at.well()


async def test_a_table_that_was_swapped_for_another_is_told_with_the_way_on(
    cluster: Any, template: str, browser: Any
) -> None:
    """The remedy for a table that was renamed would send the pipeline after the old one."""
    async with night(cluster, template, browser) as at:
        async with at.craft.worker():
            await at.well()
            await at.craft.db.execute(
                "BEGIN; ALTER TABLE jobs RENAME TO jobs_old; CREATE TABLE jobs (LIKE jobs_old INCLUDING ALL);"
                "INSERT INTO jobs SELECT * FROM jobs_old; COMMIT"
            )
            await add(at, 3)
            said = await at.says("Another table is called public.jobs now", 9)
            assert "the one that was attached is called public.jobs_old" in said
            assert "pgbaton detach with a copy of the file whose table is public.jobs_old" in said
        fields = {name: getattr(at.craft.pipeline, name) for name in Pipeline.model_fields}
        async with at.craft.db.acquire() as conn:
            await detach(conn, Pipeline(**fields | {"table": "public.jobs_old"}))
            await attach(conn, at.craft.pipeline, past="backfill")
        async with at.craft.worker():
            await through(at, 3)
            await at.well(30)


async def test_a_job_that_goes_in_a_circle_is_named_and_set_aside(cluster: Any, template: str, browser: Any) -> None:
    """It moves all the time, is never late, never fails, and never ends."""

    async def careful(server: StageServer, call: Call) -> Say:
        """As the guard of pgbaton.fastapi: what was set aside meanwhile is not written over."""
        await asyncio.sleep(0.1)
        for status in ("running", "done"):
            moved = await server.pool.execute(
                "UPDATE jobs SET current_step = $2, status = $3, updated_at = now() "
                "WHERE job_id::text = $1 AND status <> 'quarantined'",
                call.job_id,
                server.step(call),
                status,
            )
            if moved == "UPDATE 0":
                return Say(409)
        return Say()

    async with night(cluster, template, browser, careful) as at, at.craft.worker():
        await at.well()
        await at.craft.db.execute(
            "CREATE FUNCTION back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "  IF (NEW.current_step, NEW.status, NEW.note) = ('glue', 'done', 'bad') THEN NEW.current_step := 'made'; END IF;"
            "  RETURN NEW; END $$;"
            "CREATE TRIGGER a_back BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION back()"
        )
        job = await at.craft.db.fetchval(
            "INSERT INTO jobs (current_step, status, note) VALUES ('made', 'done', 'bad') RETURNING job_id::text"
        )
        said = await at.says("go in a circle", 15)
        assert job in said
        assert "through cut 10 times or more" in said
        await at.press("go in a circle", "Quarantine the job")
        await at.says("in quarantine", 15)
        assert (await at.craft.row(job))[1] == "quarantined"


async def test_connections_that_are_all_taken_are_told_with_whose_they_are(
    cluster: Any, template: str, browser: Any
) -> None:
    async with night(cluster, template, browser) as at, role(at) as (name, url), at.craft.worker():
        await at.well()
        taken: list[asyncpg.Connection] = []
        try:
            with suppress(asyncpg.TooManyConnectionsError):
                while True:
                    taken.append(await asyncpg.connect(url, server_settings={"application_name": "reports"}))
            # A look while they are being taken counts fewer; the next one counts them all.
            said = await at.says(f"the most by {name}, reports: {len(taken)}", 20)
            assert "connections are taken" in said
        finally:
            for conn in taken:
                await conn.close()
        await add(at, 1)
        await through(at, 1)
        await at.well()
