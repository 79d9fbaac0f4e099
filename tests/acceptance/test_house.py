"""Files that are not code keep their promises, too: containers have the contract's names, and every check calls make."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from adstudio.config import AppSettings

ROOT = Path(__file__).parents[2]
CONTRACT = {
    "DATABASE_URL",
    "HOST",
    "PORT",
    "ROOT_PATH",
    "PART_NAME",
    "ENABLE_JOB_STATE_LISTENER",
    "JOB_STATE_LISTENER_RECONNECT_DELAY",
}


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_containers_have_the_names_of_the_contract() -> None:
    services = read("compose.yaml")["services"]
    assert {name: service["container_name"] for name, service in services.items()} == {
        "database": "feedlyai-db",
        "app-yh": "feedlyai-work-yh",
    }
    given = services["database"]["environment"]
    assert (given["POSTGRES_USER"], given["POSTGRES_DB"]) == ("feedlyai", "feedlyai")
    assert "./db/init:/docker-entrypoint-initdb.d:ro" in services["database"]["volumes"]
    assert all(service["healthcheck"] for name, service in services.items() if name == "database")
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()


def test_the_container_takes_every_setting_of_the_contract_and_what_it_asks_for_has_an_example() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    given = read("compose.yaml")["services"]["app-yh"]["environment"]
    assert set(given) >= CONTRACT
    assert {"PGBATON_WEB_TOKEN", "PGBATON_WEB_VIEWER_TOKEN"} <= set(given)
    known = {name.upper() for name in AppSettings.model_fields} | {"PGBATON_LOG_FORMAT"}
    assert set(given) <= known
    examples = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\$\{(\w+):-", text)) == examples


def test_the_hosted_checks_and_those_before_a_commit_call_the_targets_that_ci_calls() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    ours = re.findall(r"^make (\w+)$", (ROOT / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE)
    hosted = re.findall(r"run: make (\w+)", (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    before_a_commit = [hook["entry"] for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert ours == ["setup", "check", "test"]
    assert hosted == ours
    assert "make check" in before_a_commit
    assert {*ours, *hosted, *(entry.removeprefix("make ") for entry in before_a_commit)} <= targets


LONGEST_LINE = 130
"""Characters of a line of SQL: two files beside each other on a wide screen."""


def test_lines_of_sql_fit_a_screen() -> None:
    folder = ROOT / "src/pgbaton/sql"
    longer = {
        f"{file.relative_to(folder)}:{number}"
        for file in folder.rglob("*.sql")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > LONGEST_LINE
    }
    assert longer == set()
