"""An act on many jobs: it can be watched, aborted, carried on after its runner died, and undone; its row never lies."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

import pgbaton.operate.desk
from desk import Desk, desk
from pgbaton import insights, operate
from pgbaton.errors import Refused
from pgbaton.insights import AuditFilter, JobFilter
from pgbaton.operate import acts, bulk

EVERYTHING = JobFilter("craft")


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgbaton.operate.desk.BATCH", 4)


async def cancelled(d: Desk) -> int:
    return int(await d.conn.fetchval("SELECT count(*) FROM jobs WHERE status = 'cancelled'"))


async def entry(d: Desk, act: int) -> insights.AuditEntry:
    found = await insights.act(d.conn, "craft", act)
    assert found is not None
    return found


async def begun(d: Desk, jobs: int = 10, expected: int = 10_001) -> int:
    await d.craft.add_many(jobs)
    act = await bulk.begin(d.conn, d.table, EVERYTHING, "cancel", expected, who="mina", reason=" the wrong price ")
    assert act is not None
    return act


async def one_batch_then_dead(d: Desk, act: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner that dies behind its first batch, and can say no last word."""

    async def silent(*_args: object) -> None:
        raise ConnectionError

    async def dies(*_args: object, **_kinds: object) -> pgbaton.operate.desk.Done:
        await real(*_args, **_kinds)
        raise ConnectionError

    real = pgbaton.operate.desk.batch
    with monkeypatch.context() as broken, contextlib.suppress(ConnectionError):
        broken.setattr("pgbaton.operate.desk.batch", dies)
        broken.setattr(acts, "end", silent)
        await bulk.carry_on(d.conn, d.table, act)


async def test_it_is_one_line_of_the_audit_with_its_jobs_behind_it(database: str) -> None:
    async with desk(database) as d:
        act = await begun(d)
        assert (await entry(d, act)).standing == "running"
        assert (await bulk.carry_on(d.conn, d.table, act)).count == 10
        told = await entry(d, act)
        assert (told.who, told.action, told.reason, told.jobs, told.seen) == (
            "mina",
            "cancel",
            "the wrong price",
            10,
            10,
        )
        assert (told.state, told.total, told.ended_at is not None) == ("done", None, True)
        assert await d.audited() == [("mina", "cancel", 10)]
        kept = await insights.act_jobs(d.conn, act)
        keys = {r["job_id"] for r in await d.conn.fetch("SELECT job_id::text FROM jobs WHERE status = 'cancelled'")}
        assert {key for key, _ in kept} == keys
        assert {stage for _, stage in kept} == {"cut"}
        with pytest.raises(Refused):
            await bulk.carry_on(d.conn, d.table, act)


async def test_an_act_whose_runner_died_says_so_and_is_carried_on_from_there(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(database) as d:
        act = await begun(d)
        await one_batch_then_dead(d, act, monkeypatch)
        told = await entry(d, act)
        assert (told.jobs, told.state, await cancelled(d)) == (4, "running", 4)
        await d.conn.execute("UPDATE pgbaton.audit SET renewed_at = renewed_at - interval '2 min'")
        assert (await entry(d, act)).standing == "broken"
        later = await d.craft.add()  # was not there when it began
        assert (await bulk.carry_on(d.conn, d.table, act)).count == 10
        told = await entry(d, act)
        assert (told.jobs, told.state, await cancelled(d)) == (10, "done", 10)
        assert await d.craft.states(later) == [("cut", "available")]


async def test_the_error_that_breaks_it_off_is_written_into_it(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(database) as d:
        act = await begun(d)

        async def breaks(*_args: object) -> None:
            raise ValueError("out of paper")

        with monkeypatch.context() as broken:
            broken.setattr("pgbaton.operate.bulk._batch", breaks)
            with pytest.raises(ValueError, match="paper"):
                await bulk.carry_on(d.conn, d.table, act)
        told = await entry(d, act)
        assert told.state == "broken"
        assert told.error is not None
        assert "out of paper" in told.error
        await bulk.carry_on(d.conn, d.table, act)
        told = await entry(d, act)
        assert (told.state, told.error) == ("done", None)


async def test_two_runners_of_one_act_do_each_job_once(database: str) -> None:
    async with desk(database) as d, d.craft.db.acquire() as other:
        act = await begun(d, 23)
        both = (bulk.carry_on(d.conn, d.table, act), bulk.carry_on(other, d.table, act))
        await asyncio.gather(*both, return_exceptions=True)
        told = await entry(d, act)
        assert (told.state, told.jobs, await cancelled(d)) == ("done", 23, 23)
        assert await d.conn.fetchval("SELECT count(*) FROM pgbaton.audit_jobs") == 23


async def test_an_aborted_act_stops_behind_its_batch_and_what_it_did_stays(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(database) as d, d.craft.db.acquire() as other:
        act = await begun(d)
        real = pgbaton.operate.desk.batch

        async def aborted_meanwhile(*args: object, **kinds: object) -> object:
            done = await real(*args, **kinds)
            await acts.abort(other, "craft", act, who="jun")
            return done

        monkeypatch.setattr("pgbaton.operate.desk.batch", aborted_meanwhile)
        assert (await bulk.carry_on(d.conn, d.table, act)).count == 4
        told = await entry(d, act)
        assert (told.state, told.jobs, told.detail["aborted_by"], await cancelled(d)) == ("aborted", 4, "jun", 4)
        assert not await acts.abort(other, "craft", act, who="jun")


async def test_cancelled_jobs_are_brought_back_but_not_those_that_went_on(database: str) -> None:
    async with desk(database) as d:
        act = await begun(d, 9)
        with pytest.raises(Refused):
            await bulk.undo(d.conn, d.table, act, who="mina")
        await bulk.carry_on(d.conn, d.table, act)
        key, _ = (await insights.act_jobs(d.conn, act))[0]
        await operate.rerun(d.conn, d.table, key, "glue", who="jun")
        undoing = await bulk.undo(d.conn, d.table, act, who="mina", reason="was right after all")
        with pytest.raises(Refused):
            await bulk.undo(d.conn, d.table, act, who="mina")
        assert (await bulk.carry_on(d.conn, d.table, undoing)).count == 8
        told = await entry(d, act)
        assert (told.undone_by, (await entry(d, undoing)).undoes) == (undoing, act)
        assert await cancelled(d) == 0
        assert await d.craft.states(key) == [("cut", "cancelled"), ("glue", "available")]
        async with d.craft.worker():
            for other, _ in (await insights.act_jobs(d.conn, act))[1:]:
                await d.craft.until_row(other, "glue", "done")


async def test_the_audit_is_filtered_by_time_person_and_action(database: str) -> None:
    async with desk(database) as d:
        await operate.pause(d.conn, "craft", who="mina")
        await operate.resume(d.conn, "craft", who="jun")
        await d.conn.execute("UPDATE pgbaton.audit SET at = at - interval '1 day' WHERE who = 'mina'")

        async def found(**asked: object) -> list[str]:
            page = await insights.audit(d.conn, "craft", filters=AuditFilter(**asked))  # type: ignore[arg-type]
            return [e.who for e in page.entries]

        assert await found() == ["jun", "mina"]
        assert await found(who=("mina", "x")) == ["mina"]
        assert await found(actions=("resume",)) == ["jun"]
        assert await found(since=3600.0) == ["jun"]
        assert await found(until=3600.0) == ["mina"]
