"""The guard of a stage, over real HTTP: who may begin, and that results and done are one commit or none."""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, HTTPException

from guarded import RESULTS, cut, guarded, is_problem, keep
from line import attached, two_stages, until
from pgbaton import Settings
from pgbaton.fastapi import StageFailed, Stages, Turn, lifespan

# -- what goes well -------------------------------------------------------------------------------


async def test_a_stage_begins_works_and_ends_with_its_results(database: str) -> None:
    seen = []

    async def look(turn: Turn) -> dict[str, str]:
        row = await turn.read(lambda db, turn: db.fetchrow("SELECT current_step, status FROM jobs"))
        seen.append(tuple(row))
        return await cut(turn)

    async with guarded(database, look) as g:
        job = await g.add()
        reply = await g.call(job)
        assert (reply.status, reply.json) == (200, {"said": "cut"})
        assert seen == [("cut", "running")]
        assert await g.row(job) == ("cut", "done")
        assert await g.results() == ["cut"]
        assert [d["state"] for d in await g.db.fetch("SELECT state FROM pgbaton.dispatches ORDER BY id")] == [
            "completed",
            "available",
        ]
        after = await g.call(job, path="/glue")
        assert after.json == {"seen": "cut", "tenant": "acme"}


async def test_results_and_done_are_one_transaction(database: str) -> None:
    async with guarded(database) as g:
        await g.call(await g.add())
        assert await g.db.fetchval("SELECT j.xmin = r.xmin FROM jobs j JOIN results r USING (job_id)")


async def test_nothing_is_open_in_the_database_while_a_stage_works(database: str) -> None:
    """More stages at work than there are connections, all of them waiting for each other."""
    together = asyncio.Barrier(20)

    async def meet(turn: Turn) -> dict[str, str]:
        async with asyncio.timeout(10):
            await together.wait()
        return await cut(turn)

    async with guarded(database, meet) as g:
        replies = await asyncio.gather(*[g.call(await g.add()) for _ in range(20)])
        assert {r.status for r in replies} == {200}
        assert len(await g.results()) == 20


async def test_an_engine_beside_the_stages_moves_a_job_through_the_guard(database: str) -> None:
    async with guarded(database, engine=True) as g:
        job = await g.add()

        async def finished() -> bool:
            return await g.row(job) == ("glue", "done")

        await until(finished, "the job done")
        assert await g.results() == ["cut"]
        assert await g.db.fetchval("SELECT count(*) FROM pgbaton.attempts") == 2


async def test_without_a_tenant_column_no_caller_is_asked_for_one(database: str) -> None:
    async with guarded(database, tenant=None) as g:
        assert (await g.call(await g.add(tenant="x"), None)).status == 200
        assert (await g.call(await g.add(tenant="x"), "anybody")).status == 200


# -- who may not begin ----------------------------------------------------------------------------


async def test_a_job_in_any_other_state_is_refused_and_left_alone(database: str) -> None:
    async with guarded(database) as g:
        for step, status in [
            ("made", "running"),
            ("made", "failed"),
            ("cut", "running"),
            ("cut", "done"),
            ("cut", "failed"),
            ("glue", "done"),
            ("archived", "done"),
            (None, None),
        ]:
            job = await g.add(step, status)
            before = await g.rows()
            refused = await g.call(job)
            assert is_problem(
                refused, 409, "Job not ready", f"the job is at ({step}, {status}); cut needs (made, done)"
            )
            assert await g.rows() == before


async def test_another_tenants_job_cannot_be_told_from_one_that_is_not_there(database: str) -> None:
    async with guarded(database) as g:
        theirs = await g.add(tenant="umbrella")
        before = await g.rows()
        others, unknown = await g.call(theirs), await g.call(str(uuid.uuid4()))
        assert is_problem(others, 404, "Unknown job")
        assert others.text == unknown.text
        done = await g.add("cut", "done", tenant="umbrella")
        assert (await g.call(done)).text == unknown.text, "a 409 would tell that the job is there"
        assert before == [row for row in await g.rows() if str(row["job_id"]) != done]


NOBODY = "11111111-1111-1111-1111-111111111111"
BODIES: list[Any] = [
    b"",
    b"null",
    b"[]",
    b'"x"',
    b"{",
    b"{}",
    b"\xff\xfe",
    b"[" * 20_000,
    {"job_id": NOBODY},
    {"tenant_id": "acme"},
    {"job_id": NOBODY, "tenant_id": None},
    {"job_id": None, "tenant_id": "acme"},
    {"job_id": "", "tenant_id": "acme"},
    {"job_id": 7, "tenant_id": "acme"},
    {"job_id": ["x"], "tenant_id": "acme"},
    {"job_id": NOBODY, "tenant_id": 7},
    {"job_id": "no uuid", "tenant_id": "acme"},
    {"job_id": "'; DROP TABLE jobs; --", "tenant_id": "acme"},
    {"job_id": "1" * 10_000, "tenant_id": "acme"},
    {"job_id": "nul\x00", "tenant_id": "acme"},
    {"job_id": NOBODY, "tenant_id": "nul\x00"},
    {"job_id": "\ud800", "tenant_id": "acme"},
    {"job_id": NOBODY, "tenant_id": "\udfff"},
    {"job_id": NOBODY, "tenant_id": "t" * 10_000},
]


async def test_a_body_that_does_not_fit_is_refused(database: str) -> None:
    async with guarded(database) as g:
        for body in BODIES:
            reply = await g.site.post("/cut", body)
            assert is_problem(reply, 422, "Invalid request"), body
            assert len(reply.text) < 2000


async def test_keys_beside_the_two_are_ignored(database: str) -> None:
    async with guarded(database) as g:
        body = {"job_id": await g.add(), "tenant_id": "acme", "hello": [1, 2]}
        assert (await g.site.post("/cut", body)).status == 200


async def test_a_second_call_while_the_first_works_is_refused_and_the_first_ends_well(database: str) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def wait(turn: Turn) -> dict[str, str]:
        begun.set()
        await gate.wait()
        return await cut(turn)

    async with guarded(database, wait) as g:
        job = await g.add()
        async with asyncio.TaskGroup() as calls:
            first = calls.create_task(g.call(job))
            await begun.wait()
            second = await g.call(job)
            assert is_problem(second, 409, "Job not ready", "(cut, running)")
            gate.set()
        assert first.result().status == 200
        assert await g.results() == ["cut"]


async def test_of_many_calls_at_once_one_works(database: str) -> None:
    async with guarded(database) as g:
        job = await g.add()
        replies = await asyncio.gather(*(g.call(job) for _ in range(20)))
        assert sorted(r.status for r in replies) == [200] + [409] * 19
        assert await g.results() == ["cut"]


# -- what goes wrong ------------------------------------------------------------------------------


async def test_a_stage_that_breaks_marks_its_job_failed_and_tells_the_log_not_the_caller(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def break_down(turn: Turn) -> dict[str, str]:
        turn.save(keep, "half")
        raise RuntimeError("secret of the house")

    async with guarded(database, break_down) as g:
        job = await g.add()
        reply = await g.call(job)
        assert is_problem(reply, 500, "Internal error", "RuntimeError")
        assert "secret" not in reply.text
        assert await g.row(job) == ("cut", "failed")
        assert await g.results() == []
        (record,) = [r for r in caplog.records if r.name == "pgbaton.fastapi"]
        assert (record.levelno, record.exc_info and str(record.exc_info[1])) == (logging.ERROR, "secret of the house")


async def test_a_stage_that_gives_up_says_why(database: str) -> None:
    async def give_up(turn: Turn) -> dict[str, str]:
        raise StageFailed("there is nothing to cut")

    async with guarded(database, give_up) as g:
        job = await g.add()
        assert is_problem(await g.call(job), 500, "Stage failed", "there is nothing to cut")
        assert await g.row(job) == ("cut", "failed")


async def test_a_stage_may_refuse_with_a_status_of_its_own_and_the_job_is_failed(database: str) -> None:
    async def refuse(turn: Turn) -> dict[str, str]:
        raise HTTPException(422, "no photo", {"x-why": "none"})

    async with guarded(database, refuse) as g:
        job = await g.add()
        assert is_problem(await g.call(job), 422, "Request refused", "no photo")
        assert await g.row(job) == ("cut", "failed")


async def test_results_that_cannot_be_written_fail_the_stage_and_none_is_kept(database: str) -> None:
    async def save_twice(turn: Turn) -> dict[str, str]:
        turn.save(keep, "first")
        turn.save(keep, "the same key again")
        return {}

    async with guarded(database, save_twice) as g:
        job = await g.add()
        assert is_problem(await g.call(job), 500, "Internal error", "UniqueViolationError")
        assert await g.row(job) == ("cut", "failed")
        assert await g.results() == []


@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE jobs SET current_step = 'archived', status = 'done'",
        "UPDATE jobs SET current_step = 'made', status = 'done'",
        "UPDATE jobs SET status = 'failed'",
        "UPDATE jobs SET status = 'done'",
        "DELETE FROM jobs",
    ],
)
@pytest.mark.parametrize("ends", ["well", "badly"])
async def test_a_row_that_moved_while_the_stage_worked_keeps_its_place_and_the_results_are_dropped(
    database: str, meanwhile: str, ends: str
) -> None:
    async def be_late(turn: Turn) -> dict[str, str]:
        await turn.read(lambda db, turn: db.execute(meanwhile))
        if ends == "badly":
            raise RuntimeError
        return await cut(turn)

    async with guarded(database, be_late) as g:
        job = await g.add()
        reply = await g.call(job)
        if ends == "well":
            assert is_problem(reply, 409, "Job moved on", "changed while the stage worked")
        else:
            assert is_problem(reply, 500, "Internal error")
        assert await g.results() == []
        expected = {"archived": ("archived", "done"), "made": ("made", "done"), "'failed'": ("cut", "failed")}
        wanted = next((at for word, at in expected.items() if word in meanwhile), ("cut", "done"))
        left = await g.db.fetch("SELECT current_step, status FROM jobs")
        assert [tuple(row) for row in left] == ([] if "DELETE" in meanwhile else [wanted])


async def test_a_caller_that_hangs_up_does_not_leave_its_job_half_done(database: str) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def wait(turn: Turn) -> dict[str, str]:
        begun.set()
        await gate.wait()
        return await cut(turn)

    async with guarded(database, wait) as g:
        job = await g.add()
        call = asyncio.create_task(g.call(job))
        await begun.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        gate.set()

        async def done() -> bool:
            return await g.row(job) == ("cut", "done")

        await until(done, "the stage ended")
        assert await g.results() == ["cut"]


# -- every error is a problem, and documented -----------------------------------------------------


async def test_errors_of_the_framework_are_problems_too(database: str) -> None:
    async with guarded(database) as g:
        assert is_problem(await g.site.get("/cut"), 405, "Request refused")
        assert is_problem(await g.site.get("/nowhere"), 404, "Request refused")
        assert is_problem(
            await g.site.post("/cut", b"a=b", "application/x-www-form-urlencoded"), 422, "Invalid request"
        )


async def test_the_openapi_document_lists_every_problem(database: str) -> None:
    async with guarded(database) as g:
        document = (await g.site.get("/openapi.json")).json
        for path in ("/cut", "/glue"):
            (operation,) = document["paths"][path].values()
            assert set(operation["responses"]) == {"200", "404", "409", "413", "422", "500"}
            for code in ("404", "409", "413", "422", "500"):
                schema = operation["responses"][code]["content"]["application/problem+json"]["schema"]
                assert set(schema["properties"]) == {"type", "title", "status", "detail"}
                assert list(operation["responses"][code]["content"]) == ["application/problem+json"]
            body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert document["components"]["schemas"][body]["required"] == ["job_id", "tenant_id"]
        assert (
            document["paths"]["/cut"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]["type"]
            == "object"
        )


def test_a_step_that_is_not_in_the_pipeline_has_no_endpoint() -> None:
    with pytest.raises(KeyError):
        Stages(two_stages()).post("dry")


async def test_stages_that_were_not_opened_say_so() -> None:
    with pytest.raises(RuntimeError, match="is lifespan"):
        _ = Stages(two_stages()).pool


async def test_a_worker_calls_nothing_before_its_application_listens(database: str) -> None:
    with socket.socket() as taken:  # a port that is free, and refuses until the server has begun
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    stages = Stages(two_stages(f"http://127.0.0.1:{port}"))
    stages.post("cut")(cut)
    stages.post("glue")(cut)
    app = FastAPI(lifespan=lifespan(stages, Settings(database_url=database, poll=0.5)))  # type: ignore[arg-type]
    app.include_router(stages.router)
    async with attached(database, stages.pipeline, RESULTS.replace("PRIMARY KEY", "")) as db:
        for _ in range(5):
            await db.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
        async with app.router.lifespan_context(app):
            await until(lambda: db.fetchval("SELECT EXISTS (SELECT FROM pgbaton.workers)"), "the worker is there")
            server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", lifespan="off"))
            serving = asyncio.create_task(server.serve())
            done = "SELECT count(*) = 5 FROM jobs WHERE (current_step, status) = ('glue', 'done')"
            await until(lambda: db.fetchval(done), "all are done")
            app.state.pgbaton.stop()
            await app.state.pgbaton.wait()
            server.should_exit = True
            await serving
        outcomes = "SELECT DISTINCT outcome FROM pgbaton.history"
        assert [r["outcome"] for r in await db.fetch(outcomes)] == ["completed"]


# -- what strangers may send ------------------------------------------------------------------------


async def test_a_body_that_no_call_has_is_not_read(database: str) -> None:
    async with guarded(database) as g:
        job = await g.add()
        largest = await g.site.post("/cut", {"job_id": job, "tenant_id": "acme", "more": "x" * 65_000})
        assert largest.status == 200
        long = await g.site.post("/cut", {"job_id": job, "tenant_id": "acme", "more": "x" * 300_000})
        assert is_problem(long, 413, "Request refused", "longer than 65,536 bytes")


async def test_a_stage_ends_with_a_word_of_its_own_that_leads_on_and_with_no_other(database: str) -> None:
    said: list[str] = []

    async def judged(turn: Turn) -> None:
        turn.save(keep, "judged")
        try:
            turn.ends("no_such_word")
        except ValueError as error:
            said.append(str(error))
        turn.ends("damaged")

    route = {"after": "cut", "status": "damaged", "to": ["cut", "set_aside"]}
    async with guarded(database, judged, routes=[route]) as app:
        job = await app.add()
        assert (await app.call(job)).status == 200
        assert await app.row(job) == ("cut", "damaged")
        assert await app.results() == ["judged"]
    assert said == [
        'nothing leads on from (cut, no_such_word): add a stage or a route with after = "cut", '
        'status = "no_such_word", or end with one of: damaged, done'
    ]
