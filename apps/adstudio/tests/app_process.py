"""`adstudio serve` as a process on a free port, spoken to over HTTP, and the table that its jobs are in."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg

PROGRAMS = Path(sys.executable).parent
ASSETS = Path(str(files("adstudio"))) / "assets"

DOUBTFUL = "새벽마다 손으로 빚어 하나씩 정성껏 찌고 식혀 보내드리는 우리 동네 만두 한 판과 국물 두 팩"
"""One long phrase: wherever a headline ends in it, it ends inside."""
STEPS = ("vlm_analyze", "yolo_detect", "planner", "overlay", "vlm_judge")
PATHS = {
    "vlm_analyze": "/api/yh/llava/stage1/validate",
    "yolo_detect": "/api/yh/yolo/detect",
    "planner": "/api/yh/planner",
    "overlay": "/api/yh/overlay",
    "vlm_judge": "/api/yh/llava/stage2/judge",
}
_APP = "DATABASE_ HOST PORT ROOT_ PART_ ENABLE_ JOB_ LOG_ ADSTUDIO_ STAGE_ VLM_ YOLO_ PGBATON_ ORT_"
OURS = tuple(_APP.split())
"""The beginnings of the variables that the programs under test read."""


def photo(name: str) -> bytes:
    """A shipped photo's file."""
    return (ASSETS / "photos" / f"{name}.jpg").read_bytes()


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises pixels without end."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**variables: object) -> dict[str, str]:
    """This process's, without what the application would read of it, and with ``variables``."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
    return inherited | {name: str(value) for name, value in variables.items()}


def start(*arguments: str | Path, folder: Path, log: Path | None = None, **variables: object) -> subprocess.Popen[str]:
    """A command of this environment; what it says is in ``log``, or in its pipes."""
    out: Any = subprocess.PIPE if log is None else log.open("w")
    command = [PROGRAMS / str(arguments[0]), *arguments[1:]]
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE if log is None else subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
        )
    finally:
        if log is not None:
            out.close()


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; ``body`` is JSON where it says so, else text."""

    status: int
    kind: str
    body: Any

    @property
    def problem(self) -> str:
        """The title of an answer that must be a problem (RFC 9457)."""
        assert self.kind == "application/problem+json", self
        assert self.body["status"] == self.status
        assert self.body["detail"]
        return str(self.body["title"])


def ask(url: str, body: object = None, *, raw: bytes | None = None, timeout: float = 30) -> Answer:
    """GET, or POST where there is a ``body`` (as JSON) or ``raw`` bytes that say they are JSON."""
    data = raw if raw is not None else None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"} if data is not None else {})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply:  # noqa: S310
            status, headers, said = reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        status, headers, said = error.code, error.headers, error.read()
    kind = headers.get_content_type()
    return Answer(status, kind, json.loads(said) if "json" in kind else said.decode())


class App:
    """A running app-yh."""

    def __init__(self, process: subprocess.Popen[str], base_url: str, log_file: Path) -> None:
        self.process, self.base_url, self.log_file = process, base_url, log_file

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")

    def get(self, path: str) -> Answer:
        return ask(self.base_url + path)

    def call(self, step: str, job: object, tenant: object = "acme", *, timeout: float = 30) -> Answer:
        """Call a stage as the engine does."""
        return ask(self.base_url + PATHS[step], {"job_id": job, "tenant_id": tenant}, timeout=timeout)

    def until_ready(self, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while True:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.log}"
            assert time.monotonic() < end, f"not ready within {seconds} s:\n{self.log}"
            try:
                if ask(f"{self.base_url}/readyz", timeout=5).status == 200:
                    return
            except OSError:
                time.sleep(0.02)

    def until_logged(self, text: str, seconds: float = 15) -> str:
        """Wait for ``text`` in the log; returns the line's rest, from there on."""
        end = time.monotonic() + seconds
        while text not in (log := self.log):
            assert time.monotonic() < end, f"not within {seconds} s: {text}\n{log}"
            time.sleep(0.02)
        return log[log.index(text) :].splitlines()[0]

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


@contextmanager
def serving(folder: Path, database_url: str | None, **variables: object) -> Iterator[App]:
    """``adstudio serve`` in ``folder`` while the block lasts, and until it is ready."""
    port = variables.setdefault("PORT", free_port())
    if database_url is not None:
        variables["DATABASE_URL"] = database_url
    log = folder / f"app-{port}.log"
    process = start("adstudio", "serve", folder=folder, log=log, **variables)
    app = App(process, f"http://127.0.0.1:{port}", log)
    try:
        app.until_ready()
        yield app
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()


@contextmanager
def walkable_folder() -> Iterator[Path]:
    """A temporary folder that Postgres' user can reach if we are root; pytest's own cannot be."""
    with tempfile.TemporaryDirectory(prefix="adstudio-tests-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def processes(text: str) -> list[str]:
    """The command lines that hold ``text``."""
    if Path("/proc/self/cmdline").exists():
        lines = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it has ended meanwhile
                lines.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    else:
        seen = subprocess.run(["ps", "-axww", "-o", "command="], capture_output=True, encoding="utf-8", check=True)
        lines = seen.stdout.splitlines()
    return [line for line in lines if text in line]


class Jobs:
    """The jobs table, by one connection."""

    def __init__(self, db: asyncpg.Connection) -> None:
        self.db = db

    async def add(
        self,
        file: bytes | None,
        copy: str | None,
        *,
        tenant: str = "acme",
        at: tuple[str, str] = ("img_gen", "done"),
        formats: Sequence[str] | None = ("square",),
    ) -> str:
        """As an image generator does: a job, its inputs (none without a ``file``), and then that they are done.
        ``formats``: one, for each takes a second of processor time; None: as a generator that knows of none, so all."""
        add = "INSERT INTO jobs (tenant_id) VALUES ($1) RETURNING job_id"
        job = str(await self.db.fetchval(add, tenant))
        if file is not None:
            inputs = "INSERT INTO ad_inputs (job_id, tenant_id, photo, copy_ko, formats) VALUES ($1, $2, $3, $4, $5)"
            await self.db.execute(inputs, job, tenant, file, copy, formats)
        await self.put(job, *at)
        return job

    async def put(self, job: str, step: str, status: str) -> None:
        move = "UPDATE jobs SET current_step = $2, status = $3, updated_at = now() WHERE job_id = $1"
        await self.db.execute(move, job, step, status)

    async def at(self, job: str) -> tuple[str, str]:
        row = await self.db.fetchrow("SELECT current_step, status FROM jobs WHERE job_id = $1", job)
        return row["current_step"], row["status"]

    async def until(self, job: str, step: str, status: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while (now := await self.at(job)) != (step, status):
            assert time.monotonic() < end, f"{job} not at ({step}, {status}) within {seconds} s, but at {now}"
            await asyncio.sleep(0.02)

    async def until_begun(self, job: str, step: str, seconds: float = 30) -> None:
        """Wait until ``step`` works on the job, or has."""
        end = time.monotonic() + seconds
        while (now := (await self.at(job))[0]) not in STEPS[STEPS.index(step) :]:
            assert time.monotonic() < end, f"{job} has not come to {step} within {seconds} s, but to {now}"
            await asyncio.sleep(0.01)

    async def dispatches(self, job: str) -> list[tuple[str, str, int]]:
        """Stage, state and number of attempts, in their order."""
        query = "SELECT stage, state, attempt FROM pgbaton.dispatches WHERE job_key = $1 ORDER BY id"
        return [tuple(row) for row in await self.db.fetch(query, job)]

    async def called(self, job: str) -> list[tuple[str, str, int]]:
        """Those that were called. A stage that puts its row back before it says "not now" leaves a duty each time, which
        comes to nothing: the same dispatch is called again."""
        return [dispatch for dispatch in await self.dispatches(job) if dispatch[2] > 0]

    async def until_settled(self, jobs: list[str], seconds: float = 60) -> None:
        """Wait until nothing is to be done for ``jobs``; no retry is waited for."""
        soon = "UPDATE pgbaton.calls SET due_at = clock_timestamp() WHERE due_at < pgbaton.parked()"
        open_ = "SELECT count(*) FROM pgbaton.dispatches WHERE settled_at IS NULL AND job_key = ANY ($1)"
        end = time.monotonic() + seconds
        while left := await self.db.fetchval(open_, jobs):
            assert time.monotonic() < end, f"{left} dispatches not settled within {seconds} s"
            await self.db.execute(soon)
            await self.db.execute("SELECT pg_notify('pgbaton_wake', 'ad_creative')")
            await asyncio.sleep(0.25)  # a stage that says "not now" is asked again each time
