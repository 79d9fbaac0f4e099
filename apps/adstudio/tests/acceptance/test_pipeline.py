"""From a photo and a line of copy to a judged ad, over HTTP and through the database, with nobody calling a stage."""

from __future__ import annotations

import io
import json
import re

import asyncpg
import numpy as np
import pytest
from app_process import DOUBTFUL, PATHS, STEPS, App, Jobs, photo
from PIL import Image

from adstudio.vision.copytext import has_hangul
from adstudio.vision.formats import DEFAULT
from adstudio.vision.measured import NOTE
from pgbaton.events import Event

ADS = {
    "coffee": "Slow mornings start here",
    "chelsea": "고양이도 반한 포근함",
    "rocket": "Reach for more",
    "astronaut": "꿈은 더 멀리 간다",
}


@pytest.fixture
async def made(app: App, jobs: Jobs) -> dict[str, asyncpg.Record]:
    """The pipeline's results for each photo, made once."""
    if not await jobs.db.fetchval("SELECT count(*) FROM jobs"):
        for name, copy in ADS.items():
            await jobs.add(photo(name), copy, tenant=name, formats=None)
    found = {}
    for row in await jobs.db.fetch("SELECT job_id, tenant_id FROM jobs"):
        await jobs.until(str(row["job_id"]), "vlm_judge", "done")
        query = """SELECT j.job_id, i.photo, i.copy_ko, d.forbidden, p.proposals, o.image, o.setting,
                          v.passed, v.judge, v.reasons, v.checks
                     FROM jobs j JOIN ad_inputs i USING (job_id, tenant_id) JOIN ad_analyses USING (job_id, tenant_id)
                     JOIN ad_detections d USING (job_id, tenant_id) JOIN ad_plans p USING (job_id, tenant_id)
                     JOIN ad_overlays o USING (job_id, tenant_id) JOIN ad_judgements v USING (job_id, tenant_id)
                    WHERE job_id = $1"""
        found[row["tenant_id"]] = await jobs.db.fetchrow(query, row["job_id"])
    return found


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)))


@pytest.mark.parametrize("name", ADS)
async def test_a_photo_and_a_line_become_an_ad_that_its_judge_passes(
    made: dict[str, asyncpg.Record], name: str
) -> None:
    ad = made[name]
    assert (ad["passed"], ad["judge"]) == (True, "measured checks"), ad["reasons"]
    checks = json.loads(ad["checks"])
    assert all(check["passed"] for check in checks)
    assert {check["name"].split(": ")[0] for check in checks} == {*DEFAULT, "parting"}
    (reason,) = json.loads(ad["reasons"])
    assert reason == NOTE["ko" if has_hangul(ADS[name]) else "en"]
    lines = json.loads(ad["setting"])["lines"]
    assert "".join("".join(line["text"] for line in lines).split()) == "".join(ADS[name].split())


@pytest.mark.parametrize("name", ADS)
async def test_every_format_has_a_picture_of_its_size_and_a_verdict(
    made: dict[str, asyncpg.Record], jobs: Jobs, name: str
) -> None:
    query = "SELECT * FROM ad_pictures WHERE job_id = $1 AND place = 0 ORDER BY ordinal"
    pictures = await jobs.db.fetch(query, made[name]["job_id"])
    assert tuple(picture["format"] for picture in pictures) == DEFAULT
    for picture in pictures:
        layout = json.loads(picture["layout"])
        assert pixels(picture["image"]).shape == (layout["height"], layout["width"], 3)
        assert picture["passed"] is True
        assert len(json.loads(picture["checks"])) == 15
    assert pictures[0]["image"] == made[name]["image"]


async def test_the_face_is_stored_and_weighs_most(made: dict[str, asyncpg.Record], jobs: Jobs) -> None:
    assert pixels(made["astronaut"]["forbidden"]).max() == 255
    found = await jobs.db.fetchval("SELECT found FROM ad_detections WHERE job_id = $1", made["astronaut"]["job_id"])
    assert [thing["label"] for thing in json.loads(found)].count("face") == 1


async def test_the_picture_is_one_that_the_planner_laid_out(made: dict[str, asyncpg.Record]) -> None:
    for ad in made.values():
        assert json.loads(ad["setting"]) in json.loads(ad["proposals"])


async def test_each_stage_was_called_once(made: dict[str, asyncpg.Record], jobs: Jobs) -> None:
    for ad in made.values():
        assert await jobs.dispatches(str(ad["job_id"])) == [(step, "completed", 1) for step in STEPS]


async def test_the_words_that_operators_look_for_are_in_the_log(made: dict[str, asyncpg.Record], app: App) -> None:
    for event in (Event.JOB_CHANGED, Event.STAGE_TRIGGERED, Event.STAGE_SUCCEEDED):
        assert f"{event.text['ko']} event={event.event} " in app.log
    for text in ("Job 상태 변화 감지", "파이프라인 단계 트리거", "파이프라인 단계 실행 성공"):
        assert text in app.log
    job = str(made["coffee"]["job_id"])
    triggered = re.findall(rf"event=stage_triggered job_id={job} tenant_id=coffee stage=(\w+) attempt=1 ", app.log)
    assert triggered == list(STEPS)
    assert "Traceback" not in app.log


async def test_health_readiness_and_metrics_are_told(made: dict[str, asyncpg.Record], app: App) -> None:
    assert app.get("/healthz").body == {"status": "alive"}
    ready = app.get("/readyz")
    assert (ready.status, ready.body["status"], ready.body["database"]) == (200, "ready", True)
    metrics = app.get("/metrics")
    assert metrics.kind == "text/plain"
    for step in STEPS:
        assert re.search(rf'^pgbaton_\w+_total{{.*stage="{step}".*}} [4-9]', metrics.body, re.MULTILINE)


async def test_the_address_of_every_stage_is_in_the_api_description(app: App) -> None:
    described = app.get("/openapi.json").body
    assert described["info"]["title"] == "app-yh (Planner/Overlay/Eval)"
    for path in PATHS.values():
        operation = described["paths"][path]["post"]
        assert {"200", "404", "409", "422", "500"} <= set(operation["responses"])
    assert set(described["components"]["schemas"]["JobRequest"]["required"]) == {"job_id", "tenant_id"}


async def test_a_doubtful_copy_by_sql_ends_as_the_pipeline_says_and_is_not_passed(
    made: dict[str, asyncpg.Record], jobs: Jobs
) -> None:
    job = await jobs.add(photo(next(iter(made))), DOUBTFUL)
    await jobs.until(job, "vlm_judge", "done")
    verdict = await jobs.db.fetchrow("SELECT passed, reasons FROM ad_judgements WHERE job_id = $1", job)
    assert not verdict["passed"]
    assert "카피를 제대로 나누었는지 확인해 주세요" in verdict["reasons"]
