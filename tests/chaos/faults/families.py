"""Families beside the line: parents that gather, go back and wait for a person."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from chaos.families import Families
from chaos.faults.fault import fault
from chaos.scene import Scene

PATIENCE = 60.0
"""Seconds until all parents are at their ends: a deleted child is noticed after 20; leases and timeouts come to that."""


async def _attack(scene: Scene, strike: Callable[[Families], Awaitable[None]]) -> None:
    async with Families(scene.dsn, scene.folder, scene.dice) as families:
        next_strike = time.monotonic() + 2  # a worker needs its time to come up
        async for _ in scene.rounds(0.05, 0.2):
            await families.come(hands=True)
            if time.monotonic() > next_strike:
                await strike(families)
                next_strike = time.monotonic() + scene.dice.uniform(0.5, 1.5)
        began = time.monotonic()
        await families.end_what_hands_hold()
        while left := await families.left():
            families.keep_running()
            if time.monotonic() - began > PATIENCE * scene.expect.slowness:
                scene.expect.violations.append(
                    f"families: {left} parents, calls and duties are left {PATIENCE:g} s later"
                )
                break
            await asyncio.sleep(0.2)
        scene.expect.violations += [f"families: {said}" for said in await families.broken()]


@fault(seconds=8, rate=10, recovery=20)
async def families_workers_killed(scene: Scene) -> None:
    """Workers of parents and children are killed and cut off while last children commit at once, some are deleted, and
    parents are moved by hand."""

    async def strike(families: Families) -> None:
        families.kill_a_worker()
        await scene.terminate_backends("pgbaton%", 0.3)

    await _attack(scene, strike)


@fault(seconds=8, rate=10, recovery=30)
async def families_postgres_killed(scene: Scene) -> None:
    """Postgres is killed and started again while parents gather, go back and wait for a person."""

    async def strike(families: Families) -> None:
        await scene.cluster.stop("kill")
        await scene.cluster.ensure_running()
        families.keep_running()

    await _attack(scene, strike)
