"""A worker against a real table and real stages: jobs move, once, and by themselves."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from urllib.parse import urlsplit

import pytest

from line import Line, line, until
from pgbaton.errors import AttachError
from stage_server import Call, Say, StageServer, work


async def test_a_job_moves_itself_through_every_stage(database: str) -> None:
    async with line(database) as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "glue", "done")
        assert [c.path for c in craft.server.calls] == ["/cut", "/glue"]
        assert craft.server.calls[0].body == {"job_id": job, "tenant_id": "acme"}
        assert [c.attempt for c in craft.server.calls] == [1, 1]
        assert await craft.states(job) == [("cut", "completed"), ("glue", "completed")]
        await craft.until_settled()


async def test_many_jobs_and_workers_call_every_stage_once(database: str) -> None:
    async with line(database) as craft, craft.worker(), craft.worker(), craft.worker():
        await craft.add_many(200)
        await until(lambda: _count(craft, 200), "200 jobs done", 30)
        seen = [(c.job_id, c.path) for c in craft.server.calls]
        assert len(seen) == len(set(seen)) == 400


async def _count(craft, wanted: int) -> bool:
    query = "SELECT count(*) = $1 FROM jobs WHERE (current_step, status) = ('glue', 'done')"
    return await craft.db.fetchval(query, wanted)


async def _any_done(craft) -> bool:
    query = "SELECT count(*) >= 20 FROM jobs WHERE (current_step, status) = ('glue', 'done')"
    return await craft.db.fetchval(query)


async def test_jobs_that_were_ready_before_the_worker_started_are_called(database: str) -> None:
    async with line(database) as craft:
        job = await craft.add()
        async with craft.worker():
            await craft.until_row(job, "glue", "done")


async def test_without_a_channel_the_engines_own_signal_wakes_it(database: str) -> None:
    async with line(database, channel=None) as craft, craft.worker(poll=60):
        asleep = (
            "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted "
            "   AND classid = 72394502 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        await until(lambda: craft.db.fetchval(asleep), "the worker sleeps")
        job = await craft.add()
        await craft.until_row(job, "glue", "done", 5)


async def test_a_job_that_lagged_behind_in_its_transaction_is_called_while_there_is_much_to_do(database: str) -> None:
    async with line(database, channel=None) as craft, craft.db.acquire() as late:
        transaction = late.transaction()
        await transaction.start()
        job = str(
            await late.fetchval("INSERT INTO jobs (current_step, status) VALUES ('made', 'done') RETURNING job_id")
        )
        await asyncio.sleep(1.5)  # longer than claims look back while they bring something
        await craft.add_many(2000)
        async with craft.worker(capacity=2, poll=60):
            await until(lambda: _any_done(craft), "some of them done")
            await transaction.commit()
            await craft.until_row(job, "glue", "done", 5)
            waiting = "SELECT count(*) FROM pgbaton.dispatches WHERE state = 'available'"
            assert await craft.db.fetchval(waiting) > 200  # it was not by chance, at the end


async def test_a_stage_that_fails_is_retried_under_the_same_idempotency_key(database: str) -> None:
    async def fail_once(server: StageServer, call: Call) -> Say:
        if call.attempt == 1:
            await server.move(call, "running")
            return Say(500)
        return await work(server, call)

    async with line(database, fail_once) as craft, craft.worker():
        job = await craft.add()
        await craft.until_state(job, "cut", "completed")
        first, second = craft.server.calls_to("/cut")
        assert first.idempotency_key == second.idempotency_key
        assert (first.attempt, second.attempt) == (1, 2)
        await craft.until_row(job, "glue", "done")
        cut = (await craft.dispatches(job))[0]
        assert (cut["attempt"], cut["failures"]) == (2, 1)
        assert [a["outcome"] for a in await craft.attempts()][:2] == ["failed", "completed"]


async def test_after_its_last_attempt_a_dispatch_is_dead_and_the_row_failed(database: str) -> None:
    async def fail(server: StageServer, call: Call) -> Say:
        return Say(500)

    async with line(database, fail, cut_attempts=2) as craft, craft.worker():
        job = await craft.add()
        await craft.until_state(job, "cut", "dead")
        assert await craft.row(job) == ("cut", "failed")
        assert len(craft.server.calls) == 2


async def test_a_stage_that_marks_its_job_failed_is_retried_from_its_entry_state(database: str) -> None:
    async def mark_failed_once(server: StageServer, call: Call) -> Say:
        await server.move(call, "running")
        if call.attempt == 1:
            await server.move(call, "failed")
            return Say(500)
        await server.move(call, "done")
        return Say()

    async with line(database, mark_failed_once) as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "glue", "done")
        assert [c.path for c in craft.server.calls] == ["/cut", "/cut", "/glue", "/glue"]


async def test_a_stage_that_hangs_is_a_failure_not_a_stage_that_is_down(database: str) -> None:
    async def hang(server: StageServer, call: Call) -> Say:
        await asyncio.sleep(60)
        return Say()

    async with line(database, hang, cut_timeout=0.3, cut_attempts=1) as craft, craft.worker():
        job = await craft.add()
        await craft.until_state(job, "cut", "dead")
        assert (await craft.attempts())[0]["error"] == "no answer within 0.3 s"
        assert await craft.db.fetchval("SELECT sum(strikes) FROM pgbaton.stages") == 0


async def test_a_worker_that_a_policy_hides_rows_from_cancels_nothing(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def refused() -> bool:
        return "affected by row-level security" in caplog.text

    async with line(database) as craft:
        name = f"hidden_{craft.pipeline.name}_{id(craft)}"
        await craft.db.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
        try:
            await craft.db.execute(
                f"GRANT USAGE ON SCHEMA pgbaton TO {name}; GRANT ALL ON ALL TABLES IN SCHEMA pgbaton, public TO {name};"
                f"GRANT ALL ON ALL FUNCTIONS IN SCHEMA pgbaton TO {name}"
            )
            url = urlsplit(craft.dsn)
            hidden = url._replace(netloc=f"{name}:x@{url.hostname}:{url.port}").geturl()
            async with craft.worker(database_url=hidden):
                await craft.db.execute("ALTER TABLE jobs ENABLE ROW LEVEL SECURITY")
                job = await craft.add()
                await until(refused, "the worker was refused")
                assert await craft.states(job) == [("cut", "available")]
            with pytest.raises(AttachError, match=r"row-level security of 'public\.jobs' holds for this role"):
                async with craft.worker(database_url=hidden):
                    pass
            assert await craft.states(job) == [("cut", "available")]
        finally:
            await craft.db.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


async def test_an_answer_that_was_lost_after_the_commit_changes_nothing(database: str) -> None:
    async def cut_off(server: StageServer, call: Call) -> Say:
        await work(server, call)
        return Say(cut=True)

    async with line(database, cut_off) as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "glue", "done")
        await craft.until_settled()
        assert len(craft.server.calls) == 2


async def test_an_accepted_stage_is_settled_by_its_own_later_commit(database: str) -> None:
    async def accept(server: StageServer, call: Call) -> Say:
        await server.move(call, "running")
        return Say(202)

    async with line(database, accept) as craft, craft.worker():
        job = await craft.add()
        await until(lambda: _accepted(craft), "accepted")
        await craft.put(job, "cut", "done")
        await craft.until_state(job, "cut", "completed")
        assert len(craft.server.calls_to("/cut")) == 1


async def _accepted(craft) -> bool:
    return await craft.db.fetchval("SELECT count(*) = 1 FROM pgbaton.attempts WHERE outcome = 'accepted'")


async def test_an_accepted_stage_is_given_up_at_its_timeout(database: str) -> None:
    async def accept_once(server: StageServer, call: Call) -> Say:
        await server.move(call, "running")
        if call.attempt == 1:
            return Say(202)
        await server.move(call, "done")
        return Say()

    async with line(database, accept_once, cut_timeout=1.0) as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "glue", "running")
        assert len(craft.server.calls_to("/cut")) == 2
        assert (await craft.attempts())[0]["outcome"] == "timeout"


async def test_a_stage_that_keeps_no_state_is_a_breach(database: str) -> None:
    async def say_yes(server: StageServer, call: Call) -> Say:
        return Say()

    async with line(database, say_yes) as craft, craft.worker():
        job = await craft.add()
        await craft.until_state(job, "cut", "dead")
        attempt = (await craft.attempts())[0]
        assert attempt["outcome"] == "breach"
        assert "kept no state" in attempt["error"]
        assert await craft.row(job) == ("cut", "failed")


async def test_a_stage_that_answers_before_it_commits_is_no_breach(database: str) -> None:
    async def early(server: StageServer, call: Call) -> Say:
        server.later(0.7, work(server, call))
        return Say()

    async with line(database, early) as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "glue", "done")
        assert await craft.states(job) == [("cut", "completed"), ("glue", "completed")]


async def test_one_held_row_does_not_keep_other_answers_from_being_settled(database: str) -> None:
    async def fail(server: StageServer, call: Call) -> Say:
        return Say(500)

    async with line(database, fail, cut_attempts=1) as craft:
        held, free = await craft.add(), await craft.add()
        async with craft.db.acquire() as conn, conn.transaction():
            await conn.execute("SELECT FROM jobs WHERE job_id = $1::text::uuid FOR UPDATE", held)
            async with craft.worker():
                await craft.until_state(free, "cut", "dead", 2)
                assert await craft.states(held) == [("cut", "running")]
                await conn.execute("SELECT 1")
        assert await craft.row(free) == ("cut", "failed")


async def test_the_engine_writes_running_and_done_for_a_plain_endpoint(database: str) -> None:
    seen = []

    async def plain(server: StageServer, call: Call) -> Say:
        query = "SELECT current_step || ' ' || status FROM jobs WHERE job_id::text = $1"
        seen.append(await server.pool.fetchval(query, call.job_id))
        return Say()

    async with line(database, plain, cut_advance="engine", glue_advance="engine") as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "glue", "done")
        assert seen == ["cut running", "glue running"]
        await craft.until_settled()


async def test_not_now_burns_no_attempt_and_obeys_retry_after(database: str) -> None:
    async def busy_twice(server: StageServer, call: Call) -> Say:
        if call.path == "/cut" and call.attempt <= 2:
            return Say(503, {"retry-after": "0"})
        return await work(server, call)

    async with line(database, busy_twice, cut_attempts=1) as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "glue", "done")
        cut = (await craft.dispatches(job))[0]
        assert (cut["attempt"], cut["failures"]) == (3, 0)


async def test_a_rejected_job_is_dead_at_once_with_the_stages_own_words(database: str) -> None:
    async def reject(server: StageServer, call: Call) -> Say:
        problem = b'{"title": "No photo", "detail": "there is\\nnothing to cut"}'
        return Say(422, {"content-type": "application/problem+json"}, problem)

    async with line(database, reject) as craft, craft.worker():
        job = await craft.add()
        await craft.until_state(job, "cut", "dead")
        assert (await craft.attempts())[0]["error"] == "HTTP 422 No photo: there is nothing to cut"
        assert len(craft.server.calls) == 1


@pytest.mark.parametrize(
    ("keep", "kept"), [("none", [None, None]), ("failures", ["bad � ", None]), ("all", ["bad � ", "{}"])]
)
async def test_answers_are_kept_as_far_as_the_setting_lets_them(
    database: str, keep: str, kept: list[str | None]
) -> None:
    async def once_bad(server: StageServer, call: Call) -> Say:
        return Say(500, body=b"bad \xff \x00") if call.attempt == 1 else await work(server, call)

    async with line(database, once_bad) as craft, craft.worker(keep_answers=keep):
        job = await craft.add()
        await craft.until_state(job, "cut", "completed")
        await until(lambda: _two_noted(craft), "both answers of the stage noted")
        assert [a["answer"] for a in (await craft.attempts())[:2]] == kept


async def _two_noted(craft) -> bool:
    return await craft.db.fetchval("SELECT count(http_status) = 2 FROM pgbaton.attempts WHERE dispatch_id = 1")


async def test_a_redirect_is_not_followed(database: str) -> None:
    async def redirect(server: StageServer, call: Call) -> Say:
        return Say(307, {"location": "/inner"})

    async with line(database, redirect, cut_attempts=1) as craft, craft.worker():
        job = await craft.add()
        await craft.until_state(job, "cut", "retryable")
        assert {c.path for c in craft.server.calls} == {"/cut"}


async def test_the_fleets_limit_for_a_stage_holds_across_workers(database: str) -> None:
    at_once: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def slow(server: StageServer, call: Call) -> Say:
        at_once[call.path] += 1
        most[call.path] = max(most[call.path], at_once[call.path])
        await asyncio.sleep(0.02)
        at_once[call.path] -= 1
        return await work(server, call)

    async with line(database, slow, cut_concurrency=3, glue_concurrency=2) as craft:
        await craft.add_many(40)
        async with craft.worker(), craft.worker(), craft.worker():
            await until(lambda: _count(craft, 40), "40 jobs done", 30)
        assert most == {"/cut": 3, "/glue": 2}


async def test_a_deleted_jobs_dispatch_is_cancelled_and_its_late_answer_changes_nothing(database: str) -> None:
    gate = asyncio.Event()

    async def hang(server: StageServer, call: Call) -> Say:
        await gate.wait()
        return Say()

    async with line(database, hang) as craft, craft.worker():
        job = await craft.add()
        await craft.server.called.wait()
        await craft.db.execute("DELETE FROM jobs")
        gate.set()
        await craft.until_state(job, "cut", "cancelled")
        await until(lambda: _finished(craft), "the attempt finished")
        assert await craft.states(job) == [("cut", "cancelled")]


async def _finished(craft) -> bool:
    return await craft.db.fetchval(
        "SELECT bool_and(finished_at IS NOT NULL AND http_status = 200) FROM pgbaton.attempts"
    )


async def test_a_worker_that_died_is_noticed_and_its_dispatch_called_again(database: str) -> None:
    async with line(database) as craft:
        job = await craft.add()
        store = await craft.store()
        gone, _ = await store.take_lease(None, "gone", 1, 1.0, [])
        assert [c.attempt for c in (await store.turn(gone, 5)).claimed] == [1]
        async with craft.worker():
            await craft.until_row(job, "glue", "done")
        cut = craft.server.calls_to("/cut")
        assert [c.attempt for c in cut] == [2]
        assert (await craft.attempts())[0]["outcome"] == "lost"


async def test_a_call_that_was_claimed_though_the_answer_to_the_claim_was_lost_goes_back(database: str) -> None:
    async with line(database, channel=None) as craft, craft.worker(poll=0.2):
        worker = await craft.db.fetchval("SELECT id FROM pgbaton.workers")
        job = await craft.add("made", "running")
        async with craft.db.acquire() as conn, conn.transaction():
            await conn.execute("UPDATE jobs SET status = 'done'")
            # The worker's lease claims in a session that the worker knows nothing of, as a turn does whose answer is lost.
            lost = await craft.store(conn)
            assert len((await lost.turn(worker, 5)).claimed) == 1
        # A turn that raises puts the lease in doubt: the worker takes another, and what the old one held is lost.
        await craft.db.execute("ALTER TABLE pgbaton.paused_tenants RENAME TO paused_away")
        await until(lambda: _renamed(craft, worker), "the worker has taken a new lease")
        await craft.db.execute("ALTER TABLE pgbaton.paused_away RENAME TO paused_tenants")
        await craft.until_row(job, "glue", "done")
        assert [c.attempt for c in craft.server.calls_to("/cut")] == [2]


async def _renamed(craft: Line, worker: int) -> bool:
    query = "SELECT count(*) > 0 FROM pgbaton.workers WHERE id > $1"
    return await craft.db.fetchval(query, worker)


async def test_draining_waits_for_the_call_under_way(database: str) -> None:
    async def slow(server: StageServer, call: Call) -> Say:
        await asyncio.sleep(0.5)
        return await work(server, call)

    async with line(database, slow) as craft:
        job = await craft.add()
        async with craft.worker():
            await craft.server.called.wait()
        assert await craft.row(job) == ("cut", "done")
        assert await craft.states(job) == [("cut", "completed"), ("glue", "available")]
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.workers WHERE ended_at IS NULL") == 0


async def test_a_drain_that_runs_out_of_time_gives_its_dispatch_back_unburned(database: str) -> None:
    async def hang(server: StageServer, call: Call) -> Say:
        await asyncio.sleep(60)
        return Say()

    async with line(database, hang) as craft:
        job = await craft.add()
        async with craft.worker(drain_timeout=0.2):
            await craft.server.called.wait()
        dispatch = (await craft.dispatches(job))[0]
        assert (dispatch["state"], dispatch["failures"], dispatch["worker"]) == ("available", 0, None)
        assert (await craft.attempts())[0]["outcome"] == "released"


async def test_a_job_begun_by_hand_is_not_called_a_second_time(database: str) -> None:
    async with line(database) as craft:
        job = await craft.add()
        await craft.put(job, "cut", "running")
        async with craft.worker():
            await until(lambda: _waits(craft), "the dispatch waits for the stage")
            assert craft.server.calls == []
            await craft.put(job, "cut", "done")
            await craft.until_row(job, "glue", "done")
        assert [c.path for c in craft.server.calls] == ["/glue"]


async def _waits(craft) -> bool:
    return await craft.db.fetchval("SELECT count(*) = 1 FROM pgbaton.dispatches WHERE deadline IS NOT NULL")


async def test_a_paused_stage_is_not_called_until_it_is_resumed(database: str) -> None:
    async with line(database) as craft, craft.worker():
        await craft.db.execute("UPDATE pgbaton.stages SET paused_at = now() WHERE step = 'glue'")
        job = await craft.add()
        await craft.until_row(job, "cut", "done")
        later = await craft.add()
        await craft.until_row(later, "cut", "done")  # the worker has taken turns since
        assert await craft.row(job) == ("cut", "done")
        await craft.db.execute("UPDATE pgbaton.stages SET paused_at = NULL")
        await craft.until_row(job, "glue", "done")


async def test_a_row_moved_elsewhere_by_hand_cancels_its_dispatch(database: str) -> None:
    async with line(database) as craft:
        job = await craft.add()
        await craft.put(job, "archived", "done")
        async with craft.worker():
            await craft.until_settled()
        assert await craft.states(job) == [("cut", "cancelled")]
        assert craft.server.calls == []


async def test_a_duty_of_a_job_that_is_not_there_is_cancelled(database: str) -> None:
    async with line(database) as craft:
        await craft.db.execute(
            "INSERT INTO pgbaton.due (pipeline, job_key, stage, step, status) VALUES ('craft', $1, 'cut', 'made', 'done')",
            str(uuid.uuid4()),
        )
        async with craft.worker():
            await craft.until_settled()
        assert [s for _, s in await craft.states()] == ["cancelled"]
        assert craft.server.calls == []
