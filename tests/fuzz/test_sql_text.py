"""Text of others' making in SQL: names and literals come back as they went in, and an event's payload always fits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pgbaton.sql import literal, quoted
from postgres import Cluster

HOSTILE = "'\"\\$;-/*%{}:@\n\t\r\x01\x7f \u2028한😀"
storable = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
texts = (
    st.text(storable) | st.text(st.sampled_from(HOSTILE)) | st.sampled_from(["$$", "$fn$", "--", "/*", "E'\\'", "U&'"])
)
names = texts.filter(lambda name: 0 < len(name.encode()) <= 63)
long_texts = st.builds(lambda text, times: text * times, texts, st.sampled_from([1, 1, 50, 400, 8000])).map(
    lambda text: text[:20_000]
)
KEYS = ["job_id", "current_step", "status", "tenant_id", "updated_at"]
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def ask(cluster: Cluster, template: str) -> Iterator[Ask]:
    """Runs a query with one row and returns that."""
    with asyncio.Runner() as runner:
        making = cluster.new_database(template)
        conn = runner.run(_connect(runner.run(making.__aenter__())))
        yield lambda query, *arguments: runner.run(conn.fetchrow(query, *arguments))
        runner.run(conn.close())
        runner.run(making.__aexit__(None, None, None))


async def _connect(dsn: str) -> asyncpg.Connection:
    return await asyncpg.connect(dsn, statement_cache_size=0)


fuzz = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(st.lists(names, min_size=1, max_size=5), st.sampled_from(["on", "off"]))
def test_a_quoted_name_is_that_name_and_nothing_else(ask: Ask, columns: list[str], conforming: str) -> None:
    ask(f"SELECT set_config('standard_conforming_strings', '{conforming}', false)")
    row = ask("SELECT " + ", ".join(f"{place} AS {quoted(name)}" for place, name in enumerate(columns)))
    assert list(row.keys()) == columns
    assert list(row.values()) == list(range(len(columns)))


@fuzz
@given(st.lists(texts | st.none(), min_size=1, max_size=5), st.sampled_from(["on", "off"]))
def test_a_literal_is_that_text_and_nothing_else(ask: Ask, values: list[str | None], conforming: str) -> None:
    ask(f"SELECT set_config('standard_conforming_strings', '{conforming}', false)")
    row = ask("SELECT " + ", ".join(f"{literal(value)}::text AS c{place}" for place, value in enumerate(values)))
    assert list(row.values()) == values


@fuzz
@given(*[long_texts | st.none()] * 4, st.none() | st.datetimes(timezones=st.just(UTC)))
@example("x" * 7960, "", "", "", None)
@example("\x01" * 1327, "", "", None, None)
@example("", "x" * 7950, "", "", datetime(2026, 11, 23, tzinfo=UTC))
@example("x" * 9000, "x" * 9000, "x" * 9000, "x" * 9000, None)
def test_an_events_payload_is_json_below_what_notify_takes_with_the_job_first(
    ask: Ask, job: str | None, step: str | None, status: str | None, tenant: str | None, moment: datetime | None
) -> None:
    row = ask(
        "SELECT payload, pg_notify('fuzz', payload) FROM pgbaton.event_payload($1, $2, $3, $4, $5) AS payload",
        *(job, step, status, tenant, moment),
    )
    payload = row["payload"]
    assert len(payload.encode()) < 8000
    pairs = json.loads(payload, object_pairs_hook=list)
    kept = dict(pairs)
    values = dict(zip(KEYS, (job, step, status, tenant, kept.get("updated_at")), strict=True))
    assert [name for name, _ in pairs] == [name for name in KEYS if name in kept], "in the contract's order"
    assert kept == {name: values[name] for name in kept}, "unchanged"
    sizes = {name: len(ask("SELECT to_json($1::text)::text", values[name] or "")[0].encode()) for name in KEYS}
    if sizes["job_id"] < 7900:
        assert pairs[0] == ("job_id", job)
    if sum(sizes.values()) < 7800:
        assert list(kept) == KEYS
