"""Every action: done to what was meant, audited, and seen at once."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from typing import Any

import asyncpg
import httpx
import pytest
from house import OPERATOR, VIEWER, expect

import pgbaton.operate.desk
from patience import Watch
from pgbaton.insights import JobFilter
from pgbaton.operate import bulk
from pgbaton.table import table_of
from pgbaton.web import actions
from pgbaton.web.access import Role, Tokens

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
OPEN = "SELECT stage, state FROM pgbaton.dispatches WHERE job_key = $1 AND settled_at IS NULL"


async def one(db: asyncpg.Connection, state: str, stage: str = "%") -> str:
    query = "SELECT job_key FROM pgbaton.dispatches WHERE state = $1 AND stage LIKE $2 ORDER BY id DESC LIMIT 1"
    return str(await db.fetchval(query, state, stage))


async def audited(db: asyncpg.Connection) -> list[tuple[str, str, int]]:
    rows = await db.fetch("SELECT who, action, jobs FROM pgbaton.audit ORDER BY id")
    return [(r["who"], r["action"], r["jobs"]) for r in rows]


async def test_a_dead_job_is_retried_with_one_click(person: Any, db: asyncpg.Connection) -> None:
    key = await one(db, "dead", "overlay")
    page = await person("operator", f"/job?key={key}")
    await page.click("#do-retry")
    await page.wait_for_selector("#flash")
    assert [tuple(r) for r in await db.fetch(OPEN, key)] == [("overlay", "available")]
    assert await audited(db) == [("web:operator", "retry", 1)]


async def test_a_job_is_run_again_from_a_step(person: Any, db: asyncpg.Connection) -> None:
    key = await one(db, "completed", "vlm_judge")
    page = await person("operator", f"/job?key={key}")
    await page.select_option("#rerun-step", "planner")
    await page.click("#do-rerun")
    await expect(page.locator("#flash")).to_contain_text("It runs again")
    assert [tuple(r) for r in await db.fetch(OPEN, key)] == [("planner", "available")]
    assert [a[1] for a in await audited(db)] == ["rerun"]


async def test_a_job_that_a_stage_works_on_is_run_again_by_force(person: Any, db: asyncpg.Connection) -> None:
    key = await one(db, "running", "overlay")
    page = await person("operator", f"/job?key={key}")
    await page.check("#rerun-force")
    await page.select_option("#rerun-step", "vlm_analyze")
    await page.click("#do-rerun")
    await page.wait_for_selector("#flash")
    assert [tuple(r) for r in await db.fetch(OPEN, key)] == [("vlm_analyze", "available")]


async def test_a_job_is_cancelled_after_a_confirmation(person: Any, db: asyncpg.Connection) -> None:
    key = await one(db, "available", "vlm_analyze")
    page = await person("operator", f"/job?key={key}")
    await page.click("#do-cancel")
    assert key in await page.inner_text("#confirm")
    assert await audited(db) == []
    await page.click("#yes")
    await page.wait_for_selector("#flash")
    assert await db.fetch(OPEN, key) == []
    assert await db.fetchval("SELECT status FROM jobs WHERE job_id = $1::text::uuid", key) == "cancelled"


async def test_everything_that_matches_is_counted_confirmed_and_done(person: Any, db: asyncpg.Connection) -> None:
    page = await person("operator", "/jobs?state=dead&stage=overlay")
    await page.click("#bulk-retry")
    assert "Jobs to retry: 6." in await page.inner_text("#count")
    assert await audited(db) == []
    await page.click("#yes")
    assert "6 will be tried again" in await page.inner_text("#flash")
    assert "stage=overlay" in page.url
    left = "SELECT count(*) FROM jobs WHERE current_step = 'overlay' AND status = 'failed'"
    assert await db.fetchval(left) == 0
    assert await db.fetchval("SELECT count(*) FROM jobs WHERE status = 'failed'") == 1
    assert [a[1:] for a in await audited(db)] == [("retry", 6)]


async def test_a_group_of_dead_is_retried_and_every_job_wants_the_number_typed(
    person: Any, base: str, db: asyncpg.Connection
) -> None:
    page = await person("operator", "/dead")
    await page.click("tr:has-text('ReadTimeout') >> text=Retry the group")
    count = int("".join(c for c in await page.inner_text("#count") if c.isdecimal()))
    await page.click("#yes")
    await page.wait_for_selector("#flash")
    assert await db.fetchval("SELECT count(*) FROM jobs WHERE status = 'failed'") == 7 - count
    await page.click("#retry-all")
    csrf = await page.locator("#confirm [name=csrf]").get_attribute("value")
    form = {"csrf": csrf, "action": "retry", "scope": "matching", "state": "dead", "expected": f"{7 - count}"}
    for typed in ("", f"{8 - count}", "x"):
        posted = await page.request.post(f"{base}/act", form=form | {"typed": typed}, headers=SAME_ORIGIN)
        assert (posted.status, "another one, so nothing was done" in await posted.text()) == (422, True)
    assert await db.fetchval("SELECT count(*) FROM jobs WHERE status = 'failed'") == 7 - count
    await page.fill("#typed", f" {7 - count} ")
    await page.fill("#reason", "the disk is mended")
    await page.click("#yes")
    await expect(page.locator("#live")).to_contain_text("Nothing is dead")
    assert await db.fetchval("SELECT count(*) FROM jobs WHERE status = 'failed'") == 0
    await page.click("#to-record")
    await expect(page.locator("#live")).to_contain_text("the disk is mended")
    await expect(page.locator("#jobs tbody tr")).to_have_count(7 - count)


async def test_cancelling_everything_that_matches(person: Any, db: asyncpg.Connection) -> None:
    page = await person("operator", "/jobs?state=available&stage=vlm_analyze")
    await page.click("#bulk-cancel")
    await page.click("#yes")
    await page.wait_for_selector("#flash")
    left = "SELECT count(*) FROM pgbaton.dispatches WHERE stage = 'vlm_analyze' AND state = 'available'"
    assert await db.fetchval(left) == 0


async def test_limits_are_shown_with_who_fills_them_and_who_waits(person: Any, db: asyncpg.Connection) -> None:
    await db.execute("UPDATE pgbaton.stages SET operated = '{\"concurrency\": 3}' WHERE step = 'planner'")
    await db.execute("UPDATE pgbaton.stages SET ceiling = 2 WHERE step = 'overlay'")
    await db.execute("INSERT INTO pgbaton.pools (name, attached) VALUES ('vision', 8)")
    in_pool = (
        """UPDATE pgbaton.stages SET attached = attached || '{"pool": "vision", "cost": 1}' WHERE step = 'vlm_judge'"""
    )
    await db.execute(in_pool)
    hostile = "<b>t</b>"
    await db.execute(
        "UPDATE pgbaton.calls SET slot = stage, tenant = $1 WHERE stage = 'planner' AND due_at IS NULL", hostile
    )
    page = await person("viewer", "/stages")
    rows = {
        (await r.inner_text()).split()[0]: await r.inner_text() for r in await page.locator("#limits tbody tr").all()
    }
    assert "set by an operator" in rows["planner"]
    assert "of 3" in rows["planner"]
    assert hostile in rows["planner"]
    assert "answers 429: 2 at once now" in rows["overlay"]
    assert "pool vision" in await page.inner_text("#limits")


async def pause(page: Any, button: str) -> None:
    """Open what the button opens, and pause without a reason."""
    await page.click(f"#{button}")
    await page.click(f"#{button}-do")
    await page.wait_for_selector(f"#{button.replace('pause', 'resume')}")


async def test_a_stage_a_tenant_and_the_pipeline_are_paused_and_resumed(person: Any, db: asyncpg.Connection) -> None:
    page = await person("operator", "/stages")
    await pause(page, "pause-3")
    assert await db.fetchval("SELECT paused_at IS NOT NULL FROM pgbaton.stages WHERE step = 'planner'")
    await page.click("#resume-3")
    await page.wait_for_selector("#pause-3")
    assert await db.fetchval("SELECT paused_at IS NULL FROM pgbaton.stages WHERE step = 'planner'")
    await pause(page, "pipeline-pause")
    assert await db.fetchval("SELECT paused_at IS NOT NULL FROM pgbaton.pipelines")
    await page.click("#pipeline-resume")
    await page.wait_for_selector("#pipeline-pause")
    assert await db.fetchval("SELECT paused_at IS NULL FROM pgbaton.pipelines")
    await page.fill("#pause-tenant", "acme")
    await page.click("#pause-tenant-do")
    await page.click("#tenant-resume-1")
    await expect(page.locator("#live")).to_contain_text("No tenant is paused")
    await page.click("text=Audit")
    await expect(page.locator("#audit tbody tr")).to_have_count(6)
    assert "web:operator" in await page.inner_text("#audit")


@pytest.mark.parametrize(
    "asked",
    [
        "state=foo",
        "age=300",
        "from=abc",
        "to=99999999999",
        "from=2026-13-45",
        "from=1h&from=2h",
        "stat=dead",
        "error=a&error=b",
        "state=dead&state=foo",
        "history=2",
        "before=-1",
        "id=" + "x" * 1000,
    ],
)
async def test_a_filter_that_is_not_understood_is_refused_and_never_widens_an_action(
    base: str, db: asyncpg.Connection, asked: str
) -> None:
    before = await db.fetchval("SELECT count(*) FROM pgbaton.dispatches WHERE settled_at IS NULL")
    async with httpx.AsyncClient(base_url=base, headers={"Origin": base.removesuffix("/pgbaton")}) as client:
        await client.post("/login", data={"token": OPERATOR})
        form = (await client.get("/confirm?action=cancel&state=available")).text
        csrf = re.findall(r'name="csrf" value="(\w+)"', form)[0]
        answers = [await client.get(f"/{page}?action=cancel&{asked}") for page in ("jobs", "confirm")]
        posted = f"csrf={csrf}&action=cancel&scope=matching&expected=10001&{asked}"
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answers.append(await client.post("/act", content=posted, headers=kind))
    assert [(a.status_code, "not understood" in a.text) for a in answers] == [(422, True)] * 3
    assert await db.fetchval("SELECT count(*) FROM pgbaton.dispatches WHERE settled_at IS NULL") == before
    assert await audited(db) == []


async def test_a_pause_is_ended_from_the_overview(person: Any, db: asyncpg.Connection) -> None:
    page = await person()
    await page.click("li:has-text('vlm_judge is paused') >> text=Resume")
    await expect(page.locator("li:has-text('vlm_judge is paused')")).to_have_count(0)
    assert await db.fetchval("SELECT paused_at IS NULL FROM pgbaton.stages WHERE step = 'vlm_judge'")


async def test_changes_appear_within_a_second_and_without_a_reload(person: Any, db: asyncpg.Connection) -> None:
    page = await person("viewer")
    await page.wait_for_selector("#live-sign[data-state=on]")
    await page.evaluate("window.notReloaded = true")
    planner = page.locator(".line > li:nth-child(3)")
    times = []
    for many in range(1, 4):
        watch = Watch()
        await db.execute(
            "INSERT INTO jobs (tenant_id, current_step, status) VALUES ('northwind', 'yolo_detect', 'done')"
        )
        await planner.locator(f".waiting b:text-is('{many}')").wait_for()
        times.append(watch.seconds)
    assert sorted(times)[1] < 1.0, times
    assert await page.evaluate("window.notReloaded")


async def test_a_text_that_a_reader_opened_stays_open(person: Any, db: asyncpg.Connection) -> None:
    key = await one(db, "dead", "overlay")
    await db.execute(
        "UPDATE pgbaton.history SET error = repeat('long ', 100) "
        "WHERE id = (SELECT max(id) FROM pgbaton.dispatches WHERE job_key = $1)", key,
    )  # fmt: skip
    page = await person("viewer", f"/job?key={key}")
    await page.click("summary >> nth=0")
    await page.evaluate("document.querySelector('#live').dataset.old = '1'")
    await page.wait_for_selector("#live:not([data-old])")
    await expect(page.locator("details[open]")).to_have_count(1)


async def test_the_page_says_when_the_database_is_away_and_comes_back(browser: Any, place: tuple[str, str]) -> None:
    dsn, base = place
    server, _, name = dsn.rpartition("/")
    other = await asyncpg.connect(f"{server}/postgres")
    context = await browser.new_context(locale="en-GB")  # its console may complain
    session = Tokens(OPERATOR, VIEWER).begin(Role.VIEWER)
    await context.add_cookies([{"name": "pgbaton_session", "value": session, "url": f"{base}/"}])
    page = await context.new_page()
    await page.goto(f"{base}/")
    await page.wait_for_selector("#live-sign[data-state=on]")
    await other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    await page.wait_for_selector("#problem")
    assert "database" in await page.inner_text("#problem")
    await other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await page.wait_for_selector("#findings", timeout=20_000)
    await context.close()
    await other.close()


async def test_a_long_act_is_watched_aborted_and_undone(
    person: Any, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgbaton.operate.desk.BATCH", 3)
    monkeypatch.setattr(actions, "PATIENCE", 0.0)
    real, go_on = pgbaton.operate.desk.batch, asyncio.Event()

    async def slowly(*args: Any) -> Any:
        done = await real(*args)
        await go_on.wait()
        return done

    monkeypatch.setattr("pgbaton.operate.desk.batch", slowly)
    page = await person("operator", "/jobs?stage=vlm_analyze&state=available&state=running")
    await page.click("#bulk-cancel")
    assert "vlm_analyze" in await page.inner_text("#preview")
    await page.fill("#reason", "wrong prices")
    await page.click("#yes")
    await page.wait_for_selector("#progress:has-text('Looked at 3 of 21')")
    await expect(page.locator("#live")).to_contain_text("wrong prices")
    await page.click("#abort")
    assert "Aborted" in await page.inner_text("#flash")
    await expect(page.locator("#standing")).to_have_text("aborted")
    go_on.set()
    cancelled = "SELECT count(*) FROM jobs WHERE status = 'cancelled' AND current_step = 'vlm_analyze'"
    assert await db.fetchval(cancelled) == 3
    await page.fill("#reason", "were right")
    await page.click("#undo")
    await page.wait_for_selector("#standing:has-text('done')")
    assert await db.fetchval(cancelled) == 0
    await page.click("text=Audit")
    await expect(page.locator("#audit tbody tr")).to_contain_text(["were right", ""])
    await expect(page.locator("#audit tbody tr:has-text('were right')")).to_have_count(1)
    await page.check("#f-cancel")
    await page.fill("#f-from", "1h")
    await page.click("#f-go")
    await expect(page.locator("#audit tbody tr")).to_have_count(1)


async def test_an_act_whose_process_died_is_carried_on_from_the_page(person: Any, db: asyncpg.Connection) -> None:
    table = await table_of(db, None)
    wanted = JobFilter("ad_creative", stages=("vlm_analyze",), states=("available",))
    record = await bulk.begin(db, table, wanted, "cancel", 50, who="mina")
    await db.execute("UPDATE pgbaton.audit SET renewed_at = now() - interval '2 min'")
    page = await person("operator", f"/record?id={record}")
    assert "It broke off after 0 jobs" in await page.inner_text("#live")
    await page.click("#carry-on")
    await page.wait_for_selector("#standing:has-text('done')")
    assert await db.fetchval("SELECT jobs FROM pgbaton.audit") == 17


async def test_jobs_that_are_picked_are_retried_and_no_others(person: Any, db: asyncpg.Connection) -> None:
    page = await person("operator", "/jobs?state=dead")
    boxes = page.locator("#jobs tbody input[type=checkbox]")
    await expect(boxes).to_have_count(7)
    keys = [await boxes.nth(i).get_attribute("value") for i in (1, 3)]
    await boxes.nth(1).check()
    await boxes.nth(3).check()
    await page.evaluate("document.querySelector('#live').dataset.old = '1'")
    await page.wait_for_selector("#live:not([data-old])")  # the list was read again: what is picked stays picked
    await expect(page.locator("#picked-count")).to_contain_text("2 selected")
    await page.click("#picked-retry")
    assert "Jobs to retry: 2." in await page.inner_text("#count")
    await page.click("#yes")
    assert "2 will be tried again" in await page.inner_text("#flash")
    left = await db.fetch("SELECT job_id::text AS key FROM jobs WHERE status = 'failed'")
    assert len(left) == 5
    assert not {row["key"] for row in left} & set(keys)


async def test_the_list_that_is_seen_is_exported_and_no_cell_is_a_formula(base: str, db: asyncpg.Connection) -> None:
    key = await one(db, "dead", "overlay")
    await db.execute("UPDATE pgbaton.history SET error = '=HYPERLINK(1)', tenant = '한빛' WHERE job_key = $1", key)
    async with httpx.AsyncClient(base_url=base, headers={"Origin": base.removesuffix("/pgbaton")}) as client:
        assert (await client.get("/export?as=csv")).status_code == 303
        await client.post("/login", data={"token": VIEWER})
        answer = await client.get("/export?as=csv&state=dead&stage=overlay")
        told = (await client.get("/export?as=json&state=dead&stage=overlay")).json()
        assert (await client.get("/export?as=json&state=cancelled&stage=overlay")).json() == []
        assert (await client.get("/export?as=xls")).status_code == 422
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert "jobs.csv" in answer.headers["content-disposition"]
    assert [row["job_key"] for row in rows] == [job["job_key"] for job in told]
    assert len(rows) == 6
    (mine,) = [row for row in rows if row["job_key"] == key]
    assert (mine["error"], mine["tenant"]) == ("'=HYPERLINK(1)", "한빛")
    (mine,) = [job for job in told if job["job_key"] == key]
    assert mine["error"] == "=HYPERLINK(1)"
