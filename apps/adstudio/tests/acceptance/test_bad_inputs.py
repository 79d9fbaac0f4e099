"""Inputs of strangers: none stops the line, and a useless one says why where operators look."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import numpy as np
import pytest
from app_process import App, Jobs, photo, png_that_claims, serving, start
from PIL import Image

ROCKET = photo("rocket")
LINE = "Reach for more"


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def rocket(mode: str = "RGB") -> Image.Image:
    return Image.open(io.BytesIO(ROCKET)).convert(mode)


def filled() -> bytes:
    """A portrait from edge to edge."""
    return saved(Image.open(io.BytesIO(photo("astronaut"))).crop((120, 10, 330, 250)), "JPEG", quality=95)


@dataclass(frozen=True)
class Bad:
    """A job that cannot be done, the stage that says so, and what it says."""

    photo: bytes
    copy: str | None
    stage: str
    says: str


BAD = {
    "no photo at all": Bad(b"", LINE, "vlm_analyze", "The photo is empty"),
    "not a photo": Bad(b"<html>404</html>", LINE, "vlm_analyze", "This is not a photo"),
    "a format that is not taken": Bad(saved(rocket(), "GIF"), LINE, "vlm_analyze", "GIF is not supported"),
    "a truncated photo": Bad(ROCKET[: len(ROCKET) // 3], LINE, "vlm_analyze", "The photo is damaged or cut short"),
    "an enormous photo": Bad(
        png_that_claims(9_000, 9_000), LINE, "vlm_analyze", "The photo is enormous: 9000×9000 is 81 megapixels"
    ),
    "a heavy photo": Bad(ROCKET + bytes(25 * 2**20), LINE, "vlm_analyze", "The photo is too heavy: 25.0 MiB"),
    "a photo of a few pixels": Bad(
        saved(rocket().resize((8, 8)), "PNG"), LINE, "vlm_analyze", "The photo is too small"
    ),
    "an absurd photo": Bad(png_that_claims(2**31 - 1, 2**31 - 1), LINE, "vlm_analyze", "The photo is enormous"),
    "no copy": Bad(ROCKET, None, "vlm_analyze", "카피가 비어 있습니다."),
    "an empty copy": Bad(ROCKET, "", "vlm_analyze", "카피가 비어 있습니다."),
    "a copy of white space": Bad(ROCKET, " \t\n\u200b\u3000 ", "vlm_analyze", "카피가 비어 있습니다."),
    "a copy of 2,000 characters": Bad(
        ROCKET, ("Reach for more, " * 125)[:2000], "vlm_analyze", "The copy is too long: it has 1999 characters"
    ),
    "a word of 2,000 letters": Bad(ROCKET, "가" * 2000, "vlm_analyze", "카피가 너무 깁니다: 2000자"),
    "a copy of emoji": Bad(ROCKET, "🚀🔥🎉", "vlm_analyze", "헤드라인에 글자가 없습니다."),
    "a copy of punctuation": Bad(ROCKET, "…!?", "vlm_analyze", "카피"),
    "an Arabic copy": Bad(ROCKET, "ابدأ يومك", "vlm_analyze", "Arabic letters, which run right to left"),
    "a Hebrew word in the copy": Bad(ROCKET, "Say שלום", "vlm_analyze", "Hebrew letters, which run right to left"),
    "a script the font lacks": Bad(ROCKET, "ขอบคุณ", "vlm_analyze", "Thai letters"),
}

GOOD = {  # photo, copy, and the letters of the ad
    "mixed emoji": (ROCKET, "  Reach 🚀\r\n\tfor  more 🔥 ", "Reach 🚀 for more 🔥"),
    "PNG with alpha, a family of emoji and a flag": (
        saved(rocket("RGBA").resize((500, 400)), "PNG"),
        "Home 👨‍👩‍👧 in 🇰🇷 Seoul",
        "Home 👨‍👩‍👧 in 🇰🇷 Seoul",
    ),
    "grey, loose jamo": (saved(rocket("L"), "JPEG"), "\u1112\u1161\u11ab\u1100\u1173\u11af", "한글"),
    "CMYK": (saved(rocket("CMYK"), "JPEG"), LINE, LINE),
    "WebP": (saved(rocket(), "WEBP"), LINE, LINE),
    "16 bits, markup": (
        saved(Image.fromarray(np.asarray(rocket("L")).astype(np.uint16) << 8), "PNG"),
        "<b>[red]{x}'; DROP",
        "<b>[red]{x}'; DROP",
    ),
    "lying on its side": (
        saved(
            rocket().transpose(Image.Transpose.ROTATE_90),
            "JPEG",
            exif=bytes.fromhex("45786966000049492a00080000000100120103000100000006000000000000"),
        ),
        LINE,
        LINE,
    ),
}


@pytest.fixture(scope="module")
def app(app_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with serving(tmp_path_factory.mktemp("app"), app_database) as running:
        yield running


@pytest.fixture(scope="module")
def fed(app: App, app_database: str) -> dict[str, str]:
    """Every case's job, by its name; all of them have come to an end."""

    async def feed() -> dict[str, str]:
        db = await asyncpg.connect(app_database)
        jobs = Jobs(db)
        fed = {}
        for name, bad in BAD.items():
            fed[name] = await jobs.add(bad.photo, bad.copy, tenant=name)
        fed |= {name: await jobs.add(file, copy, tenant=name) for name, (file, copy, _) in GOOD.items()}
        await jobs.until_settled(list(fed.values()), 90)
        await db.close()
        return fed

    return asyncio.run(feed())


@pytest.fixture(scope="module")
def listed(fed: dict[str, str], app_database: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The lines of `pgbaton jobs` about dead jobs, by tenant."""
    shown = ["pgbaton", "jobs", "--state", "dead", "--json"]
    listing = start(*shown, folder=tmp_path_factory.mktemp("jobs"), DATABASE_URL=app_database)
    out, error = listing.communicate(timeout=60)
    assert (listing.returncode, error) == (0, "")
    return {job["tenant"]: job for job in json.loads(out)}


@pytest.mark.parametrize("name", BAD)
async def test_an_input_that_cannot_be_used_is_tried_once_and_says_why(
    fed: dict[str, str], listed: dict[str, Any], jobs: Jobs, name: str
) -> None:
    bad, job = BAD[name], fed[name]
    assert await jobs.at(job) == (bad.stage, "failed")
    assert (await jobs.called(job))[-1] == (bad.stage, "dead", 1)
    told = listed[name]
    assert (told["stage"], told["http_status"]) == (bad.stage, 422)
    assert str(told["error"]).startswith("HTTP 422 Stage refused: ")
    note = await jobs.db.fetchrow("SELECT step, sentence, final FROM ad_notes WHERE job_id = $1", job)
    assert (note["step"], note["final"]) == (bad.stage, True)
    assert note["sentence"] in str(told["error"])
    assert bad.says in str(told["error"])
    assert await jobs.db.fetchval("SELECT photo FROM ad_inputs WHERE job_id = $1", job) == bad.photo


@pytest.mark.parametrize("name", GOOD)
async def test_an_input_that_is_only_odd_becomes_an_ad(fed: dict[str, str], jobs: Jobs, name: str) -> None:
    job = fed[name]
    assert await jobs.at(job) == ("vlm_judge", "done"), await jobs.dispatches(job)
    rows = await jobs.db.fetch("SELECT image, layout FROM ad_pictures WHERE job_id = $1 AND place = 0", job)
    assert rows
    for row in rows:
        said = "".join(line["text"] for line in json.loads(row["layout"])["lines"])
        assert sorted(said.replace(" ", "")) == sorted(GOOD[name][2].replace(" ", ""))  # all of it, in some order
        image = Image.open(io.BytesIO(row["image"]))
        assert (image.format, image.mode) == ("JPEG", "RGB")


async def test_a_photo_that_lies_on_its_side_makes_an_ad_that_stands(fed: dict[str, str], jobs: Jobs) -> None:
    query = "SELECT image FROM ad_pictures WHERE job_id = $1 AND format = 'square' AND place = 0"
    lying, standing = [
        np.asarray(Image.open(io.BytesIO(await jobs.db.fetchval(query, fed[name]))).convert("L"), np.float32)
        for name in ("lying on its side", "WebP")
    ]
    assert lying.shape == standing.shape
    alike = [np.corrcoef(np.rot90(lying, turns).ravel(), standing.ravel())[0, 1] for turns in range(4)]
    assert alike.index(max(alike)) == 0


async def test_the_judge_passes_an_ad_with_emoji(fed: dict[str, str], jobs: Jobs) -> None:
    row = await jobs.db.fetchrow("SELECT passed, reasons FROM ad_judgements WHERE job_id = $1", fed["mixed emoji"])
    assert row["passed"], row["reasons"]


async def test_nothing_of_all_this_is_a_fault_of_the_programs(fed: dict[str, str], app: App) -> None:
    assert "Traceback" not in app.log
    assert "Internal error" not in app.log
    assert app.get("/readyz").status == 200


async def test_a_photo_of_which_too_little_is_left_for_the_format_is_refused_by_the_planner(
    app: App, jobs: Jobs
) -> None:
    job = await jobs.add(filled(), "Made to go further than anyone has gone before")
    await jobs.until_settled([job], 30)
    assert await jobs.at(job) == ("planner", "failed")
    error = """SELECT error FROM pgbaton.attempts t JOIN pgbaton.dispatches d ON d.id = t.dispatch_id
                WHERE job_key = $1 AND outcome = 'rejected' AND error IS NOT NULL"""
    assert "The photo is too small for Square 1:1" in await jobs.db.fetchval(error, job)


async def test_a_job_without_inputs_dies_and_lives_again_once_they_are_there(
    app: App, app_database: str, jobs: Jobs, tmp_path_factory: pytest.TempPathFactory
) -> None:
    job = await jobs.add(None, None)
    await jobs.until_settled([job], 30)
    assert await jobs.at(job) == ("vlm_analyze", "failed")
    inputs = (
        "INSERT INTO ad_inputs (job_id, tenant_id, photo, copy_en, formats) VALUES ($1, 'acme', $2, $3, '{square}')"
    )
    await jobs.db.execute(inputs, job, ROCKET, LINE)
    folder = tmp_path_factory.mktemp("retry")
    retry = start("pgbaton", "retry", job, folder=folder, DATABASE_URL=app_database)
    assert (await asyncio.to_thread(retry.wait, 30)) == 0
    await jobs.until(job, "vlm_judge", "done")


async def test_a_photo_that_is_not_good_enough_is_judged_so_and_says_why(app: App, jobs: Jobs) -> None:
    dark = saved(rocket().point(lambda level: level // 12), "PNG")
    job = await jobs.add(dark, LINE)
    await jobs.until(job, "vlm_judge", "done")
    row = await jobs.db.fetchrow("SELECT passed, reasons FROM ad_judgements WHERE job_id = $1", job)
    assert row["passed"] is False
    reasons = json.loads(row["reasons"])
    assert any("too dark" in reason for reason in reasons)
    assert len(reasons) == len(set(reasons))
