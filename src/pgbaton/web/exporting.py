"""A list as a file: CSV for a spreadsheet, JSON for a program. Read and sent a page at a time, so that a
slow reader costs neither memory nor a connection."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from starlette.responses import Response, StreamingResponse

from pgbaton import insights
from pgbaton.insights import CAP, JobFilter, ListedJob
from pgbaton.insights.listing import count_jobs
from pgbaton.web.context import View
from pgbaton.web.errors import Told
from pgbaton.web.forms import Unfit, filter_of

BATCH = 500
"""Jobs read at a time."""
COLUMNS = (
    "job_key", "tenant", "stage", "state", "attempt", "failures", "created_at", "available_at", "settled_at",
    "age", "outcome", "http_status", "error",
)  # fmt: skip
_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
"""The signs that a spreadsheet may read as a formula at the beginning of a cell."""
_KINDS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


async def export(view: View) -> Response:
    """The list that the address asks for, up to 10,000 jobs; a file that is not all of it has ``first-10000`` in its
    name."""
    kind = view.asked("as")
    if kind not in _KINDS:
        raise Unfit("as")
    async with view.site.source.opened() as (conn, table):
        filters = filter_of(view, table.pipeline)
        count = await count_jobs(conn, filters)
    if count is None:
        raise Told("jobs.too_wide", 409)
    lines = as_csv if kind == "csv" else as_json
    name = f"jobs-first-{CAP}.{kind}" if count > CAP else f"jobs.{kind}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines(_jobs(view, filters)), media_type=_KINDS[kind], headers=headers)


async def _jobs(view: View, filters: JobFilter) -> AsyncIterator[list[dict[str, Any]]]:
    """At most :data:`CAP` jobs, in batches. Raises :class:`DatabaseError` where one cannot be read: the browser sees
    that the file is broken off."""
    before, left = None, CAP
    while left > 0:
        async with view.site.source.opened() as (conn, _):
            page = await insights.list_jobs(conn, filters, before, min(BATCH, left), timeout=5)
        if page.too_wide:
            raise TimeoutError("the list took too long to read")
        yield [_plain(job) for job in page.jobs]
        left -= len(page.jobs)
        before = page.next
        if before is None:
            return


def _plain(job: ListedJob) -> dict[str, Any]:
    told = asdict(job)
    return {name: v.isoformat() if isinstance(v := told[name], datetime) else v for name in COLUMNS}


async def as_csv(batches: AsyncIterator[list[dict[str, Any]]]) -> AsyncIterator[bytes]:
    """With a byte order mark, without which spreadsheets take Hangul for Latin-1."""
    yield b"\xef\xbb\xbf" + _row(COLUMNS, str)
    async for batch in batches:
        yield b"".join(_row(job.values(), cell) for job in batch)


async def as_json(batches: AsyncIterator[list[dict[str, Any]]]) -> AsyncIterator[bytes]:
    """One array, a job a line."""
    between = "[\n"
    async for batch in batches:
        if batch:
            yield (between + ",\n".join(json.dumps(job, ensure_ascii=False) for job in batch)).encode()
            between = ",\n"
    yield b"\n]\n" if between != "[\n" else b"[]\n"


def _row(values: Iterable[Any], spell: Callable[[Any], str]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow([spell(value) for value in values])
    return line.getvalue().encode("utf-8", "replace")


def cell(value: Any) -> str:
    """A value as a spreadsheet takes it for text, also where it begins like a formula."""
    said = "" if value is None else str(value)
    return f"'{said}" if isinstance(value, str) and said.startswith(_BEGINS_A_FORMULA) else said
