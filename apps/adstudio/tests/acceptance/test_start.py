"""The environment's settings are used; an application that cannot start says in one sentence why, and ends with 1."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import onnx
import pytest
from app_process import ASSETS, PATHS, STEPS, App, Jobs, ask, environment, free_port, photo, serving, start
from onnx import TensorProto, helper

from adstudio import config
from pgbaton.events import Event
from postgres import Cluster

INIT = Path(__file__).parents[4] / "db" / "init"
TITLE = "app-yh (Planner/Overlay/Eval)"


# -- what cannot start ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """An environment, and what is said of it; ``{…}`` stands for what the fixture makes."""

    says: str
    variables: dict[str, str] = field(default_factory=dict)


CASES = {
    "a port that is no number": Case(r"environment: PORT: .* \(it is 'abc'\)", {"PORT": "abc"}),
    "a port that cannot be": Case(r"environment: PORT: .* \(it is '70000'\)", {"PORT": "70000"}),
    "a host that is none": Case(r"HOST: '256\.0\.0\.1' is no address", {"HOST": "256.0.0.1"}),
    "a port in use": Case(
        r"HOST, PORT: cannot listen on 127\.0\.0\.1, port {taken}: address already in use", {"PORT": "{taken}"}
    ),
    "a listener that is neither on nor off": Case(
        r"environment: ENABLE_JOB_STATE_LISTENER: .* \(it is 'maybe'\)", {"ENABLE_JOB_STATE_LISTENER": "maybe"}
    ),
    "a delay that is none": Case(
        r"environment: JOB_STATE_LISTENER_RECONNECT_DELAY: .*greater than 0 \(it is '-1'\)",
        {"JOB_STATE_LISTENER_RECONNECT_DELAY": "-1"},
    ),
    "a language that is not spoken": Case(r"environment: LOG_LANGUAGE: .* \(it is 'fr'\)", {"LOG_LANGUAGE": "fr"}),
    "a setting of the worker": Case(r"environment: PGBATON_POLL: .* \(it is 'often'\)", {"PGBATON_POLL": "often"}),
    "a stage's address": Case(
        r"environment: STAGE_BASE_URL: must be an http:// or https:// address", {"STAGE_BASE_URL": "ftp://x"}
    ),
    "a model's address": Case(
        r"environment: VLM_URL: must be an http:// or https:// address", {"VLM_URL": "localhost:11434"}
    ),
    "another kind of database": Case(
        r"environment: DATABASE_URL: must start with postgresql://", {"DATABASE_URL": "mysql://me:hush@127.0.0.1/x"}
    ),
    "a database that is not there": Case(
        r"no Postgres answers at 127\.0\.0\.1:{nobody}/x: .*",
        {"DATABASE_URL": "postgresql://me:hush@127.0.0.1:{nobody}/x"},
    ),
    "a user that is none": Case(
        r"Postgres at 127\.0\.0\.1:\d+/\w+ refuses: .*nobody_at_all.*", {"DATABASE_URL": "{stranger}"}
    ),
    "a database with nothing in it": Case(
        r"the database has no table jobs, jobs_variants, ad_inputs, .*: `adstudio prepare` makes what is missing, .*",
        {"DATABASE_URL": "{empty}"},
    ),
    "a database that is not attached": Case(
        r".*run pgbaton migrate, or let `adstudio prepare` do all of it", {"DATABASE_URL": "{unattached}"}
    ),
    "a folder that cannot be": Case(r"/dev/null/x: Not a directory", {"ADSTUDIO_DATA": "/dev/null/x"}),
    "a model that is missing": Case(r"/nowhere/best\.onnx: no such file", {"YOLO_MODEL": "/nowhere/best.onnx"}),
    "a model that is none": Case(r".*best\.onnx: not a usable ONNX model .*", {"YOLO_MODEL": "{text}"}),
    "a model for something else": Case(
        r".*u2netp\.onnx: gives .* one output was expected: .*",
        {"YOLO_MODEL": str(ASSETS / "models" / "u2netp.onnx")},
    ),
    "a class that the model does not know": Case(
        r"YOLO_CLASSES: the detector knows no unicorn; it knows .*", {"YOLO_CLASSES": "cup, unicorn"}
    ),
    "a vision model that is missing": Case(r"/nowhere/llava: no such folder", {"VLM_PATH": "/nowhere/llava"}),
    "two vision models": Case(
        r"environment: VLM_PATH: .*VLM_URL names another model: set one of the two.*",
        {"VLM_PATH": "/nowhere/llava", "VLM_URL": "http://127.0.0.1:1/v1"},
    ),
    "tokens that name nobody": Case(r"ADS_TOKENS: must be tenant=token, .*", {"ADS_TOKENS": "a-secret-without-a-name"}),
    "a token that is short": Case(r"ADS_TOKENS: the token of acme is too short: .*", {"ADS_TOKENS": "acme=short"}),
    "a file store that cannot be": Case(
        r"ADSTUDIO_ASSETS: /dev/null/x: not a directory", {"ADSTUDIO_ASSETS": "/dev/null/x"}
    ),
}
NEED_A_DATABASE = (
    "a model that is missing",
    "a model that is none",
    "a model for something else",
    "a class that the model does not know",
    "a vision model that is missing",
    "a file store that cannot be",
    "a token that is short",
)


@pytest.fixture(scope="module")
def ends(
    app_database: str, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[int, str]]]:
    """Exit code and standard error of every case; they run side by side."""
    folder = tmp_path_factory.mktemp("start")
    (folder / "best.onnx").write_text("not a model")

    async def prepare(dsn: str) -> None:
        script = (INIT / "01_schema.sql").read_text(encoding="utf-8")
        db = await asyncpg.connect(dsn)
        await db.execute(script)
        await db.close()

    async def nothing(dsn: str) -> None:
        pass

    with asyncio.Runner() as runner, ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as taken:

        def made(prepare: Callable[..., object]) -> str:
            making = cluster.new_template(prepare)  # type: ignore[arg-type]
            stack.callback(lambda: runner.run(making.__aexit__(None, None, None)))
            return cluster.dsn(runner.run(making.__aenter__()))

        known = {
            "taken": str(taken.getsockname()[1]),
            "nobody": str(free_port()),
            "stranger": re.sub(r"//.*@", "//nobody_at_all:wrong@", app_database),
            "empty": made(nothing),
            "unattached": made(prepare),
            "text": str(folder / "best.onnx"),
        }
        started = {}
        for name, case in CASES.items():
            variables = {key: value.format(**known) for key, value in case.variables.items()}
            if name in NEED_A_DATABASE:
                variables["DATABASE_URL"] = app_database
            started[name] = start("adstudio", "serve", folder=folder, **{"PORT": free_port(), **variables})
        found = {}
        for name, process in started.items():
            _, said = process.communicate(timeout=60)
            found[name] = (process.returncode, said)
        yield {
            name: (code, said.replace(known["taken"], "{taken}").replace(known["nobody"], "{nobody}"))
            for name, (code, said) in found.items()
        }
        assert not (folder / ".adstudio").exists()


@pytest.mark.parametrize("name", CASES)
def test_an_application_that_cannot_start_says_why_in_a_sentence_and_ends_with_1(
    ends: dict[str, tuple[int, str]], name: str
) -> None:
    code, said = ends[name]
    assert code == 1
    assert "Traceback" not in said
    assert re.match(f"adstudio: {CASES[name].says}", said.splitlines()[-1]), said
    assert "hush" not in said


def test_a_password_is_never_shown(ends: dict[str, tuple[int, str]]) -> None:
    assert not any("hush" in said or "wrong" in said for _, said in ends.values())


# -- what the environment says ----------------------------------------------------------------------


@pytest.mark.parametrize("spelled", ["true", "TRUE", "True", "1", "yes", "YES", "on", "On", ""])
def test_the_listener_is_on(monkeypatch: pytest.MonkeyPatch, spelled: str) -> None:
    monkeypatch.setenv("ENABLE_JOB_STATE_LISTENER", spelled)
    assert config.load().enable_job_state_listener is True


@pytest.mark.parametrize("spelled", ["false", "FALSE", "False", "0", "no", "No", "off", "OFF"])
def test_the_listener_is_off(monkeypatch: pytest.MonkeyPatch, spelled: str) -> None:
    monkeypatch.setenv("ENABLE_JOB_STATE_LISTENER", spelled)
    assert config.load().enable_job_state_listener is False


def test_without_an_environment_the_settings_are_the_contracts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(map(str.upper, config.AppSettings.model_fields)) | {"ADSTUDIO_DATA"}:
        monkeypatch.delenv(name, raising=False)
    settings = config.load()
    assert (settings.host, settings.port, settings.title) == ("127.0.0.1", 8011, TITLE)
    assert (settings.root_path, settings.database_url, settings.log_language) == ("", None, "ko")
    assert settings.enable_job_state_listener is True
    assert settings.job_state_listener_reconnect_delay == settings.worker().reconnect_delay == 5


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8011"),  # noqa: S104
        ("::", "http://[::1]:8011"),
        ("::1", "http://[::1]:8011"),
        ("app.example", "http://app.example:8011"),
    ],
)
def test_the_stages_are_called_where_the_application_listens(
    monkeypatch: pytest.MonkeyPatch, host: str, url: str
) -> None:
    monkeypatch.setenv("HOST", host)
    monkeypatch.delenv("PORT", raising=False)
    assert config.load().base_url == url


@pytest.fixture(scope="module")
def named(app_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """app-yh under another name, behind a proxy, in English, soon to reconnect."""
    variables = {
        "PART_NAME": "studio 7",
        "ROOT_PATH": "/api/yh/",
        "LOG_LANGUAGE": "en",
        "JOB_STATE_LISTENER_RECONNECT_DELAY": "0.3",
    }
    with serving(tmp_path_factory.mktemp("named"), app_database, **variables) as running:
        yield running


def test_the_part_names_the_title(named: App) -> None:
    assert named.get("/openapi.json").body["info"]["title"] == "app-studio 7 (Planner/Overlay/Eval)"


def test_behind_a_proxy_the_documentation_finds_its_way(named: App) -> None:
    assert named.get("/openapi.json").body["servers"] == [{"url": "/api/yh"}]
    assert "'/api/yh/openapi.json'" in named.get("/docs").body


@pytest.mark.parametrize("step", STEPS)
def test_behind_a_proxy_every_path_is_found_with_and_without_the_prefix(named: App, step: str) -> None:
    body = {"job_id": "00000000-0000-0000-0000-000000000000", "tenant_id": "acme"}
    for prefix in ("", "/api/yh"):
        assert ask(f"{named.base_url}{prefix}{PATHS[step]}", body).problem == "Unknown job"
        assert ask(f"{named.base_url}{prefix}/healthz").status == 200


async def test_behind_a_proxy_jobs_move_by_themselves(named: App, jobs: Jobs) -> None:
    job = await jobs.add(photo("rocket"), "Reach for more")
    await jobs.until_begun(job, "yolo_detect")


async def test_when_every_connection_is_cut_the_listener_says_so_and_all_comes_back(named: App, jobs: Jobs) -> None:
    cut = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
              WHERE datname = current_database() AND pid <> pg_backend_pid()"""
    named.until_logged("event=listener_connected")
    assert await jobs.db.fetchval(cut) >= 3
    named.until_logged(f"ERROR pgbaton {Event.LISTENER_FAILED.text['en']} event=listener_failed ")
    again = named.until_logged(f"WARNING pgbaton {Event.LISTENER_RECONNECTING.text['en']} event=listener_reconnecting ")
    assert 0.15 <= float(again.split("delay=")[1]) <= 0.3
    end = asyncio.get_running_loop().time() + 10
    while named.log.count("event=listener_connected") < 2:
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.05)
    job = await jobs.add(photo("rocket"), "Reach for more")
    await jobs.until_begun(job, "yolo_detect")
    assert named.get("/readyz").body["listener"] is True


def test_in_english_the_events_have_the_names_that_they_have_in_korean(named: App) -> None:
    log = named.log
    for event in (Event.JOB_CHANGED, Event.STAGE_TRIGGERED, Event.STAGE_SUCCEEDED, Event.LISTENER_FAILED):
        assert f" {event.text['en']} event={event.event} " in log
        assert event.text["ko"] not in log
    assert " serving event=serving title='app-studio 7 (Planner/Overlay/Eval)' " in log


# -- other addresses, other databases ---------------------------------------------------------------


async def test_on_every_address_and_with_nothing_attached_the_stages_answer_calls(
    empty_database: str, tmp_path: Path
) -> None:
    db = await asyncpg.connect(empty_database)
    await db.execute((INIT / "01_schema.sql").read_text(encoding="utf-8"))
    everywhere = {"HOST": "0.0.0.0", "ENABLE_JOB_STATE_LISTENER": "off"}  # noqa: S104
    with serving(tmp_path, empty_database, **everywhere) as app:
        ready = {"status": "ready", "database": True}  # and no word of a listener
        assert {k: v for k, v in app.get("/readyz").body.items() if k != "findings"} == ready
        if sys.platform == "linux":
            assert ask(app.base_url.replace("127.0.0.1", "127.0.0.2") + "/healthz").status == 200
        jobs = Jobs(db)
        job = await jobs.add(photo("rocket"), "Reach for more")
        assert app.call("vlm_analyze", job).status == 200
        assert await jobs.at(job) == ("vlm_analyze", "done")
        assert "event=worker_started" not in app.log
    await db.close()


async def test_a_database_is_prepared_by_one_command_and_again_without_harm_and_where_the_trigger_is_gone(
    empty_database: str, tmp_path: Path
) -> None:
    for _ in range(2):
        done = start("adstudio", "prepare", folder=tmp_path, DATABASE_URL=empty_database)
        out, error = done.communicate(timeout=60)
        assert (done.returncode, out, error) == (0, "the database is ready for `adstudio serve`\n", "")
        db = await asyncpg.connect(empty_database)
        await db.execute("DROP TRIGGER job_state_change_trigger ON jobs")
        await db.close()
    # Served without it, jobs are found by looking only: that is said at once.
    with serving(tmp_path, empty_database) as app:
        assert "트리거가 없거나 꺼져 있음" in app.log
        assert "event=trigger_missing table=public.jobs triggers=job_state_change_trigger" in app.log
    done = start("adstudio", "prepare", folder=tmp_path, DATABASE_URL=empty_database)
    assert done.wait(60) == 0
    # The spelling that SQLAlchemy's users have at hand is understood too.
    dsn = empty_database.replace("postgresql://", "postgresql+asyncpg://")
    with serving(tmp_path, dsn, PGBATON_LOG_FORMAT="json") as app:
        db = await asyncpg.connect(empty_database)
        jobs = Jobs(db)
        job = await jobs.add(photo("rocket"), "Reach for more")
        await jobs.until_begun(job, "yolo_detect")
        await db.close()
        assert "Traceback" not in app.log
        lines = [json.loads(line) for line in app.log.splitlines()]
        assert {"serving", "worker_started"} <= {line.get("event") for line in lines}
        assert ("stage_triggered", str(job), "vlm_analyze") in {
            (line.get("event"), line.get("job"), line.get("stage")) for line in lines
        }


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ("CREATE TABLE jobs (id int)", "the application's tables cannot be made: .*"),
        ("CREATE VIEW jobs AS SELECT 1", "the application's tables cannot be made: .*"),
    ],
)
async def test_a_table_of_others_is_not_taken_for_ours(
    empty_database: str, tmp_path: Path, made: str, says: str
) -> None:
    db = await asyncpg.connect(empty_database)
    await db.execute(made)
    done = start("adstudio", "prepare", folder=tmp_path, DATABASE_URL=empty_database)
    out, error = done.communicate(timeout=60)
    assert (done.returncode, out) == (1, "")
    assert re.match(f"adstudio: {says}", error)
    assert await db.fetchval("SELECT count(*) FROM pg_class WHERE relname LIKE 'ad\\_%'") == 0
    await db.close()


def test_to_prepare_there_must_be_a_database(tmp_path: Path) -> None:
    done = start("adstudio", "prepare", folder=tmp_path)
    _, error = done.communicate(timeout=60)
    assert done.returncode == 1
    assert error.startswith("adstudio: no database: set DATABASE_URL")


async def test_a_yolo_file_of_the_users_own_is_used(own_database: str, tmp_path: Path) -> None:
    """One made here: whatever it is shown, it sees a rocket in the middle."""
    cells = 8
    box = [value for part in (160, 160, 200, 200, 0.9) for value in (part, *[0] * (cells - 1))]
    constant = helper.make_tensor("seen", TensorProto.FLOAT, [1, 5, cells], box)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
            helper.make_node("Constant", [], ["seen"], value=constant),
            helper.make_node("Mul", ["mean", "none"], ["nothing"]),
            helper.make_node("Add", ["seen", "nothing"], ["output0"]),
        ],
        "rocket",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 320, 320])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 5, cells])],
        [helper.make_tensor("none", TensorProto.FLOAT, [], [0.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    model.metadata_props.append(onnx.StringStringEntryProto(key="names", value="{0: 'rocket'}"))
    onnx.save(model, tmp_path / "best.onnx")
    db = await asyncpg.connect(own_database)
    with serving(tmp_path, own_database, YOLO_MODEL=tmp_path / "best.onnx", ENABLE_JOB_STATE_LISTENER="0") as app:
        job = await Jobs(db).add(photo("rocket"), "Reach for more", at=("vlm_analyze", "done"))
        await db.close()
        answer = app.call("yolo_detect", job)
        assert (answer.status, answer.body["labels"]) == (200, ["rocket"])


def test_the_environment_of_these_tests_is_their_own() -> None:
    assert not {"DATABASE_URL", "VLM_URL", "PORT", "PGBATON_POLL"} & environment().keys()
