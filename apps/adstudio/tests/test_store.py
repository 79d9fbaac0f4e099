"""Where pictures are kept: a folder of this machine and a bucket of a real S3 server, well and away."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adstudio.store import Kept, Shelf, StoreAway, open_shelf
from adstudio.store.folder import Folder
from adstudio.store.keys import belongs, key_of
from pgbaton.errors import ConfigError

JPEG = b"\xff\xd8\xff a photo"
WEBP = b"RIFF\0\0\0\0WEBP another"
NASTY = ("../../etc/passwd", "/", "..", "a/b", "", "가나다", "\ud800", "x" * 255, "%2e%2e", "C:\\", "s3://other")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of a bucket on an S3 server of this test's own; the environment says how it is reached."""
    pytest.importorskip("obstore")
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    access = {
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in access.items():
            patch.setenv(name, value)
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="ads")
        yield "s3://ads/pictures/of ours"
        server.stop()


@pytest.fixture(params=["rows", "folder", "s3"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    if request.param == "rows":
        return open_shelf(None)
    return open_shelf(str(tmp_path / "assets") if request.param == "folder" else request.getfixturevalue("s3"))


async def test_a_picture_that_is_kept_comes_back(shelf: Shelf) -> None:
    for data in (JPEG, WEBP, b"", os.urandom(6 * 2**20)):
        kept = await shelf.keep("acme", data)
        assert (kept.data is None) != (kept.key is None)
        assert await shelf.fetch("acme", kept) == data


async def test_one_picture_kept_twice_at_once_is_one_file(tmp_path: Path) -> None:
    shelf = open_shelf(str(tmp_path))
    kept = await asyncio.gather(*(shelf.keep("acme", JPEG) for _ in range(20)))
    assert len(set(kept)) == 1
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [Path(str(kept[0].key)).name]


@pytest.mark.parametrize("tenant", NASTY)
async def test_a_tenants_name_leads_nowhere(tmp_path: Path, tenant: str) -> None:
    kept = await open_shelf(str(tmp_path / "assets")).keep(tenant, JPEG)
    assert kept.key is not None
    assert belongs(kept.key, tenant)
    [file] = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert file.parent.parent == tmp_path / "assets"


@pytest.mark.parametrize("kind", ["folder", "s3"])
async def test_one_tenants_key_opens_nothing_for_another(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    shelf = open_shelf(str(tmp_path) if kind == "folder" else request.getfixturevalue("s3"))
    kept = await shelf.keep("acme", JPEG)
    with pytest.raises(StoreAway, match="no file of its tenant"):
        await shelf.fetch("globex", kept)
    assert key_of("acme", JPEG) != key_of("globex", JPEG)


@pytest.mark.parametrize("key", ["../secret", "/etc/passwd", "a", "", f"{'0' * 32}/../../{'0' * 64}", f"{'0' * 32}/x"])
async def test_a_key_that_was_not_made_here_opens_nothing(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret").write_text("a secret")
    with pytest.raises(StoreAway, match="no file of its tenant"):
        await open_shelf(str(tmp_path / "assets")).fetch("acme", Kept(key=key))


async def test_a_file_that_is_missing_cut_short_or_another_one_is_never_handed_out(tmp_path: Path) -> None:
    shelf = open_shelf(str(tmp_path))
    kept = await shelf.keep("acme", JPEG)
    file = tmp_path / str(kept.key)
    for wrong in (JPEG[:-1], WEBP, b""):
        file.write_bytes(wrong)
        with pytest.raises(StoreAway, match="damaged"):
            await shelf.fetch("acme", kept)
    file.unlink()
    with pytest.raises(StoreAway, match="missing"):
        await shelf.fetch("acme", kept)


async def test_a_file_that_cannot_be_written_whole_leaves_nothing_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = open_shelf(str(tmp_path))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreAway, match="no space left on device"):
        await shelf.keep("acme", JPEG)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


async def test_a_name_is_given_only_once_the_content_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []
    place = tmp_path / key_of("acme", JPEG)
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        real_fsync(handle)
        seen.append(("fsync", place.exists()))

    def replace(self: Path, target: Path) -> Path:
        seen.append(("replace", place.exists()))
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    await open_shelf(str(tmp_path)).keep("acme", JPEG)
    assert seen[:2] == [("fsync", False), ("replace", False)]
    assert {what for what, there in seen[2:] if there} == {"fsync"}  # the folders


def test_files_that_a_crash_left_are_removed_after_a_day(tmp_path: Path) -> None:
    Folder(tmp_path)
    old, young = tmp_path / ".unfinished" / "old", tmp_path / ".unfinished" / "young"
    for file in (old, young):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    Folder(tmp_path)
    assert (old.exists(), young.exists()) == (False, True)


async def test_a_folder_that_went_away_is_away_and_not_empty(tmp_path: Path) -> None:
    shelf = open_shelf(str(tmp_path / "drive"))
    kept = await shelf.keep("acme", JPEG)
    (tmp_path / "drive").rename(tmp_path / "unmounted")
    with pytest.raises(StoreAway, match="not there"):
        await shelf.fetch("acme", kept)
    with pytest.raises(StoreAway):
        await shelf.keep("acme", WEBP)
    (tmp_path / "unmounted").rename(tmp_path / "drive")
    assert await shelf.fetch("acme", kept) == JPEG


async def test_a_bucket_that_is_away_or_absent_is_said_in_a_word_without_its_address(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await open_shelf(s3).keep("acme", JPEG)
    absent = open_shelf("s3://no-such-bucket/x")
    with pytest.raises(StoreAway) as refused:
        await absent.keep("acme", JPEG)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(StoreAway) as away:
        await open_shelf(s3).fetch("acme", kept)
    assert time.monotonic() - began < 20
    for said in (str(refused.value), str(away.value)):
        assert said.isidentifier()


def test_an_address_that_is_none_is_refused_when_the_program_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="ADSTUDIO_ASSETS"):
        open_shelf(str(tmp_path / "file"))
    pytest.importorskip("obstore")
    with pytest.raises(ConfigError, match="ADSTUDIO_ASSETS"):
        open_shelf("s3://")
