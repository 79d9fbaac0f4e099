"""Break a running app-yh in five ways, find each from the page alone, mend it there: ``make operations``.

docs/operations.md tells it with the pictures that this takes, docs/images/operations-*.png, and with the times that it
prints. The breaks are made by signals to processes and by rows; what is wrong is read off the page, in Chromium, and
what is done is done by clicks. The last break must end with every job at its end and no invariant broken.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
from playwright.async_api import Page, async_playwright

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from house import OPERATOR, sign_in  # noqa: E402

from adstudio.demo_ads import shipped_ads  # noqa: E402
from adstudio.pipeline import FILE  # noqa: E402
from adstudio.studio import ASSETS  # noqa: E402
from pgbaton.embedded import EmbeddedPostgres  # noqa: E402
from support.chromium import ARGUMENTS, CHROMIUM, NO_CHROMIUM  # noqa: E402

BIN = Path(sys.executable).parent
SIZE = {"width": 1240, "height": 900}
MARGIN = 10
PATIENCE = 180_000
SHARE = 0.04
"""Share of the time that a starved process is let run."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sql(name: str) -> str:
    return files("adstudio").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


async def said_by(environment: dict[str, str], *command: str, statuses: tuple[int, ...] = (0,)) -> str:
    """The output of a command that must end with one of these exit statuses."""
    process = await asyncio.create_subprocess_exec(
        BIN / command[0], *command[1:], env=os.environ | environment, stdout=subprocess.PIPE
    )
    said, _ = await process.communicate()
    if process.returncode not in statuses:
        raise AssertionError(said.decode())
    return said.decode().strip()


class Process:
    """A command of its own, as a supervisor would run it."""

    def __init__(self, folder: Path, name: str, *command: str, **environment: str) -> None:
        self.name, self.command, self.log = name, command, folder / f"{name}.log"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PGBATON_", "DATABASE_URL"))}
        self.environment = kept | {"ADSTUDIO_DATA": str(folder), **environment}
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.running = subprocess.Popen([BIN / self.command[0], *self.command[1:]], env=self.environment,
                                            stdout=log, stderr=log)  # fmt: skip

    def send(self, number: signal.Signals) -> None:
        assert self.running is not None
        self.running.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it, and wait until the process is gone."""
        if self.running is None or self.running.poll() is not None:
            return
        self.send(number)
        try:
            self.running.wait(20)
        except subprocess.TimeoutExpired:
            self.running.kill()
            self.running.wait()

    @asynccontextmanager
    async def starved(self) -> AsyncIterator[None]:
        """Within, it gets hardly any of the processor."""

        async def take_it_away() -> None:
            while True:
                self.send(signal.SIGSTOP)
                await asyncio.sleep(1 - SHARE)
                self.send(signal.SIGCONT)
                await asyncio.sleep(SHARE)

        taking = asyncio.create_task(take_it_away())
        try:
            yield
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
            self.send(signal.SIGCONT)


@dataclass
class Break:
    """One break: what was clicked, and when what was seen."""

    title: str
    began: float = field(default_factory=time.monotonic)
    found: float | None = None
    acted: float | None = None
    ended: float | None = None
    clicks: list[str] = field(default_factory=list)


@dataclass
class Night:
    """An operator at the page, and what can be broken."""

    page: Page
    base: str
    out: Path
    db_url: str
    postgres: EmbeddedPostgres
    front: Process
    stages: Process
    worker: Process
    breaks: list[Break] = field(default_factory=list)

    @property
    def now(self) -> Break:
        return self.breaks[-1]

    def broken(self, title: str) -> None:
        print(f"- {title}", flush=True)
        self.breaks.append(Break(title))

    async def see(self, text: str | re.Pattern[str], within: str = "#findings") -> str:
        """Wait until the page says so by itself; what it says in that line."""
        line = self.page.locator(f"{within} li, p{within}, {within} tr, {within}").filter(has_text=text).first
        await line.wait_for(timeout=PATIENCE)
        said = " ".join((await line.inner_text()).split())
        print(f"  {time.monotonic() - self.now.began:6.1f} s  {said[:200]}", flush=True)
        return said

    async def found(self, text: str | re.Pattern[str], within: str = "#findings") -> str:
        said = await self.see(text, within)
        self.now.found = time.monotonic()
        return said

    async def well(self) -> None:
        """Back on the first page, until it says that all is well and nothing is under way."""
        if self.page.url.split("?")[0] != f"{self.base}/":
            await self.open("/")
        await self.see(re.compile(r"All is well\. 0 under way"))
        self.now.ended = time.monotonic()

    async def open(self, path: str) -> None:
        await self.page.goto(self.base + path)

    async def click(self, what: str, named: str) -> None:
        await self.page.click(what)
        self.now.clicks.append(named)
        self.now.acted = time.monotonic()
        print(f"  {time.monotonic() - self.now.began:6.1f} s  click: {named}", flush=True)

    async def picture(self, name: str, *of: str, height: int | None = None) -> None:
        """Of what matters alone: the box around these parts of the page."""
        x, y, right, bottom = await self.page.evaluate(BOX, [list(of), socket.gethostname()])
        x, y = max(x - MARGIN, 0), max(y - MARGIN, 0)
        clip = {"x": x, "y": y, "width": right + MARGIN - x, "height": min(bottom + MARGIN - y, height or 5000)}
        await self.page.screenshot(path=self.out / f"operations-{name}.png", clip=clip, full_page=True)
        await self.page.evaluate("window.still = false")

    async def feed(
        self, count: int, tenant: str = "hanbit", photo: bytes | None = None, inputs: bool = True
    ) -> list[UUID]:
        """Act as an image generator: jobs with their photo and line, then the word that they are due."""
        db = await asyncpg.connect(self.db_url)
        jobs = [uuid4() for _ in range(count)]
        ads = shipped_ads()
        for number, job in enumerate(jobs):
            ad = ads[number % len(ads)]
            copies = (ad.copy, None) if not ad.copy.isascii() else (None, ad.copy)
            await db.execute(sql("demo_add_job"), job, tenant)
            if inputs:
                fields = json.dumps(ad.fields, ensure_ascii=False) if ad.fields else None
                given = (job, tenant, photo or ad.photo, *copies, fields, list(ad.formats), 1, False)
                await db.execute(sql("demo_add_inputs"), *given)
        for job in jobs:
            await db.execute(sql("demo_hand_over"), job)
        await db.close()
        return jobs


BOX = """([parts, name]) => {
    if (window.still === undefined) {
        document.addEventListener("htmx:beforeSwap", (e) => { if (window.still) e.detail.shouldSwap = false; }, true);
    }
    window.still = true;
    scrollTo(0, 0);
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(name + ":", "app-yh:");
    const boxes = parts.map((part) => document.querySelector(part).getBoundingClientRect());
    return [Math.min(...boxes.map((b) => b.left)), Math.min(...boxes.map((b) => b.top)),
            Math.max(...boxes.map((b) => b.right)), Math.max(...boxes.map((b) => b.bottom))];
}"""
"""The box around parts of the page, which stands still until the picture is taken; the name of the machine that it is taken
on concerns nobody."""
LINE = "section:has(> ol.line)"


async def answers(process: Process) -> bool:
    """Whether somebody listens at its port."""
    with suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", int(process.environment["PORT"]))
        writer.close()
        return True
    return False


async def stage_down(night: Night) -> None:
    """The process that serves the stages is gone."""
    night.broken("a stage is down")
    night.stages.end()
    night.now.began = time.monotonic()
    await night.feed(12)
    await night.found("does not answer")
    await asyncio.sleep(6)
    await night.picture("down", "#findings", LINE)
    await night.click("#findings a:has-text('Show')", "Show jobs")
    await night.page.wait_for_selector("#jobs")
    await night.picture("down-jobs", "#jobs", height=240)
    night.stages.start()
    print(f"  {time.monotonic() - night.now.began:6.1f} s  (started again)", flush=True)
    again = time.monotonic()
    while not await answers(night.stages):
        await asyncio.sleep(0.1)
    print(
        f"  {time.monotonic() - again:6.1f} s  until the stages answer (their models are loaded by the first calls)",
        flush=True,
    )
    await night.open("/")
    await night.page.wait_for_selector("#findings:not(:has-text('does not answer'))", timeout=PATIENCE)
    print(f"  {time.monotonic() - again:6.1f} s  until a probe has found them", flush=True)
    await night.well()
    print(f"  {time.monotonic() - again:6.1f} s  until all is well", flush=True)
    await night.picture("down-after", "#findings", LINE)


async def stage_slow(night: Night) -> None:
    """The stages' machine has hardly any processor left."""
    night.broken("a stage is slow")
    async with night.stages.starved():
        for tenant in ("hanbit", "moonbakery", "acme"):  # of one alone four are called at once, as the file says
            await night.feed(12, tenant)
        await night.found("bottleneck")
        await night.picture("slow", "#findings", LINE)
        await night.page.click(".tally a.running")
        await night.page.click("#jobs tbody a")
        await night.see("has been calling", "#why")
        await night.picture("slow-job", "h1", "#why")
        await night.click("nav >> text=Stages", "Stages")
        await night.click("#pause-1", "Pause…")
        await night.page.fill("#pause-1-why", "the stage is slow")
        await night.click("#pause-1-do", "Pause")
        await night.open("/")
        await night.see("is paused")
        await night.picture("slow-paused", "#findings", LINE)
    print(f"  {time.monotonic() - night.now.began:6.1f} s  (it has its processor back)", flush=True)
    await night.click("#findings button:has-text('Resume')", "Resume")
    again = time.monotonic()
    await night.well()
    print(f"  {time.monotonic() - again:6.1f} s  after the resume", flush=True)
    await night.picture("slow-after", "#findings", LINE)


async def worker_killed(night: Night) -> None:
    """One of two workers, in the middle of its calls."""
    async with night.stages.starved():
        # The tenant's limit lets one worker hold all of its calls, and hold them again as they end: it is to be this one.
        night.front.send(signal.SIGSTOP)
        jobs = await night.feed(16, "moonbakery")
        db = await asyncpg.connect(night.db_url)
        held = None
        while held is None:
            await asyncio.sleep(0.1)
            held = await db.fetchval(
                "SELECT job_key FROM pgbaton.dispatches d JOIN pgbaton.workers w ON w.id = d.worker "
                "WHERE d.state = 'running' AND w.name LIKE '%:' || $1 LIMIT 1",
                str(night.worker.running and night.worker.running.pid),
            )  # fmt: skip
        await db.close()
        night.front.send(signal.SIGCONT)
        night.broken("a worker is killed")
        night.worker.end(signal.SIGKILL)
        await night.found(re.compile("has not renewed its lease|holds no calls"))
        await night.picture("killed", "#findings", "section:has(> #h-workers)")
        await night.see("holds no calls")
    await night.open(f"/job?key={held}")
    await night.page.wait_for_selector("#why:has-text('done')", timeout=PATIENCE)
    await night.picture("killed-job", "section:has(> .title > #h-calls)")
    await night.open("/")
    await night.see(re.compile("holds no calls|All is well"))
    await night.page.wait_for_selector("dl.big > :nth-child(3) dd:text-is('0')", timeout=PATIENCE)
    night.now.ended = time.monotonic()
    await night.picture("killed-after", "#findings", "section:has(> #h-workers)")
    assert len(jobs) == 16
    night.worker.start()


async def bad_rows(night: Night) -> None:
    """A photo that is none, and a job without inputs."""
    night.broken("bad rows")
    bad = await night.feed(3, "northwind", photo=b"GIF89a not a photo")
    [empty] = await night.feed(1, "northwind", inputs=False)
    await night.found("will be called again")
    await night.picture("bad", "#findings", LINE)
    await night.click("#findings li:has-text('will be called again') a:has-text('Show jobs')", "Show jobs")
    await night.page.wait_for_selector("#jobs td:has-text('no inputs')")
    await night.picture("bad-jobs", "#jobs")
    await night.click(f"#jobs a:has-text('{empty}')", "the job without inputs")
    await night.page.wait_for_selector("#why")
    await night.picture("bad-job", "h1", "#why", "#actions", "section:has(> .title > #h-calls)")
    await night.click("#do-cancel", "Cancel…")
    await night.click("#yes", "Cancel 1")
    await night.page.wait_for_selector("#flash")
    await night.open("/")
    await night.see("gave up on 3")
    await night.picture("bad-dead", "#findings")
    db = await asyncpg.connect(night.db_url)
    photo = (ASSETS / "photos" / "coffee.jpg").read_bytes()
    await db.execute("UPDATE ad_inputs SET photo = $2 WHERE job_id = ANY ($1)", bad, photo)
    await db.close()
    print(f"  {time.monotonic() - night.now.began:6.1f} s  (the photos were uploaded again)", flush=True)
    await night.click("#findings a:has-text('Retry all')", "Retry all…")
    await night.picture("bad-confirm", "#confirm")
    await night.click("#yes", "Retry 3")
    again = time.monotonic()
    await night.well()
    print(f"  {time.monotonic() - again:6.1f} s  after the retry", flush=True)
    await night.picture("bad-after", "#findings", LINE)


async def postgres_restarted(night: Night) -> None:
    """Away for a while, in the middle of work."""
    await night.feed(16, "acme")
    night.broken("Postgres is restarted")
    await asyncio.to_thread(night.postgres.stop)
    await night.found("cannot be reached", "#problem")
    await night.picture("postgres", "header", "#main", height=280)
    await asyncio.sleep(3)
    await asyncio.to_thread(night.postgres.start)
    print(f"  {time.monotonic() - night.now.began:6.1f} s  (started again)", flush=True)
    again = time.monotonic()
    await night.page.wait_for_selector("#findings", timeout=PATIENCE)
    print(f"  {time.monotonic() - again:6.1f} s  until the page is back", flush=True)
    await night.well()
    print(f"  {time.monotonic() - again:6.1f} s  until all is well", flush=True)
    await night.picture("postgres-after", "#findings", LINE)


# The lost worker is told of for five minutes: it comes last, so that the others can end with "All is well".
BREAKS = {f.__name__: f for f in (stage_down, stage_slow, bad_rows, postgres_restarted, worker_killed)}


async def operate(folder: Path, out: Path, some: list[str]) -> None:
    postgres = EmbeddedPostgres(folder / "postgres", durable=False)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(postgres)
        url, ports = postgres.dsn(), (free_port(), free_port())
        stages_at = f"http://127.0.0.1:{ports[0]}"
        pipeline = folder / "pgbaton.toml"
        pipeline.write_text(
            FILE.read_text(encoding="utf-8").replace("http://127.0.0.1:8011", stages_at), encoding="utf-8"
        )
        same = {"DATABASE_URL": url, "LOG_LANGUAGE": "en", "STAGE_BASE_URL": stages_at}
        serve = ("adstudio", "serve")
        await said_by(same, "adstudio", "prepare")
        # The page and a worker; the stages, elsewhere; a second worker.
        front = Process(folder, "front", *serve, **same, PORT=str(ports[1]), PGBATON_WEB_TOKEN=OPERATOR)
        stages = Process(folder, "stages", *serve, **same, PORT=str(ports[0]), ENABLE_JOB_STATE_LISTENER="false")
        worker = Process(folder, "worker", "pgbaton", "run", "--config", str(pipeline), **same)
        for process in (stages, front, worker):
            process.start()
            stack.callback(process.end)
        base = f"http://127.0.0.1:{ports[1]}/admin"
        tool = await stack.enter_async_context(async_playwright())
        browser = await tool.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        stack.push_async_callback(browser.close)
        context = await browser.new_context(locale="en-GB", color_scheme="light", viewport=SIZE, device_scale_factor=1)
        page = await context.new_page()
        for _ in range(120):
            with suppress(Exception):
                await sign_in(page, base)
                break
            await asyncio.sleep(0.5)
        night = Night(page, base, out, url, postgres, front, stages, worker)
        await night.open("/")
        night.broken("nothing yet: eight ads, for the models to be loaded")
        await night.feed(8, "acme")
        await asyncio.sleep(2)
        await night.well()
        try:
            for name in some:
                await night.open("/")
                await BREAKS[name](night)
        except BaseException:
            await page.screenshot(path=folder / "at-the-end.png", full_page=True)
            for process in (front, stages, worker):
                print(process.name, process.log.read_text()[-1500:])
            (out / "operations-failed.png").write_bytes((folder / "at-the-end.png").read_bytes())
            raise
        found = json.loads(await said_by(same, "pgbaton", "doctor", "--invariants", "--json", statuses=(0, 1)))
        assert {one["code"] for one in found} <= {"lost_over"}, found  # the worker that was killed
        report(night)


def report(night: Night) -> None:
    print(f"\n{'':34}{'found':>8}{'acted':>8}{'well':>8}  clicks")
    for one in night.breaks[1:]:
        times = (f"{at - one.began:.0f} s" if at else "–" for at in (one.found, one.acted, one.ended))
        print(f"{one.title:34}" + "".join(f"{t:>8}" for t in times) + f"  {', '.join(one.clicks) or '–'}")


def main() -> None:
    if CHROMIUM is None:
        sys.exit(NO_CHROMIUM)
    out, some = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"), sys.argv[2:] or list(BREAKS)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pgbaton-operations-") as folder:
        Path(folder).chmod(0o711)  # as root, the server runs as another user
        asyncio.run(operate(Path(folder), out, some))


if __name__ == "__main__":
    main()
