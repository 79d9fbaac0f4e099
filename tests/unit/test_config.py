"""TOML, then the environment, then the command line; and errors that name the place and keep secrets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pgbaton import Advance, Pipeline, Settings, Stage
from pgbaton.config import load_databases, load_pipeline, load_settings, one_database
from pgbaton.errors import ConfigError

CONTRACT = """
[pipeline]
name     = "ad_creative"
table    = "public.jobs"
key      = "job_id"
tenant   = "tenant_id"       # optional
step     = "current_step"
status   = "status"
channel  = "job_state_changed"  # optional
base_url = "http://127.0.0.1:8011"

[[pipeline.stage]]
step    = "vlm_analyze"
after   = "img_gen"
path    = "/api/yh/llava/stage1/validate"
timeout = 600
attempts = 5
concurrency = 8

[[pipeline.stage]]
step    = "yolo_detect"
after   = "vlm_analyze"
path    = "/api/yh/yolo/detect"
timeout = 0.5
advance = "engine"
"""


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PGBATON_") or name in ("DATABASE_URL", "JOB_STATE_LISTENER_RECONNECT_DELAY"):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pgbaton.toml"


def refusal(load: Any, *arguments: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        load(*arguments)
    return str(refused.value)


# -- the pipeline ---------------------------------------------------------------------------------


def test_a_toml_file_and_the_python_object_are_two_spellings_of_one_model(file: Path) -> None:
    file.write_text(CONTRACT)
    assert load_pipeline(file) == Pipeline(
        name="ad_creative",
        table="public.jobs",
        key="job_id",
        tenant="tenant_id",
        step="current_step",
        status="status",
        channel="job_state_changed",
        base_url="http://127.0.0.1:8011",
        stages=[  # type: ignore[arg-type]
            Stage(
                step="vlm_analyze",
                after="img_gen",
                path="/api/yh/llava/stage1/validate",
                timeout=600,
                attempts=5,
                concurrency=8,
            ),
            Stage(
                step="yolo_detect",
                after="vlm_analyze",
                path="/api/yh/yolo/detect",
                timeout=0.5,
                advance=Advance.ENGINE,
            ),
        ],
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name     = "ad_creative"', 'name = "Ad"', "pipeline.name: must be 1 to 48 lower-case"),
        ('name     = "ad_creative"', "name = 7", "pipeline.name: Input should be a valid string (it is 7)"),
        ('name     = "ad_creative"', "", "pipeline.name: missing"),
        (
            'table    = "public.jobs"',
            'table = "a.b.c"',
            "pipeline.table: must be a table name, or schema.table (it is 'a.b.c')",
        ),
        ('key      = "job_id"', "key = 'a\"b'", "pipeline.key: must be a column or channel name"),
        ('key      = "job_id"', 'key = "status"', "pipeline: the column 'status' is named twice"),
        ("attempts = 5", "retries = 5", "pipeline.stage[0].retries: unknown key (it is 5)"),
        ("attempts = 5", 'attempts = "five"', "pipeline.stage[0].attempts: "),
        (
            "attempts = 5",
            "attempts = 0",
            "pipeline.stage[0].attempts: Input should be greater than or equal to 1 (it is 0)",
        ),
        ("timeout = 0.5", "timeout = nan", "pipeline.stage[1].timeout: "),
        ("timeout = 0.5", "timeout = 2026-01-01", "pipeline.stage[1].timeout: "),
        ('after   = "vlm_analyze"', 'after = "img_gen"', "two routes lead from the state ('img_gen', done)"),
        ('after   = "vlm_analyze"', 'after = "elsewhere"', "the stage 'yolo_detect' is unreachable: no stage performs"),
        ('after   = "img_gen"', 'after = "yolo_detect"', "is unreachable: it follows itself"),
        ('path    = "/api/yh/yolo/detect"', "", "pipeline.stage[1].path: missing"),
        (
            'base_url = "http://127.0.0.1:8011"',
            'base_url = "ftp://h"',
            "pipeline.base_url: must be an http:// or https://",
        ),
        (
            "[pipeline]",
            "colour = 1\n[pipeline]",
            "colour: unknown table; there are [pipeline], [[pipeline.stage]], [[pool]] and [worker]",
        ),
        ("[pipeline]", "[other]", "other: unknown table"),
        ("[[pipeline.stage]]", "[pipeline.stage]", ""),
        ("[[pipeline.stage]]", "[[pipeline.stages.x]]", ""),
        ('name     = "ad_creative"', 'name = "a"\nname = "b"', "not TOML: "),
    ],
)
def test_a_fault_is_told_with_the_file_the_key_and_the_value(file: Path, old: str, new: str, said: str) -> None:
    assert old in CONTRACT
    file.write_text(CONTRACT.replace(old, new))
    lines = refusal(load_pipeline, file).splitlines()
    assert all(line.startswith(f"{file}: ") for line in lines)
    assert any(said in line for line in lines)
    assert "pydantic" not in "\n".join(lines)


def test_all_faults_are_told_one_a_line(file: Path) -> None:
    file.write_text(CONTRACT.replace("ad_creative", "Ad").replace("attempts = 5", "attempts = 0\nx = 1"))
    keys = [line.split(": ")[1] for line in refusal(load_pipeline, file).splitlines()]
    assert keys == ["pipeline.name", "pipeline.stage[0].attempts", "pipeline.stage[0].x"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "the table [pipeline] is missing"),
        (b"pipeline = 7", "the table [pipeline] is missing"),
        (b"pipeline = []", "the table [pipeline] is missing"),
        (b"[pipeline]\n", "pipeline.name: missing"),
        (b"[pipeline", "not TOML: "),
        (b"\xff\xfe", "not TOML: "),
        (b"x = " + b"[" * 10_000, "not TOML: "),
        (b"\x00", "not TOML: "),
    ],
)
def test_a_file_that_is_no_pipeline_is_refused(file: Path, text: bytes, said: str) -> None:
    file.write_bytes(text)
    assert refusal(load_pipeline, file).startswith(f"{file}: ")
    assert said in refusal(load_pipeline, file)


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    assert refusal(load_pipeline, file) == f"{file}: No such file or directory"
    assert refusal(load_settings, file) == f"{file}: No such file or directory"


def test_a_value_of_any_length_is_shown_in_part(file: Path) -> None:
    file.write_text(CONTRACT.replace("ad_creative", "A" * 100_000))
    assert len(refusal(load_pipeline, file)) < 1000


# -- settings -------------------------------------------------------------------------------------


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("[worker]\ncapacity = 1\nlease = 11\npoll = 21")
    assert (load_settings().capacity, load_settings().lease) == (64, 15)
    from_file = load_settings(file)
    assert (from_file.capacity, from_file.lease, from_file.poll, from_file.drain_timeout) == (1, 11, 21, 30)
    monkeypatch.setenv("PGBATON_CAPACITY", "2")
    monkeypatch.setenv("PGBATON_LEASE", "12")
    monkeypatch.setenv("JOB_STATE_LISTENER_RECONNECT_DELAY", "0.5")
    with_environment = load_settings(file)
    assert (with_environment.capacity, with_environment.lease, with_environment.poll) == (2, 12, 21)
    assert with_environment.reconnect_delay == 0.5
    with_all = load_settings(file, {"capacity": 3, "lease": None, "database_url": None})
    assert (with_all.capacity, with_all.lease, with_all.poll) == (3, 12, 21)


def test_the_database_of_the_command_line_wins_over_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://a@h/x")
    assert load_settings().dsn() == "postgresql://a@h/x"
    assert load_settings(given={"database_url": "postgresql://b@h/y"}).dsn() == "postgresql://b@h/y"


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("postgres://u:p@h:1/d", "postgresql://u:p@h:1/d"),
        ("postgresql+asyncpg://h/d", "postgresql://h/d"),
        ("postgresql+psycopg2://h/d?sslmode=require", "postgresql://h/d?sslmode=require"),
        ("  postgresql://h/d\n", "postgresql://h/d"),
    ],
)
def test_other_spellings_of_a_database_url_are_understood(given: str, plain: str) -> None:
    assert load_settings(given={"database_url": given}).dsn() == plain


def test_without_a_database_the_way_to_name_one_is_told() -> None:
    assert refusal(load_settings().dsn) == "no database: set DATABASE_URL or give --database-url"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("capacity = 0", "worker.capacity: Input should be greater than or equal to 1 (it is 0)"),
        ("capacity = 'many'", "worker.capacity: "),
        ("lease = 0.5", "worker.lease: "),
        ("poll = nan", "worker.poll: "),
        ("poll = inf", "worker.poll: "),
        ("drain_timeout = -1", "worker.drain_timeout: "),
        ("retention = 5", "worker.retention: "),
        ("retention = nan", "worker.retention: "),
        ("retention = inf", "worker.retention: "),
        ("reconnect_delay = 0", "worker.reconnect_delay: "),
        ("log_language = 'fr'", "worker.log_language: "),
        ("colour = 'red'", "worker.colour: unknown key (it is 'red')"),
    ],
)
def test_a_setting_in_the_file_that_cannot_be_is_told_with_its_place(file: Path, text: str, said: str) -> None:
    file.write_text(f"[worker]\n{text}")
    assert refusal(load_settings, file).startswith(f"{file}: {said}")


@pytest.mark.parametrize("text", ["worker = 7", "[[worker]]"])
def test_a_worker_that_is_no_table_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    assert refusal(load_settings, file).startswith(f"{file}: worker: must be a table")


@pytest.mark.parametrize("worker", ["", "[worker]\npoll = 3"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGBATON_CAPACITY", "many"),
        ("PGBATON_LEASE", ""),
        ("PGBATON_LOG_LANGUAGE", "fr"),
        ("JOB_STATE_LISTENER_RECONNECT_DELAY", "soon"),
    ],
)
def test_a_variable_that_cannot_be_is_told_by_its_name(
    file: Path, monkeypatch: pytest.MonkeyPatch, worker: str, name: str, value: str
) -> None:
    file.write_text(worker)
    monkeypatch.setenv(name, value)
    said = refusal(load_settings, file)
    assert said.startswith(f"environment: {name}: ")
    assert said.endswith(f"(it is {value!r})")


def test_an_option_that_cannot_be_is_told_as_the_command_lines() -> None:
    assert refusal(load_settings, None, {"capacity": 0}).startswith("command line.capacity: ")


# -- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["database_url", "DATABASE_URL", "listen_url", "PGBATON_LISTEN_URL"])
def test_a_secret_in_the_file_is_refused_and_not_repeated(file: Path, key: str) -> None:
    file.write_text(f'[worker]\n{key} = "postgresql://me:hunter2@h/d"')
    said = refusal(load_settings, file)
    assert "a secret does not belong in this file; set " in said
    assert "hunter2" not in said


@pytest.mark.parametrize("bad", ["mysql://me:hunter2@h/d", "me:hunter2@h", "hunter2", "postgresql:/me:hunter2@h"])
@pytest.mark.parametrize("name", ["DATABASE_URL", "PGBATON_LISTEN_URL"])
def test_a_bad_database_url_is_never_repeated(monkeypatch: pytest.MonkeyPatch, name: str, bad: str) -> None:
    monkeypatch.setenv(name, bad)
    said = refusal(load_settings)
    assert said == f"environment: {name}: must start with postgresql://"


def test_a_bad_database_option_is_never_repeated() -> None:
    said = refusal(load_settings, None, {"database_url": "mysql://me:hunter2@h/d"})
    assert "must start with postgresql://" in said
    assert "hunter2" not in said


def test_a_password_in_an_address_of_the_pipeline_is_never_repeated(file: Path) -> None:
    file.write_text(CONTRACT.replace("http://127.0.0.1", "http://me:hunter2@127.0.0.1"))
    said = refusal(load_pipeline, file)
    assert "pipeline.base_url: must hold no user, password, query or fragment" in said
    assert "hunter2" not in said


def test_settings_do_not_show_their_password() -> None:
    settings = Settings(database_url="postgresql://me:hunter2@h/d", listen_url="postgresql://me:hunter2@h/d")  # type: ignore[arg-type]
    assert "hunter2" not in repr(settings) + str(settings) + str(settings.model_dump()) + settings.model_dump_json()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().capacity = 7  # type: ignore[misc]


# -- several databases ----------------------------------------------------------------------------


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("PGBATON_DATABASES", "north, south")
    monkeypatch.setenv("DATABASE_URL_NORTH", "postgres://n/n")
    monkeypatch.setenv("DATABASE_URL_SOUTH", "postgresql+asyncpg://s/s")
    monkeypatch.setenv("PGBATON_LISTEN_URL_SOUTH", "postgresql://direct/s")
    return monkeypatch


def test_each_database_has_its_own_addresses_and_the_settings_of_all(two: pytest.MonkeyPatch) -> None:
    two.setenv("PGBATON_CAPACITY", "7")
    two.setenv("PGBATON_BASE_URL_NORTH", "http://north:8000/")
    each = load_databases()
    assert [(name, one.database, one.dsn(), one.listen_dsn(), one.capacity) for name, one in each.items()] == [
        ("north", "north", "postgresql://n/n", None, 7),
        ("south", "south", "postgresql://s/s", "postgresql://direct/s", 7),
    ]
    assert [one.base_url for one in each.values()] == ["http://north:8000", None]
    assert list(load_databases(given={"database": "south"})) == ["south"]
    assert list(load_databases(given={"database": "all"})) == ["north", "south"]
    two.setenv("PGBATON_DATABASE", "north")
    assert one_database(Settings()).dsn() == "postgresql://n/n"
    assert list(load_databases()) == ["north"]
    assert next(iter(load_databases(given={"database_url": "postgresql://x/x"}).values())).dsn() == "postgresql://x/x"


def test_one_database_needs_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://x/x")
    assert list(load_databases()) == [""]
    monkeypatch.setenv("PGBATON_DATABASE", "north")  # one worker a database: its name for the log and the metrics
    assert {name: one.dsn() for name, one in load_databases().items()} == {"north": "postgresql://x/x"}


def test_faults_in_the_settings_of_several_databases_are_said(two: pytest.MonkeyPatch, file: Path) -> None:
    assert refusal(one_database, Settings()).startswith("several databases are named (north, south): choose one")
    none = "--database: there is no database 'west'; PGBATON_DATABASES names: north, south"
    assert refusal(load_databases, None, {"database": "west"}) == none
    two.setenv("PGBATON_DATABASE", "west")
    assert refusal(load_databases) == "PGBATON_DATABASE: there is no database 'west'; there are: north, south"
    two.delenv("PGBATON_DATABASE")
    two.setenv("DATABASE_URL_SOUTH", "postgresql://n/n")
    assert refusal(load_databases) == "environment: DATABASE_URL_NORTH and DATABASE_URL_SOUTH are the same"
    two.setenv("DATABASE_URL_SOUTH", "mysql://u:secret@s/s")
    assert refusal(load_databases) == "environment: DATABASE_URL_SOUTH: must start with postgresql://"
    two.delenv("DATABASE_URL_SOUTH")
    missing = "environment: DATABASE_URL_SOUTH: missing, the address of the database 'south'"
    assert refusal(load_databases) == missing
    for names in ("north,north", "all", "North", "a b", ""):
        two.setenv("PGBATON_DATABASES", names)
        assert refusal(load_databases).startswith("environment: PGBATON_DATABASES: ")
    two.delenv("PGBATON_DATABASES")
    file.write_text('[worker]\ndatabases = ["north"]')
    assert refusal(load_settings, file).endswith("set PGBATON_DATABASES")
