"""One page over several databases: an overview, a switch, and no database in another one's way."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI
from house import OPERATOR, expect, serving
from pydantic import SecretStr

from pgbaton import Settings
from pgbaton.web.app import WebSettings, create_app
from pgbaton.web.router import Dashboards

DATABASES = {
    "PGBATON_DATABASES": "north,south,west",
    "DATABASE_URL_WEST": "postgresql://nobody@127.0.0.1:9/nothing",  # never there
}


def served(monkeypatch: pytest.MonkeyPatch, **addresses: str) -> tuple[FastAPI, Any]:
    for name, value in (DATABASES | addresses).items():
        monkeypatch.setenv(name, value)
    return create_app(Settings(), WebSettings(token=SecretStr(OPERATOR)))


async def test_one_page_shows_every_database_and_acts_in_the_one_that_is_chosen(
    browser: Any, cluster: Any, scene: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cluster.new_database(scene) as north, cluster.new_database(scene) as south:
        app, admin = served(monkeypatch, DATABASE_URL_NORTH=north, DATABASE_URL_SOUTH=south)
        assert isinstance(admin, Dashboards)
        here, there = await asyncpg.connect(north), await asyncpg.connect(south)
        await there.execute("TRUNCATE pgbaton.history, pgbaton.calls, pgbaton.due, pgbaton.findings")
        async with serving(app) as address:
            context = await browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 900})
            context.set_default_timeout(20_000)
            complaints: list[str] = []
            page = await context.new_page()
            page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
            await page.goto(f"{address}/")
            await page.fill("#token", OPERATOR)
            await page.click("#sign-in")
            await page.wait_for_selector("#databases")
            await expect(page.locator("#databases tbody tr")).to_have_count(3)
            assert "no answer" in await page.text_content("#database-west")
            assert "found:" in await page.text_content("#database-north")
            assert "no answer" not in await page.text_content("#database-south")

            await page.click("#database-south a")  # signed in there, too
            await page.wait_for_selector("#pipeline-pause")
            await page.click("#pipeline-pause")
            await page.click("#pipeline-pause-do")  # without a reason
            await page.wait_for_selector("#pipeline-resume")
            paused = "SELECT paused_at IS NOT NULL FROM pgbaton.pipelines"
            assert await there.fetchval(paused)
            assert not await here.fetchval(paused)

            await page.goto(f"{address}/pgbaton/south/jobs")
            await page.click("#switch summary")
            await page.click("#switch a:text-is('north')")
            await page.wait_for_url("**/pgbaton/north/jobs")
            await page.wait_for_selector("#jobs tbody tr")
            await page.click("#switch summary")
            await page.click("#switch a:text-is('west')")
            await page.wait_for_selector("#problem")
            await expect(page.locator("#problem")).to_contain_text("no Postgres answers")
            await page.click("#switch summary")
            await page.click("#to-databases")
            await page.wait_for_selector("#databases")
            await page.evaluate("document.querySelector('#live').dataset.old = '1'")
            await page.wait_for_selector("#live:not([data-old])")  # it lives, though its own database is away
            await page.click("#sign-out")
            await page.wait_for_selector("#token")
            await page.goto(f"{address}/pgbaton/north/jobs")
            await page.wait_for_selector("#token")
            assert [c for c in complaints if "503" not in c] == []
            await context.close()
            admin.close()
        await asyncio.gather(here.close(), there.close())
