"""Any text in a configuration file or the environment is taken, or refused by its place and without its secrets."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pgbaton.config import Settings, load_pipeline, load_settings
from pgbaton.errors import ConfigError
from pgbaton.install.script import attach_sql
from pgbaton.model import Pipeline

SECRET = "hunter2-and-more"
WELL = """
[pipeline]
name = "craft"
table = "public.jobs"
key = "job_id"
tenant = "tenant_id"
step = "current_step"
status = "status"
channel = "job_state_changed"
base_url = "http://127.0.0.1:8011"

[[pipeline.stage]]
step = "cut"
after = "made"
path = "/cut"
timeout = 600
attempts = 5
concurrency = 8

[[pipeline.stage]]
step = "glue"
after = "cut"
path = "/glue"
advance = "engine"

[worker]
capacity = 64
lease = 15
poll = 5.5
log_language = "ko"
"""
NAMES = ("name", "key", "tenant", "step", "status", "after")
KEYS = st.sampled_from(
    [*Pipeline.model_fields, "stage", "step", "after", "path", "timeout", *Settings.model_fields, "x"]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**25), 10**25)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["", "made", "/cut", "jobs", "a.b.c", 'say "hi"', "http://[", "http://a:b", "https://h:99999", "\ud800"]
    )
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=5)
)
secrets = st.sampled_from(
    [
        f"postgresql://u:{SECRET}@h/d",
        f"http://u:{SECRET}@h",
        f"http://:{SECRET}@h:x/?q#f",
        f"u:{SECRET}@h",
        f" {SECRET}@",
    ]
)


def toml(value: Any) -> str:
    """A TOML value (JSON is nearly one)."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(v) for v in value if v is not None) + "]"
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


@pytest.fixture(autouse=True, scope="module")
def bare_environment() -> Any:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PGBATON_", "DATABASE_", "JOB_"))}
    with mock.patch.dict(os.environ, kept, clear=True):
        yield


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "pgbaton.toml"


def read(file: Path, content: bytes) -> str:
    """The messages of loading, all together; only ConfigError may be raised, and it names the file."""
    file.write_bytes(content)
    said = []
    for load in (load_pipeline, load_settings):
        try:
            load(file)
        except ConfigError as error:
            said.append(str(error))
    assert all(line.startswith(str(file)) for line in "\n".join(said).splitlines()), said
    return "\n".join(said)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_a_file_of_any_bytes_is_refused_by_name(file: Path, content: bytes) -> None:
    read(file, content)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, len(WELL)), st.integers(0, 12), st.text(max_size=5)), min_size=1, max_size=3))
def test_a_good_file_with_something_cut_out_and_pasted_in_is_read_or_refused_by_name(
    file: Path, edits: list[tuple[int, int, str]]
) -> None:
    text = WELL
    for place, length, paste in edits:
        text = text[:place] + paste + text[place + length :]
    read(file, text.encode("utf-8", "surrogatepass"))


@settings(max_examples=200)
@given(st.dictionaries(KEYS, json_values, max_size=6), st.dictionaries(KEYS, json_values, max_size=6))
def test_tables_of_any_shape_are_read_or_refused_by_name(
    file: Path, pipeline: dict[str, Any], worker: dict[str, Any]
) -> None:
    read(file, f"pipeline = {toml(pipeline)}\nworker = {toml(worker)}\n".encode("utf-8", "surrogatepass"))


NOT_NAMES = [line for line in WELL.split("\n") if line.partition(" = ")[0] not in NAMES]


@given(st.sampled_from(NOT_NAMES), secrets, st.booleans())
def test_a_password_in_an_address_is_not_told_where_it_stands_in_a_file(
    file: Path, line: str, secret: str, broken: bool
) -> None:
    """But where a step's or a column's name should be: what is wrong with those cannot be said without them."""
    key, equals, _ = line.partition(" = ")
    instead = f"{key} = {json.dumps(secret)}" if equals else f"{line}\ndatabase_url = {json.dumps(secret)}"
    said = read(file, (WELL.replace(line, instead, 1) + ("\n[" if broken else "")).encode())
    assert SECRET not in said


@given(
    st.dictionaries(KEYS, secrets | st.lists(secrets) | st.dictionaries(KEYS, secrets), max_size=4),
    st.booleans(),
)
def test_a_password_is_not_told_in_tables_of_any_shape_either(file: Path, table: dict[str, Any], worker: bool) -> None:
    name = "worker" if worker else "pipeline"
    assert SECRET not in read(file, f"{name} = {toml(table)}\n".encode())


VARIABLES = [
    "DATABASE_URL",
    "JOB_STATE_LISTENER_RECONNECT_DELAY",
    *(f"PGBATON_{n.upper()}" for n in Settings.model_fields),
]
environment_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(st.sampled_from(VARIABLES), environment_text | secrets | st.integers().map(str), max_size=4))
def test_a_variable_of_the_environment_is_taken_or_refused_by_its_name(variables: dict[str, str]) -> None:
    with mock.patch.dict(os.environ, variables):
        try:
            taken = load_settings()
        except ConfigError as error:
            said = str(error)
            assert all(line.startswith("environment: ") for line in said.split("\n"))
            assert any(name in said for name in variables)
        else:
            said = repr(taken) + str(taken)
    assert SECRET not in said


@settings(max_examples=300)
@given(json_values)
def test_json_of_any_shape_is_a_pipeline_or_no_valid_one(value: Any) -> None:
    with suppress(ValidationError):
        attach_sql(Pipeline.model_validate(value))


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from([*Pipeline.model_fields, "stage"]), json_values, max_size=3), st.data())
def test_a_good_pipeline_with_odd_values_is_a_pipeline_or_no_valid_one(
    odd: dict[str, Any], data: st.DataObject
) -> None:
    stages = [
        {"step": "cut", "after": "made", "path": "/cut"} | data.draw(st.dictionaries(KEYS, scalars, max_size=1)),
        {"step": "glue", "after": "cut", "path": "/glue"} | data.draw(st.dictionaries(KEYS, scalars, max_size=1)),
    ]
    good = {"name": "craft", "table": "jobs", "key": "id", "step": "step", "status": "status"}
    whole = good | {"base_url": "http://h", "stages": stages} | odd
    with suppress(ValidationError):
        attach_sql(Pipeline.model_validate(whole))
