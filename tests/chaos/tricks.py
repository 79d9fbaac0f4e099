"""How a stage can misbehave. Each trick answers one call in its own way."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace
from email.utils import formatdate

from chaos.stage import Call, Stages, Trick, response

DEEP = b"[" * 100_000


async def busy(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """Not now, in every readable and unreadable form of Retry-After."""
    now = time.time()
    forms = ("-5", "1000000000000", "soon", "1", "", "1.5", "\x00", "١", formatdate(now - 9), formatdate(now + 2))
    after = forms[int(stages.dice(call, "after") * len(forms))]
    status = (429, 503, 425)[int(stages.dice(call, "status") * 3)]
    await stages.answer(call, writer, status, {"retry-after": after.encode().decode("latin-1")})
    return True


async def far_date(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """Not before the year 2999: capped, and an operator may hasten it."""
    await stages.answer(call, writer, 503, {"retry-after": "Wed, 02 Jan 2999 00:00:00 GMT"})
    return True


async def error(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    await stages.answer(call, writer, 500)
    return True


async def problem_bomb(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """A problem whose body is deep, or holds what no database takes."""
    body = (
        DEEP if stages.dice(call, "bomb") < 0.5 else b'{"title": "a\\u0000b\\ud800", "detail": "' + b"x" * 9000 + b'"}'
    )
    stages.journal.write("answered", job=call.job, step=call.step, attempt=call.attempt, status=500)
    writer.write(response(500, {"content-type": "application/problem+json"}, body))
    await writer.drain()
    return True


async def redirect(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """To an address that no operator chose."""
    status = (301, 302, 303, 307, 308)[int(stages.dice(call, "status") * 5)]
    await stages.answer(call, writer, status, {"location": f"{stages.config.inner_url}/{call.job}"})
    return True


async def not_http(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    stages.journal.write("broken", job=call.job, step=call.step, attempt=call.attempt, how="not HTTP")
    writer.write(b"\x16\x03\x01 what? \r\n\r\n" * 50)
    await writer.drain()
    return False


async def hang(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """Neither works nor answers."""
    await asyncio.sleep(3600)
    return False


async def slow_then_work(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """Begins only when no caller waits any more."""
    await asyncio.sleep(stages.config.slow)
    await stages.answer(call, writer, await stages.perform(call))
    return True


async def reset_after_work(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    await stages.perform(call)
    stages.broken(call, writer, "reset")
    return False


async def reset_before_work(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """The caller sees a lost connection while the work is still to be done."""
    stages.broken(call, writer, "reset")
    await stages.perform(call)
    return False


async def truncated(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    await stages.perform(call)
    stages.journal.write("broken", job=call.job, step=call.step, attempt=call.attempt, how="truncated")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf")
    await writer.drain()
    return False


async def huge(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """200 with a body of 20 MB, or with no end."""
    await stages.perform(call)
    stages.journal.write("answered", job=call.job, step=call.step, attempt=call.attempt, status=200)
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    for _ in range(320):
        writer.write(chunk)
        await writer.drain()
    return False


async def drip(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """The answer comes byte by byte, and slower than anybody waits."""
    await stages.perform(call)
    stages.journal.write("broken", job=call.job, step=call.step, attempt=call.attempt, how="drip")
    for byte in response(200):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.2)
    return False


async def late(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """The work is done at once, its answer comes when no caller waits any more."""
    status = await stages.perform(call)
    await asyncio.sleep(stages.config.slow)
    await stages.answer(call, writer, status)
    return True


async def answered_twice(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """A second answer on the same connection, at once or when the next call may be under way on it."""
    status = await stages.perform(call)
    await stages.answer(call, writer, status)
    await asyncio.sleep((0, 0.001, 0.01, 0.05)[int(stages.dice(call, "pause") * 4)])
    writer.write(response(status))
    await writer.drain()
    return True


async def done_twice(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """Writes done again and again, after the trigger has moved the job on."""
    status = await stages.perform(call)
    again = "UPDATE jobs SET status = 'done', updated_at = now() WHERE job_id = $1::text::uuid AND current_step = $2"
    if status == 200:
        for _ in range(3):
            await stages.pool.execute(again + " AND status = 'done'", call.job, call.step)
    await stages.answer(call, writer, status)
    return True


async def runs_ahead(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """Does its step, and the one that follows it."""
    status = await stages.perform(call)
    following = next((step for step, after in stages.config.steps.items() if after == call.step), None)
    if status == 200 and following:
        await stages.perform(replace(call, step=following))
    await stages.answer(call, writer, status)
    return True


async def done_and_back(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """Commits done, and takes it back, the first time."""
    status = await stages.perform(call)
    if status == 200:
        await stages.pool.execute(
            "UPDATE jobs SET current_step = $3, status = 'done' "
            "WHERE job_id = $1::text::uuid AND (current_step, status) = ($2, 'done') "
            "AND (SELECT count(*) FROM effects WHERE job_id = $1::text::uuid AND step = $2) = 1",
            *(call.job, call.step, stages.config.steps[call.step]),
        )
    await stages.answer(call, writer, status)
    return True


async def mark_failed(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """Begins, fails, says so in the row and in the answer."""
    if not await stages.begin(call):
        await stages.answer(call, writer, 409)
        return True
    await stages.mark_failed(call)
    await stages.answer(call, writer, 500)
    return True


async def throw(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """Begins, and answers 500 with the row left at running."""
    began = await stages.begin(call)
    await stages.answer(call, writer, 500 if began else 409)
    return True


async def accept(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """202 at once, the work in the background."""
    if not await stages.begin(call):
        await stages.answer(call, writer, 409)
        return True

    async def work_on() -> None:
        if not stages.config.isolation:
            await stages.work(call)
        await stages.finish(call)

    task: asyncio.Task[object] = asyncio.create_task(work_on())
    stages.background.add(task)
    task.add_done_callback(stages.background.discard)
    await stages.answer(call, writer, 202)
    return True


async def forget(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """202, and nothing more is ever heard of it."""
    began = await stages.begin(call)
    await stages.answer(call, writer, 202 if began else 409)
    return True


async def die(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """SIGKILL itself with the row at running."""
    await stages.begin(call)
    return _killed(stages, call)


async def die_done(stages: Stages, call: Call, writer: asyncio.StreamWriter) -> bool:
    """SIGKILL itself between the commit and the answer."""
    await stages.perform(call)
    return _killed(stages, call)


def _killed(stages: Stages, call: Call) -> bool:
    stages.journal.write("died", job=call.job, step=call.step, attempt=call.attempt)
    os.kill(os.getpid(), signal.SIGKILL)
    return False


TRICKS: dict[str, Trick] = {
    trick.__name__: trick
    for trick in (
        busy,
        far_date,
        error,
        problem_bomb,
        redirect,
        not_http,
        hang,
        slow_then_work,
        reset_after_work,
        reset_before_work,
        truncated,
        huge,
        drip,
        late,
        answered_twice,
        done_twice,
        runs_ahead,
        done_and_back,
        mark_failed,
        throw,
        accept,
        forget,
        die,
        die_done,
    )
}
