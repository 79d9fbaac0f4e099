"""How big a database a rate asks for."""

from __future__ import annotations

import pytest

from pgbaton.capacity import MOST_HISTORY, figures, need

DAY = 86400.0


def test_a_longer_retention_needs_a_larger_disk_and_nothing_else() -> None:
    week, month = need(500, 7 * DAY), need(500, 30 * DAY)
    assert month.history == pytest.approx(week.history * 30 / 7)
    assert month.disk > week.disk
    assert (month.wal, month.postgres_cores, month.workers) == (week.wal, week.postgres_cores, week.workers)


def test_the_measured_figures_come_out_again() -> None:
    """One by one: to the digit; as fast as it goes: and a little more, for some hops share nothing there either."""
    alone, busy = figures()["alone"], figures()["busy"]
    trickle, rush = need(0.01, DAY), need(busy["hops_per_second"], DAY)
    for name, figure in (("postgres_cores", "postgres_cpu_ms"), ("worker_cores", "worker_cpu_ms")):
        assert getattr(trickle, name) / 0.01 * 1000 == pytest.approx(alone[figure])
        assert busy[figure] <= getattr(rush, name) / busy["hops_per_second"] * 1000 <= 1.5 * busy[figure]
    assert (trickle.extrapolated, rush.extrapolated) == (False, False)
    assert need(busy["hops_per_second"] + 1, DAY).extrapolated


def test_a_rate_beyond_one_primary_is_said_to_be_so_and_by_what() -> None:
    kept_long = need(2000, 30 * DAY)
    assert kept_long.ends_by == "history"
    assert kept_long.history * kept_long.ends_at / 2000 == pytest.approx(MOST_HISTORY, rel=0.01)
    assert need(2000, 3600).ends_by in ("cores", "wal")
    assert need(2000, 3600).ends_at > kept_long.ends_at
    assert need(2000, 3600, payload=1e6).ends_by == "wal"


def test_more_hops_never_need_less() -> None:
    rates = (1, 10, 100, 500, 1000, 5000, 20_000)
    needs = [need(rate, 7 * DAY) for rate in rates]
    for name in ("postgres_cores", "machine_cores", "memory", "workers", "wal", "disk", "connections", "history"):
        values = [getattr(n, name) for n in needs]
        assert values == sorted(values), name
