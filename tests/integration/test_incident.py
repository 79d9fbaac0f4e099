"""Incidents: findings have a beginning and an end, and a webhook is told of each once."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from line import Line, line, until
from pgbaton.health import Finding, Health, happened, record, report
from pgbaton.worker.watch_store import WatchStore

DEAD = Finding("dead", "bad", {"stage": "cut", "count": 2, "error": "HTTP 500"}, "craft")


def health(*found: Finding) -> Health:
    return Health("craft", datetime.now(UTC), found, ())


class Hook:
    """A webhook that keeps what it is told, and fails as often as it is asked to."""

    def __init__(self) -> None:
        self.told: list[tuple[dict[str, str], bytes]] = []
        self.fails = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?key=secret"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        failing, self.fails = self.fails > 0, max(0, self.fails - 1)
        if not failing:
            self.told.append((headers, body))
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % (500 if failing else 204))
        await writer.drain()
        writer.close()


async def test_a_finding_is_one_row_from_its_appearance_to_its_end_with_any_recorder(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as one, craft.db.acquire() as other:
        await asyncio.gather(*(record(conn, health(DEAD), 0.0) for conn in (one, other)))
        await record(one, health(DEAD), 0.0)
        assert await one.fetchval("SELECT count(*) FROM pgbaton.findings WHERE ended_at IS NULL") == 1
        await record(one, health(), 60.0)
        assert await one.fetchval("SELECT count(*) FROM pgbaton.findings WHERE ended_at IS NULL") == 1, "it is held"
        await record(one, health(), 0.0)
        await record(one, health(DEAD), 0.0)
        rows = await one.fetch("SELECT ended_at IS NULL AS is_open FROM pgbaton.findings ORDER BY id")
        assert [r["is_open"] for r in rows] == [False, True]


async def test_one_sender_among_many_gets_a_finding_and_a_dead_one_is_followed(database: str) -> None:
    async with line(database) as craft:
        store = await craft.store()
        async with craft.db.acquire() as conn:
            await record(conn, health(DEAD), 0.0)

        async def take(seconds: float) -> object:
            async with craft.db.acquire() as conn:
                return await WatchStore(conn, store._table).to_tell(seconds)

        taken = await asyncio.gather(*(take(0.2) for _ in range(6)))
        assert sum(row is not None for row in taken) == 1

        async def again() -> bool:
            return await take(30) is not None

        await until(again, "the next sender takes it when the time of the dead one has passed")


async def test_an_end_that_comes_while_the_beginning_is_told_is_told_too(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        store = WatchStore(conn, (await craft.store())._table)
        await record(conn, health(DEAD), 0.0)
        row = await store.to_tell(30)
        await record(conn, health(), 0.0)
        assert row is not None
        await store.told(row, None)
        row = await store.to_tell(30)
        assert row is not None
        assert row["ended_at"] is not None


@pytest.mark.parametrize("form", ["json", "slack"])
async def test_a_webhook_is_told_once_of_a_beginning_and_an_end_and_can_prove_the_sender(
    database: str, form: str
) -> None:
    hook = Hook()
    hook.fails = 1
    async with hook.serving() as url, line(database) as craft:
        told = {"webhook_url": url, "webhook_secret": "s3cret", "webhook_format": form, "watch_every": 1}
        async with craft.worker(**told), craft.worker(**told):
            await craft.db.execute("UPDATE pgbaton.stages SET strikes = 3 WHERE step = 'glue'")
            await until(lambda: _told(hook, 1), "told of the beginning, though the first try failed", 20)
            await craft.db.execute("UPDATE pgbaton.stages SET strikes = 0")
            await until(lambda: _told(hook, 2), "told of the end", 30)
        ids = [headers["x-pgbaton-id"] for headers, _ in hook.told]
        assert [i.partition("-")[2] for i in ids] == ["appeared", "ended"]
        for headers, body in hook.told:
            at, signed = (part.split("=", 1)[1] for part in headers["x-pgbaton-signature"].split(","))
            assert signed == hmac.new(b"s3cret", at.encode() + b"." + body, hashlib.sha256).hexdigest()
        said = json.loads(hook.told[0][1])
        sentence = said["text"] if form == "slack" else said["finding"]["sentence"]
        assert "glue does not answer (3 tries in a row)" in sentence


async def _told(hook: Hook, count: int) -> bool:
    return len(hook.told) >= count


async def test_the_report_tells_findings_acts_and_deployments_in_both_languages(database: str) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        began = datetime.now(UTC) - timedelta(minutes=1)
        await record(conn, health(DEAD), 0.0)
        await _act(conn, craft)
        await record(conn, health(), 0.0)
        events = await happened(conn, "craft", began, datetime.now(UTC) + timedelta(minutes=1))
        assert [e.kind for e in events] == ["appeared", "act", "deployed", "ended"]
        english = report("craft", events, began, datetime.now(UTC), "en")
        assert "cut gave up on 2: HTTP 500" in english
        assert "[done by kim] pause cut" in english
        assert "[deployed] version: 1 → 2" in english
        assert "Found 1 (0 not over), done 1." in english
        korean = report("craft", events, began, datetime.now(UTC), "ko")
        assert "최종 실패했습니다" in korean
        assert "[배포] version: 1 → 2" in korean


async def _act(conn: asyncpg.Connection, craft: Line) -> None:
    await conn.execute(
        "INSERT INTO pgbaton.audit (who, action, pipeline, stage) VALUES ('kim', 'pause', 'craft', 'cut')"
    )
    await conn.execute(
        "INSERT INTO pgbaton.deployments (pipeline, what, was, is_now) VALUES ('craft', 'version', '1', '2')"
    )
