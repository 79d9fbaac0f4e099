"""Faults of workers: killed, frozen, told to end; at random times, and at every named point."""

from __future__ import annotations

import asyncio
import signal

from chaos.faults.fault import fault, only_feed
from chaos.scene import Scene

POINTS = ("claim", "call", "note", "look", "settle", "prepare", "renew", "lease")
TROUBLE = {"throw": 0.1, "error": 0.05, "mark_failed": 0.05}
"""Stages that fail now and then: only then has a worker anything to settle."""


def at(action: str, share: float, *names: str) -> dict[str, float]:
    """The action before and after each of the points."""
    return {f"{when}_{name}:{action}": share for name in names or POINTS for when in ("before", "after")}


@fault(seconds=3, recovery=5)
async def no_fault(scene: Scene) -> None:
    """Nothing at all goes wrong: no call is repeated."""
    await only_feed(scene)
    scene.expect.no_repeats()


@fault(workers=3)
async def worker_killed(scene: Scene) -> None:
    """SIGKILL for a worker, at random times."""
    async for _ in scene.rounds(0.2, 0.8):
        scene.one_of(scene.workers).signal(signal.SIGKILL)


@fault(workers=3, fleet=True)
async def fleet_killed(scene: Scene) -> None:
    """SIGKILL or SIGTERM for a process that is a worker of two pipelines of one table: jobs go from one into the other."""
    async for _ in scene.rounds(0.2, 0.8):
        scene.one_of(scene.workers).signal(scene.dice.choice((signal.SIGKILL, signal.SIGTERM)))


@fault(injected={"before_claim:die": 0.01, "after_claim:die": 0.05})
async def worker_killed_at_claim(scene: Scene) -> None:
    """A worker dies before its claim, or when the claim was committed and nothing was called yet."""
    await only_feed(scene)
    scene.expect.deaths_noticed()


@fault(injected=at("die", 0.03, "call"))
async def worker_killed_at_call(scene: Scene) -> None:
    """A worker dies before it calls a stage, or when the stage has answered."""
    await only_feed(scene)


@fault(injected=at("die", 0.05, "note"))
async def worker_killed_at_note(scene: Scene) -> None:
    """A worker dies with answers in its hands, or when they were written down."""
    await only_feed(scene)


@fault(injected=at("die", 0.1, "settle"), tricks=TROUBLE)
async def worker_killed_at_settle(scene: Scene) -> None:
    """A worker dies before a decision of its own is committed, or right after."""
    await only_feed(scene)


@fault(injected=at("die", 0.1, "look", "prepare"), tricks={"mark_failed": 0.3}, recovery=14)
async def worker_killed_at_rewind(scene: Scene) -> None:
    """A worker dies with what it has looked at, or as it puts a failed row back to call its stage again."""
    await only_feed(scene)


@fault(injected=at("raise", 0.05, "claim") | at("die", 0.3, "lease"))
async def worker_killed_at_lease(scene: Scene) -> None:
    """A worker that cannot know what its claim brought dies before or after it takes a new lease."""
    await only_feed(scene)


@fault(injected=at("raise", 0.05, "claim") | at("raise", 0.4, "lease"), work=(0.2, 1.0))
async def lease_taken_unheard(scene: Scene) -> None:
    """A worker does not hear that it has its new lease, and asks again; what is in its hands stays there."""
    await only_feed(scene)
    scene.expect.no_repeats()


@fault(injected=at("die", 0.4, "renew"))
async def worker_killed_at_renew(scene: Scene) -> None:
    """A worker dies while it renews its lease: of a dozen renewals, so that some are hit in every seed."""
    await only_feed(scene)


@fault(workers=3, frozen=5)
async def worker_frozen(scene: Scene) -> None:
    """SIGSTOP past the lease, at random times, then SIGCONT: a worker that comes back late changes nothing."""
    async for _ in scene.rounds(0.8, 1.5):
        scene.one_of(scene.workers).freeze(scene.plan.lease + 2)


@fault(lease=4)
async def worker_frozen_shortly(scene: Scene) -> None:
    """SIGSTOP for less than the lease: no worker takes its calls away, none is repeated."""
    async for _ in scene.rounds(0.3, 0.6):
        scene.one_of(scene.workers).freeze(1.0)
    scene.expect.no_repeats()


@fault(workers=3, injected=at("freeze", 0.004), tricks=TROUBLE, frozen=5, recovery=16)
async def worker_frozen_at_every_point(scene: Scene) -> None:
    """A worker freezes past its lease before or after every point of its work."""
    await only_feed(scene)


@fault(
    seconds=8,
    workers=3,
    faulty=1,
    injected={"before_settle:freeze": 0.5},
    tricks={"throw": 0.4},
    trick_attempts=1,
    lease=2,
    timeout=3,
    frozen=5,
    work=(0.5, 2.5),
    rate=12,
    recovery=20,
)
async def worker_settles_too_late(scene: Scene) -> None:
    """A worker freezes with a bad answer in its hands, and comes back while another one calls the stage again."""
    await only_feed(scene)


@fault(work=(0.2, 0.8))
async def worker_told_to_end(scene: Scene) -> None:
    """SIGTERM in the middle of calls, again and again: a drain repeats nothing."""
    async for _ in scene.rounds(0.5, 1.2):
        scene.one_of(scene.workers).signal(signal.SIGTERM)
    scene.expect.no_repeats()


@fault(work=(0.5, 2.0), drain=0.3, rate=12, recovery=16)
async def worker_drained_in_haste(scene: Scene) -> None:
    """SIGTERM with less time to drain than calls take: stages that have begun are left to end."""
    async for _ in scene.rounds(0.5, 1.2):
        scene.one_of(scene.workers).signal(signal.SIGTERM)


@fault(rate=0, seconds=10, workers=3, capacity=4, work=(0.1, 0.4))
async def workers_scaled_to_zero_and_back(scene: Scene) -> None:
    """Workers are started and drained by the number that pgbaton gives; jobs come in bursts, each when no worker runs."""
    bursts = 0
    async for _ in scene.rounds(0.1, 0.3):
        wanted = await scene.value("SELECT pgbaton.workers_wanted('chaos', NULL, 4, 2)")
        for number, worker in enumerate(scene.workers):
            worker.restarts = number < wanted
            if not worker.restarts:
                worker.signal(signal.SIGTERM)
        if not any(worker.running for worker in scene.workers):
            bursts += 1
            await scene.add(scene.dice.randint(5, 30))
    for worker in scene.workers:
        worker.restarts = True
    scene.expect.no_repeats()
    if bursts < 2:
        scene.expect.violations.append(f"workers were scaled to zero {bursts} times only")


@fault(injected=at("raise", 0.03), tricks=TROUBLE)
async def driver_raises(scene: Scene) -> None:
    """The driver raises outside its own tree of errors, at every point; no loop dies of it."""
    await only_feed(scene)


@fault(injected=at("drop", 0.03), tricks=TROUBLE)
async def connections_drop_in_workers(scene: Scene) -> None:
    """The pool's connections are lost at every point, also when the statement was committed."""
    await only_feed(scene)


@fault(workers=2, recovery=14)
async def every_worker_killed(scene: Scene) -> None:
    """All workers at once, and none there for a while: duties that were committed meanwhile are found."""
    async for _ in scene.rounds(1.5, 2.0):
        for worker in scene.workers:
            worker.signal(signal.SIGKILL)
        await asyncio.sleep(0.3)
