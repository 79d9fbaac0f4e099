"""Stored pictures that no row names are removed once they are old; one that a row names never is."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from pathlib import Path

import asyncpg
import pytest
from app_process import photo, start

from adstudio.store import open_shelf
from adstudio.store.keys import day_of, key_of, today
from adstudio.store.shelf import Store
from adstudio.store.sweep import unnamed

JPEG = photo("coffee")


async def put(store: Store, data: bytes, days_ago: int, tenant: str = "acme") -> str:
    key = key_of(tenant, data, today() - timedelta(days=days_ago))
    await store.put(key, data)
    return key


async def name_it(db: asyncpg.Connection, column: str, key: str) -> None:
    """A row that names ``key``, in one of the three tables that do."""
    job = await db.fetchval("INSERT INTO jobs (tenant_id) VALUES ('acme') RETURNING job_id")
    insert = {
        "photo": "INSERT INTO ad_inputs (job_id, tenant_id, photo_key) VALUES ($1, 'acme', $2)",
        "picture": """INSERT INTO ad_pictures (job_id, tenant_id, format, place, master, image_key, layout)
                      VALUES ($1, 'acme', 'square', 1, 'split', $2, '{}')""",
        "overlay": "INSERT INTO ad_overlays (job_id, tenant_id, image_key, setting) VALUES ($1, 'acme', $2, '{}')",
    }
    await db.execute(insert[column], job, key)


def store_at(folder: Path) -> Store:
    store = open_shelf(str(folder)).store
    assert store is not None
    return store


async def sweep(url: str, store: Store, days: int = 2, on: date | None = None) -> set[str]:
    """The files that one sweep removes."""
    removed: set[str] = set()
    db = await asyncpg.connect(url)
    try:
        async for keys in unnamed(db, store, days, on):
            await store.remove(keys)
            removed.update(keys)
    finally:
        await db.close()
    return removed


async def test_only_what_is_old_and_named_by_no_row_goes(own_database: str, tmp_path: Path) -> None:
    store = store_at(tmp_path / "assets")
    orphan, young = await put(store, b"left by a repeat", 3), await put(store, b"of a stage at work", 1)
    named = {column: await put(store, column.encode(), 30) for column in ("photo", "picture", "overlay")}
    (tmp_path / "assets" / "notes.d").mkdir()
    (tmp_path / "assets" / "notes.d" / "of-ours.txt").write_text("no picture of adstudio's")
    db = await asyncpg.connect(own_database)
    for column, key in named.items():
        await name_it(db, column, key)
    await db.close()
    assert await sweep(own_database, store) == {orphan}
    for key in (young, *named.values()):
        assert await store.get(key)
    assert (tmp_path / "assets" / "notes.d" / "of-ours.txt").is_file()


async def test_a_picture_that_is_written_again_gets_a_name_of_its_own_day(own_database: str, tmp_path: Path) -> None:
    """A stage repeats while the sweep is between finding its old file and removing it: what the row will name stays."""
    shelf = open_shelf(str(tmp_path))
    store = shelf.store
    assert store is not None
    old = await put(store, JPEG, 5)
    db = await asyncpg.connect(own_database)
    found = [keys async for keys in unnamed(db, store, 2)]
    kept = await shelf.keep("acme", JPEG)  # the stage, at work meanwhile
    assert kept.key is not None
    await store.remove(found[0])
    await name_it(db, "picture", kept.key)
    await db.close()
    assert (found, day_of(kept.key)) == ([[old]], today())
    assert await shelf.fetch("acme", kept) == JPEG


async def test_two_sweeps_at_once_remove_the_same_and_neither_fails(own_database: str, tmp_path: Path) -> None:
    store = store_at(tmp_path)
    orphans = {await put(store, f"{n}".encode(), 4, tenant=f"tenant {n % 3}") for n in range(60)}
    one, two = await asyncio.gather(sweep(own_database, store), sweep(own_database, store))
    assert one | two == orphans
    assert await sweep(own_database, store) == set()


async def test_files_that_may_belong_to_a_stage_at_work_cannot_be_asked_for(own_database: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stages at work"):
        await sweep(own_database, store_at(tmp_path), days=1)


async def test_in_a_bucket_too(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.get_host_and_port()[1]}")
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="ads")
        store = open_shelf("s3://ads/pictures").store
        assert store is not None
        orphan, young = await put(store, b"old", 9), await put(store, b"young", 0)
        assert await sweep(own_database, store) == {orphan}
        assert await store.get(young) == b"young"
        await store.remove([orphan])  # gone already
    finally:
        server.stop()


async def test_the_command_counts_first_and_removes_when_told(own_database: str, tmp_path: Path) -> None:
    store = store_at(tmp_path / "assets")
    orphan = await put(store, b"old", 8)

    def command(*arguments: str) -> str:
        settings = {"DATABASE_URL": own_database, "ADSTUDIO_ASSETS": tmp_path / "assets"}
        process = start("adstudio", "sweep", *arguments, folder=tmp_path, **settings)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out.strip()

    said = await asyncio.to_thread(command)
    assert said == "1 files of 7 days and more are named by no row; --remove removes them"
    assert await store.get(orphan)
    assert await asyncio.to_thread(command, "--remove") == "1 files that no row names were removed"
    assert await asyncio.to_thread(command) == "0 files of 7 days and more are named by no row; --remove removes them"
