"""Stages called by hand, with nobody listening: every refusal is a problem and leaves the job as it is."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from app_process import PATHS, STEPS, App, Jobs, ask, photo, serving

TENANT = "acme"


@pytest.fixture(scope="module")
def app(app_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """app-yh without its worker."""
    with serving(tmp_path_factory.mktemp("app"), app_database, ENABLE_JOB_STATE_LISTENER="False") as running:
        yield running


async def before(jobs: Jobs, step: str) -> str:
    """A job that ``step`` is due for, with what the steps before it leave."""
    return await jobs.add(photo("rocket"), "Reach for more", at=(["img_gen", *STEPS][STEPS.index(step)], "done"))


async def test_called_in_order_by_hand_the_stages_make_an_ad(app: App, jobs: Jobs) -> None:
    job = await jobs.add(photo("rocket"), "Reach for more")
    for step in STEPS:
        answer = app.call(step, job)
        assert (answer.status, answer.kind) == (200, "application/json")
        assert await jobs.at(job) == (step, "done")
    assert answer.body["passed"] is True
    assert await jobs.db.fetchval("SELECT passed FROM ad_judgements WHERE job_id = $1", job)


async def test_the_answer_of_each_stage_tells_its_results(app: App, jobs: Jobs) -> None:
    job = await jobs.add(photo("coffee"), "Slow mornings start here", formats=None)
    bodies = [app.call(step, job).body for step in STEPS]
    assert [sorted(body) for body in bodies] == [
        ["judge", "passed", "reasons"],
        ["faces", "labels", "subject_share"],
        ["chosen", "layouts", "refused"],
        ["lines", "pictures"],
        ["judge", "passed", "reasons"],
    ]
    assert "cup" in bodies[1]["labels"]
    assert bodies[2]["layouts"] >= 3
    assert bodies[2]["refused"] == {}
    assert sum(bodies[3]["pictures"].values()) == bodies[2]["layouts"]
    assert " ".join(bodies[3]["lines"]) == "Slow mornings start here"


async def test_with_the_listener_off_nothing_moves_by_itself(app: App, jobs: Jobs) -> None:
    job = await jobs.add(photo("rocket"), "Reach for more")
    assert app.call("vlm_analyze", job).status == 200
    await asyncio.sleep(1)
    assert await jobs.at(job) == ("vlm_analyze", "done")
    assert await jobs.dispatches(job) == [("vlm_analyze", "completed", 0), ("yolo_detect", "available", 0)]
    assert "event=stage_triggered" not in app.log
    end = time.monotonic() + 15
    while True:  # a look at the pipeline is shared for a while: it may be from before the job
        seen = app.get("/readyz").body
        assert (seen["status"], seen["database"], "listener" in seen) == ("ready", True, False)
        if [(f["code"], f["level"]) for f in seen["findings"]] == [("no_worker", "bad")]:
            break
        assert time.monotonic() < end, seen
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("step", STEPS)
async def test_a_stage_refuses_a_job_that_is_not_there_yet_and_changes_nothing(app: App, jobs: Jobs, step: str) -> None:
    for at in (("img_gen", "running"), ("img_gen", "failed"), (step, "running"), (step, "done"), ("elsewhere", "done")):
        job = await jobs.add(None, None, at=at)
        answer = app.call(step, job)
        assert (answer.status, answer.problem) == (409, "Job not ready")
        assert f"({at[0]}, {at[1]})" in answer.body["detail"]
        assert await jobs.at(job) == at


@pytest.mark.parametrize("step", STEPS)
async def test_an_unknown_job_and_another_tenants_are_the_same_to_a_caller(app: App, jobs: Jobs, step: str) -> None:
    job = await before(jobs, step)
    unknown, foreign = app.call(step, str(uuid4())), app.call(step, job, "somebody else")
    assert (unknown.status, unknown.problem) == (404, "Unknown job")
    assert foreign == unknown
    assert (await jobs.at(job))[0] != step


@pytest.mark.parametrize("step", STEPS)
async def test_a_body_that_does_not_fit_is_refused(app: App, jobs: Jobs, step: str) -> None:
    job = await before(jobs, step)
    at = await jobs.at(job)
    bodies: list[object] = [
        {},
        {"job_id": job},
        {"tenant_id": TENANT},
        {"job_id": None, "tenant_id": TENANT},
        {"job_id": job, "tenant_id": None},
        {"job_id": 7, "tenant_id": TENANT},
        {"job_id": job, "tenant_id": 7},
        {"job_id": [job], "tenant_id": {"a": 1}},
        {"job_id": "not a uuid", "tenant_id": TENANT},
        {"job_id": "", "tenant_id": TENANT},
        {"job_id": "9" * 2000, "tenant_id": TENANT},
        {"job_id": "\0", "tenant_id": TENANT},
        {"job_id": job, "tenant_id": "\0"},
        {"job_id": job, "tenant_id": "\ud800"},
        [job, TENANT],
        "job",
        7,
    ]
    for body in bodies:
        answer = ask(app.base_url + PATHS[step], body)
        assert (answer.status, answer.problem) == (422, "Invalid request"), body
    assert await jobs.at(job) == at


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff\xfe", b"nonsense", b'{"job_id": "a", "job_id"}', b"[" * 60_000, b"null", b"NaN", b"1" * 5_000],
    ids=["empty", "cut short", "not UTF-8", "not JSON", "no value", "deep", "null", "NaN", "a long number"],
)
def test_a_body_that_is_no_json_object_is_refused(app: App, raw: bytes) -> None:
    answer = ask(app.base_url + PATHS["planner"], raw=raw)
    assert (answer.status, answer.problem) == (422, "Invalid request")


def test_a_body_of_another_kind_than_json_is_refused(app: App) -> None:
    host, port = app.base_url.removeprefix("http://").split(":")
    body = b'{"job_id": "a", "tenant_id": "b"}'
    for kind in (b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x"):
        with socket.create_connection((host, int(port)), 10) as line:
            head = b"POST /api/yh/planner HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: %s\r\n" % kind
            line.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            answer = line.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 422 ")
        assert b"content-type: application/problem+json" in answer


def test_a_huge_body_is_refused_before_it_has_come(app: App) -> None:
    host, port = app.base_url.removeprefix("http://").split(":")
    for head in (b"Content-Length: 5000000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n"):
        with socket.create_connection((host, int(port)), 10) as line:
            line.sendall(b"POST /api/yh/planner HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + head)
            line.sendall(b" " * 100_000)
            answer = line.recv(10_000)
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert b"content-type: application/problem+json" in answer
    assert ask(app.base_url + PATHS["planner"], raw=b" " * 60_000).status == 422


def test_a_caller_that_goes_away_in_the_middle_harms_nobody(app: App) -> None:
    host, port = app.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as line:
        line.sendall(b"POST /api/yh/planner HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert app.get("/healthz").status == 200
    assert "Traceback" not in app.log


def test_other_paths_and_methods_are_refused_as_problems_too(app: App) -> None:
    assert (app.get("/nowhere").status, app.get("/nowhere").problem) == (404, "Request refused")
    wrong = app.get(PATHS["planner"])
    assert (wrong.status, wrong.problem) == (405, "Request refused")


async def test_of_calls_at_once_one_works_and_the_others_are_refused(app: App, jobs: Jobs) -> None:
    job = await jobs.add(photo("astronaut"), "Higher")
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: app.call("vlm_analyze", job), range(8)))
    assert sorted(answer.status for answer in answers) == [200] + 7 * [409]
    assert {answer.problem for answer in answers if answer.status == 409} == {"Job not ready"}
    assert await jobs.at(job) == ("vlm_analyze", "done")


async def test_a_job_without_inputs_fails_and_says_so(app: App, jobs: Jobs) -> None:
    job = await jobs.add(None, None)
    answer = app.call("vlm_analyze", job)
    assert (answer.status, answer.problem) == (500, "Stage failed")
    assert answer.body["detail"] == "the job has no inputs: nothing is in ad_inputs for it"
    assert await jobs.at(job) == ("vlm_analyze", "failed")


@pytest.mark.parametrize(
    ("step", "detail"),
    [
        ("planner", "the job has no detection: yolo_detect has left nothing"),
        ("overlay", "the job has no plan: planner has left nothing"),
        ("vlm_judge", "the job has no finished ad: overlay has left nothing"),
    ],
)
async def test_a_job_that_was_put_past_a_stage_fails_and_says_what_is_missing(
    app: App, jobs: Jobs, step: str, detail: str
) -> None:
    job = await before(jobs, step)
    answer = app.call(step, job)
    assert (answer.status, answer.body["detail"]) == (500, detail)
    assert await jobs.at(job) == (step, "failed")


async def test_a_repeated_stage_replaces_what_it_left(app: App, jobs: Jobs) -> None:
    job = await jobs.add(photo("rocket"), "Reach for more")
    for step in STEPS[:4]:
        assert app.call(step, job).status == 200
    await jobs.db.execute("UPDATE ad_inputs SET copy_ko = 'Up' WHERE job_id = $1", job)
    await jobs.put(job, "yolo_detect", "done")
    assert app.call("planner", job).status == 200
    assert app.call("overlay", job).body["lines"] == ["Up"]
    setting = json.loads(await jobs.db.fetchval("SELECT setting FROM ad_overlays WHERE job_id = $1", job))
    assert [line["text"] for line in setting["lines"]] == ["Up"]


async def test_a_job_that_moves_while_its_stage_works_keeps_its_new_state(app: App, jobs: Jobs) -> None:
    job = await jobs.add(photo("rocket"), "Reach for more")
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(app.call, "vlm_analyze", job)
        end = time.monotonic() + 10
        while await jobs.at(job) != ("vlm_analyze", "running"):
            assert time.monotonic() < end
        await jobs.put(job, "img_gen", "cancelled")
        moved = await asyncio.wrap_future(answer)
    assert (moved.status, moved.problem) == (409, "Job moved on")
    assert await jobs.at(job) == ("img_gen", "cancelled")
    assert await jobs.db.fetchval("SELECT count(*) FROM ad_analyses WHERE job_id = $1", job) == 0
