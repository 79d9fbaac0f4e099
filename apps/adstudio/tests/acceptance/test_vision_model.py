"""The two LLaVA stages with a vision-language model behind them: what it says counts, and its faults lose nothing."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from app_process import STEPS, App, Jobs, photo, serving, start
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
    job = await jobs.add(photo("rocket"), COPY, formats=None)
    await jobs.until(job, "vlm_judge", "done")
    row = await jobs.db.fetchrow("SELECT * FROM ad_judgements WHERE job_id = $1", job)
    assert (row["passed"], row["judge"], json.loads(row["reasons"])) == (
        True,
        "llava:13b",
        [f"{name}: The sky is calm." for name in ("정사각형 1:1", "피드 4:5", "스토리 9:16")],
    )
    assert len(model.questions) == 4  # the photo, and each format's ad
    sizes = []
    for question in model.questions:
        text, picture = question["messages"][0]["content"]
        assert json.dumps('Reach for "more"\n그리고 더', ensure_ascii=False) in text["text"]
        kind, _, data = picture["image_url"]["url"].partition(",")
        assert kind == "data:image/jpeg;base64"
        sizes.append(Image.open(io.BytesIO(base64.b64decode(data))).size)
    assert sizes[0] == (640, 427)
    assert [round(width / height, 2) for width, height in sizes[1:]] == [1.0, 0.8, 0.56]


async def test_one_format_that_the_model_refuses_is_refused_and_the_page_says_which(
    app: App, jobs: Jobs, model: VisionServer
) -> None:
    model.behave("second format refused")
    model.questions.clear()
    job = await jobs.add(photo("rocket"), "Reach for more", formats=None)
    await jobs.until(job, "vlm_judge", "done")
    row = await jobs.db.fetchrow("SELECT * FROM ad_judgements WHERE job_id = $1", job)
    assert row["passed"] is False
    assert json.loads(row["reasons"])[0] == "Feed 4:5: The model says that the ad cannot be published."
    pictures = await jobs.db.fetch(
        "SELECT format, passed, reasons FROM ad_pictures WHERE job_id = $1 AND place = 0", job
    )
    assert {one["format"]: one["passed"] for one in pictures} == {"square": True, "portrait": False, "story": True}
    trace = json.loads(row["trace"])
    assert {name: one["prompt"] for name, one in trace.items()} == dict.fromkeys(
        ("square", "portrait", "story"), "ad-1"
    )


async def test_an_ad_that_the_model_refuses_is_not_passed_and_its_words_are_kept(
    app: App, jobs: Jobs, model: VisionServer
) -> None:
    model.behave("refusing")
    job = await jobs.add(photo("rocket"), "Slow mornings start here", formats=None)
    await jobs.until(job, "vlm_judge", "done")
    row = await jobs.db.fetchrow("SELECT * FROM ad_judgements WHERE job_id = $1", job)
    assert (row["passed"], row["judge"]) == (False, "llava:13b")
    assert json.loads(row["reasons"])[:2] == [
        "The model says that the photo does not suit the copy.",
        "A rocket is no coffee.",
    ]


ATTEMPTS = """SELECT t.outcome, t.http_status, t.error FROM pgbaton.attempts t
                JOIN pgbaton.dispatches d ON d.id = t.dispatch_id WHERE job_key = $1 ORDER BY d.id, t.attempt"""


async def until_noted(jobs: Jobs, job: str, seconds: float = 15) -> Any:
    """The note that a stage leaves with a job, once there is one."""
    end = time.monotonic() + seconds
    while (note := await jobs.db.fetchrow("SELECT * FROM ad_notes WHERE job_id = $1", job)) is None:
        assert time.monotonic() < end, f"no note within {seconds} s"
        await asyncio.sleep(0.02)
    return note


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("busy", "llava:13b answered with HTTP status 500"),
        ("never", "llava:13b did not answer within 0.7 s"),
    ],
)
async def test_a_model_that_is_away_puts_the_job_off_and_costs_none_of_its_tries(
    app: App, jobs: Jobs, model: VisionServer, how: str, says: str
) -> None:
    model.behave(how)
    job = await jobs.add(photo("rocket"), COPY, formats=None)
    note = await until_noted(jobs, job)
    sentence = "비전 모델의 답을 기다리고 있습니다. 곧 자동으로 다시 진행됩니다."
    assert (note["step"], note["sentence"], note["final"]) == ("vlm_analyze", sentence, False)
    assert await jobs.at(job) == ("img_gen", "done")
    model.behave("well")
    await jobs.until_settled([job], 60)
    await jobs.until(job, "vlm_judge", "done")
    told = await jobs.db.fetch(ATTEMPTS, job)
    assert (told[0]["outcome"], told[0]["http_status"]) == ("deferred", 503)
    assert told[0]["error"] == f"HTTP 503 Stage put off: {sentence} ({says})"
    assert "failed" not in {attempt["outcome"] for attempt in told}
    assert [(stage, state) for stage, state, _ in await jobs.called(job)] == [(s, "completed") for s in STEPS]
    assert "sk-very-secret" not in app.log
    assert "Traceback" not in app.log


@pytest.mark.parametrize("how", ["nonsense", "wrong schema"])
async def test_a_model_that_answers_nonsense_is_asked_twice_and_the_job_says_so_and_can_be_retried(
    app: App, app_database: str, jobs: Jobs, model: VisionServer, tmp_path: Path, how: str
) -> None:
    model.behave(how)
    model.questions.clear()
    job = await jobs.add(photo("rocket"), "Reach for more", formats=None)
    await jobs.until_settled([job], 30)
    assert await jobs.at(job) == ("vlm_analyze", "failed")
    assert await jobs.called(job) == [("vlm_analyze", "dead", 1)]
    assert len(model.questions) == 2
    [told] = await jobs.db.fetch(ATTEMPTS, job)
    assert (told["outcome"], told["http_status"]) == ("rejected", 422)
    note = await until_noted(jobs, job)
    assert note["final"]
    assert note["sentence"].startswith("The vision model llava:13b gave no usable answer about this picture: ")
    assert told["error"] == f"HTTP 422 Stage refused: {note['sentence']}"
    trace = json.loads(note["trace"])
    assert (trace["prompt"], len(trace["answers"])) == ("photo-1", 2)
    model.behave("well")
    retry = start("pgbaton", "retry", job, folder=tmp_path, DATABASE_URL=app_database)
    assert (await asyncio.to_thread(retry.wait, 30)) == 0
    await jobs.until(job, "vlm_judge", "done")
    kept = json.loads(await jobs.db.fetchval("SELECT trace FROM ad_judgements WHERE job_id = $1", job))
    assert set(kept) == {"square", "portrait", "story"}
    for one in kept.values():
        assert (one["prompt"], one["model"]) == ("ad-1", "llava:13b")
        assert json.loads(one["answers"][0])["publishable"] is True
