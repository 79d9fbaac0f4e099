"""The acts of operators: each is guarded and audited, and none can strand a job."""

from __future__ import annotations

import asyncio

import pytest

from desk import Desk, desk
from journal_rows import put_off
from line import Line, line, two_stages, until
from pgbaton import insights, operate
from pgbaton.errors import ConfigError, DatabaseError, Refused
from pgbaton.insights import JobFilter
from pgbaton.install.attach import attach
from pgbaton.model import OPEN
from pgbaton.operate import bulk
from pgbaton.table import table_of
from stage_server import Call, Say, StageServer, work

# -- retry -----------------------------------------------------------------------------------------------


async def test_a_dead_job_gets_another_life_and_the_audit_names_who_gave_it(database: str) -> None:
    async with desk(database) as d:
        job = await d.kill()
        done = await operate.retry(d.conn, d.table, [job, "no-such-job"], who="mina")
        assert (done.count, done.jobs, done.seen) == (1, (job,), 2)
        assert await d.craft.states(job) == [("cut", "dead"), ("cut", "available")]
        (entry,) = (await insights.audit(d.conn)).entries
        assert (entry.who, entry.action, entry.job_key, entry.jobs) == ("mina", "retry", job, 1)
        again = await operate.retry(d.conn, d.table, [job], who="mina")
        assert again.count == 0
        assert len(await d.audited()) == 1, "what changed nothing is not audited"
        async with d.craft.worker():
            await d.craft.until_row(job, "glue", "done")


async def test_a_job_that_waits_for_a_retry_is_due_now(database: str) -> None:
    async with desk(database) as d:
        job = await d.craft.add()
        await put_off(d.conn, job)
        assert (await operate.retry(d.conn, d.table, [job], who="mina")).jobs == (job,)
        async with d.craft.worker():
            await d.craft.until_row(job, "glue", "done")


async def test_a_row_that_somebody_holds_is_skipped_and_not_waited_for(database: str) -> None:
    async with desk(database) as d:
        held, free = await d.kill(), await d.kill()
        async with d.craft.db.acquire() as other, other.transaction():
            await other.execute("SELECT 1 FROM jobs WHERE job_id = $1::text::uuid FOR UPDATE", held)
            async with asyncio.timeout(2):
                assert (await operate.retry(d.conn, d.table, [held, free], who="m")).jobs == (free,)
        assert (await operate.retry(d.conn, d.table, [held, free], who="m")).jobs == (held,)


# -- everything that matches -----------------------------------------------------------------------------


async def test_a_group_of_the_dead_is_retried_and_no_other(database: str) -> None:
    async with desk(database) as d:
        disk = [await d.kill(error=f"HTTP 500 disk {n} is full") for n in range(3)]
        net = await d.kill(error="HTTP 502 net")
        groups = (await insights.dead_groups(d.conn, d.table)).groups
        assert [(g.stage, g.error, g.count) for g in groups] == [
            ("cut", "HTTP 500 disk … is full", 3),
            ("cut", "HTTP 502 net", 1),
        ]
        wanted = JobFilter("craft", stages=("cut",), error_group=groups[0].error)
        assert await bulk.count_matching(d.conn, wanted, "retry") == 3
        done = await bulk.act_on_matching(d.conn, d.table, wanted, "retry", 3, who="mina")
        assert sorted(done.jobs) == sorted(disk)
        assert await d.craft.states(net) == [("cut", "dead")]
        assert [g.count for g in (await insights.dead_groups(d.conn, d.table)).groups] == [1]


async def test_no_more_than_was_agreed_to_is_touched(database: str) -> None:
    async with desk(database) as d:
        for _ in range(5):
            await d.kill()
        everything = JobFilter("craft")
        done = await bulk.act_on_matching(d.conn, d.table, everything, "retry", 3, who="m")
        assert (done.count, done.seen) == (3, 3)
        assert await bulk.count_matching(d.conn, everything, "retry") == 2


async def test_many_jobs_are_cancelled_in_bounded_batches(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgbaton.operate.desk.BATCH", 10)
    async with desk(database) as d:
        await d.craft.add_many(35)
        await d.conn.execute(
            "UPDATE jobs SET tenant_id = 'other' WHERE job_id = (SELECT min(job_id::text)::uuid FROM jobs)"
        )
        await d.conn.execute(
            "UPDATE pgbaton.due SET tenant = 'other' WHERE job_key = (SELECT min(job_key) FROM pgbaton.due)"
        )
        wanted = JobFilter("craft", tenants=("acme",))
        assert await bulk.count_matching(d.conn, wanted, "cancel") == 34
        done = await bulk.act_on_matching(d.conn, d.table, wanted, "cancel", 10_001, who="m")
        assert done.count == 34
        assert [n for _, _, n in await d.audited()] == [34]
        assert (
            await d.conn.fetchval("SELECT count(*) FROM jobs WHERE (current_step, status) = ('cut', 'cancelled')") == 34
        )
        assert await d.conn.fetchval("SELECT count(*) FROM pgbaton.dispatches WHERE settled_at IS NULL") == 1


async def test_states_that_an_action_cannot_change_match_nothing(database: str) -> None:
    async with desk(database) as d:
        await d.kill()
        assert await bulk.count_matching(d.conn, JobFilter("craft", states=("completed",)), "retry") == 0
        assert await bulk.count_matching(d.conn, JobFilter("craft", states=("dead",)), "cancel") == 0


# -- cancel ----------------------------------------------------------------------------------------------


async def test_a_cancelled_job_is_called_no_more_and_says_so(database: str) -> None:
    async with desk(database) as d:
        job = await d.craft.add()
        assert (await operate.cancel(d.conn, d.table, [job], who="m")).jobs == (job,)
        assert await d.craft.row(job) == ("cut", "cancelled")
        assert await d.craft.states(job) == [("cut", "cancelled")]
        said = await insights.explain(d.conn, d.table, job)
        assert said is not None
        assert said.sentence() == "cancelled at cut"
        assert (await operate.cancel(d.conn, d.table, [job], who="m")).count == 0
        async with d.craft.worker():
            await operate.rerun(d.conn, d.table, job, "cut", who="m")
            await d.craft.until_row(job, "glue", "done")


async def test_the_end_of_a_call_changes_nothing_for_a_job_that_was_cancelled_meanwhile(database: str) -> None:
    let_go = asyncio.Event()

    async def slow(server: StageServer, call: Call) -> Say:
        await server.move(call, "running")
        await let_go.wait()
        return Say(500)

    async with desk(database, slow) as d, d.craft.worker():
        job = await d.craft.add()
        await d.craft.until_row(job, "cut", "running")
        assert (await operate.cancel(d.conn, d.table, [job], who="m")).count == 1
        let_go.set()
        await d.craft.until_settled()
        assert await d.craft.row(job) == ("cut", "cancelled")


async def test_a_job_that_is_done_is_not_cancelled(database: str) -> None:
    async with desk(database) as d:
        job = await d.craft.add("glue", "done")
        assert (await operate.cancel(d.conn, d.table, [job], who="m")).count == 0
        assert await d.craft.row(job) == ("glue", "done")


async def test_a_status_column_that_cannot_hold_cancelled_is_named(database: str) -> None:
    async with desk(database) as d:
        job = await d.craft.add()
        await d.conn.execute("ALTER TABLE jobs ADD CHECK (status IN ('running', 'done', 'failed'))")
        with pytest.raises(DatabaseError, match="refuses this cancel"):
            await operate.cancel(d.conn, d.table, [job], who="m")
        assert await d.craft.states(job) == [("cut", "available")]


# -- rerun -----------------------------------------------------------------------------------------------


async def test_a_finished_job_goes_again_from_any_step(database: str) -> None:
    async with desk(database) as d, d.craft.worker():
        job = await d.craft.add()
        await d.craft.until_row(job, "glue", "done")
        await operate.rerun(d.conn, d.table, job, "glue", who="m")
        await until(lambda: _settled(d.craft, job, 3), "three dispatches")
        await operate.rerun(d.conn, d.table, job, "cut", who="m")
        await until(lambda: _settled(d.craft, job, 5), "five dispatches")
        assert [c.path for c in d.craft.server.calls] == ["/cut", "/glue", "/glue", "/cut", "/glue"]
        assert [a for _, a, _ in await d.audited()] == ["rerun", "rerun"]


async def _settled(craft: Line, job: str, count: int) -> bool:
    return await craft.states(job) == [(s, "completed") for s, _ in await craft.states(job)] and count == len(
        await craft.states(job)
    )


async def test_a_job_that_a_stage_works_on_is_only_rerun_by_force(database: str) -> None:
    first = asyncio.Event()

    async def hang_once(server: StageServer, call: Call) -> Say:
        if not first.is_set():
            first.set()
            await server.move(call, "running")
            await asyncio.sleep(30)
        return await work(server, call)

    async with desk(database, hang_once) as d, d.craft.worker(drain_timeout=0):
        job = await d.craft.add()
        await d.craft.until_row(job, "cut", "running")
        with pytest.raises(Refused, match="a stage is at work") as refused:
            await operate.rerun(d.conn, d.table, job, "cut", who="m")
        assert refused.value.code == "running"
        assert (await operate.rerun(d.conn, d.table, job, "cut", who="m", force=True)).count == 1
        await d.craft.until_row(job, "glue", "done")
        assert await d.craft.states(job) == [("cut", "cancelled"), ("cut", "completed"), ("glue", "completed")]


async def test_a_forced_rerun_of_a_claimed_job_whose_row_has_not_moved_dispatches_it_anew(database: str) -> None:
    async with desk(database) as d:
        job = await d.craft.add()
        store = await d.craft.store()
        worker, _ = await store.take_lease(None, "w", 1, 60, ())
        await store.turn(worker, 1)
        assert (await operate.rerun(d.conn, d.table, job, "cut", who="m", force=True)).count == 1
        assert await d.craft.states(job) == [("cut", "cancelled"), ("cut", "available")]


@pytest.mark.parametrize(
    ("job", "step", "code"),
    [
        ("no-uuid", "cut", "unknown_job"),
        ("5b0d9f4a-0000-4000-8000-000000000000", "cut", "unknown_job"),
        (None, "dry", "unknown_stage"),
        (None, "cut", None),
    ],
)
async def test_a_rerun_says_why_it_is_refused(database: str, job: str | None, step: str, code: str | None) -> None:
    async with desk(database) as d:
        there = await d.craft.add()
        if code is None:
            assert (await operate.rerun(d.conn, d.table, there, step, who="m")).count == 0, "it waits there already"
        else:
            with pytest.raises(Refused) as refused:
                await operate.rerun(d.conn, d.table, job or there, step, who="m")
            assert refused.value.code == code
        assert await d.audited() == []


async def test_a_row_that_somebody_holds_is_refused_as_busy(database: str) -> None:
    async with desk(database) as d:
        job = await d.craft.add("glue", "done")
        async with d.craft.db.acquire() as other, other.transaction():
            await other.execute("SELECT 1 FROM jobs FOR UPDATE")
            with pytest.raises(Refused) as refused:
                await operate.rerun(d.conn, d.table, job, "cut", who="m")
        assert refused.value.code == "busy"


async def test_jobs_of_a_stage_that_left_the_pipeline_are_seen_and_freed(database: str) -> None:
    async with desk(database) as d:
        waits, stops = await d.craft.add("cut"), await d.craft.add("cut")
        renamed = two_stages(d.craft.server.base_url)
        stages = [renamed.stages[0], renamed.stages[1].model_copy(update={"step": "paste"})]
        await attach(d.conn, renamed.model_copy(update={"stages": tuple(stages)}))
        listed = await insights.list_jobs(d.conn, JobFilter("craft", stages=("glue",), states=OPEN))
        assert {j.job_key for j in listed.jobs} == {waits, stops}
        said = await insights.explain(d.conn, d.table, waits)
        assert said is not None
        assert said.code == "stage_unrouted"
        assert (await operate.rerun(d.conn, d.table, waits, "paste", who="m")).count == 1
        assert await d.craft.states(waits) == [("glue", "cancelled"), ("paste", "available")]
        assert (await operate.cancel(d.conn, d.table, [stops], who="m")).jobs == (stops,)
        assert await d.craft.row(stops) == ("glue", "cancelled")


async def test_a_row_that_was_marked_running_by_hand_is_rerun_without_force(database: str) -> None:
    async with desk(database) as d:
        job = await d.craft.add("glue", "running")
        assert (await operate.rerun(d.conn, d.table, job, "glue", who="m")).count == 1
        assert await d.craft.states(job) == [("glue", "available")]


# -- pause -----------------------------------------------------------------------------------------------


async def test_pausing_twice_is_audited_once(database: str) -> None:
    async with desk(database) as d:
        assert (await operate.pause(d.conn, "craft", "cut", who="a")).count == 1
        assert (await operate.pause(d.conn, "craft", "cut", who="b")).count == 0
        assert (await operate.resume(d.conn, "craft", "cut", who="c")).count == 1
        assert (await operate.pause(d.conn, "craft", who="d")).count == 1
        assert [(w, a) for w, a, _ in await d.audited()] == [("d", "pause"), ("c", "resume"), ("a", "pause")]
        with pytest.raises(ConfigError, match="no stage 'dry'"):
            await operate.pause(d.conn, "craft", "dry", who="a")


async def test_a_pause_says_why(database: str) -> None:
    async with desk(database) as d:
        await operate.pause(d.conn, "craft", "cut", who="a", reason=" the model is replaced\x00 ")
        await operate.pause_tenant(d.conn, d.table, "acme", who="b", reason="x" * 1900)
        await operate.resume_tenant(d.conn, d.table, "acme", who="c")
        reasons = [e.reason for e in reversed((await insights.audit(d.conn)).entries)]
        assert reasons == ["the model is replaced", "x" * 1000, None]


async def test_recalls_moves_and_quarantines_are_in_the_audit(database: str) -> None:
    async with desk(database) as d:
        job, lost = await d.craft.add("cut", "dnoe"), await d.craft.add()
        assert (await operate.move_rows(d.conn, d.table, ("cut", "dnoe"), ("cut", "done"), who="mina")).count == 1
        assert (await operate.quarantine(d.conn, d.table, [job], who="mina")).count == 1
        async with d.craft.worker():
            await d.craft.until_row(lost, "glue", "done")
        said = [(e.who, e.action, e.job_key, e.jobs) for e in reversed((await insights.audit(d.conn)).entries)]
        assert said == [("mina", "move", job, 1), ("mina", "quarantine", job, 1)]


async def test_a_paused_tenants_jobs_wait_while_others_go_on(database: str) -> None:
    async with desk(database) as d, d.craft.worker():
        await operate.pause_tenant(d.conn, d.table, "acme", who="m")
        jobs = [await d.craft.add() for _ in range(3)]
        other = str(
            await d.conn.fetchval(
                "INSERT INTO jobs (tenant_id, current_step, status) VALUES ('b', 'made', 'done') RETURNING job_id"
            )
        )
        await d.craft.until_row(other, "glue", "done")
        assert {c.job_id for c in d.craft.server.calls} == {other}
        said = await insights.explain(d.conn, d.table, jobs[0])
        assert said is not None
        assert said.code == "paused_tenant"
        seen = await insights.overview(d.conn, "craft")
        assert [t.tenant for t in seen.tenants] == ["acme"]
        await operate.resume_tenant(d.conn, d.table, "acme", who="m")
        for job in jobs:
            await d.craft.until_row(job, "glue", "done")
        assert await d.conn.fetchval("SELECT count(*) FROM pgbaton.paused_tenants") == 0
        assert [(a, n) for _, a, n in await d.audited()] == [("resume", 0), ("pause", 0)]


async def test_a_worker_parks_a_paused_tenants_duties_that_the_pause_left(database: str) -> None:
    async with desk(database) as d:
        await d.conn.execute("INSERT INTO pgbaton.paused_tenants (pipeline, tenant) VALUES ('craft', 'acme')")
        await d.craft.add_many(300)
        await d.conn.execute("INSERT INTO jobs (tenant_id, current_step, status) VALUES ('b', 'made', 'done')")
        parked = "SELECT count(*) = 300 FROM pgbaton.calls WHERE due_at = pgbaton.parked()"
        async with d.craft.worker(capacity=4):
            await until(lambda: d.conn.fetchval(parked), "all of them are parked")
            glued = "SELECT count(*) = 1 FROM jobs WHERE (tenant_id, current_step, status) = ('b', 'glue', 'done')"
            await until(lambda: d.conn.fetchval(glued), "the other tenant's job is done")
        assert await (await d.craft.store()).next_due() is None, "what is parked is not waited for"


async def test_a_resume_that_was_broken_off_is_finished_by_a_worker(database: str) -> None:
    async with desk(database) as d:
        await d.craft.add_many(5)
        await operate.pause_tenant(d.conn, d.table, "acme", who="m")
        assert (await insights.overview(d.conn, "craft")).stages[0].parked == 5
        await d.conn.execute("UPDATE pgbaton.paused_tenants SET resumed_at = now()")
        async with d.craft.worker():
            await d.craft.until_settled()
            await until(lambda: _none_paused(d), "the tenant is forgotten")


async def _none_paused(d: Desk) -> bool:
    return bool(await d.conn.fetchval("SELECT count(*) = 0 FROM pgbaton.paused_tenants"))


async def test_nothing_stays_parked_when_a_tenant_is_paused_and_resumed_under_load(database: str) -> None:
    async with desk(database) as d, d.craft.worker(), d.craft.worker():
        for _ in range(10):
            await d.craft.add_many(20)
            await operate.pause_tenant(d.conn, d.table, "acme", who="m")
            await d.craft.add_many(20)
            await asyncio.sleep(0.03)
            await operate.resume_tenant(d.conn, d.table, "acme", who="m")
        await d.craft.until_settled(30)
        seen = [(c.job_id, c.path) for c in d.craft.server.calls]
        assert len(seen) == len(set(seen)) == 800


async def test_a_pipeline_without_tenants_says_so(database: str) -> None:
    async with line(database, tenant=None) as craft, craft.db.acquire() as conn:
        with pytest.raises(ConfigError, match="has no tenants"):
            await operate.pause_tenant(conn, await table_of(conn, None), "acme", who="m")


async def test_hostile_names_are_stored_as_they_are_or_without_what_cannot_be(database: str) -> None:
    async with desk(database) as d:
        await operate.pause_tenant(d.conn, d.table, "'; DROP TABLE jobs; --", who="\x00\ud800<b>" * 100)
        ((who, _, _),) = await d.audited()
        assert len(who) <= 200
        assert "\x00" not in who
        assert (await operate.retry(d.conn, d.table, ["\x00", "'", "%"], who="m")).count == 0


async def test_a_tenant_too_long_for_an_index_does_not_abort_the_users_transaction(database: str) -> None:
    async with desk(database) as d:
        await d.conn.execute("ALTER TABLE jobs ALTER tenant_id TYPE text")
        tenant = "".join(chr(0xAC00 + n) for n in range(4000))  # does not compress
        await d.conn.execute("INSERT INTO jobs (tenant_id, current_step, status) VALUES ($1, 'made', 'done')", tenant)
        found = await insights.list_jobs(d.conn, JobFilter("craft", tenants=(tenant,)))
        assert [j.tenant for j in found.jobs] == [tenant]
