"""Faults between workers and Postgres, made by a proxy that knows the protocol; and of notifications."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable

from chaos.faults.fault import fault, only_feed
from chaos.scene import Scene
from chaos.tcp_proxy import Link, notification

GARBAGE = ("", "{", "null", "[]", '{"job_id": 1}', '{"job_id": "\\u0000"}', "\x1b[31m\r\n", "é" * 3000, "[" * 7000)


@fault(proxied=True, poll=2)
async def connections_cut(scene: Scene) -> None:
    """The workers' connections are reset on the way, by the dice; no call is repeated because of it."""
    async for _ in scene.rounds(0.1, 0.3):
        for link in scene.proxy.alive:
            if scene.dice.random() < 0.4:
                link.cut()
    scene.expect.no_repeats()


@fault(proxied=True, seconds=12, poll=2, reconnect=1)
async def listener_half_open(scene: Scene) -> None:
    """The listener's connection swallows everything and says nothing: noticed within ten seconds."""
    await asyncio.sleep(1)
    swallowed = [link for link in scene.proxy.alive if link.listens]
    if not swallowed:
        scene.expect.violations.append("the fault did not happen: nobody listens")
    for link in swallowed:
        link.swallowed = True
    began = time.monotonic()
    await only_feed(scene)
    for link in swallowed:
        scene.expect.target("a listener that hears nothing is dropped", (link.closed or time.monotonic()) - began, 10)
    if not any(link.listens for link in scene.proxy.alive):
        scene.expect.violations.append("nobody listens again")
    scene.expect.no_repeats()


@fault(proxied=True, seconds=4, rate=10, recovery=40)
async def connections_half_open(scene: Scene) -> None:
    """Every connection swallows everything from one moment on (a lost route); new ones work."""
    await _silence(scene, lambda link: True)


@fault(proxied=True, seconds=4, rate=10, recovery=40)
async def connections_half_open_but_the_lease(scene: Scene) -> None:
    """The same, but leases are renewed: no worker takes calls of the silent workers away."""
    await _silence(scene, lambda link: "pgbaton.workers" not in link.statement)


async def _silence(scene: Scene, these: Callable[[Link], bool]) -> None:
    await asyncio.sleep(1)
    with scene.cut_off():
        for link in scene.proxy.alive:
            link.swallowed = these(link)
        scene.expect.calls_within(35, "calls flow after every connection went silent", time.monotonic() + 0.5)
        await only_feed(scene)


@fault(proxied=True, poll=0.5)
async def notifications_dropped(scene: Scene) -> None:
    """No notification ever arrives: everything still advances, by polling."""
    scene.proxy.notifications = lambda frame: []
    await only_feed(scene)
    scene.expect.no_repeats()


@fault(proxied=True)
async def notifications_doubled(scene: Scene) -> None:
    """Each notification arrives three times, with garbage in between."""
    told = [notification("job_state_changed", text.encode().replace(b"\0", b"")) for text in GARBAGE]
    scene.proxy.notifications = lambda frame: [frame, *told, frame, frame]
    await only_feed(scene)
    scene.expect.no_repeats()


@fault()
async def notifications_flooded(scene: Scene) -> None:
    """Others notify on both channels, thousands of times a second, with texts of any kind."""
    async with scene.session() as db:
        async for _ in scene.rounds(0.02, 0.05):
            payloads = [f"{scene.dice.random()}{json.dumps(text)}"[:7900] for text in GARBAGE] + list(GARBAGE[:7])
            await db.execute(
                "SELECT pg_notify(channel, payload || n) FROM unnest($1::text[]) payload, generate_series(1, 5) n, "
                "unnest(ARRAY['job_state_changed', 'pgbaton_wake']) channel",
                [p.replace("\0", "") for p in payloads],
            )
    scene.expect.no_repeats()


@fault(channel=False, proxied=True, poll=0.5)
async def wakes_dropped(scene: Scene) -> None:
    """Without a channel of its own the pipeline wakes by a signal: that one is lost as well."""
    scene.proxy.notifications = lambda frame: []
    await only_feed(scene)
    scene.expect.no_repeats()


@fault(channel=False, poll=20, seconds=8, rate=6, work=(0.0, 0.05))
async def workers_asleep(scene: Scene) -> None:
    """Two workers sleep behind the gate, poll hardly ever, and are woken by users whose transactions stay open for a
    while: each of their jobs is called at once."""
    async for _ in scene.rounds(0, 0.8):
        await scene.add(2, open_for=scene.dice.uniform(0, 1))
    scene.expect.added_called_within(2)
    scene.expect.no_repeats()


@fault(channel=False, poll=20, seconds=10, rate=6, work=(0.0, 0.05), recovery=16)
async def workers_asleep_killed(scene: Scene) -> None:
    """The same while the one that sleeps in front is killed or frozen: another takes its place."""
    async for _ in scene.rounds(0.5, 1):
        await scene.add(2, open_for=scene.dice.uniform(0, 1))
        worker = scene.one_of(scene.workers)
        if scene.dice.random() < 0.5:
            worker.signal(signal.SIGKILL)
        else:
            worker.freeze(scene.plan.lease + 1)
    scene.expect.added_called_within(scene.plan.lease + 3)


@fault(proxied=True)
async def database_slow_to_reach(scene: Scene) -> None:
    """Every message between workers and Postgres takes 20 to 60 ms."""
    scene.proxy.delay = 0.04
    await only_feed(scene)
    scene.expect.no_repeats()


@fault(proxied=True, seconds=12, recovery=16)
async def workers_partitioned(scene: Scene) -> None:
    """No message passes between workers and Postgres for longer than the lease; then all of them do."""
    async for _ in scene.rounds(1, 1.5):
        with scene.cut_off():
            scene.proxy.partition()
            await asyncio.sleep(scene.plan.lease + 1.5)
            scene.proxy.heal()


@fault(proxied=True)
async def workers_partitioned_shortly(scene: Scene) -> None:
    """No message passes for a second, again and again: no lease is lost, no call repeated."""
    async for _ in scene.rounds(0.5, 0.8):
        scene.proxy.partition()
        await asyncio.sleep(1)
        scene.proxy.heal()
    scene.expect.no_repeats()
