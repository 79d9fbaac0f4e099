"""A table of cells, shown by rich and in Markdown alike, and how its figures are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.figures import Spread


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
        return "\n".join([f"**{self.title}**", "", *(f"| {' | '.join(cells)} |" for cells in lines)])


def figure(value: float) -> str:
    """Three significant digits, none after the point from 100 on."""
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.{1 if value >= 9.95 else 2}f}"


def spread(values: Sequence[float]) -> str:
    """The median of the rounds, and how far they lie apart."""
    found = Spread.of(values)
    return figure(found.median) + (f" ± {found.percent:.0f} %" if len(values) > 1 else "")
