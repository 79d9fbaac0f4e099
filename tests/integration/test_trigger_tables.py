"""The trigger on all kinds of tables, under all kinds of roles."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from line import Ear, attached, line, two_stages, until
from pgbaton import Pipeline, Stage
from stage_server import Call, Say, StageServer
from writer import CLOSE_THE_GATE, INSERT, MOVE, connected, left

# -- whose right it is ----------------------------------------------------------------------------


@asynccontextmanager
async def a_role(dsn: str) -> AsyncIterator[tuple[asyncpg.Connection, str]]:
    """A session that acts as a role of no rights but those that the test gives it; the role's name."""
    owner = await asyncpg.connect(dsn)
    name = f"pgbaton_test_{secrets.token_hex(6)}"
    try:
        await owner.execute(f"CREATE ROLE {name}")
    except asyncpg.InsufficientPrivilegeError:
        await owner.close()
        pytest.skip("the test server's user cannot make roles")
    session = await asyncpg.connect(dsn)
    try:
        yield session, name
    finally:
        await session.close()
        await owner.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
        await owner.close()


async def test_a_role_with_no_right_on_pgbaton_can_change_its_jobs(database: str) -> None:
    async with attached(database) as db, a_role(database) as (app, role):
        await db.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON jobs TO {role}")
        await app.execute(f"SET ROLE {role}")
        job = await app.fetchval(INSERT, "made", "done")
        await app.execute(MOVE, job, "cut", "done")
        await app.execute("UPDATE jobs SET job_id = gen_random_uuid()")
        await app.execute("DELETE FROM jobs")
        await app.fetchval(INSERT, "made", "done")
        await app.execute("TRUNCATE jobs")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.fetch("SELECT * FROM pgbaton.dispatches")
        assert await left(db) == [
            ("cut", "made", "done"),
            ("glue", "cut", "done"),
            ("glue", "cut", "done"),
            ("cut", "made", "done"),
        ]


async def test_a_role_cannot_use_the_trigger_function_for_a_table_of_its_own(database: str) -> None:
    async with attached(database) as db, a_role(database) as (app, role):
        await db.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
        await app.execute(f"SET ROLE {role}")
        await app.execute("CREATE TABLE mine (job_id text, tenant_id text, current_step text, status text)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(
                "CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION notify_job_state_change()"
            )


HOSTILE = """
CREATE SCHEMA evil;
CREATE DOMAIN evil.text AS pg_catalog.varchar(1);
CREATE DOMAIN evil.timestamptz AS pg_catalog.timestamp;
CREATE DOMAIN evil.jsonb AS pg_catalog.text;
CREATE FUNCTION evil.fooled(anyelement, anyelement) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.is(pg_catalog.text, pg_catalog.text) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.is(pg_catalog.varchar, pg_catalog.varchar) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.is(pg_catalog.int4, pg_catalog.int4) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE OPERATOR evil.= (LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text, FUNCTION = evil.is);
CREATE OPERATOR evil.<> (LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text, FUNCTION = evil.is);
CREATE OPERATOR evil.= (LEFTARG = pg_catalog.varchar, RIGHTARG = pg_catalog.varchar, FUNCTION = evil.is);
CREATE OPERATOR evil.<> (LEFTARG = pg_catalog.varchar, RIGHTARG = pg_catalog.varchar, FUNCTION = evil.is);
CREATE OPERATOR evil.> (LEFTARG = pg_catalog.int4, RIGHTARG = pg_catalog.int4, FUNCTION = evil.is);
CREATE OPERATOR evil.< (LEFTARG = pg_catalog.int4, RIGHTARG = pg_catalog.int4, FUNCTION = evil.is);
CREATE FUNCTION evil.pg_notify(pg_catalog.text, pg_catalog.text) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.clock_timestamp() RETURNS pg_catalog.timestamptz LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.current_setting(pg_catalog.text, boolean) RETURNS pg_catalog.text LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.hashtext(pg_catalog.text) RETURNS pg_catalog.int4 LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.pg_notification_queue_usage() RETURNS pg_catalog.float8 LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
CREATE FUNCTION evil.pg_try_advisory_xact_lock_shared(pg_catalog.int4, pg_catalog.int4) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
"""


@pytest.mark.parametrize("channel", ["job_state_changed", None])
async def test_a_hostile_search_path_changes_nothing(database: str, channel: str | None) -> None:
    """An attacker's schema stands first, with operators, functions and types that have the names of Postgres' own. The
    trigger runs with its owner's rights: nothing of the attacker's may run in it."""
    async with (
        attached(database, two_stages(channel=channel)) as db,
        db.acquire() as conn,
        connected(database) as sleeper,
    ):
        await sleeper.execute(CLOSE_THE_GATE)
        await conn.execute(HOSTILE)
        await conn.execute("SET search_path = evil, pg_catalog, public")
        await conn.execute(
            "INSERT INTO public.jobs (current_step, status, tenant_id) VALUES ('made', 'done', 'umbrella')"
        )
        for step, status in (
            ("cut", "running"),
            ("cut", "failed"),
            ("cut", "running"),
            ("cut", "done"),
            ("aside", "x"),
        ):
            await conn.execute(f"UPDATE public.jobs SET current_step = '{step}', status = '{status}'")
        await conn.execute('SET pgbaton.quiet = \'{"craft": {"x": ["made", "done"]}}\'')
        await conn.execute("UPDATE public.jobs SET current_step = 'made', status = 'done'")
        assert {r["tenant"] for r in await db.fetch("SELECT tenant FROM pgbaton.due")} == {"umbrella"}
        assert [stage for stage, *_ in await left(db)] == ["cut", "", "glue", "", "cut"]
        await conn.execute("RESET ALL")


# -- all kinds of tables --------------------------------------------------------------------------

KINDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a bigint key": (
        "CREATE TABLE orders (id bigserial PRIMARY KEY, step text, status text, tenant text)",
        {"table": "orders", "key": "id", "tenant": "tenant"},
        "INSERT INTO orders (step, status, tenant) VALUES ('made', 'done', 'acme')",
    ),
    "a text key, no tenant, no updated_at": (
        "CREATE TABLE orders (id text PRIMARY KEY, step text, status text)",
        {"table": "orders", "key": "id"},
        "INSERT INTO orders VALUES ('한글 \"quoted\" ''key'' \\', 'made', 'done')",
    ),
    "a unique key that is not the primary one": (
        "CREATE TABLE orders (id int PRIMARY KEY, ref varchar(40) UNIQUE, step text, status text)",
        {"table": "orders", "key": "ref"},
        "INSERT INTO orders VALUES (1, 'A-1', 'made', 'done'), (2, NULL, 'made', 'done')",
    ),
    "enum columns": (
        "CREATE TYPE step AS ENUM ('made', 'cut', 'glue'); CREATE TYPE state AS ENUM ('running', 'done', 'failed');"
        "CREATE TABLE orders (id int PRIMARY KEY, step step, status state)",
        {"table": "orders", "key": "id"},
        "INSERT INTO orders VALUES (1, 'made', 'done')",
    ),
    "char and domain columns": (
        "CREATE DOMAIN state AS varchar(20) CHECK (VALUE <> ''); CREATE DOMAIN ref AS char(8);"
        "CREATE TABLE orders (id ref PRIMARY KEY, step char(10), status state, updated_at timestamp)",
        {"table": "orders", "key": "id"},
        "INSERT INTO orders VALUES ('a-1', 'made', 'done')",
    ),
    "a schema, a table and columns in capitals": (
        'CREATE SCHEMA "Shop"; '
        'CREATE TABLE "Shop"."Orders" ("Id" int PRIMARY KEY, "Step" text, "Status" text, "For" text)',
        {"table": "Shop.Orders", "key": "Id", "step": "Step", "status": "Status", "tenant": "For"},
        """INSERT INTO "Shop"."Orders" VALUES (1, 'made', 'done', 'acme')""",
    ),
    "names that are SQL words and signs": (
        """CREATE SCHEMA "select"; CREATE TABLE "select"."o'clock 100%s $fn$ {key} 주문" """
        """("from's" int PRIMARY KEY, "%I" text, "$ddl$" text, "{table}" text, updated_at timestamptz)""",
        {
            "table": "select.o'clock 100%s $fn$ {key} 주문",
            "key": "from's",
            "step": "%I",
            "status": "$ddl$",
            "tenant": "{table}",
        },
        """INSERT INTO "select"."o'clock 100%s $fn$ {key} 주문" VALUES (1, 'made', 'done', 'acme')""",
    ),
    "a name of 63 bytes": (
        f"CREATE TABLE {'t' * 63} (id int PRIMARY KEY, step text, status text)",
        {"table": "t" * 63, "key": "id"},
        f"INSERT INTO {'t' * 63} VALUES (1, 'made', 'done')",
    ),
    "partitions": (
        "CREATE TABLE orders (id int PRIMARY KEY, step text, status text, updated_at timestamptz) "
        "PARTITION BY HASH (id);"
        "CREATE TABLE orders_0 PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE orders_1 PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 1);",
        {"table": "orders", "key": "id"},
        "INSERT INTO orders SELECT n, 'made', 'done' FROM generate_series(1, 8) AS n",
    ),
    "an updated_at that is no time": (
        "CREATE TABLE orders (id int PRIMARY KEY, step text, status text, updated_at text)",
        {"table": "orders", "key": "id"},
        "INSERT INTO orders VALUES (1, 'made', 'done', 'yesterday')",
    ),
    "a generated column and a dropped one": (
        "CREATE TABLE orders (gone text, id int PRIMARY KEY, step text, status text, "
        "long text GENERATED ALWAYS AS (step || status) STORED); ALTER TABLE orders DROP COLUMN gone",
        {"table": "orders", "key": "id"},
        "INSERT INTO orders VALUES (1, 'made', 'done')",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_jobs_of_a_table_with(database: str, kind: str) -> None:
    """… go all the way, with every statement of the engine on the way: the engine itself writes the row."""
    ddl, names, insert = KINDS[kind]
    names = {"tenant": None, "step": "step", "status": "status", **names}

    async def fail_once(server: StageServer, call: Call) -> Say:
        return Say(429, {"retry-after": "0"}) if call.attempt == 1 else Say()

    db = await asyncpg.connect(database)
    await db.execute(ddl)
    engine = {"cut_advance": "engine", "glue_advance": "engine"}
    async with line(database, fail_once, **names, **engine) as craft, Ear.on(database, "job_state_changed") as ear:
        async with craft.worker(poll=60):
            await db.execute(insert)
            where = f"FROM {_quoted(names['table'])} AS t"
            step, status, key = (f't."{names[n]}"' for n in ("step", "status", "key"))
            unfinished = f"SELECT count(*) = 0 {where} WHERE ({step}::text, {status}::text) <> ('glue', 'done') "
            unfinished += f"AND {key} IS NOT NULL"
            await until(lambda: db.fetchval(unfinished), "every job done")
            await craft.until_settled()
        keys = {row["key"] for row in await db.fetch(f"SELECT {key}::text AS key {where} WHERE {key} IS NOT NULL")}
        assert {c.job_id for c in craft.server.calls} == keys
        assert {s for _, s in await craft.states()} == {"completed"}
        assert len(await craft.dispatches()) == 2 * len(keys)
        events = await ear.events()
        assert {e["job_id"] for e in events} == keys
        assert {e["tenant_id"] for e in events} == ({"acme"} if names["tenant"] else {None})
        assert {e["updated_at"] is None for e in events[len(keys) :]} == {"updated_at timestamp" not in ddl}
    await db.close()


def _quoted(table: str) -> str:
    return ".".join(f'"{part}"' for part in table.split("."))


async def test_a_job_that_moves_to_another_partition_leaves_exactly_one_duty_that_its_row_asks_for(
    database: str,
) -> None:
    ddl, names, insert = KINDS["partitions"]
    pipeline = Pipeline(
        name="craft",
        step="step",
        status="status",
        base_url="http://127.0.0.1:9",
        stages=[Stage(step="cut", after="made", path="/cut")],
        **names,
    )
    async with attached(database, pipeline, ddl) as db:
        await db.execute(insert)
        await db.execute("DELETE FROM pgbaton.due")
        await db.execute("UPDATE orders SET id = id + 100")
        keys = [r["job_key"] for r in await db.fetch("SELECT job_key FROM pgbaton.due ORDER BY id")]
        assert sorted(keys) == sorted(str(n + 100) for n in range(1, 9))


async def test_two_tables_of_one_schema_each_have_a_function_of_their_own(database: str) -> None:
    names = ["jobs", "job", "Job", "orders", "j" * 63, "j" * 62 + "k"]
    async with attached(database) as db:
        for n, name in enumerate(names[1:]):
            ddl = f'CREATE TABLE "{name}" (LIKE jobs INCLUDING ALL)'
            async with attached(database, two_stages(name=f"p{n}", table=name), ddl):
                pass
        for name in names:
            await db.execute(f"INSERT INTO \"{name}\" (current_step, status) VALUES ('made', 'done')")
        found = await db.fetch("SELECT pipeline FROM pgbaton.dispatches ORDER BY id")
        assert [f["pipeline"] for f in found] == ["craft", "p0", "p1", "p2", "p3", "p4"]
