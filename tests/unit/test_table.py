"""The names of the user's table on their way into SQL."""

from __future__ import annotations

from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from line import two_stages
from pgbaton import sql
from pgbaton.errors import ConfigError
from pgbaton.install.names import trigger_function
from pgbaton.install.script import attach_sql
from pgbaton.sql import literal, quoted
from pgbaton.table import JobTable, chosen


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("jobs", '"jobs"'),
        ("Jobs", '"Jobs"'),
        ('a"b', '"a""b"'),
        ('"', '""""'),
        ("select", '"select"'),
        ("주문", '"주문"'),
    ],
)
def test_an_identifier_is_always_quoted(name: str, identifier: str) -> None:
    assert quoted(name) == identifier


@pytest.mark.parametrize(
    ("value", "as_sql"),
    [
        (None, "NULL"),
        ("", "''"),
        ("done", "'done'"),
        ("it's", "'it''s'"),
        ("a\\b", "E'a\\\\b'"),
        ("a\\'b", "E'a\\\\''b'"),
        ("$$", "'$$'"),
        ("{step}", "'{step}'"),
    ],
)
def test_a_literal_means_the_same_under_any_settings_of_the_server(value: str | None, as_sql: str) -> None:
    assert literal(value) == as_sql


@given(st.text(st.characters(exclude_characters="\x00")))
def test_a_literal_never_ends_early(value: str) -> None:
    body = literal(value)
    assert body.startswith("E'" if "\\" in value else "'")
    inside = body[2:-1] if body.startswith("E") else body[1:-1]
    if body.startswith("E"):
        inside = inside.replace("\\\\", "")
        assert "\\" not in inside
    assert "'" not in inside.replace("''", "")


def test_a_table_without_a_schema_is_in_public() -> None:
    assert JobTable.of(two_stages(table="orders")).qualified == '"public"."orders"'
    assert JobTable.of(two_stages(table="Shop.Orders")).qualified == '"Shop"."Orders"'


def test_the_contracts_table_has_the_contracts_function_and_others_their_own() -> None:
    def function(table: str) -> str:
        return trigger_function(JobTable.of(two_stages(table=table)))

    assert function("jobs") == '"public"."notify_job_state_change"'
    assert function("shop.jobs") == '"shop"."notify_job_state_change"'
    assert function("orders") == '"public"."notify_orders_state_change"'
    assert function("job") != function("jobs")
    assert function("t" * 63) != function("t" * 62 + "u")
    for table in ("t" * 63, "한" * 21):
        assert len(function(table).split(".")[1].strip('"').encode()) <= 63


def test_a_name_that_looks_like_a_part_is_not_replaced() -> None:
    assert sql.render("{a} {b}", {"a": "{b}", "b": "{a}"}) == "{b} {a}"
    assert '"{key}"' in attach_sql(two_stages(table="{key}"))


def test_a_part_that_is_missing_is_an_error_and_not_sql() -> None:
    with pytest.raises(KeyError):
        sql.render("SELECT {tabel}", {"table": "x"})


@pytest.mark.parametrize("folder", ["worker", "guard", "operate"])
def test_every_statement_renders_for_a_table_and_says_what_it_is_for(folder: str) -> None:
    table = JobTable.of(two_stages())
    names = [f.name for f in sql.files("pgbaton.sql").joinpath(folder).iterdir()]
    assert len(names) > 2
    for name in names:
        text = table.query(f"{folder}/{name.removesuffix('.sql')}")
        assert "{table}" not in text
        assert text.startswith("-- "), f"{name} does not say what it is for"


@pytest.mark.parametrize("folder", ["worker", "guard", "operate", "watch"])
def test_every_statement_asks_for_parts_that_a_table_has(folder: str) -> None:
    parts = JobTable.of(two_stages(key=["job_id", "tenant_id"])).parts()
    for file in (files("pgbaton.sql") / folder).iterdir():
        for admitted in (False, True):
            claim = sql.claim_parts(f"{folder}/{file.name.removesuffix('.sql')}", admitted=admitted)
            assert sql.ARGUMENT not in sql.render(file.read_text(encoding="utf-8"), parts | claim), file.name


def test_a_pipeline_that_is_asked_for_must_be_attached() -> None:
    assert chosen(["ads", "variants"], None) == ["ads", "variants"]
    assert chosen(["ads", "variants"], "variants") == ["variants"]
    with pytest.raises(ConfigError, match="there is no pipeline 'orders'; there are: ads, variants"):
        chosen(["ads", "variants"], "orders")
