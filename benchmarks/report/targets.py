"""The targets, and whether a run meets them: computed, never judged by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.figures import percentile, ratio
from benchmarks.hops import Entry
from benchmarks.report.table import Table, figure
from benchmarks.scale.backlog import FEW, MANY, Backlog
from benchmarks.scale.bloat import Bloat
from benchmarks.scale.bulk import ROWS, Bulk
from benchmarks.scale.history import History
from benchmarks.writer import CLIENTS, MATTERS, NO_TRIGGER, NOTHING, ONE_INSERT, Writing

NO_PEERS = ("limit", "pgbaton", "pgbaton-channel", "naive")
FLAT = 1.1
"""How far a worker's memory may grow and still be called flat."""


@dataclass(frozen=True)
class Target:
    """``must`` and ``aim``: bounds of ``value``; ``sign`` says of which kind. ``value`` None: not measured."""

    what: str
    sign: str
    must: float | None
    aim: float | None
    value: float | None

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        if self._holds(self.aim):
            return "met, and the aim"
        return "met" if self._holds(self.must) else "**not met**"

    def _holds(self, bound: float | None) -> bool:
        if bound is None or self.value is None:
            return False
        # As they are written: a figure that reads 0.90 meets 0.9.
        value = round(self.value, 2)
        return value >= bound if self.sign == "≥" else value <= bound


def targets_table(targets: Sequence[Target]) -> Table:
    rows = tuple(
        (
            t.what,
            f"{t.sign} {t.must:g}" if t.must is not None else "—",
            f"{t.sign} {t.aim:g}" if t.aim is not None else "—",
            figure(t.value) if t.value is not None else "—",
            t.verdict,
        )
        for t in targets
    )
    return Table("Targets", ("ratio within this run", "must", "aim", "measured", "verdict"), rows)


def hops_targets(entries: Sequence[Entry], writing: Writing | None) -> list[Target]:
    there = {entry.name: entry for entry in entries if entry.runs}
    peers = [entry for entry in there.values() if entry.name not in NO_PEERS]
    fastest = max(peers, key=lambda entry: median(entry.speeds), default=None)
    ours, channel, limit = (there.get(name) for name in ("pgbaton", "pgbaton-channel", "limit"))
    named = f"the fastest peer{f' ({fastest.label})' if fastest else ''}"
    found = [
        Target(f"hops/s against {named}, without a channel", "≥", 1.5, 2.0, faster(ours, fastest)),
        Target(f"hops/s against {named}, with a channel", "≥", 0.85, 1.1, faster(channel, fastest)),
        Target("hops/s against the limit, without a channel", "≥", 0.65, 0.8, faster(ours, limit)),
        Target(f"CPU a hop against {named}, without a channel", "≤", 0.6, 0.45, cheaper(ours, fastest)),
    ]
    for what, times in (("a hop", "hop"), ("the first call", "first")):
        best = min(peers, key=lambda entry: percentile(getattr(entry, times), 0.5), default=None)
        value = percentile(getattr(ours, times), 0.5) / percentile(getattr(best, times), 0.5) if ours and best else None
        of = f" ({best.label})" if best else ""
        found.append(Target(f"latency of {what}, p50, against the best peer in it{of}", "≤", 0.75, 0.6, value))
    least = "a trigger that inserts one row"
    for mix, what, musts, aim in (
        (MATTERS, "each one matters", (0.75, 0.75, 0.7), 0.9),
        (NOTHING, "states that no route knows", (1.0, 1.0, 1.0), None),
    ):
        for clients, must in zip(CLIENTS, musts, strict=True):
            tps = [writing.tps[name, mix, clients] for name in ("pgbaton", ONE_INSERT)] if writing else None
            named = f"the writer's tps against {least}, {clients} client{'s' * (clients > 1)}, {what}"
            found.append(Target(named, "≥", must, aim, ratio(*tps) if tps else None))
    return found


def faster(ours: Entry | None, theirs: Entry | None) -> float | None:
    return ratio(ours.speeds, theirs.speeds) if ours and theirs else None


def cheaper(ours: Entry | None, theirs: Entry | None) -> float | None:
    return ratio(ours.cpu, theirs.cpu) if ours and theirs else None


def backlog_targets(found: Backlog) -> list[Target]:
    idle, many = found.memory["idle"], found.memory["many"]
    return [
        Target("a worker's memory, MB, idle", "≤", 65, 60, idle),
        Target(f"a worker's memory, MB, with {MANY:,} waiting", "≤", 65, 60, many),
        Target(
            f"a claim with {MANY:,} waiting against {FEW:,}", "≤", 1.2, None, ratio(found.claim[MANY], found.claim[FEW])
        ),
    ]


def history_targets(found: History) -> list[Target]:
    what = f"hops/s with {found.settled:,} dispatches in the history against none"
    return [Target(what, "≥", 0.9, None, ratio(found.speed[True], found.speed[False]))]


def bloat_targets(found: Bloat) -> list[Target]:
    what = "hops/s at the end of a long snapshot against the start"
    return [Target(what, "≥", 0.8, None, found.end / found.start if found.start else 0.0)]


def bulk_targets(found: Bulk) -> list[Target]:
    memory = [mb for _, mb in found.memory]
    factor = ratio(found.seconds["pgbaton"], found.seconds[NO_TRIGGER])
    return [
        Target(f"{ROWS:,} rows in one UPDATE against no trigger, without a channel", "≤", 5, 3, factor),
        Target("a worker's memory at most against at first, draining it", "≤", FLAT, None, max(memory) / memory[0]),
    ]
