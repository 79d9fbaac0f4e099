"""app-yh's own page: pgbaton's under /admin, with the ad on each job's page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import asyncpg
import httpx
import pytest_asyncio
from fastapi import FastAPI
from house import OPERATOR, VIEWER, serving
from pydantic import SecretStr

from adstudio.admin import admin_page
from adstudio.config import AppSettings
from adstudio.pipeline import ad_creative
from adstudio.studio import ASSETS
from pgbaton import Settings
from pgbaton.fastapi import Stages, lifespan
from pgbaton.install.attach import attach
from pgbaton.install.migrate import migrate
from pgbaton.web.access import Role, Tokens

PHOTO = (ASSETS / "photos" / "coffee.jpg").read_bytes()


@pytest_asyncio.fixture(loop_scope="session")
async def app_yh(cluster: Any) -> AsyncIterator[tuple[str, str]]:
    """The address of its page, and a job that is finished; without the models, which no test here needs."""
    async with cluster.new_database() as dsn:
        db = await asyncpg.connect(dsn)
        await db.execute(files("adstudio").joinpath("sql", "schema.sql").read_text(encoding="utf-8"))
        await migrate(db)
        await attach(db, ad_creative())
        job = await db.fetchval("INSERT INTO jobs (tenant_id) VALUES ('demo') RETURNING job_id")
        await db.execute("INSERT INTO ad_inputs VALUES ($1, 'demo', $2, NULL, '<b>Slow</b> mornings')", job, PHOTO)
        await db.execute("INSERT INTO ad_overlays VALUES ($1, 'demo', $2, '{}')", job, PHOTO)
        await db.execute("INSERT INTO ad_judgements VALUES ($1, 'demo', true, 'measured checks', '[]', '[]')", job)
        await db.close()
        settings = AppSettings(
            database_url=SecretStr(dsn),
            pgbaton_web_token=SecretStr(OPERATOR),
            pgbaton_web_viewer_token=SecretStr(VIEWER),
        )
        worker, stages = Settings(database_url=SecretStr(dsn)), Stages(ad_creative())
        app = FastAPI(lifespan=lifespan(stages, worker, engine=False))
        admin = admin_page(settings, worker, stages)
        app.include_router(admin, prefix="/admin")
        async with serving(app) as address:
            yield f"{address}/admin", str(job)
            admin.close()


async def test_the_page_of_a_job_shows_its_ad(browser: Any, app_yh: tuple[str, str]) -> None:
    base, job = app_yh
    context = await browser.new_context(locale="en-GB")
    session = Tokens(OPERATOR, VIEWER).begin(Role.VIEWER)
    await context.add_cookies([{"name": "pgbaton_session", "value": session, "url": f"{base}/"}])
    page = await context.new_page()
    await page.goto(f"{base}/job?key={job}")
    assert "<b>Slow</b> mornings" in await page.inner_text("#extra")
    assert "passed · measured checks" in await page.inner_text("#extra")
    # The page may fetch this part anew at any moment, with another element in the place of this one.
    await page.wait_for_function("""() => {
        const picture = document.querySelector("#extra img[alt='the finished ad']")
        picture?.scrollIntoView()
        return picture?.naturalWidth > 100
    }""")
    await context.close()


async def test_no_other_tenant_sees_the_ad(app_yh: tuple[str, str]) -> None:
    base, job = app_yh
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{base}/ads/{job}/ad")).status_code == 401
        client.cookies.set("pgbaton_session", Tokens(OPERATOR, VIEWER).begin(Role.VIEWER))
        answer = await client.get(f"{base}/ads/{job}/photo")
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.content == PHOTO
        assert (await client.get(f"{base}/ads/{job}/other")).status_code == 422
        assert (await client.get(f"{base}/ads/{job[:-4]}0000/ad")).status_code == 404
