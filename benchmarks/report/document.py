"""``docs/benchmarks.md``, and the targets beside it: people write around the marks, a run writes between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report.table import Table

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/benchmarks.md"
TARGETS = ROOT / "docs/internal/benchmark-targets.md"
"""The project's own scoreboard, out of a stranger's way."""
PICTURE = ROOT / "docs/images/benchmarks.svg"
SHOWN = "Hops a second, and CPU a hop of the engine and of Postgres, for pgbaton, its peers and the limit"


def made(command: str, machine: str, versions: str) -> str:
    return f"Made by `{command}` on {machine}; {versions}."


def section(made: str, notes: Sequence[str], tables: Sequence[Table]) -> str:
    return "\n\n".join([made, *notes, *(table.markdown() for table in tables)])


def between(text: str, mark: str, content: str) -> str:
    """``text`` with what stands between the marks replaced. Raises ValueError where they are missing."""
    head, begin, rest = text.partition(f"<!-- {mark} -->")
    _, end, tail = rest.partition(f"<!-- /{mark} -->")
    if not begin or not end:
        raise ValueError(f"no marks {mark!r}")
    return f"{head}{begin}\n\n{content}\n\n{end}{tail}"


def write(mark: str, content: str, picture: str | None = None) -> None:
    """Put a run's section into the document, under its picture if it has one."""
    if picture:
        PICTURE.write_text(picture, encoding="utf-8")
        content = f"![{SHOWN}](images/{PICTURE.name})\n\n{content}"
    put(DOCUMENT, mark, content)


def put(document: Path, mark: str, content: str) -> None:
    document.write_text(between(document.read_text(encoding="utf-8"), mark, content), encoding="utf-8")
