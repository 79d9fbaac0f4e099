"""The heavy models on Ray Serve: the same ads, and a replica that dies is a failed attempt. Skipped where Ray is not."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from ads import file_of, models
from app_process import Jobs, photo
from pydantic import SecretStr

pytest.importorskip("ray.serve")

import ray

from adstudio import main, ray_models
from adstudio.compute import SUBJECT, Models, open_models
from adstudio.config import AppSettings, RaySize
from adstudio.studio import Studio, open_studio
from adstudio.vision.copy_reading import read_copy
from adstudio.vision.errors import ModelError
from adstudio.vision.formats import FORMATS
from adstudio.vision.kit import NO_KIT
from adstudio.vision.making import Picture, detect, draw_all, judge_all, plan_all
from adstudio.vision.shapes import Detected, Rgb
from app_server import free_socket, served

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # what is deployed from here no replica can import
SIZES = {"detector": {"replicas": 2, "cpus": 0.25, "batch": 4}, "subject": {"cpus": 0.25}}


def settings_of(**more: Any) -> AppSettings:
    return AppSettings(ADSTUDIO_COMPUTE="ray", ADSTUDIO_RAY=SIZES, **more)  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def on_ray() -> Iterator[Models]:
    """The models on a Ray of two cores, which ends with the module."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, namespace="adstudio")
    yield open_models(settings_of())
    ray_models.serve.shutdown()
    ray.shutdown()


def made(file: bytes, words: str, detector: Any, subject: Any) -> tuple[Any, list[Picture]]:
    """The things in a photo, and its ads, judged."""
    _, _, faces, ocr = models()
    copy, formats = read_copy(words), [FORMATS["square"], FORMATS["story"]]
    seen = detect(file, copy, detector, subject, faces)
    drawn = draw_all(file, plan_all(file, seen, copy, formats, NO_KIT).layouts, copy, NO_KIT)
    return seen, judge_all(file, drawn, copy, detector, subject, faces, ocr)


@pytest.mark.parametrize(("name", "words"), [("coffee.jpg", "커피 4,500원"), ("chelsea.jpg", "Cosy beds for cats")])
def test_the_ads_are_the_same_bytes(on_ray: Models, name: str, words: str) -> None:
    here, subject, _, _ = models()
    seen, ads = made(file_of(name), words, here, subject)
    far_seen, far_ads = made(file_of(name), words, on_ray.detector, on_ray.subject)
    assert (seen.found, seen.faces) == (far_seen.found, far_seen.faces)
    assert seen.weights.tobytes() == far_seen.weights.tobytes()
    assert [one.jpeg for one in ads] == [one.jpeg for one in far_ads]
    assert [one.verdict for one in ads] == [one.verdict for one in far_ads]
    assert on_ray.detector.labels == here.labels  # type: ignore[attr-defined]


def test_pictures_at_once_are_each_answered_with_their_own(on_ray: Models) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from ads import photo_of

    here = models()[0]
    photos = [photo_of(name) for name in ("coffee.jpg", "chelsea.jpg")] * 6
    with ThreadPoolExecutor(8) as threads:
        far = list(threads.map(on_ray.detector.detect, photos))
    assert far == [here.detect(one) for one in photos]  # type: ignore[attr-defined]


def test_a_deployment_that_runs_already_is_used_and_one_that_differs_is_made_anew(
    on_ray: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, made_anew = ray_models.serve.run, []

    def noted(*given: Any, name: str, **more: Any) -> Any:
        made_anew.append(name)
        return run(*given, name=name, **more)

    def made_of() -> str:
        return str(ray_models.serve.get_app_handle("adstudio-subject").of.remote().result(timeout_s=60))

    monkeypatch.setattr(ray_models.serve, "run", noted)
    before = made_of()
    open_models(settings_of())
    assert (made_anew, made_of()) == ([], before)
    ray_models.subject(SUBJECT, RaySize(**SIZES["subject"] | {"batch": 2}))  # type: ignore[arg-type]
    assert made_anew == ["adstudio-subject"]
    assert made_of() != before


def test_a_model_that_cannot_be_loaded_is_said(on_ray: Models, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Ray does not start the detector: .*no such file"):
        ray_models.detector(tmp_path / "none.onnx", (), None, RaySize(cpus=0.1))


class Stubborn(ray_models.Replica):
    """A detector whose first call says which process it is, and then does not end."""

    def __init__(self, made_of: str, note: Path) -> None:
        super().__init__(made_of)
        self._note = note

    def labels(self) -> frozenset[str]:
        return frozenset()

    async def detect(self, photo: Rgb) -> list[Detected]:
        if not self._note.exists():
            self._note.write_text(str(os.getpid()))
            await asyncio.sleep(3600)
        return []


async def test_a_replica_killed_in_mid_work_is_a_failed_attempt_and_no_more(
    on_ray: Models, own_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "working"
    handle = await asyncio.to_thread(ray_models.deployed, "stubborn", Stubborn, RaySize(cpus=0.1), note)
    stubborn = await asyncio.to_thread(ray_models.RemoteDetector, handle)

    def opened(settings: AppSettings) -> Studio:
        return replace(open_studio(settings), detector=stubborn)

    monkeypatch.setattr(main, "open_studio", opened)
    listening = free_socket()
    port = listening.getsockname()[1]
    app = main.create_app(settings_of(database_url=SecretStr(own_database), port=port))
    async with served(app, listening):
        jobs = Jobs(await asyncpg.connect(own_database))
        job = await jobs.add(photo("coffee"), "커피 4,500원")
        while not note.exists():
            await asyncio.sleep(0.02)
        os.kill(int(note.read_text()), signal.SIGKILL)
        await jobs.until(job, "vlm_judge", "done", 60)
        query = """SELECT d.stage, t.outcome, t.http_status FROM pgbaton.attempts t JOIN pgbaton.dispatches d
                    ON d.id = t.dispatch_id WHERE d.job_key = $1 ORDER BY t.started_at"""
        tried = [tuple(row) for row in await jobs.db.fetch(query, job)]
        assert [one for one in tried if one[1] != "completed"] == [("yolo_detect", "failed", 500)]
        assert [stage for stage, *_ in tried].count("yolo_detect") == 2
        assert len(tried) == 6
        await jobs.db.close()
