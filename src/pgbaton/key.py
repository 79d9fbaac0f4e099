"""The key of a job as SQL: one column, or several that are one text, a JSON array of their values as texts.

The trigger makes the text, workers find the row by it: each value is written in one way only, under any time zone
and date style of a session.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from pgbaton.sql import ARGUMENT, quoted

LONGEST = 2640
"""Bytes of a key that an index of the engine's holds for sure. The user's own index holds a little more."""


@dataclass(frozen=True)
class Key:
    """``columns`` in the order of the configuration, ``types`` as ``format_type`` spells them; ``walked``: the columns
    in the order of the index that tells jobs apart."""

    columns: tuple[str, ...]
    types: tuple[str, ...] = ()
    walked: tuple[str, ...] = field(default=())

    def text(self, row: str) -> str:
        """The SQL of the key's text, in a row of the table; the trigger has it, too, so every name is qualified."""
        first = f"{row}.{quoted(self.columns[0])}"
        if len(self.columns) == 1:
            return f"{first}::pg_catalog.text"
        parts = ", ".join(f"pgbaton.key_part({row}.{quoted(column)})" for column in self.columns)
        return f"pg_catalog.json_build_array({parts})::pg_catalog.text"

    def present(self, row: str) -> str:
        """Whether a row has a key: no part of it is null."""
        return " AND ".join(f"{row}.{quoted(column)} IS NOT NULL" for column in self.columns)

    def size(self, row: str) -> str:
        """The SQL of the bytes that the key takes: of one column as the row has it, perhaps compressed."""
        if len(self.columns) == 1:
            return f"pg_catalog.pg_column_size({row}.{quoted(self.columns[0])})"
        return f"pg_catalog.octet_length({self.text(row)})"

    def parts(self) -> dict[str, str]:
        """The parts that a query may ask for of the job ``j``. ``{job_is(text)}``: it has that key. ``{job_among(x AS
        o)}``: it has one of these ``o.key``, for the plan's sake only. ``{behind(text)}``: it comes after that key in
        the order of ``{walk}``."""
        given = dict(zip(self.columns, self._given(ARGUMENT), strict=True))
        listed = dict(zip(self.columns, self._given("o.key"), strict=True))
        walked = self.walked or self.columns
        row, beyond = (", ".join(each) for each in ((f"j.{quoted(c)}" for c in walked), (given[c] for c in walked)))
        return {
            "job_key": self.text("j"),
            "present": self.present("j"),
            # Qualified, for the guard's sessions are the application's: for two varchars an operator that another role
            # has put into public fits better than Postgres' own.
            "job_is": " AND ".join(f"j.{quoted(c)} OPERATOR(pg_catalog.=) {value}" for c, value in given.items()),
            "job_among": " AND ".join(
                f"j.{quoted(c)} = ANY (ARRAY(SELECT {value} FROM {ARGUMENT}))"  # noqa: S608
                for c, value in listed.items()
            ),
            "behind": f"({row}) > ({beyond})",
            "walk": row,
            "key_fits": f"{self.size('j')} <= {LONGEST}",
        }

    def typed(self, text: str) -> str:
        """A key as the trigger spells it, from what a person types: of several columns, an array with spaces and
        numbers as they please. Text that is no number stays as it is: no job has it."""
        if len(self.columns) == 1:
            return text
        try:
            values = json.loads(text)
        except ValueError:
            return text
        if not isinstance(values, list) or len(values) != len(self.columns):
            return text
        return key_of([value if isinstance(value, str) else json.dumps(value) for value in values])

    def in_body(self, text: str) -> str | list[str]:
        """A key as the body of a call has it."""
        return text if len(self.columns) == 1 else list(json.loads(text))

    def _given(self, text: str) -> list[str]:
        """The columns' values in a key's text."""
        types = self.types or ("text",) * len(self.columns)
        if len(self.columns) == 1:
            return [f"{text}::{types[0]}"]
        return [f"({text}::jsonb ->> {nth})::{kind}" for nth, kind in enumerate(types)]


def key_of(value: str | Sequence[str]) -> str:
    """The text of a key as a body has it."""
    return value if isinstance(value, str) else json.dumps(list(value), ensure_ascii=False)
