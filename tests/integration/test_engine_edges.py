"""A worker between a stage, a row and a person who moves it meanwhile: the job comes to an end with any of their acts."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from line import line, until
from pgbaton.decision.job import Job
from pgbaton.worker import dispatcher
from pgbaton.worker.store import Store
from stage_server import Call, Say, StageServer, work


async def test_a_row_that_is_rewound_while_a_plain_endpoint_works_is_still_advanced(database: str) -> None:
    async def be_rewound(server: StageServer, call: Call) -> Say:
        await server.pool.execute("UPDATE jobs SET current_step = 'made', status = 'done'")
        return Say()

    async with line(database, be_rewound, cut_advance="engine") as craft, craft.worker():
        job = await craft.add()
        await craft.until_state(job, "cut", "completed", 5)


async def test_a_row_that_is_rewound_while_its_stage_works_is_worked_on_once_more_at_most(database: str) -> None:
    async def be_rewound_once(server: StageServer, call: Call) -> Say:
        if call.path == "/cut" and call.attempt == 1:
            await server.move(call, "running")
            await server.pool.execute("UPDATE jobs SET current_step = 'made', status = 'done'")
            return Say(500)
        return await work(server, call)

    async with line(database, be_rewound_once) as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "glue", "done")
        assert len(craft.server.calls) == 3


async def test_an_answer_in_signs_that_postgres_cannot_keep_does_not_stop_other_jobs(database: str) -> None:
    async def speak(server: StageServer, call: Call) -> Say:
        kind = {"content-type": "application/problem+json"}
        return Say(422, kind, b'{"title": "\\ud800\\u0000 \\udfff"}')

    async with line(database, speak) as craft, craft.worker():
        await craft.add_many(20)
        await craft.until_settled()
        assert {state for _, state in await craft.states()} == {"dead"}


async def test_headers_that_are_no_text_do_not_make_a_worker_call_again_and_again(database: str) -> None:
    async def speak(server: StageServer, call: Call) -> Say:
        return Say(raw=b"HTTP/1.1 429 X\r\nretry-after: \xff\xfe\r\ncontent-length: 0\r\n\r\n")

    async with line(database, speak) as craft, craft.worker():
        await craft.add()
        deferred = "SELECT count(*) = 2 FROM pgbaton.attempts WHERE outcome = 'deferred'"
        await until(lambda: craft.db.fetchval(deferred), "two attempts deferred")
        assert len(craft.server.calls) <= 3


async def test_a_locked_row_keeps_no_other_job_waiting(database: str) -> None:
    async def fail(server: StageServer, call: Call) -> Say:
        return Say(500) if call.path == "/cut" and call.attempt == 1 else await work(server, call)

    async with line(database, fail) as craft, craft.worker():
        held = await craft.add()
        await craft.server.called.wait()
        async with craft.db.acquire() as conn, conn.transaction():
            await conn.execute("SELECT 1 FROM jobs WHERE job_id = $1::text::uuid FOR UPDATE", held)
            others = [await craft.add() for _ in range(5)]
            for job in others:
                await craft.until_row(job, "glue", "done")
        await craft.until_row(held, "glue", "done")


@pytest.mark.parametrize("at", [("cut", "weird"), ("archived", "done"), (None, None), ("glue", "failed")])
async def test_a_row_moved_elsewhere_while_its_stage_worked_is_left_there(
    database: str, at: tuple[str | None, str | None]
) -> None:
    gate = asyncio.Event()

    async def wait(server: StageServer, call: Call) -> Say:
        await gate.wait()
        return Say(500)

    async with line(database, wait) as craft:
        job = await craft.add()
        async with craft.worker():
            await craft.server.called.wait()
            await craft.put(job, *at)
            gate.set()
        assert await craft.row(job) == at
        assert await craft.states(job) == [("cut", "cancelled")]
        assert len(craft.server.calls) == 1


async def test_an_answer_whose_duty_is_behind_those_of_a_full_turn_is_settled_by_a_later_turn(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    look = Store.look

    async def looking(store: Store, job_keys: Collection[str]) -> list[Job]:
        looked.extend(job_keys)
        return await look(store, job_keys)

    monkeypatch.setattr(Store, "look", looking)
    monkeypatch.setattr(dispatcher, "BEHIND", 60)
    async with line(database) as craft:
        await craft.add_many(60)
        async with craft.worker(capacity=4):
            await craft.until_settled()
    assert not looked
