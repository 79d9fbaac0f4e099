"""Decisions about jobs that wait for a person: by command, on the page, or by a signed link. Each moves the row as one
UPDATE by hand would, and writes a name and a reason into the audit.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import time
from dataclasses import asdict, dataclass

import asyncpg

from pgbaton import sql
from pgbaton.decision.outcome import Place, place
from pgbaton.decision.verdict import Job, decided
from pgbaton.errors import ConfigError, Refused
from pgbaton.model import Kind, Passage
from pgbaton.operate.acts import why
from pgbaton.table import JobTable
from pgbaton.worker.store import Store

TRIES, BETWEEN_TRIES = 3, 0.02
"""Looks at a job that changes between look and decision, and the seconds between them."""
SHORTEST_SECRET = 32
"""Bytes of the secret that links are signed with, at least."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that waits to be decided: since which dispatch, and the names that it can be decided by."""

    job_key: str
    step: str
    dispatch: int
    choices: tuple[str, ...]


async def waiting(conn: asyncpg.Connection, table: JobTable, job_key: str) -> Waiting | None:
    """The question that a job waits for a person to answer; None where it does not wait (any more)."""
    try:
        return (await _look(Store(conn, table, ()), job_key))[2]
    except Refused:
        return None


async def decide(
    conn: asyncpg.Connection,
    table: JobTable,
    job_key: str,
    choice: str,
    *,
    who: str,
    reason: str = "",
    dispatch: int | None = None,
) -> None:
    """Send a job that waits to the state that ``choice`` means. ``dispatch``: only if it waits since that one.

    Raises :class:`Refused`: ``not_waiting``, ``unknown_choice``, or ``busy`` where another transaction holds the row.
    """
    store = Store(conn, table, ())
    async with conn.transaction(isolation="read_committed"):
        for _ in range(TRIES):
            job, node, found = await _look(store, job_key)
            if found is None or node is None or (dispatch is not None and dispatch != found.dispatch):
                raise Refused("not_waiting", f"{job_key!r} does not wait for a decision, or not for this one any more")
            if choice not in node.choices:
                there = ", ".join(node.choices)
                raise Refused("unknown_choice", f"{choice!r} is no choice at {node.step!r}; there are: {there}")
            verdict = decided(job, node, node.choices[choice])
            written = await store.settle([(verdict, None)], await store.stages())
            if written and written[job.key].written:
                await conn.execute("SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)")
                arguments = (who[:200] or "?", choice, table.pipeline, node.step, job.key, 1, "{}", why(reason))
                await conn.execute(sql.read("operate/audit.sql"), *arguments)
                return
            await asyncio.sleep(BETWEEN_TRIES)
    raise Refused("busy", f"another transaction holds the row of {job_key!r}: try again")


async def _look(store: Store, job_key: str) -> tuple[Job, Passage | None, Waiting | None]:
    try:
        (job,) = await store.look([job_key]) if "\x00" not in job_key else [Job(job_key, None, None)]
    except asyncpg.DataError:
        raise Refused("not_waiting", f"{job_key!r} is no key that this table can have") from None
    for node in (await store.stages()).values():
        if isinstance(node, Passage) and node.kind is Kind.WAIT and place(node, job.row) is Place.ENTRY:
            since = [d.id for d in job.duties if d.stage == node.step]
            if job.call is not None and job.call.stage == node.step:
                since.append(job.call.id)
            if since:
                return job, node, Waiting(job.key, node.step, max(since), tuple(node.choices))
    return job, None, None


@dataclass(frozen=True, slots=True)
class Link:
    """The content of a signed link: this job may be decided, as long as it waits since ``dispatch``, until ``until``
    (Unix time), in the name of ``to``."""

    pipeline: str
    job_key: str
    dispatch: int
    until: int
    to: str

    def signed(self, secret: bytes) -> str:
        """The link's token."""
        body = base64.urlsafe_b64encode(json.dumps(asdict(self), ensure_ascii=False).encode()).rstrip(b"=")
        return f"{body.decode()}.{_signature(secret, body)}"


def read_link(token: str, secret: bytes, now: float | None = None) -> Link:
    """The link of a token. Raises :class:`Refused`: ``forged``, or ``late``. Whether it was used before, the job tells:
    it waits no more."""
    body, _, signature = token[:4000].partition(".")
    raw = body.encode("ascii", "replace")
    if not hmac.compare_digest(_signature(secret, raw).encode(), signature.encode("utf-8", "replace")):
        raise Refused("forged", "this link was not signed here, or not all of it has come")
    try:
        link = Link(**json.loads(base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))))
    except (binascii.Error, ValueError, TypeError):
        raise Refused("forged", "this link was not signed here, or not all of it has come") from None
    if link.until < (time.time() if now is None else now):
        raise Refused("late", "this link is past its time")
    return link


def _signature(secret: bytes, body: bytes) -> str:
    key = hmac.digest(secret, b"pgbaton decision link", "sha256")
    return hmac.new(key, body, hashlib.sha256).hexdigest()


def secret_of(text: str | None) -> bytes:
    """The secret that links are signed with. Raises :class:`ConfigError` where there is none, or a short one."""
    if not text or len(text.encode()) < SHORTEST_SECRET:
        raise ConfigError(f"links need PGBATON_LINK_SECRET: at least {SHORTEST_SECRET} bytes that nobody can guess")
    return text.encode()
