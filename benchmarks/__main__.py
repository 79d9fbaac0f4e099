"""The command behind ``make bench`` and ``make bench-scale``; a whole run writes ``docs/benchmarks.md``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from rich.console import Console

from benchmarks import one_write, writer
from benchmarks.contestants import NAMES
from benchmarks.ground import Ground
from benchmarks.hops import contest
from benchmarks.processes import ChildFailed, share_two_cores
from benchmarks.report import document, hops, scale
from benchmarks.report.chart import chart
from benchmarks.report.machine import machine, tuning, versions
from benchmarks.report.table import Table
from benchmarks.report.targets import (
    Target,
    backlog_targets,
    bloat_targets,
    bulk_targets,
    history_targets,
    hops_targets,
    targets_table,
)
from benchmarks.scale import backlog, bloat, bulk, history, workers

HOPS_PARTS = ("write", *NAMES, "writer")
ROUNDS = 3
Found = TypeVar("Found")
SCALE_PARTS = ("backlog", "history", "bloat", "workers", "bulk")
console = Console(soft_wrap=True) if sys.stdout.isatty() else Console(width=150, soft_wrap=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, work, parts, what in (
        ("hops", run_hops, HOPS_PARTS, "five hops of a no-op stage, beside the peers; what the trigger costs a writer"),
        (
            "scale",
            run_scale,
            SCALE_PARTS,
            "backlog, history, long snapshot, many workers, many rows in one statement",
        ),
    ):
        command = commands.add_parser(name, help=what)
        command.set_defaults(work=work)
        command.add_argument("--only", type=chosen(parts), default=parts, help=f"some of: {', '.join(parts)}")
        command.add_argument("--rounds", type=int, default=ROUNDS)
        command.add_argument("--size", type=float, default=1.0, help="share of the usual amount, for a quick look")
    given = parser.parse_args()
    try:
        asyncio.run(interruptible(given.work(given, share_two_cores())))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    except ChildFailed as error:
        console.print(f"a part of the benchmark failed: {error}")
        return 1
    return 0


def chosen(parts: Sequence[str]) -> Callable[[str], Sequence[str]]:
    def read(text: str) -> Sequence[str]:
        names = set(text.split(","))
        if unknown := names - set(parts):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are: {', '.join(parts)}")
        return tuple(part for part in parts if part in names)

    return read


async def interruptible(work: Coroutine[Any, Any, None]) -> None:
    """SIGTERM, too, leaves nothing running."""
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await work


async def run_hops(given: argparse.Namespace, cores: int) -> None:
    names = [name for name in given.only if name in NAMES]
    notes = [f"{given.rounds} rounds, medians; ± is half of the way from the least to the most. Server: {tuning()}."]
    tables: list[Table] = []
    async with Ground.prepared() as ground:
        if "write" in given.only:
            one = await attempt("one write", one_write.measure(ground, given.rounds, given.size, console.print), notes)
            tables += [hops.one_write_table(one)] if one else []
        entries = await contest(ground, names, given.rounds, given.size, console.print)
        notes += [f"{entry.label} dropped out: {entry.absent}." for entry in entries if entry.absent]
        writing = None
        if "writer" in given.only:
            writing = await attempt("the writer", writer.measure(ground, given.rounds, console.print), notes)
        server = await ground.show("server_version")
    tables += [hops.hops_table(entries), hops.latency_table(entries)] if entries else []
    if writing:
        tables.append(hops.writer_table(writing))
    said = document.made("make bench", machine(cores), versions(server, entries))
    tell(given, HOPS_PARTS, said, notes, tables, hops_targets(entries, writing), chart(entries))


async def run_scale(given: argparse.Namespace, cores: int) -> None:
    only, rounds, say = given.only, given.rounds, console.print
    notes = [f"{rounds} rounds, medians; ± is half of the way from the least to the most."]
    tables: list[Table] = []
    targets: list[Target] = []
    async with Ground.prepared(backlog.PRELOAD) as ground:
        if "backlog" in only:
            many = round(backlog.MANY * given.size)
            if waiting := await attempt("a backlog", backlog.measure(ground, rounds, say, many), notes):
                tables.append(scale.backlog_table(waiting))
                targets += backlog_targets(waiting)
        if "history" in only:
            settled = round(history.SETTLED * given.size)
            if past := await attempt("a long history", history.measure(ground, rounds, say, settled), notes):
                tables.append(scale.history_table(past))
                targets += history_targets(past)
        if "bloat" in only:
            dispatches = round(bloat.DISPATCHES * given.size)
            if held := await attempt("a long snapshot", bloat.measure(ground, say, dispatches), notes):
                tables.append(scale.bloat_table(held))
                targets += bloat_targets(held)
        if "workers" in only and (
            fleets := await attempt("workers", workers.measure(ground, min(rounds, 2), say), notes)
        ):
            tables.append(scale.workers_table(fleets))
        if "bulk" in only:
            rows = round(bulk.ROWS * given.size)
            if ready := await attempt("bulk", bulk.measure(ground, rounds, say, rows), notes):
                tables += [scale.bulk_table(ready), scale.drain_table(ready)]
                targets += bulk_targets(ready)
        server = await ground.show("server_version")
    said = document.made("make bench-scale", machine(cores), versions(server))
    tell(given, SCALE_PARTS, said, notes, tables, targets)


async def attempt(what: str, measuring: Coroutine[Any, Any, Found], notes: list[str]) -> Found | None:
    """One part's failure must not cost the minutes that the others took: it becomes a note."""
    try:
        return await measuring
    except Exception as error:
        notes.append(f"{what.capitalize()} could not be measured: {type(error).__name__} {error}.")
        console.print(notes[-1])
        return None


def whole(given: argparse.Namespace, parts: Sequence[str]) -> bool:
    """Whether this was the whole benchmark: only such a run may stand in the documents."""
    return tuple(given.only) == tuple(parts) and given.size == 1.0 and given.rounds >= ROUNDS


def tell(
    given: argparse.Namespace,
    parts: Sequence[str],
    made: str,
    notes: Sequence[str],
    tables: Sequence[Table],
    targets: Sequence[Target],
    picture: str | None = None,
) -> None:
    scoreboard = targets_table(targets)
    for table in (*tables, scoreboard):
        table.show(console)
    console.print(made, *notes, sep="\n", highlight=False)
    if whole(given, parts):
        document.write(given.command, document.section(made, notes, tables), picture)
        document.put(document.TARGETS, given.command, document.section(made, (), [scoreboard]))
        written = (str(file.relative_to(document.ROOT)) for file in (document.DOCUMENT, document.TARGETS))
        console.print(f"written to {' and '.join(written)}")
    else:
        console.print("a look at a part: the documents stay as they are")


if __name__ == "__main__":
    sys.exit(main())
