"""The kinds of failover. Each begins with a cluster whose standbys stream, and ends with a primary that takes commits."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

from chaos.failover.machines import Machine
from chaos.failover.scene import FailoverScene
from chaos.faults.fault import Attack, Fault, fault

PLAN = {"seconds": 26, "rate": 20, "recovery": 30, "lease": 3, "poll": 1}
SHORT = PLAN | {"seconds": 10}
"""No leader's key has to end."""


def drill(attack: Callable[[FailoverScene], Awaitable[None]], plan: Mapping[str, float] = PLAN) -> Fault:
    """Make an attack on a cluster a fault, named as its function."""
    return fault(**plan)(cast(Attack, attack))


def short_drill(attack: Callable[[FailoverScene], Awaitable[None]]) -> Fault:
    return drill(attack, SHORT)


def _others(scene: FailoverScene, machine: Machine) -> list[Machine]:
    return [other for other in scene.servers.machines if other is not machine]


@drill
async def primary_killed(scene: FailoverScene) -> None:
    """SIGKILL for every process of the primary's machine: Postgres, Patroni and etcd."""
    leader = await scene.servers.until_leader()
    with scene.cut_off():
        leader.kill()
        await scene.failed_over(leader)


@drill
async def primary_frozen(scene: FailoverScene) -> None:
    """The primary's machine stands still until there is a new primary, then goes on as if nothing had been."""
    leader = await scene.servers.until_leader()
    with scene.cut_off():
        leader.signal(signal.SIGSTOP)
        await scene.failed_over(leader)
        await asyncio.sleep(scene.dice.uniform(0, 3))
        leader.signal(signal.SIGCONT)


@drill
async def primary_cut_off(scene: FailoverScene) -> None:
    """The primary reaches the other machines no more, though workers and stages reach it."""
    leader = await scene.servers.until_leader()
    with scene.cut_off():
        leader.cut_off(_others(scene, leader))
        await scene.failed_over(leader)
        await asyncio.sleep(scene.dice.uniform(0, 3))
        leader.heal()


@drill
async def primary_unplugged(scene: FailoverScene) -> None:
    """The primary's network is gone: what is sent to it is never answered."""
    leader = await scene.servers.until_leader()
    with scene.cut_off():
        leader.unplug()
        await scene.failed_over(leader)
        await asyncio.sleep(scene.dice.uniform(0, 3))
        leader.heal()


@drill
async def primary_not_fenced(scene: FailoverScene) -> None:
    """Only the primary's Patroni stands still: another is promoted, and the old primary takes commits as before."""
    leader = await scene.servers.until_leader()
    with scene.cut_off():
        leader.signal(signal.SIGSTOP, only="bin/patroni ")
        await scene.failed_over(leader)
        await asyncio.sleep(scene.dice.uniform(0, 3))
        leader.signal(signal.SIGCONT)


@short_drill
async def switched_over(scene: FailoverScene) -> None:
    """An operator hands the primary's part to a standby: patronictl switchover."""
    leader = await scene.servers.until_leader()
    standbys = _others(scene, leader)
    if scene.servers.synchronous:
        async with scene.servers.admin() as db:
            name = await db.fetchval("SELECT application_name FROM pg_stat_replication WHERE sync_state = 'sync'")
        standbys = [machine for machine in standbys if machine.name == name]
    with scene.cut_off():
        switching = asyncio.create_task(scene.servers.switch_over(leader, scene.dice.choice(standbys)))
        await scene.failed_over(leader)
        await switching


@short_drill
async def standby_killed(scene: FailoverScene) -> None:
    """SIGKILL for every process of a standby's machine; with synchronous replication, of the one that is waited for."""
    leader = await scene.servers.until_leader()
    async with scene.servers.admin() as db:
        rows = await db.fetch("SELECT application_name, sync_state FROM pg_stat_replication ORDER BY 2 DESC, 1")
    victim = rows[0][0] if scene.servers.synchronous else scene.dice.choice(rows)[0]
    with scene.cut_off():
        next(machine for machine in scene.servers.machines if machine.name == victim).kill()
        await scene.failed_over(None)
    assert await scene.servers.until_leader() is leader


DRILLS: dict[str, Fault] = {kind.name: kind for kind in list(globals().values()) if isinstance(kind, Fault)}
