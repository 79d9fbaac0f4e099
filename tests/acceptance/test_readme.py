"""The READMEs and the quickstart, done as they say it, as by a stranger, on a database with nothing in it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from line import until

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.ko.md")
QUICKSTART = "docs/quickstart.md"
PORT = "8000"


def blocks(document: str, language: str) -> list[str]:
    """The fenced code of one language, in order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def shell_lines(document: str) -> list[str]:
    """Every command of its shell blocks, without comments."""
    lines = (line.split("#")[0].strip() for block in blocks(document, "sh") for line in block.splitlines())
    return [line for line in lines if line]


@pytest.fixture
def environment(empty_database: str) -> dict[str, str]:
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DATABASE_URL": empty_database,
        "COLUMNS": "200",
    }


async def said_by(command: str, folder: Path, environment: dict[str, str]) -> str:
    """The output of a command that must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command.split(), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, f"{command}: {err.decode()}"
    return out.decode()


@asynccontextmanager
async def served(command: str, folder: Path, environment: dict[str, str]) -> AsyncIterator[None]:
    """A command that runs until it gets SIGTERM, and ends well then."""
    log = folder / f"{command.split()[0]}.log"
    with log.open("wb") as out:
        server = await asyncio.create_subprocess_exec(
            *command.split(), cwd=folder, env=environment, stdout=out, stderr=out
        )
    try:
        yield
    finally:
        if server.returncode is None:
            server.terminate()
        ended = await asyncio.wait_for(server.wait(), 30)
        print(log.read_text(encoding="utf-8"))
        assert ended in (0, -signal.SIGTERM), command


@pytest.mark.parametrize("readme", READMES)
async def test_the_application_in_the_readme_moves_its_row(
    readme: str, empty_database: str, environment: dict[str, str], tmp_path: Path
) -> None:
    table, insert = blocks(readme, "sql")
    port = free_port()
    for language, name in (("toml", "pgbaton.toml"), ("python", "main.py")):
        [text] = blocks(readme, language)
        assert text.startswith(f"# {name}\n")
        (tmp_path / name).write_text(text.replace(PORT, port), encoding="utf-8")
    migrate, attach, serve = (
        line.replace(PORT, port) for line in shell_lines(readme) if line.startswith(("pgbaton ", "uvicorn "))
    )
    db = await asyncpg.connect(empty_database)
    try:
        await db.execute(table)
        for command in (migrate, attach):
            await said_by(command, tmp_path, environment)
        async with served(serve, tmp_path, environment):
            await db.execute(insert)

            async def done() -> bool:
                return bool(await db.fetchval("SELECT (step, status) = ('summarise', 'done') FROM documents"))

            await until(done, "the row at (summarise, done)", 30)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
                answers = [
                    await http.post("/summarise", json={"job_id": job, "tenant_id": None}) for job in ("999", "1", "x")
                ]
            assert [a.status_code for a in answers] == [404, 409, 422]
            assert {a.headers["content-type"] for a in answers} == {"application/problem+json"}
        log = (tmp_path / "uvicorn.log").read_text(encoding="utf-8")
        assert "pgbaton pipeline stage succeeded event=stage_succeeded" in log  # under plain uvicorn, too
        assert "Traceback" not in log
        assert await db.fetchval("SELECT summary FROM documents") == "The row moves by itself."[:20]
    finally:
        await db.close()


async def test_the_orders_of_the_quickstart_are_invoiced_shipped_and_retried(
    empty_database: str, environment: dict[str, str], tmp_path: Path
) -> None:
    table, first_order, look, bad_order, mend = blocks(QUICKSTART, "sql")
    port = free_port()
    [pipeline] = blocks(QUICKSTART, "toml")
    application, lifespan = blocks(QUICKSTART, "python")
    for name, text in (("pgbaton.toml", pipeline), ("main.py", application), ("lifespan.py", lifespan)):
        assert text.startswith(f"# {name}\n")
        (tmp_path / name).write_text(text.replace(PORT, port), encoding="utf-8")
    commands = [line.replace(PORT, port) for line in shell_lines(QUICKSTART)]
    [serve] = [c for c in commands if c.startswith("uvicorn ")]
    migrate, attach, run, status, jobs, doctor, dead, retry = (c for c in commands if c.startswith("pgbaton "))

    def do(command: str) -> Awaitable[str]:
        return said_by(command, tmp_path, environment)

    db = await asyncpg.connect(empty_database)

    async def at(order: str, step: str, state: str) -> None:
        async def there() -> bool:
            # The backoff between attempts is not what this is about.
            await db.execute("UPDATE pgbaton.calls SET due_at = now() WHERE due_at IS NOT NULL")
            await db.execute("NOTIFY pgbaton_wake, 'orders'")
            row = await db.fetchrow(
                "SELECT o.step, o.state, d.state AS dispatch FROM orders o LEFT JOIN pgbaton.dispatches d "
                "ON d.job_key = o.order_no AND d.settled_at IS NULL WHERE o.order_no = $1",
                order,
            )
            return tuple(row) == (step, state, None)

        await until(there, f"{order} at ({step}, {state})", 30)

    try:
        await db.execute(table)
        await do(migrate)
        assert (await do(attach)).endswith("\nattached orders to public.orders: checkout → invoice → ship\n")
        async with served(serve, tmp_path, environment), served(run, tmp_path, environment):
            await db.execute(first_order)
            await at("2026-001", "ship", "done")
            assert tuple(await db.fetchrow(look)) == ("ship", "done", "INV-2026-001")
            for command, said in ((status, "ship"), (jobs, "2026-001"), (doctor, "nothing is wrong")):
                assert said in await do(command)
            await db.execute(bad_order)
            await at("2026-002", "invoice", "failed")
            assert "2026-002" in await do(dead)
            await db.execute(mend)
            await do(retry)
            await at("2026-002", "ship", "done")
    finally:
        await db.close()


@pytest.mark.parametrize("documents", [READMES, (QUICKSTART, "docs/quickstart.ko.md")])
def test_both_languages_show_the_same_code(documents: tuple[str, str]) -> None:
    for language in ("sql", "toml", "python", "sh"):
        english, korean = ([_without_comments(b) for b in blocks(document, language)] for document in documents)
        assert english == korean


def _without_comments(code: str) -> list[str]:
    return [line.split("#")[0].rstrip() for line in code.splitlines()]


@pytest.mark.parametrize("readme", READMES)
def test_every_command_in_the_readme_exists(readme: str, environment: dict[str, str]) -> None:
    text = (ROOT / readme).read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake ([a-z]+)", "\n".join(blocks(readme, "sh")))):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    listed = [row for row in text.splitlines() if row.startswith("| `pgbaton ")]
    named = {name.removeprefix("pgbaton ") for row in listed for name in re.findall(r"`([^`-]+)`", row.split("|")[1])}
    helped = subprocess.run(["pgbaton", "--help"], env=environment, capture_output=True, text=True, check=True)
    exist = set(re.findall(r"^ {2}([a-z]+) {2,}", helped.stdout.partition("Commands:")[2], re.MULTILINE))
    assert named == exist
