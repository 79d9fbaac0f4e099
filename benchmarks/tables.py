"""The figures as tables: rows of cells, shown by rich and in Markdown alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.figures import Spread, percentile, ratio
from benchmarks.hops import Entry


@dataclass(frozen=True)
class Table:
    """The first column is text, the others are figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def show(self, console: Console) -> None:
        table = RichTable(title=self.title, title_justify="left")
        for at, column in enumerate(self.columns):
            table.add_column(column, justify="right" if at else "left")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)

    def markdown(self) -> str:
        lines = [self.columns, ("---", *("---:" for _ in self.columns[1:])), *self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def figure(value: float) -> str:
    """Three significant digits, none after the point above 100."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.{1 if value >= 10 else 2}f}"


def spread(values: Sequence[float]) -> str:
    found = Spread.of(values)
    return figure(found.median) + (f" ± {found.percent:.0f} %" if len(values) > 1 else "")


def hops_table(entries: Sequence[Entry]) -> Table:
    limit = next((entry.speeds for entry in entries if entry.name == "limit" and entry.runs), None)
    columns = (
        "engine",
        "hops/s",
        "of the limit",
        "engine CPU, ms/hop",
        "Postgres CPU, ms/hop",
        "calls a hop",
        "peak RSS, MB",
    )
    rows = (
        (
            entry.label,
            spread(entry.speeds),
            figure(ratio(entry.speeds, limit)) if limit else "—",
            spread([r.engine for r in entry.runs]),
            spread([r.postgres for r in entry.runs]),
            f"{max(r.calls for r in entry.runs):g}",
            figure(max(r.memory for r in entry.runs)),
        )
        if entry.runs
        else (entry.label, *"——————")
        for entry in entries
    )
    return Table("Five hops of a no-op stage", columns, tuple(rows))


def latency_table(entries: Sequence[Entry]) -> Table:
    columns = ("engine", "first call, p50", "p99", "hop, p50", "p99")
    rows = tuple(
        (
            entry.label,
            *(figure(percentile(times, share)) for times in (entry.first, entry.hop) for share in (0.5, 0.99)),
        )
        for entry in entries
        if entry.runs
    )
    return Table("From commit to call at a low rate, ms", columns, rows)
