"""Shadow mode: the calls that were recorded in place of being made, and the later moves of the table's rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import median
from typing import Any, Literal

import asyncpg

from pgbaton.errors import DatabaseError
from pgbaton.insights.bounded import TooWide, at_most
from pgbaton.model import Dispatch, Row
from pgbaton.request import body_of, headers_of
from pgbaton.table import JobTable

PATIENCE = 30.0
"""Seconds that the comparison may take."""
Became = Literal["reached", "running", "failed", "waits", "elsewhere", "gone"]
"""``reached``: the row came to (stage, done) by itself. ``running``, ``failed``: it is there with that status.
``waits``: it stands where the stage would have been called. ``elsewhere``: in a state that does not tell."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A POST that would have been made, with the engine's own headers (the trace's is made with a call). ``became``:
    the row's move since; ``seconds``: how long that took, where a later record tells."""

    id: int
    stage: str
    job_key: str
    at: datetime
    url: str
    headers: dict[str, str]
    body: dict[str, Any]
    became: Became
    seconds: float | None

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Compared:
    """One stage's records: how many became what, and the median of their ``seconds``."""

    stage: str
    recorded: int
    became: dict[str, int]
    seconds: float | None


async def recorded(
    conn: asyncpg.Connection, table: JobTable, stage: str | None, before: int | None, limit: int
) -> list[Recorded]:
    """The recorded calls, the newest first. Raises :class:`DatabaseError` where that takes too long."""
    try:
        async with at_most(conn, PATIENCE):
            rows = await conn.fetch(table.query("read/shadow"), table.pipeline, stage, before, limit)
    except TooWide:
        raise DatabaseError(f"comparing took longer than {PATIENCE:g} s: ask for fewer (--limit)") from None
    return [_recorded(table, row) for row in rows]


def _recorded(table: JobTable, row: asyncpg.Record) -> Recorded:
    made = round(row["created_at"].timestamp() * 1_000_000)
    dispatch = Dispatch(row["id"], row["job_key"], row["stage"], 1, row["id"], Row(row["tenant"], None, None), made)
    return Recorded(
        row["id"],
        row["stage"],
        row["job_key"],
        row["created_at"],
        row["url"],
        headers_of(table.pipeline, dispatch) | {"content-type": "application/json"},
        json.loads(body_of(dispatch, table.key)),
        row["became"],
        row["seconds"],
    )


def compared(records: Iterable[Recorded]) -> list[Compared]:
    """By stage, in the order in which stages are seen."""
    by_stage: dict[str, list[Recorded]] = {}
    for record in records:
        by_stage.setdefault(record.stage, []).append(record)
    return [
        Compared(
            stage,
            len(of),
            dict(Counter(r.became for r in of)),
            median(times) if (times := [r.seconds for r in of if r.seconds is not None]) else None,
        )
        for stage, of in by_stage.items()
    ]
