"""The recipes in examples/, as they stand there: only the port is another."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app_server import free_socket
from command import pgbaton
from line import until
from pgbaton import Engine, Settings, load_pipeline
from stage_server import Call, Say, StageServer

EXAMPLES = Path(__file__).parents[2] / "examples"
BODY = "The row moves by itself."


def needs(*modules: str) -> pytest.MarkDecorator:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


class Kitchen:
    """A copy of the examples with a port of its own, beside an empty database."""

    def __init__(self, folder: Path, dsn: str, db: asyncpg.Connection) -> None:
        with free_socket() as probe:
            self.port = str(probe.getsockname()[1])
        self.folder, self.dsn, self.db = folder / "examples", dsn, db
        shutil.copytree(EXAMPLES, self.folder, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        config = self.folder / "pgbaton.toml"
        config.write_text(config.read_text().replace("8000", self.port))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {"PATH": path, "DATABASE_URL": dsn, "PYTHONDONTWRITEBYTECODE": "1"}

    async def installed(self) -> None:
        await self.db.execute((self.folder / "documents.sql").read_text())
        for words in (("migrate",), ("attach", "--config", str(self.folder / "pgbaton.toml"))):
            done = await pgbaton(*words, dsn=self.dsn)
            assert done.code == 0, done

    async def run(self, command: str, where: str, **more: str) -> str:
        """A command that must succeed; what it said."""
        process = await asyncio.create_subprocess_exec(
            *command.split(),
            cwd=self.folder / where,
            env=self.environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, out.decode()
        return out.decode()

    @asynccontextmanager
    async def serving(self, command: str, where: str, **more: str) -> AsyncIterator[None]:
        """A command of a recipe that goes on until it is told to end."""
        with (self.folder / f"{command.split()[0]}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command.replace("8000", self.port).split(),
                cwd=self.folder / where,
                env=self.environment | {"PORT": self.port} | more,
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 20)
            finally:
                print(Path(log.name).read_text())

    async def listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", int(self.port))
        except OSError:
            return False
        writer.close()
        return True

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        await until(self.listens, "the recipe listens", 30)
        settings = Settings(database_url=self.dsn, poll=0.2)  # type: ignore[arg-type]
        async with Engine(load_pipeline(self.folder / "pgbaton.toml"), settings):
            yield

    async def add(self) -> int:
        return int(
            await self.db.fetchval(
                "INSERT INTO documents (body, step, status) VALUES ($1, 'upload', 'done') RETURNING id", BODY
            )
        )

    async def summarised(self, job: int) -> None:
        async def done() -> bool:
            return bool(
                await self.db.fetchval("SELECT status = 'done' AND summary <> '' FROM documents WHERE id = $1", job)
            )

        await until(done, "the document summarised", 30)
        row = await self.db.fetchrow("SELECT step, status, summary FROM documents WHERE id = $1", job)
        assert tuple(row) == ("summarise", "done", BODY[:20])

    async def call(self, job: int, path: str = "/summarise") -> int:
        return (await self.post(path, {"job_id": str(job), "tenant_id": None}))[0]

    async def post(self, path: str, body: Any) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.port))
        data = json.dumps(body).encode()
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Idempotency-Key: documents-1-1\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            + data
        )
        answer = (await asyncio.wait_for(reader.read(), 20)).decode()
        writer.close()
        return int(answer.split()[1]), answer


@pytest.fixture
async def kitchen(empty_database: str, tmp_path: Path) -> AsyncIterator[Kitchen]:
    db = await asyncpg.connect(empty_database)
    yield Kitchen(tmp_path, empty_database, db)
    await db.close()


STAGES = [
    pytest.param("flask", "flask --app app run --port 8000", marks=needs("flask", "psycopg")),
    pytest.param("sqlalchemy", "uvicorn app:app --port 8000", marks=needs("sqlalchemy", "uvicorn")),
    pytest.param(
        "node",
        "node stage.js",
        marks=pytest.mark.skipif(
            shutil.which("node") is None
            or subprocess.run(["node", "-e", "require('pg')"], cwd=EXAMPLES / "node", capture_output=True).returncode
            > 0,
            reason="node, or its package pg, is not installed: npm install in examples/node",
        ),
    ),
]


@pytest.mark.parametrize(("where", "command"), STAGES)
async def test_a_stage_moves_its_job_and_refuses_what_is_not_its_turn(
    kitchen: Kitchen, where: str, command: str
) -> None:
    await kitchen.installed()
    await kitchen.db.execute(
        "CREATE TABLE words (id bigint GENERATED ALWAYS AS IDENTITY, document bigint REFERENCES documents, word text)"
    )
    async with kitchen.serving(command, where):
        async with kitchen.worker():
            job = await kitchen.add()
            await kitchen.summarised(job)
        assert await kitchen.call(job) == 409
        assert await kitchen.call(999) == 409
    if where == "sqlalchemy":
        assert await kitchen.db.fetchval("SELECT count(*) FROM words") == len(BODY[:20].split())


@needs("celery", "flask", "psycopg", "sqlalchemy")
async def test_celery_answers_at_once_and_is_done_later(kitchen: Kitchen) -> None:
    await kitchen.installed()
    broker = {"BROKER_URL": f"sqla+sqlite:///{kitchen.folder}/broker.db"}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(kitchen.serving("flask --app app run --port 8000", "celery", **broker))
        await stack.enter_async_context(kitchen.worker())
        job = await kitchen.add()

        async def accepted() -> bool:
            outcome = "SELECT outcome = 'accepted' AND deadline IS NOT NULL FROM pgbaton.calls WHERE job_key = $1"
            return bool(await kitchen.db.fetchval(outcome, str(job)))

        await until(accepted, "the engine leaves the job to its stage", 30)
        worker = "celery --app app:tasks worker --pool solo --without-mingle --without-gossip"
        await stack.enter_async_context(kitchen.serving(worker, "celery", **broker))
        await kitchen.summarised(job)


@needs("flask", "psycopg")
async def test_a_third_partys_webhook_ends_the_stage(kitchen: Kitchen) -> None:
    async def take(server: StageServer, call: Call) -> Say:
        return Say(200)

    await kitchen.installed()
    async with StageServer(kitchen.dsn, {}, take) as provider:
        more = {"PROVIDER": f"{provider.base_url}/submit", "ME": "http://me", "WEBHOOK_KEY": "k" * 32}
        async with kitchen.serving("flask --app app run --port 8000", "webhook", **more), kitchen.worker():
            job = await kitchen.add()
            await until(lambda: _taken(provider), "the provider has the job", 30)
            (order,) = provider.calls
            webhook = order.body["webhook"].removeprefix("http://me")
            stranger = webhook.rpartition("/")[0] + "/" + "0" * 64
            finished = {"ok": True, "text": BODY[:20]}
            assert [(await kitchen.post(path, finished))[0] for path in (stranger, webhook, webhook)] == [403, 200, 200]
            await kitchen.summarised(job)


async def _taken(provider: StageServer) -> bool:
    return bool(provider.calls)


@needs("alembic", "psycopg")
async def test_alembic_brings_the_table_and_the_trigger_and_sees_no_difference_afterwards(kitchen: Kitchen) -> None:
    for _ in range(2):
        await kitchen.run("alembic upgrade head", "alembic")
    await kitchen.add()
    assert await kitchen.db.fetchval("SELECT stage || ' ' || state FROM pgbaton.dispatches") == "summarise available"
    assert "0002 (head)" in await kitchen.run("alembic current", "alembic")


@needs("django", "psycopg")
async def test_django_migrates_tests_and_serves(kitchen: Kitchen) -> None:
    assert "OK" in await kitchen.run("python manage.py test", "django")
    assert "No changes detected" in await kitchen.run("python manage.py makemigrations --check --dry-run", "django")
    await kitchen.run("python manage.py migrate", "django")
    async with kitchen.serving("python manage.py runserver 8000 --noreload", "django"), kitchen.worker():
        await kitchen.summarised(await kitchen.add())


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
async def test_the_statements_work_by_hand(kitchen: Kitchen) -> None:
    await kitchen.installed()
    job = await kitchen.add()
    psql = f"psql {kitchen.dsn} -v ON_ERROR_STOP=1 -v job={job} -f"
    assert "(1 row)" in await kitchen.run(f"{psql} stage.sql", "psql")
    await kitchen.summarised(job)
    assert "(0 rows)" in await kitchen.run(f"{psql} stage.sql", "psql")
    await kitchen.db.execute("UPDATE documents SET step = 'review', status = 'running'")
    assert (await kitchen.run(f"{psql} approve.sql", "psql")).strip() == "UPDATE 1"
    assert (await kitchen.run(f"{psql} again.sql", "psql")).strip() == "UPDATE 0"
    await kitchen.db.execute("UPDATE documents SET status = 'running'")
    assert (await kitchen.run(f"{psql} again.sql", "psql")).strip() == "UPDATE 1"
    assert await kitchen.db.fetchval("SELECT count(*) FROM pgbaton.due WHERE stage = 'summarise'") == 2


async def test_timestamps_and_a_boolean_with_words_beside_them(kitchen: Kitchen) -> None:
    folder, db = kitchen.folder / "timestamps", kitchen.db
    await db.execute((folder / "table.sql").read_text())
    await db.execute("INSERT INTO exports (started_at, finished_at, is_ready) VALUES (now(), now(), true)")
    await db.execute((folder / "adopt.sql").read_text())
    failed: set[str] = set()

    async def behave(server: StageServer, call: Call) -> Say:
        if call.path == "/mail":
            return Say()
        export = int(call.job_id)
        begin = "UPDATE exports SET started_at = now() WHERE id = $1 AND started_at IS NULL RETURNING 1"
        if not await server.pool.fetchval(begin, export):
            return Say(409)
        if export % 2 and call.job_id not in failed:
            failed.add(call.job_id)
            await server.pool.execute("UPDATE exports SET failed_at = now() WHERE id = $1", export)
            return Say(503)
        await server.pool.execute("UPDATE exports SET finished_at = now() WHERE id = $1", export)
        return Say()

    async with StageServer(kitchen.dsn, {}, behave) as server:
        config = folder / "pgbaton.toml"
        config.write_text(config.read_text().replace("http://127.0.0.1:8000", server.base_url))
        for words in (("migrate",), ("attach", "--config", str(config), "--from", "now")):
            done = await pgbaton(*words, dsn=kitchen.dsn)
            assert done.code == 0, done
        settings = Settings(database_url=kitchen.dsn, poll=0.2)  # type: ignore[arg-type]
        async with Engine(load_pipeline(config), settings):
            await db.execute("INSERT INTO exports SELECT FROM generate_series(1, 4)")  # ids 2 to 5

            async def through() -> bool:
                due = "UPDATE pgbaton.calls SET due_at = now() WHERE due_at IS NOT NULL"
                await db.execute(due)  # no backoff is waited for
                ended = "SELECT count(*) = 4 FROM exports WHERE (step, status) = ('mail', 'done') AND is_ready"
                return bool(await db.fetchval(ended + " AND finished_at >= started_at AND failed_at IS NULL"))

            await until(through, "four exports are mailed", 20)
    assert failed == {"3", "5"}
    before = await db.fetchrow("SELECT step, status, is_ready FROM exports WHERE id = 1")
    assert tuple(before) == ("render", "done", True)
