"""How big a database a rate of hops asks for: pure reckoning, from what one hop was measured to cost (``hop.json``,
which ``make capacity`` writes). Up to the rate that was reached there it lies within what was measured; beyond it, and
for more cores, it is extrapolated, and said to be.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from math import ceil
from typing import Any

DAY = 86400
"""Seconds."""
BUSY = 0.5
"""Share of the cores that Postgres may use on average: the rest is for peaks, vacuum, and your own queries."""
FULL_PAGES = 2.0
"""Times the WAL of a hop: the first change of a page after a checkpoint writes it whole. Measured runs lie between two
checkpoints; 1.2 to 2 is usual for tables that are written in order."""
BLOAT = 1.3
"""Times the history's size: what pruning has freed and vacuum has not given back yet."""
PER_WORKER = 1000
"""Hops a second that one worker makes, of which 2,700 were measured with nothing beside it."""
CORES = (2, 4, 8, 16, 32, 64)
"""Cores of machines that are usually offered."""
MOST_CORES = 32
"""Cores: beyond so many, locks of Postgres (WAL insertion, snapshots) are known to keep cores from adding up."""
MOST_WAL = 150.0
"""MB of WAL a second: a standby and an archive keep up with so much on 10 Gbit/s and a good SSD, by a margin of 4;
assumed."""
MOST_HISTORY = 2000.0
"""GB of history: beyond so much a vacuum of its indexes, a restore and a new standby each take a night; assumed."""


@dataclass(frozen=True, slots=True)
class Need:
    """The machine that the rate asks for. CPU in cores of the machine that was measured; sizes in GB, rates in MB a
    second; ``ends_at``: hops a second at which one primary ends; ``ends_by``: the reason (cores, wal, history)."""

    hops_per_second: float
    retention: float
    attempts_a_day: float
    postgres_cores: float
    machine_cores: int
    memory: int
    worker_cores: float
    workers: int
    connections: int
    wal: float
    wal_a_day: float
    flushes: float
    transactions: float
    pages: float
    history: float
    disk: int
    extrapolated: bool
    ends_at: int
    ends_by: str
    settings: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@cache
def figures() -> dict[str, Any]:
    """The measured cost of one hop, and the machine that it was measured on."""
    found: dict[str, Any] = json.loads(files(__package__).joinpath("hop.json").read_text(encoding="utf-8"))
    return found


def need(hops_per_second: float, retention: float, *, payload: float = 0.0) -> Need:
    """For so many hops a second, day and night, whose history is kept for ``retention`` seconds. ``payload``: bytes
    that a hop's stage writes to your own tables."""
    busy, alone = figures()["busy"], figures()["alone"]
    reached = float(busy["hops_per_second"])
    # So many hops come one by one, at the cost of a hop alone; those beyond share their turns and commits.
    single = min(hops_per_second, float(alone["hops_per_second"])) / hops_per_second

    def each(name: str) -> float:
        return float(busy[name] + max(0.0, alone[name] - busy[name]) * single)

    cores = hops_per_second * each("postgres_cpu_ms") / 1000
    per_hop = (each("wal_bytes") + payload) * FULL_PAGES
    wal = hops_per_second * per_hop / 1e6
    row = sum(figures()["history_bytes"].values())
    history = hops_per_second * retention * row * BLOAT / 1e9
    workers = max(2, ceil(hops_per_second / PER_WORKER))
    ends = {
        "cores": MOST_CORES * BUSY / (busy["postgres_cpu_ms"] / 1000),
        "wal": MOST_WAL * 1e6 / ((busy["wal_bytes"] + payload) * FULL_PAGES),
        "history": MOST_HISTORY * 1e9 / (retention * row * BLOAT),
    }
    ends_by = min(ends, key=lambda reason: ends[reason])
    machine = next((n for n in CORES if n * BUSY >= cores), CORES[-1])
    connections = workers * figures()["worker"]["connections"]
    memory = max(4, 2 * machine)
    wal_size = max(2, ceil(wal * 900 / 1000))
    return Need(
        hops_per_second=hops_per_second,
        retention=retention,
        attempts_a_day=hops_per_second * DAY,
        postgres_cores=cores,
        machine_cores=machine,
        memory=memory,
        worker_cores=hops_per_second * each("worker_cpu_ms") / 1000,
        workers=workers,
        connections=connections,
        wal=wal,
        wal_a_day=wal * DAY / 1000,
        flushes=hops_per_second * each("flushes"),
        transactions=hops_per_second * each("transactions"),
        pages=hops_per_second * each("pages"),
        history=history,
        disk=ceil((history + 2 * wal_size) * 1.5),
        extrapolated=hops_per_second > reached,
        ends_at=int(ends[ends_by]),
        ends_by=ends_by,
        settings=_settings(memory, connections, wal_size, hops_per_second, each("transactions")),
    )


def _settings(
    memory: int, connections: int, wal_size: int, hops_per_second: float, transactions: float
) -> dict[str, str]:
    """postgresql.conf for that; the tables bring their own autovacuum thresholds."""
    # The default, 200 million transactions, is used up in less than a week.
    often = hops_per_second * transactions * 7 * DAY > 200e6
    return {
        "shared_buffers": f"{max(1, memory // 4)}GB",
        "effective_cache_size": f"{max(2, memory * 3 // 4)}GB",
        "max_connections": str(max(100, ceil((connections + 50) / 50) * 50)),
        "checkpoint_timeout": "15min",
        "max_wal_size": f"{2 * wal_size}GB",
        "wal_compression": "lz4",
        "autovacuum_naptime": "10s",
        "autovacuum_max_workers": "4" if hops_per_second > 200 else "3",
        "autovacuum_vacuum_cost_limit": str(min(10_000, max(1000, round(hops_per_second * 4 / 1000) * 1000))),
        **({"autovacuum_freeze_max_age": "1000000000"} if often else {}),
        "maintenance_work_mem": "1GB" if memory >= 8 else "256MB",
        "random_page_cost": "1.1",
    }
