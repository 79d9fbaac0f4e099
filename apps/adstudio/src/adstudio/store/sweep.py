"""Removes stored pictures that no row names: of a stage that was repeated on another day, of jobs that were deleted.

A file is written before its row names it, so a young file without a row may belong to a stage that is at work. A file
of an earlier day does not: no stage takes longer than ten minutes, and a file that is written today has today's name
(:mod:`adstudio.store.keys`). Two sweeps at once remove the same files; one that is gone already is no error. Rows of
another database are unknown here: a folder or a bucket's prefix belongs to one database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from importlib.resources import files
from typing import Final

import asyncpg

from adstudio.store.keys import day_of, today
from adstudio.store.shelf import Store

LEAST_DAYS: Final = 2
"""The youngest that is removed: a day for clocks that differ, and midnight."""
_AT_ONCE: Final = 500  # keys asked about in one statement


async def unnamed(db: asyncpg.Connection, store: Store, days: int, on: date | None = None) -> AsyncIterator[list[str]]:
    """The keys of files at least ``days`` days old that no row names, in lists. ``on``: the day, today's of UTC.

    Raises ``ValueError`` for fewer than :data:`LEAST_DAYS`, and :class:`StoreAway`.
    """
    if days < LEAST_DAYS:
        raise ValueError(f"files of the last {LEAST_DAYS} days may belong to stages at work")
    bound = (on or today()) - timedelta(days=days)
    query = files("adstudio").joinpath("sql", "unnamed_files.sql").read_text(encoding="utf-8")
    async for names in store.names():
        old = [name for name in names if (day := day_of(name)) is not None and day <= bound]
        for start in range(0, len(old), _AT_ONCE):
            rows = await db.fetch(query, old[start : start + _AT_ONCE])
            if rows:
                yield [row["key"] for row in rows]
