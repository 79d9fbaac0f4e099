"""Pipelines that branch, go back, skip and wait, run by a real worker."""

from __future__ import annotations

import pytest

from graph_line import called, graph_line, stage, told
from line import until
from pgbaton import insights, operate
from pgbaton.table import read_table, table_of
from pgbaton.worker.store import Store

JUDGED = [stage("plan", "made"), stage("judge", "plan")]
BACK = {"after": "judge", "status": "rejected", "to": "plan", "rounds": 2, "then": ["judge", "given_up"]}


async def test_a_rejected_job_goes_back_so_often_and_then_to_its_named_end(database: str) -> None:
    async with (
        graph_line(database, JUDGED, {"judge": told(lambda call: "rejected")}, route=[BACK]) as craft,
        craft.worker(),
    ):
        job = await craft.add()
        await craft.until_row(job, "judge", "given_up")
        assert called(craft) == ["plan", "judge"] * 3
        await craft.until_settled()
        ends = [
            (h["stage"], h["outcome"])
            for h in await craft.db.fetch(
                "SELECT stage, outcome FROM pgbaton.history WHERE stage = 'judge.rejected' ORDER BY id"
            )
        ]
        assert ends == [("judge.rejected", o) for o in ("moved", "moved", "exhausted")]


async def test_explain_names_the_round_and_a_rerun_begins_anew(database: str) -> None:
    async with (
        graph_line(database, JUDGED, {"judge": told(lambda call: "rejected")}, route=[BACK]) as craft,
        craft.worker(),
        craft.db.acquire() as conn,
    ):
        table = await table_of(conn, None)
        job = await craft.add()
        for _ in range(2):
            await craft.until_row(job, "judge", "given_up")
            await craft.until_settled()
            why = await insights.explain(conn, table, job)
            assert why is not None
            assert why.sentence().endswith("; round 2 of 2")
            assert why.sentence("ko").endswith("(되돌아가기 2회 중 2회째)")
            await operate.rerun(conn, table, job, "plan", who="kim")
        await craft.until_row(job, "judge", "given_up")
        assert called(craft) == ["plan", "judge"] * 9


async def test_rounds_are_forgotten_with_the_history_but_not_of_a_job_that_is_open(database: str) -> None:
    async with graph_line(database, JUDGED, route=[BACK]) as craft:
        closed, open_job = await craft.add("judge", "given_up"), await craft.add()
        for job in (closed, open_job):
            await craft.db.execute(
                "INSERT INTO pgbaton.rounds VALUES ('craft', $1, 'judge.rejected', 2, '-infinity')", job
            )
        await (await craft.store()).prune(3600)
        assert await craft.db.fetchval("SELECT array_agg(job_key) FROM pgbaton.rounds") == [open_job]


async def test_a_job_that_is_accepted_in_its_second_round_goes_no_further_round(database: str) -> None:
    seen: list[str] = []

    def second(call):
        seen.append(call.job_id)
        return "done" if seen.count(call.job_id) > 1 else "rejected"

    async with graph_line(database, JUDGED, {"judge": told(second)}, route=[BACK]) as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "judge", "done")
        await craft.until_settled()
        assert called(craft) == ["plan", "judge"] * 2


@pytest.mark.parametrize(("note", "way"), [("big", ["big"]), ("small", ["small"]), (None, ["rest"])])
async def test_the_first_route_that_the_row_fits_is_taken(database: str, note: str | None, way: list[str]) -> None:
    stages = [
        stage("big", "made", when="note = 'big'"),
        stage("small", "made", when="note in ('small', 'tiny') and updated_at > '2000-01-01'"),
        stage("rest", "made"),
    ]
    async with graph_line(database, stages) as craft, craft.worker():
        job = str(
            await craft.db.fetchval(
                "INSERT INTO jobs (current_step, status, note) VALUES ('made', 'done', $1) RETURNING job_id", note
            )
        )
        await craft.until_row(job, way[0], "done")
        assert called(craft) == way


async def test_a_stage_is_skipped_for_rows_that_do_not_need_it(database: str) -> None:
    stages = [stage("logo", "made", only="note = 'logo'"), stage("draw", "logo")]
    async with graph_line(database, stages) as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "draw", "done")
        await craft.until_settled()
        assert called(craft) == ["draw"]
        assert await craft.states(job) == [("logo.skipped", "completed"), ("draw", "completed")]


async def test_a_delay_keeps_a_job_until_it_is_over_and_any_move_cancels_it(database: str) -> None:
    stages = [stage("draw", "made", delay=3600)]
    async with graph_line(database, stages) as craft, craft.worker():
        job, other = await craft.add(), await craft.add()
        waiting = "SELECT count(*) = 2 FROM pgbaton.calls WHERE due_at > now() + interval '3500 s'"
        await until(lambda: craft.db.fetchval(waiting), "both wait for an hour")
        await craft.put(other, "made", "withdrawn")
        await craft.until_state(other, "made.done", "cancelled")
        await craft.db.execute(
            "UPDATE pgbaton.calls SET due_at = now(), created_at = now() - interval '2 h' WHERE job_key = $1", job
        )
        await craft.until_row(job, "draw", "done")
        assert [call.job_id for call in craft.server.calls] == [job]


async def test_a_row_waits_for_any_writer_and_goes_on_from_where_that_puts_it(database: str) -> None:
    stages = [stage("draw", "made"), stage("publish", "review", status="approved")]
    wait = {
        "at": ["review", "waiting"],
        "choices": {"approve": ["review", "approved"], "reject": ["review", "rejected"]},
        "deadline": "8h",
        "then": ["review", "rejected"],
    }
    route = {"after": "draw", "to": ["review", "waiting"]}
    async with graph_line(database, stages, route=[route], wait=[wait]) as craft, craft.worker():
        job, late = await craft.add(), await craft.add()
        for one in (job, late):
            await craft.until_row(one, "review", "waiting")
            await craft.until_state(one, "review", "running")
        await craft.put(job, "review", "approved")
        await craft.until_row(job, "publish", "done")
        await craft.db.execute("UPDATE pgbaton.calls SET deadline = now() WHERE job_key = $1", late)
        await craft.until_row(late, "review", "rejected")
        await craft.until_settled()
        outcomes = "SELECT outcome FROM pgbaton.history WHERE job_key = $1 AND stage = 'review'"
        assert await craft.db.fetchval(outcomes, job) == "decided"
        assert await craft.db.fetchval(outcomes, late) == "expired"


@pytest.mark.parametrize("end", ["approved", "done"])
async def test_a_wait_that_is_decided_while_a_worker_takes_it_up_is_told_as_decided(database: str, end: str) -> None:
    stages = [stage("draw", "made"), stage("publish", "review", status=end)]
    wait = {"at": ["review", "waiting"], "choices": {"approve": ["review", end]}}
    route = {"after": "draw", "to": ["review", "waiting"]}
    async with graph_line(database, stages, route=[route], wait=[wait]) as craft:
        async with craft.db.acquire() as conn:
            table = await read_table(conn, craft.pipeline)
        store = Store(craft.db, table, [node.step for node in craft.pipeline.nodes])
        job = await craft.add("review", "waiting")
        lost, _ = await store.take_lease(None, "lost", 1, 60, [])
        (claimed,) = (await store.turn(lost, 1)).claimed
        assert claimed.stage == "review"
        await craft.put(job, "review", end)
        assert (await store.turn(lost, 1)).others == {job}
        async with craft.worker():
            await craft.until_row(job, "publish", "done")
            await craft.until_settled()
        outcomes = "SELECT outcome, state FROM pgbaton.history WHERE job_key = $1 AND stage = 'review'"
        assert [tuple(ended) for ended in await craft.db.fetch(outcomes, job)] == [("decided", "completed")]


async def test_a_failure_that_no_attempt_is_left_for_leads_on(database: str) -> None:
    stages = [stage("fine", "made", attempts=2), stage("plain", "fine", status="failed")]

    async with graph_line(database, stages, {"fine": told(lambda call: "failed")}) as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "plain", "done", 30)
        await craft.until_settled()
        assert called(craft) == ["fine", "fine", "plain"]
