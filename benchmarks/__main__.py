"""The command behind ``make bench`` and ``make bench-scale``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from rich.console import Console

from benchmarks.contestants import NAMES
from benchmarks.ground import Ground
from benchmarks.hops import contest
from benchmarks.processes import share_two_cores
from benchmarks.tables import hops_table, latency_table

console = Console(soft_wrap=True) if sys.stdout.isatty() else Console(width=150, soft_wrap=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    hops = commands.add_parser("hops", help="five hops of a no-op stage, beside the peers")
    hops.add_argument("--only", help="contestants, separated by commas; default: all", type=names)
    hops.add_argument("--rounds", type=int, default=3)
    hops.add_argument("--jobs", type=float, default=1.0, help="share of the usual number of jobs, for a quick look")
    given = parser.parse_args()
    share_two_cores()
    try:
        asyncio.run(interruptible(run_hops(given)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    return 0


def names(text: str) -> list[str]:
    chosen = list(dict.fromkeys(text.split(",")))
    if unknown := [name for name in chosen if name not in NAMES]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    return chosen


async def interruptible(work: Coroutine[Any, Any, None]) -> None:
    """SIGTERM, too, leaves nothing running."""
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await work


async def run_hops(given: argparse.Namespace) -> None:
    async with Ground.prepared() as ground:
        entries = await contest(ground, given.only or NAMES, given.rounds, given.jobs, console.print)
    for table in (hops_table(entries), latency_table(entries)):
        table.show(console)


if __name__ == "__main__":
    sys.exit(main())
