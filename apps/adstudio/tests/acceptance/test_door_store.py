"""Pictures in a folder and in a bucket: kept before the row says done, and waited for where the store is away."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from app_process import App, Jobs, photo, serving
from PIL import Image


def order(app: App, **texts: str) -> httpx.Response:
    data = {"tenant": "acme", "copy": "커피 한 잔의 여유", "formats": "square"} | texts
    return httpx.post(f"{app.base_url}/ads", data=data, files={"photo": photo("coffee")}, timeout=60)


def until(app: App, job: str, *states: str, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while (ad := httpx.get(f"{app.base_url}/ads/{job}").json())["state"] not in states:
        assert time.monotonic() < end, ad
        time.sleep(0.1)
    return ad


def shows(app: App, ad: Any) -> None:
    """Every address of the ad's pictures shows one."""
    for path in (ad["photo"], *(picture["url"] for picture in ad["pictures"])):
        assert Image.open(io.BytesIO(httpx.get(f"{app.base_url}{path}", timeout=60).content)).width > 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drive") / "assets"


@pytest.fixture(scope="module")
def app(app_database: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    settings = {"ADSTUDIO_ASSETS": folder, "PGBATON_POLL": 0.1}
    with serving(tmp_path_factory.mktemp("app"), app_database, **settings) as running:
        yield running


async def test_pictures_are_in_the_folder_and_rows_hold_their_names(app: App, jobs: Jobs, folder: Path) -> None:
    job = (await asyncio.to_thread(order, app)).json()["job_id"]
    ad = await asyncio.to_thread(until, app, job, "finished")
    await asyncio.to_thread(shows, app, ad)
    rows = await jobs.db.fetch(
        """SELECT photo AS data, photo_key AS key FROM ad_inputs WHERE job_id = $1
           UNION ALL SELECT image, image_key FROM ad_pictures WHERE job_id = $1""",
        job,
    )
    assert len(rows) == 1 + len(ad["pictures"])
    for row in rows:
        assert row["data"] is None
        assert (folder / row["key"]).is_file()
    assert not list((folder / ".unfinished").iterdir())


async def test_a_photo_that_somebody_put_into_the_row_still_becomes_an_ad(app: App, jobs: Jobs) -> None:
    job = await jobs.add(photo("rocket"), "Reach for more")
    ad = await asyncio.to_thread(until, app, job, "finished")
    await asyncio.to_thread(shows, app, ad)


async def test_a_store_that_is_away_refuses_at_the_door_holds_jobs_up_and_loses_nothing(
    app: App, jobs: Jobs, folder: Path
) -> None:
    job = await jobs.add(photo("rocket"), "다시 시작하는 하루", at=("img_gen", "running"))
    kept = (await asyncio.to_thread(order, app, copy="느린 아침")).json()["job_id"]
    ad = await asyncio.to_thread(until, app, kept, "finished")
    away = folder.with_name("unmounted")
    folder.rename(away)
    try:
        refused = await asyncio.to_thread(order, app)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        assert refused.json()["detail"] == "지금은 사진을 저장할 수 없습니다. 잠시 후 다시 보내 주세요."
        assert (await asyncio.to_thread(httpx.get, f"{app.base_url}{ad['photo']}")).status_code == 503
        await jobs.put(job, "img_gen", "done")
        held = await asyncio.to_thread(until, app, job, "held")
        assert held["sentence"].startswith("파일 저장소를 기다리고 있습니다.")
    finally:
        away.rename(folder)
    await jobs.until_settled([job], 60)
    ad = await asyncio.to_thread(until, app, job, "finished")
    await asyncio.to_thread(shows, app, ad)
    assert all(state == "completed" for _, state, _ in await jobs.called(job))


async def test_a_photo_that_vanished_from_the_store_is_waited_for_not_failed(
    app: App, jobs: Jobs, folder: Path
) -> None:
    job = (await asyncio.to_thread(order, app, copy="사라진 사진")).json()["job_id"]
    await asyncio.to_thread(until, app, job, "finished")
    key = await jobs.db.fetchval("SELECT photo_key FROM ad_inputs WHERE job_id = $1", job)
    whole = (folder / key).read_bytes()
    (folder / key).write_bytes(whole[:1000])
    await jobs.put(job, "vlm_analyze", "done")
    held = await asyncio.to_thread(until, app, job, "held")
    assert held["sentence"] == "파일 저장소를 기다리고 있습니다. 곧 자동으로 다시 진행됩니다."
    (folder / key).write_bytes(whole)
    await jobs.until_settled([job], 60)
    assert await jobs.at(job) == ("vlm_judge", "done")
    cause = """SELECT t.error FROM pgbaton.attempts t JOIN pgbaton.dispatches d ON d.id = t.dispatch_id
                WHERE d.job_key = $1 AND t.outcome = 'deferred' LIMIT 1"""
    assert "damaged" in await jobs.db.fetchval(cause, job)


async def test_the_same_in_a_bucket_of_an_s3_compatible_server(own_database: str, tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    access = {
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "a-very-secret-key",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.get_host_and_port()[1]}",
    }
    login = {"aws_access_key_id": "me", "aws_secret_access_key": "a-very-secret-key", "region_name": "us-east-1"}
    bucket = boto3.client("s3", endpoint_url=access["AWS_ENDPOINT_URL"], **login)
    bucket.create_bucket(Bucket="ads")
    try:
        with serving(tmp_path, own_database, ADSTUDIO_ASSETS="s3://ads/pictures", PGBATON_POLL=0.1, **access) as app:
            job = (await asyncio.to_thread(order, app)).json()["job_id"]
            ad = await asyncio.to_thread(until, app, job, "finished")
            await asyncio.to_thread(shows, app, ad)
            assert "a-very-secret-key" not in app.log
        db = await asyncpg.connect(own_database)
        keys = await db.fetch("SELECT image_key FROM ad_pictures WHERE image IS NULL")
        await db.close()
        stored = {item["Key"] for item in bucket.list_objects_v2(Bucket="ads")["Contents"]}
        assert {f"pictures/{row['image_key']}" for row in keys} <= stored
        assert keys
    finally:
        server.stop()
