"""Each role of docs/deployment.md does what the table says it does, with exactly the GRANTs that stand there."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from command import pgbaton
from line import two_stages, until
from pgbaton import Engine, Settings
from stage_server import Call, Say, StageServer

DOCUMENT = Path(__file__).parents[2] / "docs/deployment.md"
ROLES = ("migrator", "attacher", "worker", "operator", "viewer", "metrics", "webapp")
TABLE = """
CREATE TABLE public.documents (
    job_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id text DEFAULT 'acme', current_step text, status text
)
"""


@dataclass(frozen=True)
class House:
    """A database and its roles, each with a password of its own."""

    owner: str
    suffix: str

    def dsn(self, role: str) -> str:
        url = urlsplit(self.owner)
        return url._replace(netloc=f"{role}_{self.suffix}:{self.suffix}@{url.hostname}:{url.port}").geturl()

    def grants(self) -> list[str]:
        """The three blocks of the document, for this database's names."""
        section = DOCUMENT.read_text(encoding="utf-8").partition("## Roles and rights")[2].partition("\n## ")[0]
        blocks = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
        assert len(blocks) == 3
        named = "|".join(ROLES)
        return [
            re.sub(rf"\b({named})\b", rf"\1_{self.suffix}", block).replace("mine", urlsplit(self.owner).path[1:])
            for block in blocks
        ]


async def run(dsn: str, statements: str) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute(statements)
    finally:
        await conn.close()


@pytest.fixture
async def house(empty_database: str) -> AsyncIterator[House]:
    house = House(empty_database, secrets.token_hex(4))
    names = [f"{role}_{house.suffix}" for role in ROLES]
    try:
        await run(empty_database, "".join(f"CREATE ROLE {n} LOGIN PASSWORD '{house.suffix}';" for n in names) + TABLE)
    except asyncpg.InsufficientPrivilegeError:
        pytest.skip("the test server's user cannot make roles")
    yield house
    await run(empty_database, "".join(f"DROP OWNED BY {n} CASCADE; DROP ROLE {n};" for n in names))


def toml(folder: Path, base_url: str) -> str:
    path = folder / "pgbaton.toml"
    path.write_text(
        '[pipeline]\nname = "craft"\ntable = "public.documents"\nkey = "job_id"\ntenant = "tenant_id"\n'
        f'step = "current_step"\nstatus = "status"\nbase_url = "{base_url}"\n'
        '[[pipeline.stage]]\nstep = "cut"\nafter = "made"\npath = "/cut"\nadvance = "engine"\n'
        '[[pipeline.stage]]\nstep = "glue"\nafter = "cut"\npath = "/glue"\nadvance = "engine"\n'
    )
    return str(path)


async def test_every_role_does_its_work_with_exactly_its_grants(house: House, tmp_path: Path) -> None:
    before, by_migrator, by_attacher = house.grants()
    async with StageServer(house.owner, {}, _answer) as server:
        config = toml(tmp_path, server.base_url)
        await run(house.owner, before)
        for _ in range(2):
            assert (await pgbaton("migrate", dsn=house.dsn("migrator"))).code == 0
        await run(house.dsn("migrator"), by_migrator)
        for command in ("attach", "detach", "attach"):
            done = await pgbaton(command, "--config", config, dsn=house.dsn("attacher"))
            assert done.code == 0, done
        await run(house.dsn("attacher"), by_attacher)

        webapp = await asyncpg.connect(house.dsn("webapp"))
        job = str(
            await webapp.fetchval(
                "INSERT INTO documents (current_step, status) VALUES ('made', 'done') RETURNING job_id"
            )
        )
        pipeline = two_stages(
            server.base_url, table="public.documents", channel=None, cut_advance="engine", glue_advance="engine"
        )
        settings = Settings(database_url=house.dsn("worker"), poll=0.2, metrics_every=0.2)  # type: ignore[arg-type]
        async with Engine(pipeline, settings):

            async def done_by_the_worker() -> bool:
                row = await webapp.fetchrow("SELECT current_step, status FROM documents")
                return tuple(row) == ("glue", "done")

            await until(done_by_the_worker, "the worker has moved the job")
        await _looks(house.dsn("viewer"), job)
        await _steers(house.dsn("operator"), job)
        await _looks(house.dsn("operator"), job)
        await _may_not(house, webapp, job)
        await webapp.close()


async def _answer(server: StageServer, call: Call) -> Say:
    return Say()


async def _looks(dsn: str, job: str) -> None:
    for words in (("status",), ("jobs",), ("show", job), ("explain", job), ("dead",), ("audit",), ("doctor",)):
        done = await pgbaton(*words, dsn=dsn)
        assert done.code in (0, 1, 3), (words, done)
        assert "permission denied" not in done.out + done.err, (words, done)
        assert "no right" not in done.err, (words, done)


async def _steers(dsn: str, job: str) -> None:
    for words, code in (
        (("rerun", job, "--from", "cut"), 0),
        (("pause", "--stage", "cut"), 0),
        (("resume", "--stage", "cut"), 0),
        (("pause", "--tenant", "acme"), 0),
        (("resume", "--tenant", "acme"), 0),
        (("reconcile",), 0),
        (("cancel", job), 0),
        (("retry", "--all", "--yes"), 1),
    ):
        done = await pgbaton(*words, dsn=dsn)
        assert done.code == code, (words, done)
        assert done.err == "", (words, done)


async def _may_not(house: House, webapp: asyncpg.Connection, job: str) -> None:
    for role, words in (
        ("viewer", ("rerun", job, "--from", "cut")),
        ("viewer", ("pause",)),
        ("metrics", ("pause",)),
        ("metrics", ("show", job)),
        ("webapp", ("status",)),
        ("worker", ("migrate",)),
    ):
        done = await pgbaton(*words, dsn=house.dsn(role))
        nothing_to_do = words == ("migrate",)  # it is up to date, which any role may find out
        assert nothing_to_do or (done.code, done.out) == (1, ""), (role, words, done)
    for statement in ("SELECT FROM pgbaton.calls", "INSERT INTO pgbaton.due DEFAULT VALUES", "SELECT pgbaton.parked()"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await webapp.execute(statement)
    metrics = await asyncpg.connect(house.dsn("metrics"))
    assert await metrics.fetchval("SELECT count(*) FROM pgbaton.dispatches") > 0
    assert await metrics.fetchval("SELECT pgbaton.workers_wanted('craft', NULL, 8, 60)") >= 0
    for statement in ("SELECT FROM documents", "DELETE FROM pgbaton.history"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await metrics.execute(statement)
    await metrics.close()
