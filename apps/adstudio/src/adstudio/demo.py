"""The demonstration: an embedded Postgres, app-yh, four photos, and rows that move themselves."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import tempfile
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

import asyncpg
from pydantic import SecretStr
from rich.console import Console
from rich.live import Live
from rich.table import Table

from adstudio import config
from adstudio.gallery import write_gallery
from adstudio.home import embedded_home, prepare
from adstudio.main import create_app
from adstudio.pipeline import ad_creative
from adstudio.server import StudioServer, log_to
from adstudio.studio import ASSETS
from pgbaton.database import connection
from pgbaton.errors import ConfigError

TENANT = "demo"
PATIENCE = 300.0
"""Seconds after which the demonstration gives up; it takes about ten."""

SHIPPED = (
    ("coffee", "Slow mornings start here"),
    ("chelsea", "고양이도 반한 포근함"),
    ("rocket", "Reach for more"),
    ("astronaut", "꿈은 더 멀리 간다"),
)


@dataclass
class Ad:
    """One job of the demonstration; ``seconds`` by step, ``image`` once it is finished."""

    name: str
    photo: bytes
    copy: str
    job_id: uuid.UUID = field(default_factory=uuid.uuid4)
    step: str = "img_gen"
    status: str = "running"
    dead: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    image: bytes | None = None
    passed: bool | None = None
    judge: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        return self.dead is not None or (self.step, self.status) == (STEPS[-1], "done")


STEPS = tuple(stage.step for stage in ad_creative().in_order)


@cache
def _sql(name: str) -> str:
    return files("adstudio").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


async def run_demo(extra: Sequence[tuple[Path, str]], out: Path) -> int:
    """Run it all; returns the exit code: 0 where every job reached the end."""
    console = Console()
    ads = [Ad(name, (ASSETS / "photos" / f"{name}.jpg").read_bytes(), copy) for name, copy in SHIPPED]
    for path, copy in extra:
        try:
            ads.append(Ad(re.sub(r"[^\w-]+", "_", path.stem)[:40] or "yours", path.read_bytes(), copy))
        except OSError as error:
            raise ConfigError(f"the photo {path} cannot be read: {error.strerror}") from None
    out.mkdir(parents=True, exist_ok=True)
    log_to(logging.FileHandler(out / "demo.log", mode="w", encoding="utf-8"))
    settings = config.load()

    async with AsyncExitStack() as stack:
        if settings.database_url is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="adstudio-demo-")))
            folder.chmod(0o711)  # as root, the server runs as another user
            console.print("starting an embedded Postgres and app-yh …")
            home = await stack.enter_async_context(embedded_home(folder / "postgres", durable=False))
        else:
            console.print("preparing the database that DATABASE_URL names, and starting app-yh …")
            home = await prepare(settings.database_url.get_secret_value())
        settings = settings.model_copy(
            update={
                "database_url": SecretStr(home.database_url),
                "host": "127.0.0.1",
                "port": _free_port(),
                "stage_base_url": None,
                "enable_job_state_listener": True,
            }
        )
        server = StudioServer(create_app(settings, stages_url=home.stages_url), settings.host, settings.port)
        serving = asyncio.create_task(server.serve())
        try:
            async with connection(home.database_url) as db:
                await _feed(db, ads)
                await _watch(db, ads, serving, console)
                await _collect(db, ads)
        finally:
            server.should_exit = True
            await serving
    write_gallery(out, ads)
    _print_result(console, ads, out)
    return 0 if all(ad.ended and ad.dead is None for ad in ads) else 1


async def _feed(db: asyncpg.Connection, ads: Iterable[Ad]) -> None:
    """What an image generator would do: insert jobs with their inputs, then say that they are done."""
    for ad in ads:
        korean = bool(re.search(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]", ad.copy))
        copies = (ad.copy, None) if korean else (None, ad.copy)
        async with db.transaction():
            await db.execute(_sql("demo_add_job"), ad.job_id, TENANT)
            await db.execute(_sql("demo_add_inputs"), ad.job_id, TENANT, ad.photo, *copies)
        await db.execute(_sql("demo_hand_over"), ad.job_id)


async def _watch(db: asyncpg.Connection, ads: Sequence[Ad], serving: asyncio.Task[None], console: Console) -> None:
    """Show where the jobs are until they have ended; nobody here calls a stage."""
    by_id = {ad.job_id: ad for ad in ads}
    until = time.monotonic() + PATIENCE
    with Live(_progress(ads), console=console, refresh_per_second=10, transient=True) as live:
        while not all(ad.ended for ad in ads) and not serving.done() and time.monotonic() < until:
            for row in await db.fetch(_sql("demo_progress"), list(by_id)):
                ad = by_id[row["job_id"]]
                ad.step, ad.status, ad.dead = row["current_step"], row["status"], row["dead"]
            live.update(_progress(ads))
            await asyncio.sleep(0.1)


async def _collect(db: asyncpg.Connection, ads: Iterable[Ad]) -> None:
    for ad in ads:
        for row in await db.fetch(_sql("demo_times"), str(ad.job_id)):
            ad.seconds[row["stage"]] = row["seconds"]
        row = await db.fetchrow(_sql("demo_result"), ad.job_id)
        if row is not None:
            ad.image, ad.passed, ad.judge, ad.reasons = row["image"], row["passed"], row["judge"], tuple(row["reasons"])


def _progress(ads: Iterable[Ad]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("job", "", "at"):
        table.add_column(name)
    for ad in ads:
        reached = STEPS.index(ad.step) + (ad.status == "done") if ad.step in STEPS else 0
        bar = "[green]" + "━" * (4 * reached) + "[/green][dim]" + "━" * (4 * (len(STEPS) - reached)) + "[/dim]"
        table.add_row(ad.name, bar, f"{ad.step} {ad.status}")
    return table


def _print_result(console: Console, ads: Sequence[Ad], out: Path) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", title="seconds in each stage", title_justify="left")
    for name in ("job", *STEPS, "verdict"):
        table.add_column(name, justify="right" if name in STEPS else "left", no_wrap=name in STEPS)
    for ad in ads:
        times = (f"{ad.seconds[step]:.2f}" if step in ad.seconds else "–" for step in STEPS)
        table.add_row(ad.name, *times, "[green]passed[/green]" if ad.passed else "[red]not passed[/red]")
    console.print(table)
    for ad in ads:
        if ad.dead is not None or not ad.ended:
            console.print(f"{ad.name}: {ad.dead or f'not finished, at ({ad.step}, {ad.status})'}", markup=False)
        elif not ad.passed:
            console.print(f"{ad.name}: {'; '.join(ad.reasons)}", markup=False)
    for judge in sorted({ad.judge for ad in ads if ad.judge}):
        console.print(f"judged by {judge}", markup=False)
    console.print(f"ads, before and after: {out / 'index.html'}", markup=False)
    if not all(ad.ended and ad.dead is None for ad in ads):
        console.print(f"what happened is in {out / 'demo.log'}", markup=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
