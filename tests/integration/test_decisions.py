"""Jobs that wait for a person: decided by command, by a link, and what a link cannot do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from graph_line import graph_line, stage
from line import Line, until
from pgbaton import insights
from pgbaton.errors import ConfigError, Refused
from pgbaton.insights import table_of
from pgbaton.operate import approve

SECRET = approve.secret_of("s" * 32)
WAIT = {
    "at": ["review", "waiting"],
    "choices": {"approve": ["review", "approved"], "reject": ["review", "rejected"]},
    "deadline": "8h",
    "then": ["review", "rejected"],
}


@asynccontextmanager
async def reviewed(dsn: str) -> AsyncIterator[Line]:
    stages = [stage("draw", "made"), stage("publish", "review", status="approved")]
    async with graph_line(dsn, stages, route=[{"after": "draw", "to": ["review", "waiting"]}], wait=[WAIT]) as craft:
        yield craft


async def at_review(craft: Line) -> str:
    job = await craft.add("review", "waiting")
    left = "SELECT count(*) = 1 FROM pgbaton.calls WHERE job_key = $1 AND deadline IS NOT NULL"
    await until(lambda: craft.db.fetchval(left, job), "it waits")
    return job


async def test_a_decision_moves_the_job_and_is_in_the_audit_with_its_reason(database: str) -> None:
    async with reviewed(database) as craft, craft.worker(), craft.db.acquire() as conn:
        table = await table_of(conn, None)
        job = await at_review(craft)
        said = await insights.explain(conn, table, job)
        assert said is not None
        assert (said.code, said.moves) == ("waits_until", False)
        assert "approve, reject" in said.sentence()
        detail = await insights.job(conn, table, job)
        assert detail is not None
        assert detail.choices == ("approve", "reject")
        await approve.decide(conn, table, job, "approve", who="kim", reason="looks good")
        await craft.until_row(job, "publish", "done")
        entry = await conn.fetchrow("SELECT who, action, job_key, reason FROM pgbaton.audit")
        assert tuple(entry) == ("kim", "approve", job, "looks good")
        with pytest.raises(Refused, match="does not wait"):
            await approve.decide(conn, table, job, "reject", who="lee")


async def test_no_worker_is_needed_to_decide(database: str) -> None:
    async with reviewed(database) as craft, craft.db.acquire() as conn:
        job = await craft.add("review", "waiting")
        await approve.decide(conn, await table_of(conn, None), job, "reject", who="kim")
        assert await craft.row(job) == ("review", "rejected")


async def test_two_who_decide_at_once_are_one_decision(database: str) -> None:
    async with reviewed(database) as craft, craft.worker():
        job = await at_review(craft)
        async with craft.db.acquire() as conn:
            table = await table_of(conn, None)

        async def decide(choice: str) -> bool:
            async with craft.db.acquire() as conn:
                try:
                    await approve.decide(conn, table, job, choice, who=choice)
                except Refused:
                    return False
                return True

        decided = await asyncio.gather(*(decide(c) for c in ("approve", "reject", "approve", "reject")))
        assert sum(decided) == 1
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.audit") == 1


async def test_a_choice_that_is_none_and_a_job_that_is_none_are_refused(database: str) -> None:
    async with reviewed(database) as craft, craft.worker(), craft.db.acquire() as conn:
        table = await table_of(conn, None)
        job = await at_review(craft)
        with pytest.raises(Refused, match="'maybe' is no choice at 'review'; there are: approve, reject"):
            await approve.decide(conn, table, job, "maybe", who="kim")
        for key in ("nobody", "", "\x00", "00000000-0000-4000-8000-000000000000"):
            with pytest.raises(Refused, match=r"does not wait|is no key"):
                await approve.decide(conn, table, key, "approve", who="kim")


async def test_a_link_is_for_one_wait_of_one_job(database: str) -> None:
    async with reviewed(database) as craft, craft.worker(), craft.db.acquire() as conn:
        table = await table_of(conn, None)
        job = await at_review(craft)
        found = await approve.waiting(conn, table, job)
        assert found is not None
        link = approve.read_link(
            approve.Link("craft", job, found.dispatch, int(time.time()) + 60, "kim").signed(SECRET), SECRET
        )
        await craft.put(job, "made", "withdrawn")
        await craft.put(job, "review", "waiting")  # it waits again, for another decision
        with pytest.raises(Refused, match="not for this one any more"):
            await approve.decide(conn, table, job, "approve", who="kim", dispatch=link.dispatch)


def test_a_link_that_is_forged_or_late_is_refused() -> None:
    token = approve.Link("craft", "7", 1, 1000, "kim").signed(SECRET)
    assert approve.read_link(token, SECRET, now=999).job_key == "7"
    with pytest.raises(Refused, match="past its time") as refused:
        approve.read_link(token, SECRET, now=1001)
    assert refused.value.code == "late"
    body, _, signature = token.partition(".")
    for wrong in ("", ".", body, f"{body}.", f"{body[:-1]}.{signature}", f"{token}0", f"é.{signature}", "a" * 10_000):
        with pytest.raises(Refused, match="not signed here"):
            approve.read_link(wrong, SECRET, now=999)
    with pytest.raises(Refused, match="not signed here"):
        approve.read_link(token, approve.secret_of("t" * 32), now=999)
    with pytest.raises(ConfigError, match="PGBATON_LINK_SECRET"):
        approve.secret_of("short")
