"""Pictures of every screen, for the README and the docs: ``make screenshots`` → docs/images."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg
from playwright.async_api import Page, async_playwright

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from house import page_alone, sign_in  # noqa: E402
from scene import build  # noqa: E402

from pgbaton.embedded import EmbeddedPostgres  # noqa: E402
from support.chromium import ARGUMENTS, CHROMIUM, NO_CHROMIUM  # noqa: E402

DEAD = "SELECT job_key FROM pgbaton.dispatches WHERE state = 'dead' AND stage = 'overlay' ORDER BY id DESC LIMIT 1"
WIDE, NARROW = {"width": 1360, "height": 860}, {"width": 390, "height": 844}


async def take(dsn: str, out: Path) -> None:
    await build(dsn)
    db = await asyncpg.connect(dsn)
    key = await db.fetchval(DEAD)
    await db.close()
    screens = {
        "overview": "/",
        "jobs": "/jobs?state=retryable&state=dead",
        "job": f"/job?key={key}",
        "dead": "/dead",
        "trends": "/trends?span=day",
        "tenant": "/tenant?name=acme",
        "stages": "/stages",
        "workers": "/workers",
        "audit": "/audit",
        "confirm": "/confirm?action=retry&stage=overlay&state=dead",
    }
    async with page_alone(dsn) as base, async_playwright() as tool:
        browser = await tool.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for language, scheme, size, suffix, some in (
            ("en-GB", "light", WIDE, "en-light", tuple(screens)),
            ("ko-KR", "dark", WIDE, "ko-dark", ("overview", "jobs", "job", "trends", "confirm")),
            ("ko-KR", "light", NARROW, "ko-phone", ("overview", "jobs", "dead", "job", "trends")),
        ):
            context = await browser.new_context(
                locale=language, color_scheme=scheme, viewport=size, device_scale_factor=1
            )
            page = await context.new_page()
            if suffix == "en-light":
                await page.goto(f"{base}/login")
                await page.screenshot(path=out / "login-en-light.png")
            await sign_in(page, base)
            if suffix == "en-light":  # somebody did something, for the audit to show
                await page.goto(f"{base}/stages")
                await page.click("#pause-3")
                await page.fill("#pause-3-why", "the model is replaced")
                await page.click("#pause-3-do")
                await page.click("#resume-3")
                await page.fill("#pause-tenant", "moonbakery")
                await page.click("#pause-tenant-do")
                record = await cancel_some(page, base)
                screens["record"] = record
                some = (*some, "record")
            for name in some:
                await page.goto(base + screens[name])
                await page.wait_for_selector("#live-sign[data-state=on]" if name != "confirm" else "#confirm")
                await page.screenshot(path=out / f"{name}-{suffix}.png", full_page=size is WIDE)
            await context.close()
        await browser.close()


async def cancel_some(page: Page, base: str) -> str:
    """Cancel a few jobs and say why, for a record to show; returns its address."""
    await page.goto(f"{base}/jobs?state=available&stage=vlm_judge")
    await page.click("#bulk-cancel")
    await page.fill("#reason", "the campaign was called off")
    await page.click("#yes")
    await page.click("#to-record")
    return str(page.url).removeprefix(base)


def main() -> None:
    if CHROMIUM is None:
        sys.exit(NO_CHROMIUM)
    if shutil.which("fc-list") and not subprocess.run(["fc-list", ":lang=ko"], capture_output=True).stdout:
        sys.exit("no Korean font, and half of the pictures are Korean: apt-get install fonts-noto-cjk")
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pgbaton-pictures-") as folder:
        Path(folder).chmod(0o711)  # as root, the server runs as another user
        with EmbeddedPostgres(Path(folder, "postgres"), durable=False) as server:
            asyncio.run(take(server.dsn(), out))


if __name__ == "__main__":
    main()
