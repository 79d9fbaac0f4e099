"""The tables of ``make bench-scale``."""

from __future__ import annotations

from benchmarks.figures import ratio
from benchmarks.report.hops import LABELS
from benchmarks.report.table import Table, figure, spread
from benchmarks.scale.backlog import FEW, MANY, Backlog
from benchmarks.scale.bloat import Bloat
from benchmarks.scale.bulk import ROWS, Bulk
from benchmarks.scale.history import History
from benchmarks.scale.workers import CLIENTS, FLEETS, VARIANTS, Fleets
from benchmarks.writer import MATTERS, NO_TRIGGER, NOTHING


def backlog_table(found: Backlog) -> Table:
    rows = (
        ("a claim, ms", *(spread(found.claim[waiting]) for waiting in (FEW, MANY))),
        ("dispatches a claim", *(spread(found.batch[waiting]) for waiting in (FEW, MANY))),
        ("pages a claim", *(spread(found.pages[waiting]) for waiting in (FEW, MANY))),
        ("hops/s", *(spread(found.speed[waiting]) for waiting in (FEW, MANY))),
        ("a worker's peak memory, MB", figure(found.memory["few"]), figure(found.memory["many"])),
    )
    title = (
        f"Backlog; an idle worker has {figure(found.memory['idle'])} MB, adding the million took {found.filling:.0f} s"
    )
    return Table(title, ("waiting dispatches", f"{FEW:,}", f"{MANY:,}"), rows)


def history_table(found: History) -> Table:
    without, behind = False, True
    rows = tuple(
        (what, spread(figures[without]), spread(figures[behind]), figure(ratio(figures[behind], figures[without])))
        for what, figures in (("hops/s", found.speed), ("Postgres CPU, ms a hop", found.postgres))
    )
    return Table("A long history", ("dispatches that ended", "none", f"{found.settled:,}", "ratio"), rows)


def bloat_table(found: Bloat) -> Table:
    rows = (
        (
            f"{found.course[-1][1]:,} hops",
            figure(found.start),
            figure(found.end),
            figure(found.end / found.start if found.start else 0.0),
        ),
    )
    return Table(
        "Under one snapshot, held open throughout", ("run", "hops/s at the start", "at the end", "ratio"), rows
    )


def workers_table(found: Fleets) -> Table:
    columns = ("idle workers", "Postgres, ms CPU/s", "workers, ms CPU/s", "tps, nothing due", "tps, each one matters")
    rows = []
    for variant in VARIANTS:
        for size in FLEETS:
            tps = (
                f"{spread(found.tps[variant, size, mix])}"
                f" ({figure(ratio(found.tps[variant, size, mix], found.tps[variant, FLEETS[0], mix]))})"
                for mix in (NOTHING, MATTERS)
            )
            idle = spread(found.postgres[variant, size]), spread(found.workers[variant, size])
            rows.append((f"{LABELS[variant]}: {size}", *idle, *tps))
    return Table(f"Workers beside a writer of {CLIENTS} clients; in brackets, against one worker", columns, tuple(rows))


def bulk_table(found: Bulk) -> Table:
    base = found.seconds[NO_TRIGGER]
    rows = tuple(
        (LABELS[variant], spread(seconds), figure(ratio(seconds, base))) for variant, seconds in found.seconds.items()
    )
    return Table(f"{ROWS:,} rows that become ready in one UPDATE", ("trigger", "seconds", "factor"), rows)


def drain_table(found: Bulk) -> Table:
    memory = [mb for _, mb in found.memory]
    seconds, speed = found.drained
    row = (figure(seconds), figure(speed), figure(memory[0]), figure(max(memory)), figure(memory[-1]))
    columns = ("draining them", "seconds", "hops/s", "MB at first", "MB at most", "MB at last")
    return Table("The worker that drains them", columns, (("pgbaton without a channel", *row),))
