"""Every screen: it shows what is the case, to everyone, in both languages, on any device."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from house import expect
from scene import HOSTILE, add_hostile

from pgbaton.web import data, pages

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
SCREENS = (
    "/",
    "/jobs?from=7d&tenant=acme",
    "/dead",
    "/trends",
    "/tenant?name=acme",
    "/stages",
    "/workers",
    "/audit",
    "/confirm?action=retry&state=dead",
)
OVERLAY_DEAD = (
    "SELECT job_key FROM pgbaton.dispatches WHERE state = 'dead' AND stage = 'overlay' ORDER BY id DESC LIMIT 1"
)


async def text(page: Any, selector: str) -> str:
    return " ".join((await page.inner_text(selector)).split())


async def faults(page: Any) -> list[str]:
    """The violations that axe calls serious or critical."""
    await page.evaluate(AXE)
    rules = "{resultTypes: ['violations'], rules: {'target-size': {enabled: true}, 'heading-order': {enabled: true}}}"
    found = await page.evaluate(f"axe.run(document, {rules}).then(r => r.violations)")
    return [
        f"{f['id']}: {[n['html'][:150] + str(n['any'][:1]) for n in f['nodes'][:3]]}"
        for f in found
        if f["impact"] in ("serious", "critical") or f["id"] == "heading-order"
    ]


@pytest.mark.looks
async def test_the_overview_says_what_is_wrong_and_shows_the_line(person: Any) -> None:
    page = await person()
    said = await text(page, "#findings")
    assert "overlay gave up on 6: " in said
    assert "yolo_detect does not answer (4 tries in a row)" in said
    assert "Worker app-yh-3 has not renewed its lease" in said
    assert "vlm_judge is paused" in said
    names = await page.locator(".stage h3").all_inner_texts()
    assert names == ["vlm_analyze", "yolo_detect", "planner", "overlay", "vlm_judge"]
    assert "Circuit open" in await text(page, ".line > li:nth-child(2)")
    assert await page.locator(".spark rect").count() > 20


@pytest.mark.looks
async def test_a_finding_leads_to_the_jobs_it_means(person: Any) -> None:
    page = await person()
    await page.click(".line > li:nth-child(4) .dead")
    await page.wait_for_url("**/jobs?*")
    assert parse_qs(urlsplit(page.url).query) == {"stage": ["overlay"], "state": ["dead"]}
    await expect(page.locator("#jobs tbody tr")).to_have_count(6)


@pytest.mark.looks
async def test_a_search_for_an_error_says_how_far_back_it_went_and_goes_on_from_there(
    person: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (data, pages):
        monkeypatch.setattr(module, "LOOK_BACK", 3)
    page = await person("viewer", "/jobs?error=in+no+error")
    assert "No job matches" in await page.inner_text("#live")
    assert "Searched here: 3 failed calls, back to" in await page.inner_text("#searched")
    await page.click("#older:has-text('Search further back')")
    await page.wait_for_url("**before=*")
    asked = parse_qs(urlsplit(page.url).query)
    assert asked.keys() == {"error", "before"}


@pytest.mark.looks
async def test_filters_combine_and_stay_in_the_address(person: Any, db: asyncpg.Connection) -> None:
    page = await person("viewer", "/jobs")
    await page.check("#filters label:has-text('overlay')")
    await page.check("#f-dead")
    await page.fill("#f-to", "5m")
    await page.fill("#f-error", "READTIMEOUT")
    await page.click("#f-go")
    await page.wait_for_url("**/jobs?*")
    asked = parse_qs(urlsplit(page.url).query)
    assert asked == {"stage": ["overlay"], "state": ["dead"], "to": ["5m"], "error": ["READTIMEOUT"]}
    rows = await page.locator("#jobs tbody tr").all_inner_texts()
    assert rows
    assert all("overlay" in row and "dead" in row and "ReadTimeout" in row for row in rows)
    tenant = await page.locator("#jobs tbody tr:first-child td:nth-child(4) .key").inner_text()
    key = await page.locator("#jobs tbody tr:first-child a.mono").inner_text()
    await page.fill("#f-tenant", tenant)
    await page.fill("#f-id", key[:6])
    await page.click("#f-go")
    await expect(page.locator("#jobs tbody a.mono")).to_have_text([key])
    await page.reload()
    assert await page.input_value("#f-id") == key[:6]
    assert await page.is_checked("#f-dead")
    await page.click("#f-clear")
    await expect(page).to_have_url(re.compile(r"/jobs$"))


@pytest.mark.looks
async def test_pages_of_jobs_follow_each_other_without_a_gap(person: Any) -> None:
    page = await person("viewer", "/jobs?history=1&stage=planner")
    seen: list[str] = []
    for _ in range(3):
        seen += await page.locator("#jobs tbody a.mono").all_inner_texts()
        await page.click("#older")
        await page.wait_for_url("**before=**")
    assert len(seen) == len(set(seen)) == 150
    await page.click("#newest")
    await expect(page.locator("#jobs tbody a.mono").first).to_have_text(seen[0])


@pytest.mark.looks
async def test_a_job_shows_why_its_timeline_its_calls_and_its_row(person: Any, db: asyncpg.Connection) -> None:
    key = await db.fetchval(OVERLAY_DEAD)
    page = await person("viewer", f"/job?key={key}")
    assert "dead at overlay, attempts made: 5" in (await text(page, "#why")).lower()
    await expect(page.locator(".gantt rect.failed")).to_have_count(5)
    await expect(page.locator(".gantt rect.completed")).to_have_count(3)
    await expect(page.locator("#calls tbody tr")).to_have_count(8)
    assert "Status failed" in await text(page, "#row")
    await expect(page.locator("#actions, #do-rerun")).to_have_count(0)


@pytest.mark.looks
async def test_a_job_that_is_not_there_is_said_not_to_be(base: str, person: Any) -> None:
    page = await person("viewer", "/jobs?id=nothing-has-this-id")
    assert "No job matches" in await text(page, "#live")


@pytest.mark.looks
async def test_the_dead_are_grouped_by_stage_and_error(person: Any) -> None:
    page = await person("viewer", "/dead")
    said = await text(page, "#live")
    assert "ReadTimeout: no answer within … s" in said
    assert "CUDA out of memory" in said
    await page.click("text=Show jobs >> nth=0")
    assert await page.is_checked("#f-group")
    await page.wait_for_selector("#jobs tbody tr")


async def test_hostile_text_is_shown_as_text(person: Any, db: asyncpg.Connection) -> None:
    key = await add_hostile(db)
    page = await person("operator", f"/job?key={key}")
    assert HOSTILE in await page.inner_text("#row")
    assert "<img src=x onerror=alert(1)>" in await page.inner_text("#calls")
    assert "\u202e" not in await page.content()
    for path in ("/jobs?state=dead", "/dead", f"/jobs?tenant={HOSTILE}&error={HOSTILE}&id={HOSTILE}&stage={HOSTILE}"):
        await page.goto(page.url.split("/pgbaton")[0] + "/pgbaton" + path.replace("&{{", "%26{{"))
        await expect(page.locator("main script, main img")).to_have_count(0)
    await page.goto(page.url.split("/pgbaton")[0] + "/pgbaton/stages")
    await page.fill("#pause-tenant", HOSTILE)
    await page.click("#pause-tenant-do")
    await expect(page.locator("#live")).to_contain_text(HOSTILE)
    await page.click("text=Audit")
    assert HOSTILE in await page.inner_text("#audit")
    await page.click("text=Overview")
    assert HOSTILE in await page.inner_text("#findings")


@pytest.mark.parametrize(
    "key", ["..%2F..%2Fetc", "%00", "%F0%9F%92%A9", "a%0D%0AX-Evil:1", "x" * 3000, "%ff", "'%3B--"]
)
@pytest.mark.looks
async def test_a_hostile_id_in_the_address_does_no_harm(person: Any, base: str, key: str) -> None:
    import httpx
    from house import VIEWER

    async with httpx.AsyncClient(base_url=base, headers={"Origin": base.removesuffix("/pgbaton")}) as client:
        await client.post("/login", data={"token": VIEWER})
        for path in (
            f"/job?key={key}",
            f"/jobs?id={key}&tenant={key}",
            f"/jobs?before={key}&from={key}",
            f"/confirm?action=cancel&key={key}",
        ):
            answer = await client.get(path)
            assert answer.status_code in (200, 403, 404, 422), (path, answer.status_code)
            assert "x-evil" not in answer.headers


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.looks
async def test_axe_finds_no_serious_fault(person: Any, db: asyncpg.Connection, scheme: str) -> None:
    key = await db.fetchval(OVERLAY_DEAD)
    page = await person(None, "/login", color_scheme=scheme)
    assert await faults(page) == []
    page = await person("operator", color_scheme=scheme)
    base = page.url.rstrip("/")
    for path in (*SCREENS, f"/job?key={key}"):
        await page.goto(base + path)
        assert (path, await faults(page)) == (path, [])


async def test_nothing_is_wider_than_a_phone(person: Any, db: asyncpg.Connection) -> None:
    await add_hostile(db)
    key = await db.fetchval(OVERLAY_DEAD)
    page = await person("operator", viewport={"width": 360, "height": 740}, has_touch=True)
    base = page.url.rstrip("/")
    for path in (*SCREENS, f"/job?key={key}"):
        await page.goto(base + path)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, path
    assert await faults(page) == []


@pytest.mark.looks
async def test_dark_is_dark_and_light_is_light(person: Any) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        page = await person("viewer", color_scheme=scheme)
        shade = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades[scheme] = sum(int(n) for n in re.findall(r"\d+", shade)[:3])
    assert shades["dark"] < 150 < 600 < shades["light"]


@pytest.mark.looks
async def test_the_reader_chooses_the_language(person: Any) -> None:
    page = await person("viewer", locale="ko-KR")
    assert await page.get_attribute("html", "lang") == "ko"
    assert "최종 실패했습니다" in await text(page, "#findings")
    await page.click("text=English")
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await page.click("text=Stages")
    await expect(page.locator("main")).to_contain_text("Paused tenants")
    await page.click("text=한국어")
    await expect(page.locator("main")).to_contain_text("일시정지된 테넌트")
    assert page.url.endswith("/stages")


async def test_keyboard_alone_is_enough(person: Any, base: str, db: asyncpg.Connection) -> None:
    page = await person(None, "/login")
    await expect(page.locator("input[type=password]")).to_be_focused()
    await page.keyboard.type("operator-token-of-the-tests")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#findings")
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await page.keyboard.press("Enter")
    for _ in range(12):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.textContent") == "Retry all…":
            break
    width = (
        "getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth"
    )
    assert await page.evaluate(width) == "solid2px"
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#yes")
    await page.focus("#yes")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#flash")
    assert "will be tried again" in await text(page, "#flash")
