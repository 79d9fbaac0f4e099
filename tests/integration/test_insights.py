"""The view of operators: the right counts, the right page, and the right reason; quickly, however much there is."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest

from line import Line, line
from pgbaton import insights, operate
from pgbaton.errors import ConfigError
from pgbaton.health import checks
from pgbaton.insights import CAP, Explanation, JobFilter
from pgbaton.insights.bounded import at_most
from pgbaton.insights.reasons import SENTENCES
from pgbaton.install.attach import attach
from pgbaton.table import table_of
from stage_server import Call, Say, StageServer, work

LAPSED = "UPDATE pgbaton.workers SET renewed_at = now() - interval '2 s', expires_at = now() - interval '1.99 s'"


@asynccontextmanager
async def read(dsn: str, *behave: object, **changes: object) -> AsyncIterator[tuple[Line, asyncpg.Connection]]:
    async with line(dsn, *behave, **changes) as craft, craft.db.acquire() as conn:
        yield craft, conn


async def _why(craft: Line, conn: asyncpg.Connection, job: str) -> Explanation:
    found = await insights.explain(conn, await table_of(conn, None), job)
    assert found is not None
    assert "{" not in found.sentence("ko") + found.sentence("en")
    return found


# -- why a job is where it is ----------------------------------------------------------------------------


async def test_a_job_that_waits_is_explained_by_what_keeps_it_most(database: str) -> None:
    async with read(database, cut_concurrency=1) as (craft, conn):
        jobs = [await craft.add() for _ in range(4)]
        last = jobs[-1]
        assert (await _why(craft, conn, last)).code == "no_worker"
        store = await craft.store()
        worker, _ = await store.take_lease(None, "w", 1, 60, ())
        assert (await _why(craft, conn, last)).sentence() == "waiting for a worker to call cut, 3 before it"
        await store.turn(worker, 1)
        said = await _why(craft, conn, last)
        assert said.sentence() == "waiting for a slot of cut (at most 1 at once), 2 before it"
        assert said.sentence("ko") == "cut 단계의 빈자리를 기다립니다(동시 1건까지). 앞에 2건 있습니다"
        assert (await _why(craft, conn, jobs[0])).code == "calling"
        await store.strike("cut", probed=False)
        assert (await _why(craft, conn, last)).code == "circuit_open"
        await operate.pause(conn, "craft", "cut", who="m")
        assert (await _why(craft, conn, last)).sentence() == "the stage cut is paused"
        await operate.pause_tenant(conn, await table_of(conn, None), "acme", who="m")
        await operate.pause(conn, "craft", who="m")
        assert (await _why(craft, conn, last)).code == "paused_pipeline"
        await operate.resume(conn, "craft", who="m")
        await operate.resume(conn, "craft", "cut", who="m")
        assert (await _why(craft, conn, last)).sentence() == "the tenant acme is paused"
        await conn.execute(LAPSED)
        assert (await _why(craft, conn, jobs[0])).code == "lost_no_worker"
        await store.take_lease(None, "other", 1, 60, ())
        assert (await _why(craft, conn, jobs[0])).code == "lost_worker"


async def test_a_retry_says_which_when_and_why(database: str) -> None:
    async def fail(server: StageServer, call: Call) -> Say:
        return Say(500)

    async with read(database, fail, cut_attempts=2) as (craft, conn), craft.worker():
        job = await craft.add()
        await craft.until_state(job, "cut", "retryable")
        await conn.execute("UPDATE pgbaton.calls SET due_at = now() + interval '12.4 s'")
        said = await _why(craft, conn, job)
        assert said.sentence() == "cut: attempt 2 of 2 in 12 s after HTTP 500"
        assert said.moves
        await craft.make_due()
        await operate.retry(conn, await table_of(conn, None), [job], who="m")
        await craft.until_state(job, "cut", "dead")
        assert (await _why(craft, conn, job)).sentence() == "dead at cut, attempts made: 2. HTTP 500"


async def test_a_stage_that_was_accepted_works_on_until_its_time_is_over(database: str) -> None:
    async def accept(server: StageServer, call: Call) -> Say:
        await server.move(call, "running")
        return Say(202)

    async with read(database, accept) as (craft, conn), craft.worker():
        job = await craft.add()
        await craft.until_row(job, "cut", "running")
        for _ in range(500):
            said = await _why(craft, conn, job)
            if said.code != "calling":
                break
        assert said.code == "working"
        assert said.sentence() in {
            f"the stage cut has been working on it for {n} s; given up in 10 min" for n in range(3)
        }


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (("glue", "done"), "done"),
        (("made", "running"), "not_routed"),
        ((None, None), "not_routed"),
        (("cut", "failed"), "not_routed"),
    ],
)
async def test_where_nothing_is_to_be_called_that_is_said(database: str, at: tuple[str, str], code: str) -> None:
    async with read(database) as (craft, conn):
        job = await craft.add(*at)
        assert (await _why(craft, conn, job)).code == code


async def test_rows_that_no_trigger_saw_and_rows_that_are_gone_are_told_apart(database: str) -> None:
    async with read(database) as (craft, conn):
        gone = await craft.add()
        await conn.execute("DELETE FROM jobs")
        await conn.execute("ALTER TABLE jobs DISABLE TRIGGER USER")
        missed = await craft.add()
        assert (await _why(craft, conn, gone)).code == "gone"
        assert (await _why(craft, conn, missed)).code == "dispatch_missing"
        table = await table_of(conn, None)
        for unknown in (str(uuid.uuid4()), "no uuid", "\x00"):
            assert await insights.explain(conn, table, unknown) is None
            assert await insights.job(conn, table, unknown) is None


def test_every_reason_has_a_sentence_in_both_languages() -> None:
    for code, (korean, english) in SENTENCES.items():
        assert korean != english, code
        names = ("stage", "tenant", "error", "worker", "step", "status", "begun", "until")
        numbers = ("attempt", "attempts", "seconds", "since", "before", "limit", "strikes")
        values = dict.fromkeys((*names, "pool", "users", "choices", "then", "children", "child", "doing"), "x")
        values |= dict.fromkeys((*numbers, "size", "used", "about", "configured", "done", "left", "total"), 7)
        for language in ("ko", "en"):
            assert "{" not in Explanation(code, True, values).sentence(language)  # type: ignore[arg-type]


# -- one job ---------------------------------------------------------------------------------------------


async def test_a_jobs_timeline_has_a_bar_for_each_time_it_waited_ran_or_backed_off(database: str) -> None:
    async def fail_once(server: StageServer, call: Call) -> Say:
        if call.attempt == 1:
            return Say(500)
        await server.move(call, "running")
        await server.move(call, "done")
        return Say()

    async with read(database, fail_once) as (craft, conn), craft.worker():
        job = await craft.add()
        await craft.until_row(job, "glue", "done")
        seen = await insights.job(conn, await table_of(conn, None), job)
        assert seen is not None
        assert seen.row is not None
        assert (seen.row.step, seen.row.status, seen.row.tenant) == ("glue", "done", "acme")
        assert [d.stage for d in seen.dispatches] == ["cut", "glue"]
        cut = seen.dispatches[0]
        assert [(s.kind, s.attempt) for s in cut.timeline] == [
            ("waiting", None),
            ("running", 1),
            ("backoff", None),
            ("running", 2),
        ]
        assert [(a.outcome, a.http_status, a.error) for a in cut.attempts] == [
            ("failed", 500, "HTTP 500"),
            ("completed", 200, None),
        ]
        assert {a.url for a in cut.attempts} == {f"{craft.server.base_url}/cut"}
        assert all(one.end == two.start for one, two in zip(cut.timeline, cut.timeline[1:], strict=False))
        assert seen.explanation.code == "done"


async def test_all_hops_of_one_run_are_one_trace_and_a_new_run_is_another(database: str) -> None:
    async with read(database) as (craft, conn), craft.worker():
        job = await craft.add()
        await craft.until_row(job, "glue", "done")
        await craft.put(job, "made", "running")
        await craft.put(job, "made", "done")
        await craft.until_row(job, "glue", "done")
        seen = await insights.job(conn, await table_of(conn, None), job)
        assert seen is not None
        traces = [d.trace for d in seen.dispatches]
        assert traces[0] == traces[1] != traces[2] == traces[3]
        sent = [c.headers["traceparent"].split("-") for c in craft.server.calls]
        assert [s[1] for s in sent] == traces
        assert len({s[2] for s in sent}) == 4


# -- lists -----------------------------------------------------------------------------------------------


async def test_filters_combine_and_pages_follow_one_another(database: str) -> None:
    async with read(database) as (craft, conn):
        await craft.add_many(7)
        other = str(
            await conn.fetchval(
                "INSERT INTO jobs (tenant_id, current_step, status) VALUES ('50%_off', 'cut', 'done') RETURNING job_id"
            )
        )
        first = await insights.list_jobs(conn, JobFilter("craft", stages=("cut",), tenants=("acme",)), None, 5)
        second = await insights.list_jobs(conn, JobFilter("craft", stages=("cut",), tenants=("acme",)), first.next, 5)
        assert (len(first.jobs), len(second.jobs), second.next) == (5, 2, None)
        assert [j.id for j in first.jobs + second.jobs] == [7, 6, 5, 4, 3, 2, 1]
        for wanted in (
            JobFilter("craft", stages=("glue",)),
            JobFilter("craft", tenants=("50%_off",)),
            JobFilter("craft", jobs=(other,)),
            JobFilter("craft", job_prefix=other[:13], states=("available", "running")),
            JobFilter(None, jobs=(other,)),
        ):
            assert [j.job_key for j in (await insights.list_jobs(conn, wanted)).jobs] == [other]
        for nothing in (
            JobFilter("craft", job_prefix="%"),
            JobFilter("craft", until=60),
            JobFilter("craft", error="_"),
            JobFilter("other"),
        ):
            assert (await insights.list_jobs(conn, nothing)).jobs == ()
        await conn.execute("UPDATE pgbaton.due SET created_at = now() - interval '2 min' WHERE id <= 3")
        several = JobFilter("craft", stages=("cut", "glue"), tenants=("acme", "50%_off"), since=3600.0)
        assert {j.stage for j in (await insights.list_jobs(conn, several)).jobs} == {"cut", "glue"}
        assert (await insights.list_jobs(conn, replace(several, until=3600.0))).jobs == ()
        now = await conn.fetchval("SELECT clock_timestamp()")
        assert (await insights.list_jobs(conn, JobFilter("craft", since=now))).jobs == ()
        assert len((await insights.list_jobs(conn, JobFilter("craft", until=now))).jobs) > 1
        old = await insights.list_jobs(conn, JobFilter("craft", until=60))
        assert [j.id for j in old.jobs] == [3, 2, 1]


async def test_a_filter_that_takes_too_long_says_so_instead_of_keeping_anybody_waiting(database: str) -> None:
    async with read(database) as (craft, conn):
        await craft.add()
        async with craft.db.acquire() as other, other.transaction():
            await other.execute("LOCK TABLE pgbaton.history")
            page = await insights.list_jobs(conn, JobFilter("craft", error="nowhere"), timeout=0.05)
        assert (page.too_wide, page.jobs, page.next) == (True, (), None)
        assert not (await insights.list_jobs(conn, JobFilter("craft", error="nowhere"))).too_wide
        assert await conn.fetchval("SHOW statement_timeout") == "0"


async def test_a_search_for_an_error_is_made_in_bounded_parts_that_leave_nothing_out(database: str) -> None:
    async with read(database) as (_, conn):
        await conn.execute(
            "INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, stage, run, outcome, state, error, "
            "                             created_at, started_at) "
            "SELECT n, a, true, 'craft', n, 'cut', n, 'failed', CASE WHEN a = 2 THEN "
            "           CASE n % 2 WHEN 0 THEN 'dead' ELSE 'completed' END END, "
            "       CASE WHEN a = 1 OR n % 2 = 0 THEN 'HTTP 500 of ' || n || ', try ' || a END, now(), now() "
            "  FROM generate_series(1, 40) AS n, generate_series(1, 2) AS a"
        )

        async def found(wanted: JobFilter, look_back: int | None) -> tuple[list[int], list[bool]]:
            ids: list[int] = []
            bounded: list[bool] = []
            before: int | None = None
            while True:
                page = await insights.list_jobs(conn, wanted, before, 6, look_back=look_back)
                ids += [job.id for job in page.jobs]
                bounded.append(page.searched_back is not None)
                if page.next is None:
                    return ids, bounded
                before = page.next

        everything = list(range(40, 0, -2))
        for wanted, what in (
            (JobFilter("craft", error="try 2"), everything),
            (JobFilter("craft", error_group="HTTP 500 of …, try …"), everything),
            (JobFilter("craft", error="of 2,", stages=("cut",)), [2]),
            (JobFilter("craft", error="try 1"), []),
            (JobFilter("craft", error="try 2", latest=True), everything),
        ):
            assert (await found(wanted, None))[0] == what
            for size in (1, 7, 1000):
                ids, bounded = await found(wanted, size)
                assert ids == what
                assert any(bounded) == (size < 1000)
        few = await found(JobFilter("craft", states=("dead",), error="try 2"), 1)
        assert few == (everything, [False] * 4)


# -- at a size -------------------------------------------------------------------------------------------


async def test_three_hundred_thousand_dispatches_are_looked_at_without_reading_them_all(database: str) -> None:
    async with read(database) as (_, conn):
        await conn.execute(
            "INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, run, outcome, "
            "state, error, "
            "                             created_at, started_at, ended_at) "
            "SELECT n, 1, true, 'craft', gen_random_uuid(), 't' || n % 500, "
            "CASE n % 2 WHEN 0 THEN 'cut' ELSE 'glue' END, n, "
            "       'completed', CASE WHEN n % 1000 = 0 THEN 'dead' ELSE 'completed' END, "
            "       CASE WHEN n % 1000 = 0 THEN 'HTTP 500' END, t, t, t "
            "  FROM generate_series(1, 180000) AS n, LATERAL (SELECT now() - make_interval(secs => (180000 - n) "
            "/ 10.0)) AS x (t)"
        )
        await conn.execute(
            "INSERT INTO pgbaton.due (id, pipeline, stage, job_key, tenant, step, status) OVERRIDING SYSTEM VALUE "
            "SELECT n, 'craft', CASE n % 2 WHEN 0 THEN 'cut' ELSE 'glue' END, gen_random_uuid(), 't' || n % 500, "
            "       CASE n % 2 WHEN 0 THEN 'made' ELSE 'cut' END, 'done' FROM generate_series(180001, 200000) AS n"
        )
        await conn.execute(
            "INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, tenant, run, attempt, created_at, "
            "due_at, waits_for) "
            "SELECT 'craft', gen_random_uuid(), n, 'cut', 'made', 't' || n % 500, n, 0, now(), pgbaton.parked(), 'cut' "
            "  FROM generate_series(200001, 300000) AS n"
        )
        await conn.execute("ANALYZE pgbaton.history, pgbaton.due, pgbaton.calls")
        seen = await _quick(insights.overview(conn, "craft"))
        assert [(s.waiting, s.parked, s.dead) for s in seen.stages] == [(10_000, CAP + 1, 180), (10_000, 0, 0)]
        assert seen.minutes_capped
        assert len(seen.minutes) == 60
        assert max(minute.completed for minute in seen.minutes) > 500
        counted = await _quick(insights.status(conn))
        assert [(s.available, s.dead, s.cancelled) for s in counted.stages] == [(CAP + 1, 180, 0), (10_000, 0, 0)]
        assert sum(s.completed for s in counted.stages) == 20_000
        assert counted.completed_capped
        for wanted in (
            JobFilter("craft"),
            JobFilter("craft", states=("dead",)),
            JobFilter("craft", states=("completed",), tenants=("t7",)),
            JobFilter("craft", states=("running",)),
            JobFilter("craft", tenants=("nobody",)),
            JobFilter("craft", until=15_000),
            JobFilter("craft", until=15_000, states=("dead",)),
            JobFilter("craft", since=600, tenants=("t7", "nobody")),
            JobFilter("craft", since=1, stages=("cut",)),
            JobFilter("craft", tenants=("nobody", "t7"), states=("completed",)),
            JobFilter("craft", job_prefix="abc"),
            JobFilter("craft", states=("dead",), latest=True),
        ):
            page = await _quick(insights.list_jobs(conn, wanted))
            assert not page.too_wide
        assert "using history_troubled on" in await _plan(conn, JobFilter("craft", states=("dead",), latest=True))
        everything = await _plan(conn, JobFilter("craft", latest=True))
        assert "using history_ends on" in everything
        assert "using due_of_stage on" in everything
        assert await _quick(insights.listing.count_jobs(conn, JobFilter("craft"))) == CAP + 1
        assert insights.shown_count(CAP + 1) == "10,000+"
        assert await _quick(insights.listing.count_jobs(conn, JobFilter("craft", tenants=("t7",)))) == 600


async def _plan(conn: asyncpg.Connection, wanted: JobFilter) -> str:
    """How a page of dispatches is read: in order, by an index, and no further than it is shown."""
    query = f"EXPLAIN {insights.listing._query('list_jobs', wanted)}"
    async with at_most(conn, 5):
        plan = "\n".join(
            r[0] for r in await conn.fetch(query, *await insights.listing.arguments(conn, wanted, None, 51))
        )
    assert "Seq Scan on history" not in plan
    assert "Seq Scan on due" not in plan
    return plan


async def _quick(looking):
    began = time.monotonic()
    seen = await looking
    assert time.monotonic() - began < 1.5
    return seen


async def test_an_unknown_pipeline_is_named(database: str) -> None:
    async with read(database) as (_, conn):
        with pytest.raises(ConfigError, match="no pipeline 'other'"):
            await insights.overview(conn, "other")


@pytest.mark.parametrize(
    "made",
    ["DROP TRIGGER job_state_change_trigger ON jobs", "ALTER TABLE jobs DISABLE TRIGGER job_state_change_trigger"],
)
async def test_a_trigger_that_somebody_dropped_or_disabled_is_told_of_when_a_worker_starts_and_on_the_page(
    database: str, made: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with read(database) as (craft, conn):
        assert await _of_triggers(conn) == []
        await conn.execute(made)
        assert await _of_triggers(conn) == ["job_state_change_trigger"]
        async with craft.worker():
            told = [record for record in caplog.records if getattr(record, "event", None) == "trigger_missing"]
        assert [r.levelname for r in told] == ["ERROR"]
        assert "public.jobs" in told[0].getMessage()
        assert "pgbaton attach" in told[0].getMessage()
        await attach(conn, craft.pipeline)
        assert await _of_triggers(conn) == []


async def _of_triggers(conn: asyncpg.Connection) -> list[object]:
    return [f.values["trigger"] for f in await checks(conn, "craft") if f.code.startswith("trigger_")]


async def test_the_overview_tells_circuits_workers_and_speed(database: str) -> None:
    async with read(database) as (craft, conn), craft.worker(capacity=3):
        for _ in range(5):
            await craft.add()
        await craft.until_settled()
        await conn.execute(
            "UPDATE pgbaton.stages SET strikes = 2, open_until = now() + interval '9 s' WHERE step = 'cut'"
        )
        await conn.execute("UPDATE pgbaton.stages SET strikes = 1 WHERE step = 'glue'")
        seen = await insights.overview(conn, "craft")
        cut, glue = seen.stages
        assert (cut.circuit.state, glue.circuit.state) == ("open", "half-open")
        assert (cut.per_minute, cut.sample) == (1.0, 5)
        assert cut.wait.p95 is not None
        assert cut.wait.p95 >= (cut.wait.p50 or 0)
        assert [(w.capacity, w.alive) for w in seen.workers] == [(3, True)]
        assert sum(m.completed for m in seen.minutes) == 10


async def test_a_stage_whose_sample_holds_no_first_attempt_has_no_wait_to_tell(database: str) -> None:
    async def fails_at_first(server: StageServer, call: Call) -> Say:
        return Say(500) if call.attempt == 1 else await work(server, call)

    async with line(database, fails_at_first) as craft, craft.worker():
        job = await craft.add("cut", "done")
        await craft.until_state(job, "glue", "retryable")
        await craft.make_due()
        await craft.until_settled()
        async with craft.db.acquire() as conn:
            seen = await insights.overview(conn, "craft")
    [glue] = [stage for stage in seen.stages if stage.stage == "glue"]
    assert (glue.sample, glue.wait.p50, glue.work.p50 is not None) == (1, None, True)
