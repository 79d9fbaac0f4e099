"""No password and no contents of a row in any message, whatever the address or the row looks like."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pgbaton.config import load_settings
from pgbaton.database import connection, refusal_words, where
from pgbaton.errors import ConfigError, DatabaseError
from pgbaton.events import describe
from postgres import Cluster

SECRET = "s3cr3tB"
glue = st.text(st.sampled_from("/#?@:%[]&=;\\ ~!$'\"()*+,12345aß한"), max_size=6)
urls = st.builds(
    "{}{}{}{}@{}:{}/{}".format,
    st.sampled_from(["postgresql://me:", "postgres://me:", "postgresql+asyncpg://me:", "postgresql://:"]),
    glue,
    st.just(SECRET),
    glue,
    st.sampled_from(["127.0.0.1", "[::1]", "localhost", "[::1", "", "127.0.0.1,127.0.0.2"]),
    st.sampled_from(["9", "port", "", "99999"]),
    st.sampled_from(["db", "", "db?sslmode=often", "db?a=b@c", "db#x"]),
)


@given(urls)
@example(f"postgresql://me:12345/{SECRET}@127.0.0.1:9/sec")
@example(f"postgresql://me:12345#{SECRET}@127.0.0.1:9/sec")
@example(f"postgresql://me:12345?{SECRET}@127.0.0.1:9/sec")
def test_an_address_is_shown_without_the_password(url: str) -> None:
    assert SECRET not in where(url)


@settings(max_examples=40, deadline=None)
@given(urls)
def test_an_address_that_cannot_be_used_is_refused_without_the_password(url: str) -> None:
    with pytest.raises((ConfigError, DatabaseError)) as refused:
        asyncio.run(_reach(load_settings(given={"database_url": url}).dsn()))
    assert SECRET not in f"{refused.value}{refused.value.__cause__}"


def test_a_part_of_a_password_that_is_read_as_the_databases_name_is_not_repeated(cluster: Cluster) -> None:
    """The server would say: database "s3cr3tB@127.0.0.1/sec" does not exist."""
    good = cluster.dsn("postgres")
    with pytest.raises(DatabaseError) as refused:
        asyncio.run(_reach(f"{good.rpartition('/')[0]}/{SECRET}@127.0.0.1/sec"))
    assert SECRET not in str(refused.value)
    assert str(refused.value) == "Postgres at (unreadable address) refuses: InvalidCatalogNameError"


async def _reach(dsn: str) -> None:
    async with connection(dsn):
        pass


TABLE = """
CREATE TABLE IF NOT EXISTS strict (
    id     integer PRIMARY KEY,
    word   text UNIQUE CHECK (length(word) < 5),
    number integer NOT NULL,
    day    date,
    kind   varchar(3),
    more   jsonb,
    parent integer REFERENCES strict
)
"""
WRITES = (
    "INSERT INTO strict (id, number, word) VALUES (1, 1, $1)",
    "INSERT INTO strict (id, number, word) VALUES (1, NULL, left($1, 4))",
    "INSERT INTO strict (id, number) VALUES (1, $1::text::integer)",
    "INSERT INTO strict (id, number, day) VALUES (1, 1, $1::text::date)",
    "INSERT INTO strict (id, number, kind) VALUES (1, 1, $1)",
    "INSERT INTO strict (id, number, more) VALUES (1, 1, $1::text::jsonb)",
    "INSERT INTO strict (id, number, word, parent) VALUES (1, 1, left($1, 4), 7)",
    "SELECT $1::text::uuid",
    "SELECT $1::text::inet",
    "SELECT $1::text::numeric(3)",
    "SELECT $1::text::int4range",
    "SELECT $1::text::text[]",
    "SELECT $1::text::interval",
    "SELECT $1::text::point",
    "SELECT $1::text::xml",
)


@pytest.mark.parametrize("write", WRITES)
def test_the_databases_message_about_a_row_is_told_without_the_row(write: str, cluster: Cluster) -> None:
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(glue, glue)
    def refused(before: str, behind: str) -> None:
        error = asyncio.run(_written(cluster.dsn("postgres"), write, f"{before}{SECRET}{behind}"))
        for said in (describe(error), refusal_words(error)) if error else ():
            assert SECRET not in said
            assert "\n" not in said
            assert len(said) <= 300

    refused()


async def _written(dsn: str, write: str, value: str) -> asyncpg.PostgresError | None:
    conn = await asyncpg.connect(dsn)
    try:
        async with conn.transaction():
            await conn.execute(TABLE)
            await conn.execute(write, value)
    except asyncpg.PostgresError as error:
        return error
    finally:
        await conn.close()
    return None


def test_the_engines_own_words_are_named_where_a_type_refuses_them() -> None:
    error = asyncpg.InvalidTextRepresentationError('invalid input value for enum job_state: "failed"')
    error.message = str(error)
    assert describe(error).endswith('invalid input value for enum job_state: "failed"')
