"""The two LLaVA stages with a vision-language model behind them: what it says counts, and its faults lose nothing."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator

import pytest
from app_process import STEPS, App, Jobs, photo, serving
from PIL import Image
from vision_server import VisionServer

COPY = 'Reach for "more", 그리고 더'


@pytest.fixture(scope="module")
def model() -> Iterator[VisionServer]:
    with VisionServer() as serving_model:
        yield serving_model


@pytest.fixture(scope="module")
def app(app_database: str, model: VisionServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    settings = {
        "VLM_URL": f"{model.url}/",
        "VLM_MODEL": "llava:13b",
        "VLM_API_KEY": "sk-very-secret",
        "VLM_TIMEOUT": 0.7,
        "PGBATON_POLL": 0.1,
    }
    with serving(tmp_path_factory.mktemp("app"), app_database, **settings) as running:
        yield running


async def test_the_model_looks_at_photo_and_ad_and_its_verdict_counts(
    app: App, jobs: Jobs, model: VisionServer
) -> None:
    model.behave("well")
    model.questions.clear()
    job = await jobs.add(photo("rocket"), COPY)
    await jobs.until(job, "vlm_judge", "done")
    row = await jobs.db.fetchrow("SELECT * FROM ad_judgements WHERE job_id = $1", job)
    assert (row["passed"], row["judge"], json.loads(row["reasons"])) == (True, "llava:13b", ["The sky is calm."])
    assert len(model.questions) == 2
    for question in model.questions:
        text, picture = question["messages"][0]["content"]
        assert json.dumps(COPY, ensure_ascii=False) in text["text"]
        kind, _, data = picture["image_url"]["url"].partition(",")
        assert kind == "data:image/jpeg;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (640, 427)


async def test_what_the_model_refuses_is_not_passed_and_its_words_are_kept(
    app: App, jobs: Jobs, model: VisionServer
) -> None:
    model.behave("refusing")
    job = await jobs.add(photo("rocket"), "Slow mornings start here")
    await jobs.until(job, "vlm_judge", "done")
    row = await jobs.db.fetchrow("SELECT * FROM ad_judgements WHERE job_id = $1", job)
    assert (row["passed"], row["judge"]) == (False, "llava:13b")
    assert json.loads(row["reasons"])[:2] == [
        "The model says that the photo does not suit the copy.",
        "A rocket is no coffee.",
    ]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("nonsense", "llava:13b did not answer as asked: answer: Invalid JSON"),
        ("wrong schema", "llava:13b did not answer as asked: fits_copy: Field required"),
        ("busy", "llava:13b answered with HTTP status 500."),
        ("never", "llava:13b did not answer within 0.7 s."),
    ],
)
async def test_a_model_at_fault_costs_a_try_and_no_job(
    app: App, jobs: Jobs, model: VisionServer, how: str, says: str
) -> None:
    model.behave(how)
    job = await jobs.add(photo("rocket"), COPY)
    await jobs.until_tried(job)
    error = """SELECT t.outcome, t.http_status, t.error FROM pgbaton.attempts t
                 JOIN pgbaton.dispatches d ON d.id = t.dispatch_id WHERE job_key = $1 ORDER BY t.attempt"""
    told = await jobs.db.fetchrow(error, job)
    assert (told["outcome"], told["http_status"]) == ("failed", 500)
    assert told["error"].startswith(f"HTTP 500 Stage failed: {says}")
    model.behave("well")
    await jobs.until_settled([job], 30)
    await jobs.until(job, "vlm_judge", "done")
    stages = await jobs.dispatches(job)
    assert [(stage, state) for stage, state, _ in stages] == [(step, "completed") for step in STEPS]
    assert stages[0][2] >= 2
    assert "sk-very-secret" not in app.log
    assert "Traceback" not in app.log


async def test_a_model_that_never_answers_as_asked_ends_the_job_with_its_reason(
    app: App, jobs: Jobs, model: VisionServer
) -> None:
    model.behave("nonsense")
    job = await jobs.add(photo("rocket"), COPY)
    await jobs.until_settled([job], 30)
    assert await jobs.at(job) == ("vlm_analyze", "failed")
    assert await jobs.dispatches(job) == [("vlm_analyze", "dead", 5)]
