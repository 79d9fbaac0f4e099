"""A graph on the page, and decisions: on a job's page, and by a link."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from house import expect, page_alone

from graph_line import graph, stage
from pgbaton.install.attach import attach
from pgbaton.operate import approve

SECRET = "a secret of the tests, long enough for links"
WAIT = {
    "at": ["review", "waiting"],
    "choices": {"approve": ["review", "approved"], "reject": ["review", "rejected"]},
    "deadline": "8h",
    "then": ["review", "rejected"],
}
BACK = {"after": "draw", "status": "rejected", "to": "draw", "rounds": 2, "then": ["draw", "given_up"]}


@pytest_asyncio.fixture(loop_scope="session")
async def place(cluster: Any, template: str) -> AsyncIterator[tuple[str, str]]:
    """A database with a graph on it, in place of the scene."""
    async with cluster.new_database(template) as dsn:
        stages = [stage("draw", "made", only="note is null"), stage("publish", "review", status="approved")]
        conn = await asyncpg.connect(dsn)
        routes = [BACK, {"after": "draw", "to": ["review", "waiting"]}]
        await attach(conn, graph(stages, route=routes, wait=[WAIT]))
        await conn.close()
        async with page_alone(dsn) as base:
            yield dsn, base


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGBATON_LINK_SECRET", SECRET)


async def waiting(db: asyncpg.Connection) -> tuple[str, int]:
    job = "INSERT INTO jobs (current_step, status) VALUES ('review', 'waiting') RETURNING job_id::text"
    key = await db.fetchval(job)
    return key, await db.fetchval("SELECT id FROM pgbaton.due WHERE job_key = $1", key)


async def row(db: asyncpg.Connection, job: str) -> tuple[str, ...]:
    return tuple(await db.fetchrow("SELECT current_step, status FROM jobs WHERE job_id::text = $1", job))


def signed(job: str, dispatch: int, seconds: float = 60) -> str:
    return approve.Link("craft", job, dispatch, int(time.time() + seconds), "kim").signed(SECRET.encode())


async def test_the_graph_shows_what_leads_where_and_what_is_there(person: Any, db: asyncpg.Connection) -> None:
    await waiting(db)
    page = await person("viewer", "/graph")
    drawn = await page.text_content("svg.graph")
    for said in ("made: done", "draw", "review: waiting", "1 waiting", "publish", "approve", "2×", "draw: given_up"):
        assert said in drawn
    await page.click("svg.graph a[href$='stage=draw']")
    await page.wait_for_url("**/jobs?stage=draw")


async def test_an_operator_decides_on_the_jobs_page_with_a_reason(person: Any, db: asyncpg.Connection) -> None:
    job, _ = await waiting(db)
    page = await person("operator", f"/job?key={job}")
    await page.fill("#decide input[name=reason]", "the logo is ours")
    await page.click("#choose-approve")
    await expect(page.locator("#flash")).to_contain_text("Decided")
    assert await row(db, job) == ("review", "approved")
    entry = await db.fetchrow("SELECT who, action, reason FROM pgbaton.audit")
    assert tuple(entry) == ("web:operator", "approve", "the logo is ours")


async def test_a_link_shows_and_a_post_decides_once(person: Any, db: asyncpg.Connection) -> None:
    job, dispatch = await waiting(db)
    page = await person(None, f"/decide?link={signed(job, dispatch)}")
    assert await row(db, job) == ("review", "waiting"), "opening it decides nothing"
    await page.click("#choose-reject")
    await expect(page.locator("#decided")).to_contain_text("Decided: Reject")
    assert await row(db, job) == ("review", "rejected")
    assert await db.fetchval("SELECT who FROM pgbaton.audit") == "link:kim"


async def test_a_link_that_two_have_open_decides_once_and_tells_the_other(person: Any, db: asyncpg.Connection) -> None:
    job, dispatch = await waiting(db)
    first, second = [await person(None, f"/decide?link={signed(job, dispatch)}", refused=True) for _ in range(2)]
    await first.click("#choose-approve")
    await expect(first.locator("#decided")).to_contain_text("Decided: Approve")
    await second.click("#choose-reject")
    await expect(second.locator("body")).to_contain_text("decided already")
    again = await person(None, f"/decide?link={signed(job, dispatch)}", refused=True)
    assert "decided already" in await again.inner_text("body")
    await expect(again.locator("button")).to_have_count(0)
    assert await row(db, job) == ("review", "approved")
    late = await person(None, f"/decide?link={signed(job, dispatch, -60)}", refused=True)
    assert "past its time" in await late.inner_text("body")
    forged = await person(None, f"/decide?link={signed(job, dispatch)}0", refused=True)
    assert "not signed here" in await forged.inner_text("body")


async def test_a_link_that_is_forged_late_or_used_says_so(base: str, db: asyncpg.Connection) -> None:
    job, dispatch = await waiting(db)
    good, mine = signed(job, dispatch), {"sec-fetch-site": "same-origin"}
    late = signed(job, dispatch, -60)
    async with httpx.AsyncClient() as client:

        async def post(link: str, site: str = "same-origin") -> httpx.Response:
            form = {"link": link, "choice": "approve"}
            return await client.post(f"{base}/decide", data=form, headers={"sec-fetch-site": site})

        for link, said in ((good + "0", "not signed here"), (late, "past its time"), ("", "not signed here")):
            for answer in (await client.get(f"{base}/decide", params={"link": link}, headers=mine), await post(link)):
                assert answer.status_code == 409
                assert said in answer.text
        assert (await post(good, "cross-site")).status_code == 403
        assert await row(db, job) == ("review", "waiting")
        answers = [await post(good), await post(good)]
        assert [a.status_code for a in answers] == [200, 409]
        assert "decided already" in answers[1].text


async def test_a_jobs_page_tells_its_round_and_until_when_it_waits(person: Any, db: asyncpg.Connection) -> None:
    job, _ = await waiting(db)
    await db.execute(
        "INSERT INTO pgbaton.rounds (pipeline, job_key, route, taken) VALUES ('craft', $1, 'draw.rejected', 2), "
        "('craft', $1, 'gone', 1)",
        job,
    )
    page = await person("viewer", f"/job?key={job}")
    row = await page.inner_text("#row")
    assert "By the route to draw.rejected\nround 2 of 2" in row
    assert "By the route to gone\ntaken once" in row
    assert (await page.inner_text("#why")).endswith("; round 2 of 2")
    # As after a worker's look: it is left to a person, for 8 hours.
    await db.execute(
        """
        WITH duty AS (DELETE FROM pgbaton.due WHERE job_key = $1 RETURNING *)
        INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, run, attempt, created_at, started_at, deadline)
        SELECT pipeline, job_key, id, stage, step, id, 1, created_at, '2026-03-01 09:12Z', now() + interval '8 hours'
          FROM duty
        """,
        job,
    )
    await page.goto(page.url)
    await expect(page.locator("#why time")).to_have_count(2)
    assert await page.locator("#why time").first.get_attribute("datetime") == "2026-03-01T09:12:00Z"
    assert re.search(
        r"waits for a person at review since .*\d:12.* \(approve, reject\); until .*, then \(review, rejected\); "
        r"round 2 of 2$",
        await page.inner_text("#why"),
    )
