"""Lists as people and programs read them: ``-o table``, ``wide``, ``csv`` and ``json``.

On a terminal a table fits its width: long texts are shortened, then the columns that matter least are left out, and a
line names them. No word, number or key is ever cut or broken. In a pipe every column is there whole, one line a row,
without colours; an empty cell is a ``-``, so that columns can be counted.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from pgbaton.cli.when import local, zone

if TYPE_CHECKING:
    from pgbaton.events import Language

GAP = 2
"""Blanks between columns."""
LEAST = 16
"""Characters that a shortened text keeps."""


class Format(StrEnum):
    """The values of ``-o``."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    CSV = "csv"


COLOURS = {
    **dict.fromkeys(("completed", "done", "alive", "ok", "resume", "retry"), "32"),
    **dict.fromkeys(("running", "available"), "36"),
    **dict.fromkeys(("retryable", "draining", "paused", "warning", "pause", "cancel"), "33"),
    **dict.fromkeys(("dead", "failed", "lost", "error"), "31"),
    **dict.fromkeys(("cancelled", "superseded", "released"), "2"),
}
"""The colour of a state's word, as the terminal's number for it."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: ``name`` for programs and as the heading, ``korean`` as the heading where the setting says so.

    ``text``: may be shortened to fit. ``spare``: may be left out to fit, the highest first (0: never). ``wide``: only
    with ``-o wide`` and ``csv``. ``number``: to the right. ``coloured``: a state's word. ``shown``: a value for people,
    where its plain form is not meant."""

    name: str
    korean: str = ""
    text: bool = False
    spare: int = 0
    wide: bool = False
    number: bool = False
    coloured: bool = False
    is_time: bool = False
    shown: Callable[[object], str] | None = None

    def heading(self, language: Language) -> str:
        name = self.korean if language == "ko" and self.korean else self.name.replace("_", " ")
        return f"{name} ({zone()})" if self.is_time else name

    def cell(self, value: object) -> str:
        return (plain(self.shown(value)) if self.shown and value is not None else plain(value)) or "-"


def plain(value: object) -> str:
    """A value on one line: text of others' making must not break it, nor speak to the terminal."""
    text = "" if value is None else local(value) if isinstance(value, datetime) else str(value)
    return "".join(c if c.isprintable() else "�" for c in text)


def width(text: str) -> int:
    """Columns of a terminal that ``text`` takes: Hangul takes two a letter, a combining sign none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) or c == "\u200d" else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def shortened(text: str, size: int) -> str:
    """``text`` in at most ``size`` columns, with a ``…`` where something is left out."""
    if width(text) <= size:
        return text
    kept = ""
    for c in text:
        if width(kept + c) > size - 1:
            break
        kept += c
    return kept.rstrip() + "…"


def on_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def in_colour() -> bool:
    """Whether states are coloured: on a terminal that can, unless NO_COLOR says otherwise."""
    return on_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(word: str, text: str | None = None) -> str:
    """``text`` (default: the word) in the colour of the state ``word``."""
    text = word if text is None else text
    code = COLOURS.get(word) if in_colour() else None
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


@dataclass
class _Part:
    """The database whose answer is printed, of a command that goes through several."""

    database: str = ""
    first: bool = True


_part = _Part()


def begin_part(database: str, *, headed: bool) -> None:
    """Name the database that all output from now on is of. ``headed``: for people, under its name. For programs each
    JSON document has the name, and the first column of CSV."""
    _part.first = not _part.database
    _part.database = database
    if headed:
        print(f"{'' if _part.first else chr(10)}[{database}]", flush=True)


def of_several() -> bool:
    """Whether the output is of one of several databases."""
    return bool(_part.database)


def print_json(value: object) -> None:
    """As JSON; signs that end a line or speak to a terminal are escaped, inside strings, too."""
    if _part.database:
        value = {"database": _part.database, "answer": value}
    text = json.dumps(value, ensure_ascii=False, default=str, indent=2)
    print(re.sub("[\x7f-\x9f\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text))


def print_rows(
    columns: Sequence[Column], rows: Sequence[Sequence[object]], output: Format, language: Language = "en"
) -> None:
    """Print rows of plain values (``None``: nothing) as ``output`` says; for JSON use :func:`print_json`."""
    if output is Format.CSV:
        print(_csv(columns, rows), end="")
        return
    at_most = shutil.get_terminal_size().columns if on_terminal() and output is not Format.WIDE else None
    for line in table_lines(columns, rows, language, at_most, wide=output is Format.WIDE):
        print(line)


def table_lines(
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    language: Language = "en",
    at_most: int | None = None,
    *,
    wide: bool = False,
) -> list[str]:
    """The lines of a table, ``at_most`` so wide if that can be (``None``: as wide as its cells)."""
    chosen = [i for i, column in enumerate(columns) if wide or not column.wide]
    heads = [column.heading(language) for column in columns]
    cells = [[column.cell(value) for column, value in zip(columns, row, strict=True)] for row in rows]
    sizes = [max([width(heads[i]), *(width(row[i]) for row in cells)]) for i in range(len(columns))]
    left_out: list[str] = []
    if at_most is not None:
        chosen, left_out = _fitted(columns, sizes, heads, chosen, at_most)
    lines = [_line(columns, chosen, sizes, heads)]
    lines += [_line(columns, chosen, sizes, row, colours=True) for row in cells]
    if left_out:
        names = ", ".join(left_out)
        lines.append(
            f"(좁아서 생략: {names}. 모두 보려면 -o wide)"
            if language == "ko"
            else f"(left out to fit: {names}; -o wide shows them)"
        )
    return lines


def _fitted(
    columns: Sequence[Column], sizes: list[int], heads: Sequence[str], chosen: list[int], at_most: int
) -> tuple[list[int], list[str]]:
    """Shorten texts and leave out columns until the rest fits, if it can; ``sizes`` are changed in place."""

    def over() -> int:
        return sum(sizes[i] for i in chosen) + GAP * (len(chosen) - 1) - at_most

    left_out: list[str] = []
    while True:
        for i in sorted((i for i in chosen if columns[i].text), key=lambda i: -sizes[i]):
            least = min(sizes[i], max(LEAST, width(heads[i])))
            sizes[i] = max(least, sizes[i] - max(over(), 0))
        spare = max((i for i in chosen if columns[i].spare), key=lambda i: columns[i].spare, default=None)
        if over() <= 0 or spare is None:
            return chosen, left_out
        chosen = [i for i in chosen if i != spare]
        left_out.append(heads[spare])


def _line(
    columns: Sequence[Column], chosen: Sequence[int], sizes: Sequence[int], cells: Sequence[str], colours: bool = False
) -> str:
    parts = []
    for i in chosen:
        text = shortened(cells[i], sizes[i]) if columns[i].text else cells[i]
        blanks = " " * (sizes[i] - width(text))
        shown = coloured(cells[i], text) if colours and columns[i].coloured else text
        parts.append(blanks + shown if columns[i].number else shown + blanks)
    return (" " * GAP).join(parts).rstrip()


def _csv(columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> str:
    """RFC 4180 with a heading: every column, values as they are (times with their offset, durations in seconds)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n" if os.name == "nt" else "\n")
    of = [_part.database] if _part.database else []
    if _part.first:
        writer.writerow([*(["database"] if of else []), *(column.name for column in columns)])
    for row in rows:
        writer.writerow([*of, *(_raw(value) for value in row)])
    return text.getvalue()


def _raw(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    return plain(text) if on_terminal() else text
