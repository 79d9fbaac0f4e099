"""The command behind ``make failover``. Exit code: 0 everything held, 1 something did not, 2 it cannot be done here."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from chaos.failover import table
from chaos.failover.cluster import PatroniCluster, version
from chaos.failover.drills import DRILLS
from chaos.failover.machines import cannot
from chaos.failover.play import Outcome, play
from chaos.report import accusation

PEERS = ("pgqueuer",)
T = TypeVar("T")


def main() -> int:
    parser = argparse.ArgumentParser(prog="failover", description=__doc__)
    parser.add_argument("--seed", default=secrets.token_hex(4), help="the dice of an earlier run")
    parser.add_argument("--rounds", type=int, default=1, help="how often each kind (default: 1)")
    parser.add_argument("--faults", help=f"of {', '.join(DRILLS)}, with commas between; default: all")
    parser.add_argument(
        "--peer", choices=PEERS, help="play the drills with this in pgbaton's place, and tell what comes of it"
    )
    parser.add_argument("--modes", default="asynchronous,synchronous", help="of replication; default: both")
    given = parser.parse_args()
    if why := cannot():
        print(f"make failover cannot be run here, {why}", file=sys.stderr)
        return 2
    names = given.faults.split(",") if given.faults else list(DRILLS)
    if unknown := [name for name in names if name not in DRILLS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(DRILLS)}")
    logging.basicConfig(level=logging.CRITICAL)
    print(f"seed {given.seed}, {version()}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="pgbaton-failover-"))
    folder.chmod(0o755)  # the servers run as another user
    began = time.monotonic()
    names, modes = names * given.rounds, given.modes.split(",")
    try:
        if given.peer:
            return _of_peer(names, modes, given.seed, folder)
        outcomes = asyncio.run(_run(names, modes, given.seed, folder, _judged(given.seed, folder)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        shutil.rmtree(folder, ignore_errors=True)
        return 130
    outcomes.sort(key=lambda outcome: (outcome.mode, outcome.verdict.fault))
    print()
    print(table.markdown(outcomes, given.seed, time.monotonic() - began))
    if all(outcome.verdict.held for outcome in outcomes):
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    return 1


def _of_peer(names: list[str], modes: list[str], seed: str, folder: Path) -> int:
    """Nothing is expected of a peer, so it always ends well, and its journals stay to be read."""
    from chaos.failover import peer  # it is in the benchmark's environment only

    async def played(*drill: Any) -> peer.PeerOutcome:
        outcome = await peer.play(*drill, folder)
        print(peer.line(outcome), flush=True)
        return outcome

    outcomes = asyncio.run(_run(names, modes, seed, folder, played))
    print()
    print(peer.markdown(sorted(outcomes, key=lambda outcome: (outcome.mode, outcome.drill))))
    print(f"journals: {folder}")
    return 0


def _judged(seed: str, folder: Path) -> Callable[..., Awaitable[Outcome]]:
    async def played(*drill: Any) -> Outcome:
        outcome = await play(*drill, folder)
        print(table.line(outcome), flush=True)
        if not outcome.verdict.held:
            print(accusation(outcome.verdict, seed, str(folder), "failover"), flush=True)
        return outcome

    return played


async def _run(
    names: list[str], modes: list[str], seed: str, folder: Path, played: Callable[..., Awaitable[T]]
) -> list[T]:
    """Each drill in each mode, in an order by the dice. ``played``: plays one."""
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # leave nothing running
    outcomes: list[T] = []

    async def lane(mode: str) -> None:
        order = list(names)
        random.Random(f"{seed}:{mode}").shuffle(order)
        async with PatroniCluster(folder / mode, synchronous=mode == "synchronous") as cluster:
            for number, name in enumerate(order):
                outcomes.append(await played(DRILLS[name], f"{seed}:{mode}:{number}", mode, cluster))

    async with asyncio.TaskGroup() as tasks:  # most of the time is spent waiting for a leader's key to end
        for mode in modes:
            tasks.create_task(lane(mode))
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
