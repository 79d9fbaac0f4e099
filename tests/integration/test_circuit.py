"""A stage that is down is left alone by the whole fleet, and found again when it is back."""

from __future__ import annotations

import asyncio

from line import Line, line, until
from stage_server import Call, Say, StageServer, work


async def _all_done(craft: Line) -> bool:
    return await craft.db.fetchval("SELECT bool_and((current_step, status) = ('glue', 'done')) FROM jobs")


async def _struck(craft: Line) -> bool:
    return await craft.db.fetchval("SELECT strikes > 1 FROM pgbaton.stages WHERE step = 'cut'")


async def test_a_stage_that_answers_503_is_probed_one_call_at_a_time(database: str) -> None:
    down = True

    async def maybe_down(server: StageServer, call: Call) -> Say:
        return Say(503) if down and call.path == "/cut" else await work(server, call)

    async with line(database, maybe_down) as craft:
        await craft.add_many(50)
        async with craft.worker(capacity=10), craft.worker(capacity=10):
            await until(lambda: _struck(craft), "the circuit opened and a probe failed")
            refused = len(craft.server.calls)
            assert refused <= 23  # both workers' slots full once, and a probe or two
            down = False
            await until(lambda: _all_done(craft), "all done once the stage is back", 30)
        assert await craft.db.fetchval("SELECT max(failures) FROM pgbaton.dispatches") == 0
        assert await craft.db.fetchval("SELECT sum(strikes) FROM pgbaton.stages") == 0


async def test_a_stage_whose_port_is_closed_burns_no_attempt(database: str) -> None:
    async with line(database, cut_attempts=1) as craft:
        pipeline = craft.pipeline
        craft.pipeline = pipeline.model_copy(update={"base_url": "http://127.0.0.1:9"})
        job = await craft.add()
        async with craft.worker():
            await until(lambda: _struck(craft), "the circuit opened and a probe failed")
        craft.pipeline = pipeline
        async with craft.worker():
            await craft.until_row(job, "glue", "done", 30)
        dispatch = (await craft.dispatches(job))[0]
        assert (dispatch["state"], dispatch["failures"]) == ("completed", 0)


async def test_other_stages_are_called_while_one_is_down(database: str) -> None:
    async def cut_is_down(server: StageServer, call: Call) -> Say:
        return Say(503) if call.path == "/cut" else await work(server, call)

    async with line(database, cut_is_down) as craft, craft.worker(capacity=2):
        for _ in range(5):
            await craft.add()
        await until(lambda: _struck(craft), "the circuit opened")
        job = await craft.add("cut", "done")
        await craft.until_row(job, "glue", "done", 3)


async def test_a_busy_stage_is_not_a_stage_that_is_down(database: str) -> None:
    async def busy_once(server: StageServer, call: Call) -> Say:
        return Say(429, {"retry-after": "0"}) if call.attempt == 1 else await work(server, call)

    async with line(database, busy_once) as craft, craft.worker():
        job = await craft.add()
        await craft.until_row(job, "glue", "done")
        assert await craft.db.fetchval("SELECT sum(strikes) FROM pgbaton.stages") == 0
        await asyncio.sleep(0)
