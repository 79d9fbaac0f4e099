"""The tables of ``make bench``."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.figures import percentile, ratio
from benchmarks.hops import Entry
from benchmarks.one_write import OneWrite
from benchmarks.report.table import Table, figure, spread
from benchmarks.writer import CLIENTS, MIXES, NO_TRIGGER, ONE_INSERT, VARIANTS, Writing

LABELS = {
    NO_TRIGGER: "no trigger",
    ONE_INSERT: "a trigger that inserts one row",
    "pgbaton": "pgbaton without a channel",
    "pgbaton-channel": "pgbaton with a channel",
}


def hops_table(entries: Sequence[Entry]) -> Table:
    limit = next((entry.speeds for entry in entries if entry.name == "limit" and entry.runs), None)
    columns = ("engine", "hops/s", "of the limit", "engine CPU", "Postgres CPU", "calls a hop", "peak RSS")
    rows = (
        (
            entry.label,
            spread(entry.speeds),
            figure(ratio(entry.speeds, limit)) if limit else "—",
            spread([run.engine for run in entry.runs]),
            spread([run.postgres for run in entry.runs]),
            f"{max(run.calls for run in entry.runs):.3g}",
            figure(max(run.memory for run in entry.runs)),
        )
        if entry.runs
        else (entry.label, *"——————")
        for entry in entries
    )
    return Table("Five hops of a no-op stage; CPU in ms a hop, memory in MB", columns, tuple(rows))


def latency_table(entries: Sequence[Entry]) -> Table:
    columns = ("engine", "first call, p50", "first call, p99", "hop, p50", "hop, p99")
    rows = tuple(
        (
            entry.label,
            *(figure(percentile(times, share)) for times in (entry.first, entry.hop) for share in (0.5, 0.99)),
        )
        for entry in entries
        if entry.runs
    )
    return Table("From a commit to the call that it makes due, at a low rate, in ms", columns, rows)


def one_write_table(found: OneWrite) -> Table:
    columns = ("one UPDATE and its commit, in ms", "p50", "p99", "more at p50")
    base = found.median(NO_TRIGGER)
    rows = tuple(
        (
            LABELS[variant],
            figure(found.median(variant)),
            figure(percentile(times, 0.99)),
            "—" if variant == NO_TRIGGER else figure(found.median(variant) - base),
        )
        for variant, times in found.times.items()
    )
    return Table("A table that is written to five times a second", columns, rows)


def writer_table(found: Writing) -> Table:
    columns = ("the writer's transactions a second", *(f"{n} client{'s' * (n > 1)}" for n in CLIENTS))
    rows = []
    for mix in MIXES:
        for variant in VARIANTS:
            cells = []
            for clients in CLIENTS:
                tps = found.tps[variant, mix, clients]
                against = [b for b in (NO_TRIGGER, ONE_INSERT) if b != variant and variant != NO_TRIGGER]
                ratios = ", ".join(figure(ratio(tps, found.tps[base, mix, clients])) for base in against)
                cells.append(spread(tps) + (f" ({ratios})" if ratios else ""))
            rows.append((f"{mix}: {LABELS[variant]}", *cells))
    title = "What the trigger costs a writer; in brackets, against no trigger, and against one that inserts one row"
    return Table(title, columns, tuple(rows))
