"""A job that died is counted, listed and explained as dead, also where its stage put the row back before it rejected it:
the duty of that ends with the call, and is no dispatch that came since."""

from __future__ import annotations

from line import line
from pgbaton import insights
from pgbaton.insights import JobFilter
from pgbaton.model import State
from pgbaton.table import table_of
from stage_server import Call, Say, StageServer, work


async def rejects(server: StageServer, call: Call) -> Say:
    if call.path == "/cut":
        return await work(server, call)
    await server.move(call, "running")
    await server.pool.execute(
        "UPDATE jobs SET current_step = 'cut', status = 'done' WHERE job_id::text = $1", call.job_id
    )
    return Say(422)


async def test_a_job_that_its_stage_put_back_and_rejected_is_dead_for_everybody(database: str) -> None:
    async with line(database, rejects) as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "glue", "failed")
        await craft.until_settled()
        assert ("glue", "cancelled") in await craft.states(job), "the duty that came of putting it back"
        async with craft.db.acquire() as conn:
            table = await table_of(conn, None)
            seen = await insights.overview(conn, "craft")
            assert [stage.dead for stage in seen.stages] == [0, 1]
            assert [group.jobs for group in (await insights.dead_groups(conn, table)).groups] == [(job,)]
            found = await insights.list_jobs(conn, JobFilter("craft", states=(State.DEAD,), latest=True))
            assert [one.job_key for one in found.jobs] == [job]
            detail = await insights.job(conn, table, job)
            assert detail is not None
            assert detail.explanation.code == "dead"
