"""Troubles of stages, played for real: the right sentence within its time, the remedy pressed, the page green again."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

from night import night

from stage_server import Call, Say, StageServer, work


class Mood:
    """How the stage ``glue`` answers; ``cut`` works."""

    def __init__(self) -> None:
        self.behave = work

    async def __call__(self, server: StageServer, call: Call) -> Say:
        return await (work if call.path == "/cut" else self.behave)(server, call)


async def add(at: Any, count: int, tenant: str = "acme") -> None:
    await at.craft.db.execute(
        "INSERT INTO jobs (tenant_id, current_step, status) SELECT $1, 'made', 'done' FROM generate_series(1, $2)",
        tenant,
        count,
    )


async def test_a_tenant_that_is_rate_limited_is_named_and_can_be_paused(
    cluster: Any, template: str, browser: Any
) -> None:
    mood = Mood()

    refused: list[str] = []
    two = asyncio.Event()

    async def limits(server: StageServer, call: Call) -> Say:
        if limited := call.body["tenant_id"] == "hanbit":
            refused.append(call.job_id)
            if len(refused) == 2:
                two.set()
            await two.wait()
        return Say(429, {"retry-after": "6"}) if limited else await work(server, call)

    async with night(cluster, template, browser, mood) as at, at.craft.worker():
        await at.prime(5)
        mood.behave = limits
        await add(at, 12, "hanbit")
        # The first refusals hold the others back, so two must do to tell the tenant.
        await at.says(
            re.compile(r"called later .*for [0-9]+ jobs \(HTTP 429\).*100 % are of the tenant hanbit", re.S), 5
        )
        await at.press("asked to be called later", "Pause hanbit")
        await at.says("The tenant hanbit is paused", 5)
        mood.behave = work
        await at.press("The tenant hanbit is paused", "Resume")
        await at.well()


async def test_a_stage_that_answers_200_and_writes_nothing_is_told_with_its_error(
    cluster: Any, template: str, browser: Any
) -> None:
    mood = Mood()

    async def lies(server: StageServer, call: Call) -> Say:
        return Say(200)

    async with night(cluster, template, browser, mood) as at, at.craft.worker():
        mood.behave = lies
        await add(at, 6)
        assert "the stage answered … but left the row" in await at.says("glue gave up on 6", 8)
        mood.behave = work
        await at.press("gave up", "Retry all")
        await at.page.click("#yes")
        await at.page.wait_for_selector("#flash")
        await at.well()


async def test_a_stage_that_is_silent_is_told_against_its_usual_and_called_again(
    cluster: Any, template: str, browser: Any
) -> None:
    mood = Mood()

    async def begins(server: StageServer, call: Call) -> Say:
        await server.move(call, "running")
        return Say(200)

    async with night(cluster, template, browser, mood) as at, at.craft.worker():
        await at.prime()
        mood.behave = begins
        await add(at, 6)
        usual = r"[\d,]+ × the usual 0 s; they are held for \d+ min more"
        await at.says(re.compile(f"6 calls of glue have run for up to.*{usual}", re.S), 16)
        mood.behave = work
        await at.press("have run for up to", "Call again now")
        await at.well()
        assert await at.craft.db.fetchval("SELECT max(failures) FROM pgbaton.history") == 0


async def test_the_job_that_was_in_every_crash_is_named_and_quarantined_and_the_innocent_are_called_again(
    cluster: Any, template: str, browser: Any
) -> None:
    mood = Mood()
    poison: set[str] = set()
    crash = asyncio.Event()

    async def crashes(server: StageServer, call: Call) -> Say:
        """The poison ends the process before it has written anything; the others had begun."""
        if call.job_id in poison:
            await asyncio.sleep(0.1)
            crash.set()
            await asyncio.sleep(0)
            crash.clear()
            return Say(cut=True)
        await server.move(call, "running")
        await crash.wait()
        return Say(cut=True)

    async with night(cluster, template, browser, mood, glue_attempts=9) as at, at.craft.worker():
        await at.prime()
        mood.behave = crashes
        await add(at, 4)
        job = str(uuid.uuid4())
        poison.add(job)  # before the row is there: its first call may come before the INSERT returns
        await at.craft.db.execute(
            "INSERT INTO jobs (job_id, current_step, status) VALUES ($1::text::uuid, 'cut', 'done')", job
        )
        await at.says(re.compile("4 calls of glue.*lost their answer", re.S), 12)
        await at.says(re.compile(f"the job {job} was being called each time"), 25)
        await at.press("was being called each time", "Quarantine the job")
        await at.says("in quarantine at glue", 8)
        mood.behave = work
        await at.press("lost their answer", "Call again now")
        query = "SELECT count(*) FROM jobs WHERE (current_step, status) <> ('glue', 'done')"
        async with asyncio.timeout(10):
            while await at.craft.db.fetchval(query) != 1:
                await asyncio.sleep(0.1)
        assert await at.craft.row(job) == ("glue", "quarantined")
        done = {r["action"]: r["jobs"] for r in await at.craft.db.fetch("SELECT action, jobs FROM pgbaton.audit")}
        assert done["quarantine"] == 1
        assert done["recall"] >= 1


async def test_a_path_that_is_gone_after_a_deployment_is_in_the_sentence(
    cluster: Any, template: str, browser: Any
) -> None:
    mood = Mood()

    async def gone(server: StageServer, call: Call) -> Say:
        return Say(404)

    async with night(cluster, template, browser, mood) as at, at.craft.worker():
        mood.behave = gone
        await add(at, 4)
        assert "HTTP 404 at POST /glue" in await at.says("glue gave up on 4", 5)
        mood.behave = work
        await at.press("gave up", "Retry all")
        await at.page.click("#yes")
        await at.page.wait_for_selector("#flash")
        await at.well()


async def test_a_gateway_without_its_stage_and_a_login_are_stages_that_are_not_there(
    cluster: Any, template: str, browser: Any
) -> None:
    mood = Mood()

    async def gateway(server: StageServer, call: Call) -> Say:
        return Say(502, body=b"<html>Bad Gateway</html>")

    async def login(server: StageServer, call: Call) -> Say:
        return Say(301, {"location": "https://sso.example/login?next=secret"})

    async with night(cluster, template, browser, mood) as at, at.craft.worker():
        mood.behave = gateway
        await add(at, 4)
        assert "tries in a row" in await at.says("glue does not answer", 8)
        mood.behave = work
        await at.well()
        mood.behave = login
        await add(at, 4)
        said = await at.says(re.compile("glue does not answer.*redirects to"), 8)
        assert "HTTP … redirects to https://sso.example/login, which is not followed" in said.replace("301", "…")
        mood.behave = work
        await at.well(30)
        assert await at.craft.db.fetchval("SELECT max(failures) FROM pgbaton.history") == 0


async def test_one_refused_connection_is_no_stage_that_does_not_answer(
    cluster: Any, template: str, browser: Any
) -> None:
    async with night(cluster, template, browser) as at, at.craft.worker():
        await at.well()
        await at.craft.db.execute("UPDATE pgbaton.stages SET strikes = 1 WHERE step = 'glue'")
        await asyncio.sleep(1.5)
        assert "does not answer" not in await at.page.inner_text("#findings")


async def test_a_stage_that_takes_three_times_its_usual_is_told(cluster: Any, template: str, browser: Any) -> None:
    mood = Mood()

    async def slow(server: StageServer, call: Call) -> Say:
        await asyncio.sleep(2)  # more than three times what a busy machine usually takes
        return await work(server, call)

    async with night(cluster, template, browser, mood) as at, at.craft.worker():
        await at.prime()
        mood.behave = slow
        await add(at, 15)
        said = await at.says("× its usual", 10)
        assert "glue takes" in said
        mood.behave = work
        await at.prime(25)
        await at.well(15)


async def test_a_tenant_that_floods_the_queue_is_named_and_paused(
    cluster: Any, template: str, browser: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("pgbaton.health.rules.LONG_WAIT", 1.0)
    mood = Mood()

    async def slow(server: StageServer, call: Call) -> Say:
        await asyncio.sleep(0.3)
        return await work(server, call)

    async with night(cluster, template, browser, mood, glue_concurrency=2) as at, at.craft.worker():
        mood.behave = slow
        await add(at, 80, "bigshop")
        await add(at, 2, "small")
        await at.says(re.compile(r"glue is the bottleneck.*\d+ % are of the tenant bigshop", re.S), 10)
        await at.press("glue is the bottleneck", "Pause bigshop")
        async with asyncio.timeout(10):
            query = "SELECT count(*) FROM jobs WHERE tenant_id = 'small' AND (current_step, status) = ('glue', 'done')"
            while await at.craft.db.fetchval(query) < 2:
                await asyncio.sleep(0.1)
        mood.behave = work
        await at.press("The tenant bigshop is paused", "Resume")
        await at.well(30)
