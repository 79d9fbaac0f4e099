"""The API as it describes itself: whatever is sent, the answer is one that the description has, and a plain one.

The application runs as a process, without its worker, on a database whose jobs have no photos: what a stage that
begins can do there is to fail, and to say so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import pytest
import schemathesis
from app_process import PATHS, STEPS, App, serving
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from adstudio.home import prepare
from postgres import Cluster

EXAMPLES = 60
TENANT = "acme"
JOB = "00000000-0000-4000-8000-000000000000"
KNOWN = [{"job_id": JOB, "tenant_id": TENANT}, {"job_id": JOB}, {"tenant_id": TENANT}, {}]
ROWS = [(step, status) for step in ("img_gen", *STEPS) for status in ("done", "running", "failed")]
PUT = """
INSERT INTO jobs (job_id, tenant_id, current_step, status) VALUES ($1, $2, $3, $4)
    ON CONFLICT (job_id) DO UPDATE SET current_step = $3, status = $4
"""

Put = Callable[[str, str], None]

load_all_checks()
EVERY = ["status_code_conformance", "content_type_conformance", "response_schema_conformance"]
BY_THE_DESCRIPTION = CHECKS.get_by_names(EVERY)


@pytest.fixture(scope="module")
def dsn(cluster: Cluster) -> Iterator[str]:
    with asyncio.Runner() as runner:
        making = cluster.new_database()
        dsn = runner.run(making.__aenter__())
        runner.run(prepare(dsn))
        yield dsn
        runner.run(making.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def put(dsn: str) -> Iterator[Put]:
    """Puts the job into a state."""
    with asyncio.Runner() as runner:
        conn = runner.run(_connect(dsn))
        yield lambda step, status: runner.run(conn.execute(PUT, JOB, TENANT, step, status))
        runner.run(conn.close())


async def _connect(dsn: str) -> asyncpg.Connection:
    return await asyncpg.connect(dsn)


@pytest.fixture(scope="module")
def app(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with serving(tmp_path_factory.mktemp("app"), dsn, ENABLE_JOB_STATE_LISTENER="no") as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture(scope="module")
def described(app: App) -> Any:
    return schemathesis.openapi.from_url(f"{app.base_url}/openapi.json")


@pytest.mark.parametrize("path", [*PATHS.values(), "/healthz", "/readyz", "/metrics"])
def test_every_answer_is_as_the_description_says(described: Any, put: Put, path: str) -> None:
    operation = described[path]["POST" if path in PATHS.values() else "GET"]
    fitting, odd = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)

    @settings(max_examples=EXAMPLES if path in PATHS.values() else 10, deadline=None)
    @given(case=fitting | odd, row=st.sampled_from(ROWS), known=st.sampled_from(KNOWN))
    def every_answer(case: Any, row: tuple[str, str], known: dict[str, str]) -> None:
        put(*row)
        if isinstance(case.body, dict):
            case.body = case.body | known
        answer = case.call()
        case.validate_response(answer, checks=BY_THE_DESCRIPTION)
        if answer.status_code >= 300:
            problem = answer.json()
            assert problem.keys() == {"type", "title", "status", "detail"}
            assert problem["status"] == answer.status_code
            assert problem["detail"]
            assert answer.status_code < 500 or (problem["title"], row[1]) == ("Stage failed", "done")

    every_answer()


DOOR = [
    ("/ads", "GET"),
    ("/ads", "POST"),
    ("/ads/brand", "GET"),
    ("/ads/brand", "POST"),
    ("/ads/{job}", "GET"),
    ("/ads/{job}/photo", "GET"),
    ("/ads/{job}/pictures/{format}/{place}", "GET"),
    ("/ads/{job}/download", "GET"),
    ("/ads/{job}/decision", "POST"),
]


@pytest.mark.parametrize(("path", "method"), DOOR)
def test_the_door_answers_as_its_description_says(described: Any, put: Put, path: str, method: str) -> None:
    operation = described[path][method]
    fitting, odd = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(case=fitting | odd, row=st.sampled_from(ROWS), known=st.booleans())
    def every_answer(case: Any, row: tuple[str, str], known: bool) -> None:
        put(*row)
        if known and "job" in (case.path_parameters or {}):
            case.path_parameters["job"] = JOB
        answer = case.call()
        case.validate_response(answer, checks=BY_THE_DESCRIPTION)
        assert answer.status_code < 500
        if answer.status_code >= 400:
            assert answer.json().keys() == {"type", "title", "status", "detail"}

    every_answer()


def test_the_description_has_every_stage(app: App) -> None:
    assert set(PATHS.values()) <= set(app.get("/openapi.json").body["paths"])
