"""The pages in a real browser: submit, watch, compare, decide, take away; in two languages, on desk and phone."""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from app_process import ASSETS, DOUBTFUL, App, serving

from support.chromium import ARGUMENTS, CHROMIUM, NO_CHROMIUM

AXE = Path(__file__).parents[4] / "tests" / "browser" / "vendor" / "axe.min.js"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM), pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def app(app_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with serving(tmp_path_factory.mktemp("app"), app_database) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Any]:
    """One for all: each person has a context of their own in it."""
    from playwright.async_api import async_playwright

    async with async_playwright() as tool:
        browser = await tool.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@asynccontextmanager
async def person(
    browser: Any, locale: str = "en-GB", viewport: dict[str, int] = DESK, **options: Any
) -> AsyncIterator[Any]:
    """A page in a window of their own; what it complains of fails the test."""
    page = await browser.new_page(locale=locale, viewport=viewport, **options)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page
    finally:
        await page.close()
    assert [said for said in complaints if "422" not in said] == []


async def order(app: App, page: Any, copy: str, *, reads: bool = True) -> None:
    """Filled in and sent; with scripts the copy is shown by roles before, and taken as it was read."""
    await page.goto(f"{app.base_url}/ads")
    await page.fill("#tenant", "acme")
    await page.set_input_files("#photo", ASSETS / "photos" / "coffee.jpg")
    await page.fill("#copy", copy)
    for name in ("portrait", "story"):
        await page.uncheck(f"input[value={name}]")
    await page.click("#go")
    if reads:
        await page.wait_for_selector("#order[data-was-read] #roles[open]")
        await page.click("#go")


async def finished(page: Any) -> None:
    await page.wait_for_selector(".tag.finished", timeout=60_000)


async def finished_without_scripts(page: Any) -> None:
    """Nothing but a reload tells."""
    for _ in range(120):
        if await page.locator(".tag.finished").count():
            break
        await page.wait_for_timeout(250)
        await page.reload()


async def fits(page: Any) -> None:
    """Nothing sticks out at the side."""
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_person_submits_watches_compares_decides_and_takes_the_ad_away(
    app: App, browser: Any, tmp_path: Path
) -> None:
    async with person(browser) as page:
        await order(app, page, "Slow mornings start here\n20% off until Sunday")
        await page.wait_for_url("**/ads/*-*")
        await finished(page)  # without loading the page anew
        assert await page.locator("figure img[src*='/pictures/square/']").count() >= 1
        # A function: the page's content security policy forbids a bare expression that is not true at once.
        loaded = "() => [...document.querySelectorAll('.pictures img')].every(i => i.complete && i.naturalWidth > 300)"
        await page.wait_for_function(loaded)
        await page.click("summary >> nth=0")
        assert await page.locator("table >> nth=0").is_visible()

        await page.click("button[value=reject]")
        await page.wait_for_selector("#fault:not([hidden])")
        assert "say why" in await page.inner_text("#fault")
        await page.fill("#reason", "The logo is too small")
        await page.click("button[value=reject]")
        await page.wait_for_selector(".head .tag.rejected")
        assert "The logo is too small" in await page.inner_text("main")
        await page.locator("input[name='chosen.square']").last.check()
        await page.click("button[value=approve]")
        await page.wait_for_selector(".head .tag.approved")
        assert await page.locator("input[name='chosen.square']").last.is_checked()

        async with page.expect_download() as waiting:
            await page.click("text=Download every format")
        await (await waiting.value).save_as(tmp_path / "ad.zip")
        with zipfile.ZipFile(tmp_path / "ad.zip") as archive:
            assert len(archive.namelist()) == 1


async def test_a_copy_is_shown_by_roles_and_mended_before_the_ad_is_made(app: App, browser: Any) -> None:
    async with person(browser, "ko-KR") as page:
        await page.goto(f"{app.base_url}/ads")
        await page.fill("#copy", "봄을 선물하세요\n첫 구매 20% 할인")
        await page.click("#read")
        await page.wait_for_selector("#roles[open]")
        assert "이렇게 읽었어요" in await page.inner_text("#roles summary")
        assert await page.input_value("#headline") == "봄을 선물하세요"
        assert await page.input_value("#offer") == "첫 구매 20% 할인"
        assert await page.is_hidden("#doubts")
        await page.fill("#copy", "원두 볶는 날 오후와 함께하는, 작은 카페")
        assert await page.input_value("#headline") == ""  # of another copy
        await page.click("#read")
        await page.wait_for_selector("#order[data-was-read]")
        await page.fill("#headline", "작은 카페")
        await page.fill("#sub", "원두 볶는 날 오후")
        await page.fill("#tenant", "acme")
        await page.set_input_files("#photo", ASSETS / "photos" / "coffee.jpg")
        await page.click("#go")
        await page.wait_for_url("**/ads/*-*")
        await finished(page)
        said = await page.inner_text(".given dl")
        assert "작은 카페" in said
        assert "함께하는" not in said  # what the person wrote into the fields was taken as it is
        assert await page.locator(".said.good").count() == 1
        await page.click("summary >> nth=0")
        assert "글자 대비" in await page.inner_text("table >> nth=0")


async def test_an_ad_whose_copy_is_doubtful_waits_for_a_person(app: App, browser: Any) -> None:
    async with person(browser, "ko-KR", java_script_enabled=False) as page:
        await order(app, page, DOUBTFUL, reads=False)
        await page.wait_for_url("**/ads/*-*")
        await finished_without_scripts(page)
        told = await page.inner_text(".said.warn")
        assert "확인 필요" in told
        assert "카피를 제대로 나누었는지 확인해 주세요" in told
        await page.click("button[value=approve]")
        assert await page.locator(".head .tag.approved").count() == 1


async def test_a_refusal_is_told_on_the_form_and_what_was_typed_stays(app: App, browser: Any) -> None:
    async with person(browser, "ko-KR") as page:
        await order(app, page, "가나다 " * 90, reads=False)
        await page.wait_for_selector("#fault:not([hidden])")
        assert "카피가 너무 깁니다" in await page.inner_text("#fault")
        assert (await page.input_value("#copy")).startswith("가나다")
        assert await page.is_enabled("#go")


async def test_it_works_without_scripts(app: App, browser: Any) -> None:
    async with person(browser, java_script_enabled=False) as page:
        await order(app, page, "No scripts needed", reads=False)
        await page.wait_for_url("**/ads/*-*")
        await finished_without_scripts(page)
        await page.fill("#reason", "Fine")
        await page.click("button[value=approve]")
        assert await page.locator(".head .tag.approved").count() == 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(app: App, browser: Any) -> dict[str, str]:
    """The page of a finished ad by the language of its reader."""
    pages = {}
    for locale, copy in (("ko-KR", "봄을 선물하세요\n50% 할인 ₩12,900"), ("en-GB", "A gift of spring")):
        async with person(browser, locale, PHONE) as page:
            await order(app, page, copy)
            await page.wait_for_url("**/ads/*-*")
            await finished(page)
            pages[locale] = page.url
    return pages


@pytest.mark.parametrize("locale", ["ko-KR", "en-GB"])
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
async def test_every_page_fits_speaks_the_readers_language_and_is_accessible(
    app: App, browser: Any, made: dict[str, str], locale: str, viewport: dict[str, int]
) -> None:
    async with person(browser, locale, viewport, bypass_csp=True) as page:
        for address, word in (
            (made[locale], {"ko-KR": "승인", "en-GB": "Approve"}),
            (f"{app.base_url}/ads", {"ko-KR": "광고 만들기", "en-GB": "Make the ad"}),
            (f"{app.base_url}/ads/brand", {"ko-KR": "로고", "en-GB": "Logo"}),
        ):
            await page.goto(address)
            assert word[locale] in await page.inner_text("main")
            assert await page.get_attribute("html", "lang") == locale[:2]
            await fits(page)
            await page.add_script_tag(path=AXE)
            found = await page.evaluate("axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html))")
            assert found == [], address
