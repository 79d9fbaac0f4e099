"""The page with a keyboard, with a screen reader, in another tab, on a phone, at six stages and five-digit counts."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import asyncpg
import pytest
from house import expect

FOCUSED = "document.activeElement.getAttribute('href')"


async def swapped(page: Any) -> None:
    """Wait until the live part was replaced."""
    await page.evaluate("document.querySelector('#live').dataset.old = '1'")
    await page.wait_for_selector("#live:not([data-old])")


@pytest.mark.looks
async def test_keyboard_focus_survives_a_live_update(person: Any) -> None:
    page = await person()
    tile = page.locator(".line .tally a").nth(6)
    await tile.focus()
    there = await page.evaluate(FOCUSED)
    for _ in range(2):
        await swapped(page)
        assert await page.evaluate(FOCUSED) == there
    await page.goto(page.url + "jobs?state=dead")
    await page.check("#jobs tbody tr:nth-child(2) input")
    await swapped(page)
    assert await page.evaluate("document.activeElement.matches('#jobs tbody tr:nth-child(2) input')")
    assert await page.is_checked("#jobs tbody tr:nth-child(2) input")


async def test_focus_on_what_is_gone_does_not_fall_back_to_the_top(person: Any, db: asyncpg.Connection) -> None:
    page = await person("operator", "/jobs?state=dead")
    await page.focus("#jobs tbody tr:first-child a.mono")
    await db.execute("DELETE FROM pgbaton.history WHERE state = 'dead'")
    await page.wait_for_selector("#live .empty")
    assert await page.evaluate("document.activeElement.id") == "live"


async def test_title_and_icon_tell_trouble_and_it_is_read_aloud_once(person: Any, db: asyncpg.Connection) -> None:
    page = await person("viewer")
    bad = await page.locator("#findings .bad").count()
    await page.click("text=Workers")
    await expect(page).to_have_title(f"({bad}) Workers · pgbaton")
    await expect(page.locator("link[rel=icon]")).to_have_attribute("href", re.compile("icon-bad"))
    await expect(page.locator("#speaker")).to_have_text(re.compile(f"^Troubles: {bad}\\. "))
    await db.execute("UPDATE pgbaton.stages SET strikes = 0, open_until = NULL, paused_at = NULL")
    await db.execute("TRUNCATE pgbaton.history, pgbaton.calls, pgbaton.due, pgbaton.findings")
    # A finding holds until it has been untrue for a while.
    await expect(page).to_have_title("Workers · pgbaton", timeout=20_000)
    await expect(page.locator("link[rel=icon]")).not_to_have_attribute("href", re.compile("icon-bad"))
    await expect(page.locator("#speaker")).to_have_text("Nothing keeps jobs from moving.")


@pytest.mark.looks
async def test_shortcuts_go_to_pages_and_the_filter_and_are_listed(person: Any) -> None:
    page = await person()
    await page.keyboard.type("gj")
    await page.wait_for_url("**/jobs")
    await page.keyboard.press("/")
    await expect(page.locator("#f-from")).to_be_focused()
    await page.keyboard.type("gd?")  # in a field, letters are letters
    assert await page.input_value("#f-from") == "gd?"
    await page.fill("#f-from", "")
    await page.focus("#f-dead")
    await page.keyboard.press("?")
    await expect(page.locator("#keys")).to_be_visible()
    assert "Trends" in await page.inner_text("#keys")
    await page.keyboard.press("Escape")
    await expect(page.locator("#keys")).to_be_hidden()
    await page.keyboard.type("ga")
    await page.wait_for_url("**/audit")


@pytest.mark.looks
async def test_a_view_is_an_address_and_its_name_this_browsers(person: Any) -> None:
    page = await person("viewer", "/jobs?state=dead&stage=overlay")
    page.once("dialog", lambda dialog: asyncio.ensure_future(dialog.accept("Overlay's dead")))
    await page.click("#view-save")
    await page.goto(page.url.split("?")[0])
    await page.click("#views >> text=Overlay's dead")
    await expect(page).to_have_url(re.compile(r"/jobs\?state=dead&stage=overlay$"))
    await page.click('#views [aria-label="Remove: Overlay\'s dead"]')
    await expect(page.locator("#views")).not_to_contain_text("Overlay's dead")


@pytest.mark.looks
async def test_a_time_without_a_zone_is_the_readers(person: Any) -> None:
    page = await person("viewer", "/jobs", timezone_id="Asia/Seoul")
    await page.fill("#f-from", "2026-11-28 03:00")
    await page.click("#f-go")
    await expect(page).to_have_url(re.compile("from=2026-11-28\\+03%3A00%2B09%3A00"))
    await expect(page.locator("#f-from")).to_have_value("2026-11-28 03:00+09:00")
    assert "tenant=" not in page.url


@pytest.mark.parametrize("locale", ["en-GB", "ko-KR"])
async def test_six_stages_and_five_digit_counts_fit(person: Any, db: asyncpg.Connection, locale: str) -> None:
    await db.execute("UPDATE pgbaton.stages SET position = position + 1")
    await db.execute(
        "INSERT INTO pgbaton.stages (pipeline, step, after, position, timeout, attempts) "
        "SELECT 'ad_creative', 'translate_copy', 'vlm_judge', 0, '10 min', 5"
    )
    await db.execute(
        "INSERT INTO pgbaton.due (pipeline, stage, job_key, step, status) "
        "SELECT 'ad_creative', s.step, 'job ' || i || s.step, s.after, 'done' "
        "  FROM pgbaton.stages AS s, generate_series(1, 10050) AS i"
    )
    page = await person("viewer", viewport={"width": 1240, "height": 900}, locale=locale)
    await expect(page.locator(".line b:text-is('10,000+')")).to_have_count(6)
    wider = "e => e.scrollWidth > e.clientWidth + 1 && `${e.scrollWidth} in ${e.clientWidth}`"
    for selector in (".line", ".stage", ".tally a", ".times", ".facts dd"):
        for item in await page.locator(selector).all():
            assert (selector, await item.evaluate(wider)) == (selector, False)


@pytest.mark.looks
async def test_a_phones_pages_are_of_a_sane_length(person: Any) -> None:
    page = await person("operator", viewport={"width": 390, "height": 844}, has_touch=True)
    base, heights = page.url.rstrip("/"), {}
    for path, most in (("/", 3400), ("/jobs?history=1", 5400), ("/stages", 3100), ("/dead", 2600)):
        await page.goto(base + path)
        heights[path] = await page.evaluate("document.documentElement.scrollHeight")
        assert heights[path] <= most, heights


@pytest.mark.looks
async def test_plots_say_their_figures_to_the_pointer_and_as_a_table(person: Any) -> None:
    page = await person("viewer", "/trends")
    await expect(page.locator(".trend")).to_have_count(5)
    await expect(page.locator(".trend:first-of-type .plot")).to_have_count(3)
    told = await page.locator(".trend .plot g title").all_text_contents()
    assert any("done" in one for one in told)
    await page.click(".trend:nth-of-type(1) summary")
    await expect(page.locator(".trend:nth-of-type(1) tbody tr")).to_have_count(24)
    await page.click("#span-week")
    await expect(page.locator(".trend:nth-of-type(1) tbody tr")).to_have_count(28)
    await page.click(".small-multiples a >> nth=0")
    await expect(page).to_have_url(re.compile(r"/tenant\?name="))
    await expect(page.locator("#queue tbody tr")).to_have_count(5)


async def test_a_tenant_is_paused_from_its_page(person: Any, db: asyncpg.Connection) -> None:
    page = await person("operator", "/tenant?name=acme")
    await page.click("#tenant-pause")
    await page.click("#tenant-pause-do")
    await page.wait_for_selector("#tenant-resume")
    await expect(page.locator("#live")).to_contain_text("has been paused for")
    await page.click("#tenant-resume")
    await page.wait_for_selector("#tenant-pause")
    assert await db.fetchval("SELECT count(*) FROM pgbaton.paused_tenants WHERE resumed_at IS NULL") == 0


async def test_typed_text_survives_a_live_update(person: Any, db: asyncpg.Connection) -> None:
    page = await person("operator", "/jobs?stage=vlm_analyze&state=available")
    await page.click("#bulk-cancel")
    await page.click("#yes")
    await page.click("#to-record")
    await page.wait_for_selector("#undo")
    await page.fill("#reason", "were right")
    await page.focus("#undo")  # while somebody types nothing is replaced; behind that it is
    for _ in range(2):
        await swapped(page)
        assert await page.input_value("#reason") == "were right"
    await page.click("#undo")
    await page.wait_for_selector("#standing:has-text('done')")
    undone = "SELECT reason FROM pgbaton.audit WHERE undoes IS NOT NULL"
    assert await db.fetchval(undone) == "were right"


async def test_a_stage_is_paused_with_a_reason(person: Any, db: asyncpg.Connection) -> None:
    page = await person("operator", "/stages")
    await page.focus("#pause-3")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#pause-3-why:focus")
    await page.keyboard.type("the model is replaced")
    await page.focus("#pause-3-do")
    await swapped(page)
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#flash")
    entry = await db.fetchrow("SELECT action, stage, reason FROM pgbaton.audit ORDER BY id DESC LIMIT 1")
    assert tuple(entry) == ("pause", "planner", "the model is replaced")


async def test_limits_are_changed_with_a_reason(person: Any, db: asyncpg.Connection) -> None:
    page = await person("operator", "/stages", refused=True)
    await page.click("#change-limits summary")
    await page.select_option("#limit-stage", "planner")
    await page.select_option("#limit-stage-which", "concurrency")
    await page.fill("#limit-stage-value", "3")
    await page.fill("#limit-stage-why", "the model is small")
    await page.click("#limit-stage-do")
    await page.wait_for_selector("#flash")
    entry = await db.fetchrow("SELECT action, stage, reason FROM pgbaton.audit ORDER BY id DESC LIMIT 1")
    assert tuple(entry) == ("limit", "planner", "the model is small")
    assert await db.fetchval("SELECT concurrency FROM pgbaton.stages WHERE step = 'planner'") == 3
    await page.click("#change-limits summary")
    await page.fill("#limit-stage-value", "<b>")
    await page.click("#limit-stage-do")
    await expect(page.locator("main")).to_contain_text("concurrency: must be a whole number")
    assert await db.fetchval("SELECT count(*) FROM pgbaton.audit WHERE action = 'limit'") == 1
    await page.goto(page.url.split("/act")[0] + "/stages")
    await page.click("#change-limits summary")
    await page.fill("#limit-tenant", "hanbit")
    await page.select_option("#limit-tenant-which", "weight")
    await page.fill("#limit-tenant-value", "4")
    await page.click("#limit-tenant-do")
    await page.wait_for_selector("#flash")
    assert await db.fetchval("SELECT weight FROM pgbaton.tenants WHERE tenant = 'hanbit'") == 4


async def test_trends_stand_against_the_span_before_and_mark_deployments(person: Any, db: asyncpg.Connection) -> None:
    await db.execute(
        "INSERT INTO pgbaton.deployments (pipeline, at, what, was, is_now) "
        "VALUES ('ad_creative', now() - interval '3 hours', 'version', '1.0', '1.1<b>')"
    )
    await db.execute(
        "INSERT INTO pgbaton.throughput (pipeline, hour, kind, tenant, stage, completed, dead, waits, works) "
        "VALUES ('ad_creative', date_trunc('hour', now()) - interval '8 days', 'all', '', 'planner', 40, 2, '{}', '{}')"
    )
    page = await person("viewer", "/trends?span=week")
    row = await page.locator("#against tr:has-text('planner')").inner_text()
    assert "(40)" in row
    assert "(2)" in row
    await page.wait_for_selector(".plot .mark >> nth=14", state="attached")
    await page.click("#marks summary")
    await expect(page.locator("#marks")).to_contain_text("1.0 → 1.1<b>")
