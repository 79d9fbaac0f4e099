"""Several faults at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import asyncpg

from chaos.faults.fault import fault
from chaos.faults.users import rewind_rows
from chaos.faults.workers import at
from chaos.scene import Scene


@fault(workers=3, stages=3, recovery=20)
async def workers_and_stages_killed(scene: Scene) -> None:
    """SIGKILL for workers and stage processes at once."""
    async for _ in scene.rounds(0.3, 0.8):
        for child in (scene.one_of(scene.workers), scene.one_of(scene.stages)):
            child.signal(signal.SIGKILL)


@fault(
    seconds=15,
    workers=3,
    stages=3,
    proxied=True,
    injected=at("die", 0.003) | at("raise", 0.01) | at("drop", 0.01),
    tricks={"busy": 0.05, "error": 0.05, "throw": 0.05, "reset_after_work": 0.05, "accept": 0.1, "die": 0.005},
    recovery=45,
)
async def everything_at_once(scene: Scene) -> None:
    """Kills, freezes, crashes of Postgres, cut and silent connections, failing stages and moved rows, together."""

    async def crash() -> None:
        await scene.cluster.stop(scene.dice.choice(("kill", "immediate")))
        await asyncio.sleep(scene.dice.uniform(0, 1))
        await scene.cluster.ensure_running()

    async def freeze() -> None:
        scene.one_of(scene.workers).freeze(scene.plan.lease + 1)

    async def kill() -> None:
        scene.one_of(scene.children).signal(signal.SIGKILL)

    async def terminate() -> None:
        await scene.terminate_backends(share=0.5)

    async def silence() -> None:
        with scene.cut_off():
            for link in scene.proxy.alive:
                link.swallowed = link.swallowed or scene.dice.random() < 0.2

    async def rewind() -> None:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            async with scene.session() as db:
                await rewind_rows(db, scene, 10)

    async def slow() -> None:
        scene.proxy.delay = scene.dice.choice((0, 0, 0.02))

    async for _ in scene.rounds(0.2, 0.8):
        await scene.dice.choice(
            (crash, freeze, freeze, kill, kill, kill, terminate, terminate, silence, slow, rewind, rewind)
        )()
