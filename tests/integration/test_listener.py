"""The listener's one connection: lost, half-open or never had, the jobs still move."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from line import Ear, line, until
from pgbaton import database as database_module
from pgbaton.events import EventLog
from pgbaton.worker import engine as engine_module
from pgbaton.worker import listener as listener_module
from pgbaton.worker.listener import Hearer, Listener
from pgbaton.worker.periodic import Wake
from proxy import Proxy
from stage_server import Call, Say, StageServer

MINE = "datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'LISTEN%'"


@asynccontextmanager
async def listening(
    dsn: str, wake: Wake, channel: str | None = "job_state_changed", delay: float = 0.01
) -> AsyncIterator[Listener]:
    listener = Listener(dsn, [Hearer("craft", channel, wake)], EventLog("ko"), delay)
    task = asyncio.create_task(listener.run())
    try:
        yield listener
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def db(database: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(database)
    yield conn
    await conn.close()


@pytest.fixture
def quick_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "PROOF_EVERY", 0.1)


async def shortly(true: Callable[[], bool], what: str, seconds: float = 10) -> None:
    async def ask() -> bool:
        return true()

    await until(ask, what, seconds)


def logged(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [line for r in caplog.records if (line := r.getMessage()).startswith(text)]


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pgbaton")


# -- LISTEN, then drain ---------------------------------------------------------------------------


async def test_it_wakes_the_dispatcher_once_it_listens_and_misses_nothing_from_then_on(
    database: str, db: asyncpg.Connection
) -> None:
    wake = Wake()
    async with listening(database, wake) as listener:
        assert await wake.wait(10), "no notification tells of what was committed before"
        assert listener.connected
        assert repr(listener) == "<Listener 'job_state_changed' connected>"
        for channel, payload in (("job_state_changed", "{}"), ("pgbaton_wake", "craft")):
            await db.execute("SELECT pg_notify($1, $2)", channel, payload)
            assert await wake.wait(10)
    assert repr(listener) == "<Listener 'job_state_changed' disconnected>"


async def test_another_pipelines_wake_does_not_wake_it(database: str, db: asyncpg.Connection) -> None:
    wake = Wake()
    async with listening(database, wake), Ear.on(database, "pgbaton_wake") as ear:
        assert await wake.wait(10)
        await db.execute("NOTIFY pgbaton_wake, 'crafts'")
        await db.execute("NOTIFY other_channel, 'craft'")
        assert await ear.heard() == [("pgbaton_wake", "crafts")]
        assert not await wake.wait(0.05)


async def test_once_cancelled_it_leaves_no_connection_behind(database: str, db: asyncpg.Connection) -> None:
    wake = Wake()
    async with listening(database, wake):
        assert await wake.wait(10)
        assert await db.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {MINE}") == 1
    none = f"SELECT count(*) = 0 FROM pg_stat_activity WHERE {MINE}"
    await until(lambda: db.fetchval(none), "the session gone")


# -- what a connection may suffer -----------------------------------------------------------------


async def test_after_its_backend_was_ended_it_listens_again_and_drains(
    database: str, db: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    wake = Wake()
    async with listening(database, wake):
        for times in range(1, 4):
            assert await wake.wait(10)
            await db.fetch(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {MINE}")
            assert await wake.wait(10)
            await db.execute("NOTIFY job_state_changed, 'still there?'")
            assert await wake.wait(10)
            assert len(logged(caplog, "리스너 오류 발생 event=listener_failed")) == times
            assert len(logged(caplog, "재연결 시도 event=listener_reconnecting")) == times
            await db.execute("NOTIFY job_state_changed, 'and again'")


async def test_a_job_that_was_ready_before_the_worker_listened_is_called_when_it_does(database: str) -> None:
    async with (
        line(database) as craft,
        Proxy(database) as proxy,
        craft.worker(poll=60, listen_url=proxy.dsn, reconnect_delay=0.5) as engine,
    ):
        await shortly(lambda: bool(engine.listening), "the listener connected")
        await proxy.refuse()
        await shortly(lambda: not engine.listening, "the loss noticed")
        job = await craft.add()
        await proxy.serve_again()
        await craft.until_row(job, "glue", "done")


@pytest.mark.usefixtures("quick_proof")
async def test_a_connection_through_which_nothing_comes_any_more_is_noticed(
    database: str, db: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    wake = Wake()
    async with Proxy(database) as proxy, listening(proxy.dsn, wake):
        assert await wake.wait(10)
        began = time.monotonic()
        proxy.swallow()
        await db.execute("NOTIFY job_state_changed, 'no session hears this'")
        assert await wake.wait(10), "it did not connect again"
        assert time.monotonic() - began < 5
        assert proxy.connections == 2
        await db.execute("NOTIFY job_state_changed, 'but this'")
        assert await wake.wait(10)
    (said,) = logged(caplog, "리스너 오류 발생")
    assert "TimeoutError" in said


@pytest.mark.parametrize("at", [b"user", b"pg_backend_pid", b'LISTEN "pgbaton_wake"', b'LISTEN "job_state_changed"'])
async def test_a_connection_that_dies_before_it_listens_is_given_up_too(
    database: str, monkeypatch: pytest.MonkeyPatch, at: bytes
) -> None:
    for module in (listener_module, database_module):
        monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.3)
    wake = Wake()
    async with Proxy(database) as proxy:
        proxy.swallow_at = at
        async with listening(proxy.dsn, wake):
            await shortly(lambda: proxy.connections >= 2, "a second try")
            proxy.swallow_at = None
            assert await wake.wait(10)


async def test_while_there_is_no_database_it_tries_less_and_less_often_and_then_starts_over(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    def delays() -> list[float]:
        return [r.fields["delay"] for r in caplog.records if r.event == "listener_reconnecting"]  # type: ignore[attr-defined]

    wake = Wake()
    async with Proxy(database) as proxy:
        await proxy.refuse()
        async with listening(proxy.dsn, wake, delay=0.02):
            await shortly(lambda: len(delays()) >= 5, "five tries")
            for n, delay in enumerate(delays()[:5]):
                assert 0.01 * 2**n <= delay <= 0.02 * 2**n
            await proxy.serve_again()
            assert await wake.wait(10)
            before = len(delays())
            await proxy.cut()
            await shortly(lambda: len(delays()) > before, "a try after the cut")
            assert delays()[before] <= 0.02
    assert all("ConnectionError" in line or "DatabaseError" in line for line in logged(caplog, "리스너 오류 발생"))


async def test_the_log_of_a_listener_that_cannot_connect_holds_no_password(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "not-the-password"
    wrong = database.replace("@", f"{secret}@", 1) if ":" in database.split("@")[0][13:] else database
    async with listening(wrong, Wake(), delay=0.01):
        await shortly(lambda: bool(logged(caplog, "리스너 오류 발생")), "an error")
    assert "refuses" in caplog.text
    assert secret not in caplog.text


# -- payloads -------------------------------------------------------------------------------------


async def test_any_published_text_wakes_it_and_is_one_line_in_the_log(
    database: str, db: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    garbage = [
        "",
        "garbage",
        "\x1b[31m\n\r\u2028",
        "[" * 7000,
        "{" * 7000,
        '{"job_id": "\\ud800", "status": "\\u0000\\n"}',
        '{"job_id": {"a": 1}, "status": 7}',
        "null",
        "9" * 7900,
        '{"job_id": "' + "x" * 7900 + '"}',
        "한" * 2600,
    ]
    wake = Wake()
    async with listening(database, wake) as listener:
        assert await wake.wait(10)
        for payload in garbage:
            await db.execute("SELECT pg_notify('job_state_changed', $1)", payload)
            assert await wake.wait(10)
        await db.execute("""NOTIFY job_state_changed, '{"job_id": "j-1", "status": "done"}'""")
        await shortly(
            lambda: bool(logged(caplog, "Job 상태 변화 감지 event=job_state_changed job_id=j-1 status=done")),
            "the last one",
        )
        assert listener.connected
    lines = logged(caplog, "Job 상태 변화 감지")
    assert len(lines) == len(garbage) + 1
    assert all(line.isprintable() and len(line) < 1000 for line in lines)


async def test_a_flood_is_one_wake_and_keeps_only_so_much_in_memory(
    database: str, db: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    wake = Wake()
    async with listening(database, wake), Ear.on(database, "job_state_changed") as ear:
        assert await wake.wait(10)
        await db.execute("SELECT pg_notify('job_state_changed', n::text) FROM generate_series(1, 20000) AS n")
        assert len(await ear.heard()) == 20000
        await shortly(lambda: len(logged(caplog, "Job 상태 변화 감지")) >= 1000, "the log written")
        assert await wake.wait(10)
        assert not await wake.wait(0.05)


# -- without it -----------------------------------------------------------------------------------


async def test_jobs_move_by_polling_where_no_notification_ever_arrives(database: str) -> None:
    async with line(database) as craft, Proxy(database) as nowhere:
        await nowhere.refuse()
        async with craft.worker(poll=0.1, listen_url=nowhere.dsn) as engine:
            jobs = [await craft.add() for _ in range(3)]
            for job in jobs:
                await craft.until_row(job, "glue", "done")
            assert not engine.listening


async def test_a_worker_whose_connections_are_all_half_open_carries_on_over_new_ones(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "QUERY_TIMEOUT", 0.5)
    async with (
        line(database) as craft,
        Proxy(database) as proxy,
        craft.worker(database_url=proxy.dsn, listen_url=database, poll=0.2),
    ):
        first = await craft.add()
        await craft.until_row(first, "glue", "done")
        proxy.swallow()
        second = await craft.add()
        await craft.until_row(second, "glue", "done")
        await craft.until_settled()


async def test_a_worker_whose_database_says_nothing_any_more_still_ends(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "ABANDON_TIMEOUT", 0.3)

    async def hang(server: StageServer, call: Call) -> Say:
        await asyncio.sleep(60)
        return Say()

    async with (
        line(database, hang) as craft,
        Proxy(database) as proxy,
        craft.worker(database_url=proxy.dsn, drain_timeout=0.3) as engine,
    ):
        await craft.add()
        await craft.server.called.wait()
        monkeypatch.setattr(database_module, "CONNECT_TIMEOUT", 0.3)  # a busy machine connects more slowly than that
        proxy.swallow()
        proxy.swallow_at = b""
        engine.stop()
        async with asyncio.timeout(10):
            await engine.wait()
