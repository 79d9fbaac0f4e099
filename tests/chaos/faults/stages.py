"""Faults of stages: what they answer, what they do not answer, and their sudden ends."""

from __future__ import annotations

import asyncio
import signal

from chaos.faults.fault import fault, only_feed
from chaos.scene import Scene


@fault(tricks={"busy": 0.3}, recovery=16)
async def stage_busy(scene: Scene) -> None:
    """429, 503 and 425 with Retry-After in every form: negative, 10^12, text, a date, a control character."""
    await only_feed(scene)


@fault(tricks={"far_date": 0.05}, trick_attempts=1, recovery=16)
async def stage_busy_until_2999(scene: Scene) -> None:
    """Retry-After names a date in 2999: capped, and an operator hastens it."""

    scene.beside(_hasten(scene))
    await only_feed(scene)


async def _hasten(scene: Scene) -> None:
    """An operator retries all jobs that wait or are dead."""
    while True:
        await asyncio.sleep(1)
        await scene.pgbaton("retry", "--all", "--yes")


@fault(tricks={"error": 0.1, "mark_failed": 0.1, "throw": 0.1, "problem_bomb": 0.1}, recovery=16)
async def stage_fails(scene: Scene) -> None:
    """500 before or after it has begun, with the row marked or not, and with bodies that no database takes."""
    await only_feed(scene)


@fault(tricks={"redirect": 0.3}, recovery=16)
async def stage_redirects(scene: Scene) -> None:
    """A redirect to an inner address: it is never called."""
    await only_feed(scene)


@fault(tricks={"not_http": 0.1, "reset_after_work": 0.1, "truncated": 0.1}, recovery=16)
async def stage_answers_garbled(scene: Scene) -> None:
    """No HTTP at all; a reset or half an answer when the work is done."""
    await only_feed(scene)


@fault(tricks={"reset_before_work": 0.2}, recovery=20)
async def stage_works_after_a_reset(scene: Scene) -> None:
    """The connection is reset, and only then the work begins."""
    await only_feed(scene)


@fault(tricks={"hang": 0.03, "slow_then_work": 0.03}, timeout=2, recovery=20, trick_attempts=1)
async def stage_hangs(scene: Scene) -> None:
    """No answer ever, or work that begins when no caller waits any more."""
    await only_feed(scene)


@fault(tricks={"huge": 0.02, "drip": 0.05, "late": 0.05}, timeout=2, recovery=16)
async def stage_answers_slowly(scene: Scene) -> None:
    """The work is done at once; the answer is huge, comes byte by byte, or too late."""
    await only_feed(scene)
    scene.expect.no_repeats()


@fault(tricks={"answered_twice": 0.3}, capacity=8, workers=1, stages=1, work=(0.0, 0.02))
async def stage_answers_twice(scene: Scene) -> None:
    """A second answer follows on the same connection, and may be taken for that of the next call, which is then never
    made: the row shows it, and an operator brings back what was stopped because of it."""
    scene.beside(_hasten(scene))
    await only_feed(scene)


@fault(tricks={"done_twice": 0.3})
async def stage_writes_done_twice(scene: Scene) -> None:
    """done is written again and again after the job has moved on."""
    await only_feed(scene)
    scene.expect.no_repeats()


@fault(tricks={"runs_ahead": 0.4}, work=(0.0, 0.1))
async def stage_runs_ahead(scene: Scene) -> None:
    """A stage does the next step as well before it answers: its answer comes when the row is two states further."""
    await only_feed(scene)
    scene.expect.no_repeats()


@fault(tricks={"done_and_back": 0.3}, work=(0.0, 0.1))
async def stage_takes_done_back(scene: Scene) -> None:
    """A stage commits done, puts the row back to where it was called from, and then answers 200."""
    await only_feed(scene)
    scene.expect.no_repeats()


@fault(tricks={"accept": 0.4, "forget": 0.03}, timeout=2, trick_attempts=1, recovery=16)
async def stage_accepts(scene: Scene) -> None:
    """202 at once and the work in the background; some of it is never done."""
    await only_feed(scene)


@fault(stages=3, recovery=18)
async def stage_killed(scene: Scene) -> None:
    """SIGKILL for stage processes, at random times."""
    async for _ in scene.rounds(0.3, 1):
        scene.one_of(scene.stages).signal(signal.SIGKILL)


@fault(stages=3, tricks={"die": 0.008, "die_done": 0.016}, trick_attempts=1, recovery=25)
async def stage_dies_at_every_point(scene: Scene) -> None:
    """A stage process dies after it wrote running, or between its commit and its answer."""
    await only_feed(scene)


@fault(stages=2, seconds=8, recovery=30)
async def stages_down(scene: Scene) -> None:
    """No stage listens for some seconds: connections are refused; no attempt is burned."""
    await asyncio.sleep(1)
    for stage in scene.stages:
        stage.restarts = False
        stage.signal(signal.SIGKILL)
    await asyncio.sleep(5)
    for stage in scene.stages:
        stage.restarts = True
    await only_feed(scene)


@fault(stages=3, timeout=3, recovery=18)
async def stage_frozen(scene: Scene) -> None:
    """A stage process freezes in the middle of calls for longer than their timeout, and goes on where it was."""
    async for _ in scene.rounds(1, 2):
        scene.one_of(scene.stages).freeze(scene.plan.timeout + 1)
