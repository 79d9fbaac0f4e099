"""Behind PgBouncer, in both modes: correct without any LISTEN, and at once with a direct address for it."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from app_server import served
from command import pgbaton
from line import line, until
from pgbaton import Settings
from pgbaton.database import STEADY_PLANS, connection, pool, pooled
from pgbaton.fastapi import Stages, Turn
from pgbaton.web.app import WebSettings, create_app


def _bouncers() -> list[str]:
    """The PgBouncers to be tested with: the installed one, and those that PGBATON_TEST_BOUNCERS names (an old and a new one:
    up to 1.20 it loses prepared statements, from 1.21 on it keeps them)."""
    named = [path for path in os.environ.get("PGBATON_TEST_BOUNCERS", "").split(os.pathsep) if path]
    installed = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return [*([installed] if installed else []), *named]


BOUNCERS = _bouncers()
pytestmark = pytest.mark.skipif(not BOUNCERS, reason="pgbouncer is not installed")


@pytest.fixture(params=BOUNCERS or [None])
def through_pooler(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[str]:
    """The DSN of the same database through a PgBouncer of our own in transaction mode with two server connections."""
    with _bounced(str(request.param), database, tmp_path, "transaction", 2) as dsn:
        yield dsn


@pytest.fixture(params=BOUNCERS or [None])
def through_sessions(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[str]:
    """The same in session mode, with a server connection for each of a worker's."""
    with _bounced(str(request.param), database, tmp_path, "session", 10) as dsn:
        yield dsn


@contextmanager
def _bounced(bouncer: str, database: str, tmp_path: Path, mode: str, size: int) -> Iterator[str]:
    url = urlsplit(database)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path("/tmp") / f"pgbaton-bouncer-{port}" if os.geteuid() == 0 else tmp_path  # noqa: S108
    folder.mkdir(mode=0o755, exist_ok=True)
    try:
        (folder / "users.txt").write_text(f'"{url.username}" "{url.password or ""}"\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={url.hostname} port={url.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = plain\nauth_file = {folder}/users.txt\npool_mode = {mode}\ndefault_pool_size = {size}\n"
        )
        command = [bouncer, *(["-u", "nobody"] if os.geteuid() == 0 else []), str(folder / "pgbouncer.ini")]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{port}").geturl()
        finally:
            process.terminate()
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("pgbouncer did not start")


async def test_a_pooler_is_recognised(database: str, through_pooler: str) -> None:
    async with connection(database) as direct, connection(through_pooler) as bounced:
        assert (pooled(direct), pooled(bounced)) == (False, True)


async def test_a_dispatcher_has_its_plans_through_a_pooler_and_leaves_no_setting_there(
    database: str, through_pooler: str
) -> None:
    asked = "SELECT name, setting FROM pg_settings WHERE name = ANY ($1) AND setting = 'off'"
    names = [name for name in STEADY_PLANS if name.startswith("enable_")]
    found = []
    for steady in (True, False):
        async with pool(through_pooler, 1, through_pooler=True, steady_plans=steady) as sessions:
            found.append({row["name"] for row in await sessions.fetch(asked, names)})
    assert found == [set(names), set()]


async def test_jobs_move_by_polling_alone_and_the_log_says_so(
    database: str, through_pooler: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pgbaton")
    async with line(database) as craft, craft.worker(database_url=through_pooler) as engine:
        assert engine.listening is None
        await craft.add_many(30)
        await until(lambda: _all_done(craft), "30 jobs done", 30)
        assert len(craft.server.calls) == 60
    assert "event=pooler_in_path" in caplog.text


async def _all_done(craft) -> bool:
    return await craft.db.fetchval("SELECT bool_and((current_step, status) = ('glue', 'done')) FROM jobs")


async def test_with_a_direct_address_for_listening_it_is_woken_at_once(database: str, through_pooler: str) -> None:
    async with line(database) as craft, craft.worker(database_url=through_pooler, listen_url=database, poll=60):
        await until(lambda: _heard(craft), "the listener listens")
        job = await craft.add()
        await craft.until_row(job, "glue", "done", 10)


async def _heard(craft) -> bool:
    return await craft.db.fetchval("SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")


async def test_session_mode_is_taken_for_transaction_mode_and_jobs_move(
    database: str, through_sessions: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pgbaton")
    async with line(database) as craft, craft.worker(database_url=through_sessions):
        await craft.add_many(30)
        await until(lambda: _all_done(craft), "30 jobs done", 30)
        assert len(craft.server.calls) == 60
    assert "event=pooler_in_path" in caplog.text


async def test_stages_behind_the_guard_work_through_a_pooler_and_find_their_own_tables(
    database: str, through_pooler: str
) -> None:
    async with line(database) as craft:
        stages = Stages(craft.pipeline)
        jobs = [await craft.add() for _ in range(20)]

        async def look(db: asyncpg.Connection, turn: Turn) -> None:
            assert await db.fetchval("SELECT status FROM jobs WHERE job_id = $1", turn.job["job_id"]) == "running"

        async def write_down(db: asyncpg.Connection, turn: Turn) -> None:
            await db.execute("UPDATE jobs SET note = $2 WHERE job_id = $1", turn.job["job_id"], "cut")

        async def cut(job: str) -> None:
            async with stages.turn("cut", job, "acme") as turn:
                await turn.read(look)
                turn.save(write_down)

        async with stages.opened(through_pooler):
            await asyncio.gather(*(cut(job) for job in jobs))
        done = "SELECT count(*) FROM jobs WHERE (current_step, status, note) = ('cut', 'done', 'cut')"
        assert await craft.db.fetchval(done) == 20


async def test_every_command_works_through_a_pooler(database: str, through_pooler: str) -> None:
    async with line(database) as craft:
        jobs = [await craft.add() for _ in range(3)]
        for words, code in (
            (("migrate",), 0),
            (("status",), 0),
            (("jobs", "--tenant", "acme", "--error", "x"), 0),
            (("show", jobs[0]), 0),
            (("explain", jobs[0]), 3),
            (("dead",), 0),
            (("audit",), 0),
            (("pause", "--tenant", "acme"), 0),
            (("resume", "--tenant", "acme"), 0),
            (("pause", "--stage", "cut"), 0),
            (("resume", "--stage", "cut"), 0),
            (("rerun", jobs[0], "--from", "glue"), 0),
            (("cancel", jobs[1]), 0),
            (("cancel", "--all", "--yes"), 0),
            (("retry", "--all", "--yes"), 1),
            (("reconcile",), 0),
            (("doctor", "--invariants"), 1),
        ):
            done = await pgbaton(*words, dsn=through_pooler)
            assert (done.code, done.err) == (code, ""), (words, done)
        assert await craft.row(jobs[1]) == ("cut", "cancelled")


async def test_the_page_works_through_a_pooler(database: str, through_pooler: str) -> None:
    async with line(database) as craft:
        job = await craft.add()
        settings = Settings(database_url=through_pooler)  # type: ignore[arg-type]
        app, _ = create_app(settings, WebSettings(token="t" * 32))  # type: ignore[arg-type]
        async with served(app) as site, httpx.AsyncClient(base_url=site.base_url, follow_redirects=True) as browser:
            await _signed_in(browser)
            # More at once than the pooler has servers, again and again: a statement that one server has prepared is
            # another's for the next.
            for _ in range(4):
                pages = ("", "jobs", f"job?key={job}", "dead", "audit", "workers")
                answers = await asyncio.gather(*(browser.get(f"/pgbaton/{page}") for page in pages * 3))
                assert {a.status_code for a in answers} == {200}, [(a.url, a.status_code) for a in answers]
            assert job in (await browser.get("/pgbaton/jobs")).text


async def _signed_in(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/pgbaton/")
    (csrf,) = re.findall(r'name="csrf" value="([^"]*)"', page.text)[:1] or [""]
    answer = await browser.post(
        "/pgbaton/login", data={"token": "t" * 32, "csrf": csrf}, headers={"Origin": str(browser.base_url)}
    )
    assert answer.status_code == 200, answer.text[:500]
