"""How app-yh ends, and what it finds when it starts again: with others' database, and with its own."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from app_process import STEPS, App, Jobs, free_port, photo, processes, serving, start, walkable_folder
from vision_server import VisionServer


@asynccontextmanager
async def table(dsn: str) -> AsyncIterator[Jobs]:
    db = await asyncpg.connect(dsn)
    try:
        yield Jobs(db)
    finally:
        await db.close()


async def test_a_signal_ends_it_in_order_and_jobs_go_on_where_they_were_when_it_starts_again(
    own_database: str, tmp_path: Path
) -> None:
    async with table(own_database) as jobs:
        with serving(tmp_path, own_database) as app:
            added = [await jobs.add(photo("rocket"), f"Reach for {i}") for i in range(3)]
            await jobs.until_begun(added[0], "planner")
            assert app.stop(signal.SIGTERM) == 0
        assert "Traceback" not in app.log
        assert app.log.splitlines()[-1].endswith(" 서버 종료 event=server_ended")
        for job in added:  # what was under way was finished first, and nobody has anything in hand
            assert (await jobs.at(job))[1] == "done"
            assert all(state != "running" for _, state, _ in await jobs.dispatches(job))
        assert await jobs.db.fetchval("SELECT count(*) FROM pgbaton.workers WHERE ended_at IS NULL") == 0
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        end = time.monotonic() + 5
        while await jobs.db.fetchval(sessions) > 1:  # ours
            assert time.monotonic() < end

        with serving(tmp_path, own_database) as again:
            for job in added:
                await jobs.until(job, "vlm_judge", "done")
                assert await jobs.dispatches(job) == [(step, "completed", 1) for step in STEPS]
            # It listens before it claims: the first calls find the door open.
            assert "outcome=deferred" not in again.log
            assert again.stop(signal.SIGINT) == 0


async def test_two_processes_on_one_database_call_each_stage_once(own_database: str, tmp_path: Path) -> None:
    one_at_a_time = {"PGBATON_CAPACITY": 1}
    with (
        serving(tmp_path, own_database, **one_at_a_time) as one,
        serving(tmp_path, own_database, **one_at_a_time) as other,
    ):
        async with table(own_database) as jobs:
            added = [await jobs.add(photo("rocket"), f"Reach for {i}") for i in range(4)]
            for job in added:
                await jobs.until(job, "vlm_judge", "done", 60)
                assert await jobs.dispatches(job) == [(step, "completed", 1) for step in STEPS]
            assert await jobs.db.fetchval("SELECT count(*) FROM pgbaton.attempts") == len(added) * len(STEPS)
            assert await jobs.db.fetchval("SELECT count(DISTINCT worker) FROM pgbaton.attempts") == 2
        calls = [app.log.count("event=stage_triggered") for app in (one, other)]
        assert sum(calls) == len(added) * len(STEPS)
        assert min(calls) > 0


async def test_a_stage_that_hangs_is_broken_off_and_done_again_by_the_next(own_database: str, tmp_path: Path) -> None:
    async with table(own_database) as jobs:
        with VisionServer() as model:
            model.behave("never")
            hang = {"VLM_URL": model.url, "PGBATON_DRAIN_TIMEOUT": 0.5}
            with serving(tmp_path, own_database, **hang) as app:
                job = await jobs.add(photo("rocket"), "Reach for more")
                await asyncio.to_thread(model.asked.wait, 10)
                began = time.monotonic()
                assert app.stop() == 0
                assert time.monotonic() - began < 25  # half a second to drain, five of grace
        assert await jobs.at(job) != ("vlm_analyze", "running")
        with serving(tmp_path, own_database, PGBATON_POLL=0.2):
            await jobs.until_settled([job])
            await jobs.until(job, "vlm_judge", "done")


# -- with a database of its own ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Where it keeps its database."""
    with walkable_folder() as folder:
        yield folder


def address(folder: Path) -> str:
    file = folder / "data" / "database-url"
    assert file.stat().st_mode & 0o077 == 0
    return file.read_text().strip()


def at_home(folder: Path, **variables: object) -> AbstractContextManager[App]:
    return serving(folder, None, ADSTUDIO_DATA=folder / "data", **variables)


def refuse_another(folder: Path, app: App) -> None:
    """A second one in the same folder is told who has it."""
    other = start("adstudio", "serve", folder=folder, ADSTUDIO_DATA=folder / "data", PORT=free_port())
    _, said = other.communicate(timeout=30)
    assert other.returncode == 1
    assert f"is in use by process {app.process.pid} " in said
    assert "Traceback" not in said


async def test_without_a_database_url_it_has_a_postgres_of_its_own_that_survives_restarts_and_kills(
    folder: Path,
) -> None:
    with at_home(folder) as app:
        async with table(address(folder)) as jobs:
            first = await jobs.add(photo("rocket"), "Reach for more")
            await jobs.until(first, "vlm_judge", "done")
            # The stages work under a role that cannot touch the engine.
            roles = "SELECT DISTINCT usename FROM pg_stat_activity WHERE usename IS NOT NULL ORDER BY 1"
            assert [r[0] for r in await jobs.db.fetch(roles)] == ["adstudio", "postgres"]
        assert app.stop() == 0
    assert not processes(str(folder))

    with at_home(folder, PGBATON_LEASE=1) as app:
        async with table(address(folder)) as jobs:
            second = await jobs.add(photo("coffee"), "Slow mornings")
            await jobs.until_begun(second, "yolo_detect")
            assert app.stop(signal.SIGKILL) == -signal.SIGKILL
    end = time.monotonic() + 15
    while processes(str(folder)):
        assert time.monotonic() < end, "Postgres outlives its killed owner"
        await asyncio.sleep(0.05)

    with at_home(folder) as app:
        refuse_another(folder, app)
        async with table(address(folder)) as jobs:
            assert await jobs.at(first) == ("vlm_judge", "done")
            assert await jobs.db.fetchval("SELECT length(image) FROM ad_overlays WHERE job_id = $1", first) > 10_000
            # A call that was cut off with its stage at work is given up at its deadline, ten minutes after it began.
            await jobs.db.execute("UPDATE pgbaton.calls SET deadline = now() WHERE deadline IS NOT NULL")
            end = time.monotonic() + 40
            while await jobs.at(second) != ("vlm_judge", "done"):
                assert time.monotonic() < end, await jobs.dispatches(second)
                await jobs.db.execute("UPDATE pgbaton.calls SET deadline = now() WHERE deadline IS NOT NULL")
                await jobs.until_settled([], 1)
                await asyncio.sleep(0.1)


async def test_killed_while_it_starts_it_leaves_nothing_and_starts_again(folder: Path) -> None:
    for pause in (0.6, 1.2):
        starting = start("adstudio", "serve", folder=folder, ADSTUDIO_DATA=folder / "data", PORT=free_port())
        await asyncio.sleep(pause)
        starting.terminate()
        starting.communicate(timeout=30)
        assert starting.returncode in (0, -signal.SIGTERM)  # before its first line of Python it knows no better
        end = time.monotonic() + 15
        while processes(str(folder)):
            assert time.monotonic() < end, processes(str(folder))
            await asyncio.sleep(0.05)
    with at_home(folder) as app:
        assert app.stop() == 0
