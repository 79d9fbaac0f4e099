"""The benchmark's pure parts: what is said of figures that are given. Nothing is timed here."""

from __future__ import annotations

import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.contestants import NAMES
from benchmarks.figures import Spread, percentile, ratio
from benchmarks.hops import Entry
from benchmarks.latency import latencies
from benchmarks.one_write import OneWrite
from benchmarks.report import document
from benchmarks.report.chart import chart
from benchmarks.report.hops import hops_table, latency_table, one_write_table, writer_table
from benchmarks.report.scale import (
    backlog_table,
    bloat_table,
    bulk_table,
    drain_table,
    history_table,
    workers_table,
)
from benchmarks.report.table import figure, spread
from benchmarks.report.targets import (
    Target,
    backlog_targets,
    bloat_targets,
    bulk_targets,
    history_targets,
    hops_targets,
    targets_table,
)
from benchmarks.run import Run
from benchmarks.scale.backlog import FEW, MANY, Backlog
from benchmarks.scale.bloat import Bloat
from benchmarks.scale.bulk import Bulk
from benchmarks.scale.history import History
from benchmarks.scale.workers import FLEETS, Fleets
from benchmarks.scale.workers import VARIANTS as WORKERS
from benchmarks.writer import CLIENTS, MATTERS, MIXES, NOTHING, VARIANTS, Writing

ROOT = Path(__file__).parents[2]


def entry(name: str, *speeds: float, cpu: float = 0.2, first: float = 2.0, hop: float = 1.0) -> Entry:
    runs = [Run(speed, cpu / 2, cpu / 2, 50.0, 1.0, [first], [hop]) for speed in speeds]
    return Entry(name, f"<{name}>", runs=runs)


ENTRIES = [
    entry("limit", 4000, 2000),
    entry("pgbaton", 3200, 1400, cpu=0.3, first=1.0, hop=0.5),
    entry("pgbaton-channel", 1800, 800),
    entry("pgqueuer", 1600, 700, cpu=0.9),
    Entry("dbos", "DBOS", absent="not installed"),
]
WRITING = Writing(
    {
        (variant, mix, clients): {"limit": [1000.0, 2000.0], "one insert": [800.0, 1600.0]}.get(variant, [400.0, 800.0])
        for variant in VARIANTS
        for mix in MIXES
        for clients in CLIENTS
    }
)


def test_a_percentile_is_a_value_that_was_there() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7.0


def test_a_ratio_compares_figures_of_the_same_round() -> None:
    assert ratio([10, 1, 6], [20, 2, 3]) == 0.5
    assert ratio([10], [20, 2, 3]) == 0.5, "who dropped out is compared as far as it came"


def test_a_spread_tells_how_far_rounds_lie_apart() -> None:
    assert Spread.of([90, 100, 110]) == Spread(100, 90, 110)
    assert spread([90, 100, 110]) == "100 ± 10 %"
    assert spread([0.123]) == "0.12"
    assert [figure(v) for v in (0.456, 9.97, 12.34, 99.7, 1234.5)] == ["0.46", "10.0", "12.3", "100", "1,234"]


def test_latency_is_from_the_commit_to_the_first_call_that_it_made_due() -> None:
    hops = [("a", "s2", 1.020, 1.030), ("a", "s1", 1.005, 1.010), ("a", "s2", 1.500, 1.510)]
    first, hop = latencies({"a": 1.0, "never called": 2.0}, hops)
    assert first == [pytest.approx(5)]
    assert hop == [pytest.approx(10)], "a repeated call is not the one that was waited for"


def test_tables_say_what_was_measured_and_who_is_absent() -> None:
    text = hops_table(ENTRIES).markdown()
    assert "| <pgbaton> | 2,300 ± 39 % | 0.75 |" in text
    assert "| DBOS | — |" in text
    assert "| <pgbaton> | 1.00 | 1.00 | 0.50 | 0.50 |" in latency_table(ENTRIES).markdown()
    assert (
        "| each one matters: pgbaton without a channel | 600 ± 33 % (0.40, 0.50) |" in writer_table(WRITING).markdown()
    )
    times = {variant: [1.0 + n] for n, variant in enumerate(VARIANTS)}
    assert "| pgbaton without a channel | 3.00 | 3.00 | 2.00 |" in one_write_table(OneWrite(times)).markdown()


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(2.2, "met, and the aim"), (1.695, "met"), (1.5, "**not met**"), (None, "not measured")],
)
def test_a_verdict_is_computed(value: float | None, verdict: str) -> None:
    assert Target("speed", "≥", 1.7, 2.1, value).verdict == verdict


def test_a_cost_is_met_from_below() -> None:
    assert Target("cost", "≤", 0.55, 0.4, 0.5).verdict == "met"
    assert Target("cost", "≤", None, 3, 4.0).verdict == "**not met**"


def test_targets_are_ratios_against_the_fastest_peer_and_the_limit() -> None:
    values = [target.value for target in hops_targets(ENTRIES, WRITING)]
    hops = [2.0, (1800 / 1600 + 800 / 700) / 2, 0.75, 1 / 3, 0.5, 0.5]
    assert values == pytest.approx([*hops, *(2 * 3 * [0.5])]), "the writer's are against a trigger that inserts one row"
    assert "not measured" in targets_table(hops_targets(ENTRIES[:2], None)).markdown()


def test_scale_has_its_tables_and_targets() -> None:
    same = {FEW: [8.0], MANY: [8.0]}
    backlog = Backlog({FEW: [1.0], MANY: [1.2]}, same, same, same, {"idle": 50, "few": 55, "many": 58})
    bloat = Bloat([(float(n), n * 10) for n in range(101)], total=1000)
    bulk = Bulk({v: [1.0 + n] for n, v in enumerate(VARIANTS)}, (9.0, 100.0), [(0, 50.0), (9, 54.0)])
    keys = [(variant, size) for variant in WORKERS for size in FLEETS]
    tps = {(*key, mix): [100.0] for key in keys for mix in (NOTHING, MATTERS)}
    fleets = Fleets({key: [1.0] for key in keys}, {key: [1.0] for key in keys}, tps)
    history = History({False: [10.0], True: [9.0]}, {False: [1.0], True: [1.1]})
    tables = [
        backlog_table(backlog),
        history_table(history),
        bloat_table(bloat),
        bulk_table(bulk),
        drain_table(bulk),
        workers_table(fleets),
    ]
    assert "| hops/s | 10.0 | 9.00 | 0.90 |" in history_table(history).markdown()
    assert all(table.markdown().count("\n") >= 4 for table in tables)
    targets = backlog_targets(backlog) + history_targets(history) + bloat_targets(bloat) + bulk_targets(bulk)
    assert [t.value for t in targets] == pytest.approx([50, 58, 1.2, 0.9, 1.0, 3.0, 1.08])
    assert all(t.verdict.startswith("met") for t in targets)


def test_the_picture_is_a_picture() -> None:
    text = "".join(ElementTree.fromstring(chart(ENTRIES)).itertext())  # noqa: S314  we made it
    assert "<pgqueuer>" in text
    assert "DBOS" not in text
    assert chart([]) == ""


def test_a_run_writes_between_the_marks_only() -> None:
    text = "before\n<!-- hops -->\nold\n<!-- /hops -->\nafter\n"
    assert document.between(text, "hops", "new") == "before\n<!-- hops -->\n\nnew\n\n<!-- /hops -->\nafter\n"
    with pytest.raises(ValueError, match="no marks 'scale'"):
        document.between(text, "scale", "new")
    for mark in ("hops", "scale"):
        for file in (document.DOCUMENT, document.TARGETS):
            document.between(file.read_text(encoding="utf-8"), mark, "new")


def test_the_product_knows_no_peer() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = {name.split(">")[0].split("[")[0] for name in project["dependency-groups"]["bench"]} - {
        "httpx",
        "uvloop",
        "sqlalchemy",
        "psycopg",
    }
    product = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    product += [project["dependency-groups"]["dev"]]
    assert not names & {name.split(">")[0].split("[")[0] for names in product for name in names}
    assert len(NAMES) == 11
