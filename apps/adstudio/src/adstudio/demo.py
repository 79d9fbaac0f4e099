"""The demonstration: an embedded Postgres, app-yh, six photos or one of yours, and rows that move themselves."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from functools import cache
from importlib.resources import files
from pathlib import Path

import asyncpg
from pydantic import SecretStr
from rich.console import Console
from rich.live import Live

from adstudio.config import AppSettings
from adstudio.demo_ads import Ad, Made, own_ad, shipped_ads
from adstudio.demo_report import print_result, progress
from adstudio.gallery import write_gallery
from adstudio.home import embedded_home, prepare
from adstudio.main import create_app
from adstudio.server import open_door, serve, stopped_by_signal
from adstudio.vision.copytext import has_hangul
from adstudio.vision.errors import Language
from adstudio.vision.formats import FORMATS
from pgbaton import connection
from pgbaton.errors import ConfigError
from pgbaton.events import log_to

TENANT = "demo"
PATIENCE = 300.0
"""Seconds after which the demonstration gives up; it takes about twenty on two quiet cores."""
INTERRUPTED = 130


@cache
def _sql(name: str) -> str:
    return files("adstudio").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


async def run_demo(settings: AppSettings, own: Sequence[tuple[Path, str]], out: Path, variants: int) -> int:
    """Make ``variants`` of each ad of ``own`` photos and copies, or of the shipped ones where there are none; returns
    the exit code: 0 where every job reached the end."""
    console = Console(highlight=False)
    ads: list[Ad] = []
    for path, copy in own:
        ads.append(own_ad(path, copy, taken={ad.name for ad in ads}))
    ads = ads or shipped_ads()
    for ad in ads:
        ad.variants = variants
    try:
        out.mkdir(parents=True, exist_ok=True)
        log_to(logging.FileHandler(out / "demo.log", mode="w", encoding="utf-8"), "text")
    except OSError as error:
        raise ConfigError(f"--out: nothing can be written to {out}: {error.strerror}") from None
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        stop = stack.enter_context(stopped_by_signal())
        if not await _run(settings, ads, console, stack, stop):
            console.print("interrupted")
            return INTERRUPTED
    write_gallery(out, ads)
    print_result(console, ads, out, time.monotonic() - began)
    return 0 if all(ad.finished for ad in ads) else 1


async def _run(
    settings: AppSettings, ads: Sequence[Ad], console: Console, stack: AsyncExitStack, stop: asyncio.Event
) -> bool:
    """Have the ads made; False where a signal broke it off."""
    doors = stack.enter_context(open_door("127.0.0.1", 0))
    stages_url = None
    if settings.database_url is None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="adstudio-demo-")))
        folder.chmod(0o711)  # as root, the server runs as another user
        console.print("starting an embedded Postgres and app-yh …")
        home = await stack.enter_async_context(embedded_home(folder, durable=False))
        url, stages_url = home.database_url, home.stages_url
    else:
        url = settings.database_url.get_secret_value()
        console.print(f"preparing the database of DATABASE_URL (the jobs stay there, as tenant {TENANT!r}) …")
        await prepare(url)
    settings = settings.model_copy(
        update={
            "database_url": SecretStr(url),
            "host": "127.0.0.1",
            "port": doors[0].getsockname()[1],
            "stage_base_url": None,
            "enable_job_state_listener": True,
            "assets": None,  # the page reads the pictures from the rows
        }
    )
    ended = asyncio.Event()
    serving = asyncio.create_task(serve(create_app(settings, stages_url=stages_url), doors, ended))
    try:
        async with connection(url) as db:
            await _feed(db, ads)
            await _watch(db, ads, serving, stop, console)
    finally:
        ended.set()
        await serving
    async with connection(url) as db:
        await _collect(db, ads)
    return not stop.is_set()


async def _feed(db: asyncpg.Connection, ads: Iterable[Ad]) -> None:
    """Act as an image generator: insert jobs with their inputs, then say that they are done."""
    for ad in ads:
        copies = (ad.copy, None) if has_hangul(ad.copy) else (None, ad.copy)
        fields = json.dumps(ad.fields, ensure_ascii=False) if ad.fields else None
        async with db.transaction():
            await db.execute(_sql("demo_add_job"), ad.job_id, TENANT)
            await db.execute(
                _sql("demo_add_inputs"),
                ad.job_id,
                TENANT,
                ad.photo,
                *copies,
                fields,
                list(ad.formats),
                ad.variants,
                ad.review,
            )
        await db.execute(_sql("demo_hand_over"), ad.job_id)


async def _watch(
    db: asyncpg.Connection, ads: Sequence[Ad], serving: asyncio.Task[None], stop: asyncio.Event, console: Console
) -> None:
    """Show where the jobs are until they have ended; no stage is called from here, and ads that wait for a person are
    approved."""
    until = time.monotonic() + PATIENCE
    with Live(progress(ads), console=console, refresh_per_second=10, transient=True) as live:
        while not (all(ad.ended for ad in ads) or serving.done() or stop.is_set() or time.monotonic() > until):
            await _look(db, ads)
            live.update(progress(ads))
            await _approve(db, ads, live.console)
            await asyncio.sleep(0.1)


async def _look(db: asyncpg.Connection, ads: Sequence[Ad]) -> None:
    by_id = {ad.job_id: ad for ad in ads}
    for row in await db.fetch(_sql("demo_progress"), list(by_id)):
        ad = by_id[row["job_id"]]
        ad.step, ad.status, ad.dead = row["current_step"], row["status"], row["dead"]
        ad.attempt = row["attempt"] or 0
    for row in await db.fetch(_sql("demo_variants"), list(by_id)):
        by_id[row["job_id"]].variants_passed, by_id[row["job_id"]].again = row["passed"], row["again"]


async def _approve(db: asyncpg.Connection, ads: Sequence[Ad], console: Console) -> None:
    """Act as a person who likes an ad that waits for approval: one UPDATE of its row."""
    for ad in ads:
        if ad.review and (ad.step, ad.status) == ("review", "waiting"):
            await db.execute(_sql("demo_approve"), ad.job_id)
            console.print(f"{ad.name} waited for a person: approved, by one UPDATE of its row", style="dim")


async def _collect(db: asyncpg.Connection, ads: Sequence[Ad]) -> None:
    """Read the results of the jobs, once none is under way: the reason of a dead one is written last."""
    await _look(db, ads)
    for ad in ads:
        for row in await db.fetch(_sql("demo_times"), str(ad.job_id)):
            ad.seconds[row["stage"]] = row["seconds"]
        row = await db.fetchrow(_sql("demo_result"), ad.job_id)
        if row is not None:
            ad.passed, ad.judge, ad.reasons = row["passed"], row["judge"], tuple(row["reasons"])
        language: Language = "ko" if has_hangul(ad.copy) else "en"
        for picture in await db.fetch(_sql("demo_pictures"), ad.job_id):
            layout, format_ = json.loads(picture["layout"]), FORMATS[picture["format"]]
            ad.pictures.append(
                Made(
                    format_.name,
                    format_.label(language),
                    layout["width"],
                    layout["height"],
                    picture["image"],
                    tuple(json.loads(picture["checks"] or "[]")),
                )
            )
