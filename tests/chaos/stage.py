"""The stages, well written: compare-and-set to running, work, then the effect and done in one transaction.

They keep their own journal, and can be told to misbehave (``tricks.py``). Several processes share one port
(SO_REUSEPORT). Workers call ``/w<number>/<step>``, so that the journal tells them apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from chaos.journal import Journal
from pgbaton import hosts

Trick = Callable[["Stages", "Call", asyncio.StreamWriter], Awaitable[bool]]
"""Answers a call in its own way; returns whether the connection may be used again."""


@dataclass(frozen=True)
class StageConfig:
    """``steps``: the step that each one follows. ``tricks``: how often each is played, as a share of the calls whose
    attempt is at most ``trick_attempts``. ``isolation``: of the stage's transactions, ``None`` for the default.
    ``slow``: seconds that are longer than the pipeline's timeout. ``patient``: a call of a step that has begun takes it over,
    and one of a step that is over is answered 200, as stages behind a queue have to be written, for a queue calls again
    without a look at the row."""

    port: int
    dsn: str
    folder: str
    who: str
    steps: dict[str, str]
    seed: str
    work: tuple[float, float] = (0.0, 0.05)
    isolation: str | None = None
    tricks: dict[str, float] = field(default_factory=dict)
    trick_attempts: int = 2
    slow: float = 6.0
    inner_url: str = ""
    patient: bool = False


@dataclass(frozen=True)
class Call:
    """One call as it came in; ``worker`` is the caller's number."""

    worker: int
    step: str
    job: str
    attempt: int
    key: str


class Stages:
    """Serves every stage; a trick, where the dice say so, takes the place of a proper performance."""

    def __init__(self, config: StageConfig, tricks: Mapping[str, Trick]) -> None:
        self.config = config
        self._tricks = tricks
        self.journal = Journal(Path(config.folder), config.who)
        self._calm = Path(config.folder, "calm")
        self.background: set[asyncio.Task[object]] = set()
        self.pool: asyncpg.Pool

    async def run(self) -> None:
        # Rows are found by their key, though the planner would rather read a small table whole: a transaction that does so
        # in SERIALIZABLE conflicts with every writer of the table.
        strict = {"enable_seqscan": "off"} if self.config.isolation else {}
        self.pool = asyncpg.create_pool(
            self.config.dsn,
            connect=hosts.connect,
            min_size=0,
            max_size=8,
            timeout=5,
            command_timeout=20,
            server_settings={"application_name": self.config.who, **strict},
        )
        await self.pool
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(("127.0.0.1", self.config.port))
        server = await asyncio.start_server(self._serve, sock=listening, backlog=1024)
        self.journal.write("ready")
        await server.serve_forever()

    def dice(self, call: Call, what: str) -> float:
        """A number in [0, 1) that depends on nothing but the seed and the call."""
        text = f"{self.config.seed}:{what}:{call.job}:{call.step}:{call.attempt}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64

    async def perform(self, call: Call) -> int:
        """Act as a good stage; returns the HTTP status that tells the result."""
        try:
            begun = await self.begin(call)
            if not begun:
                return 200 if await self._over(call) else 409
        except Exception as error:
            self.aborted(call, "begin", error)
            return 503
        if not self.config.isolation:
            await self.work(call)
        try:
            return 200 if await self.finish(call) or await self._over(call) else 409
        except Exception as error:
            self.aborted(call, "finish", error)
            return 500

    async def work(self, call: Call) -> None:
        low, high = self.config.work
        await asyncio.sleep(low + (high - low) * self.dice(call, "work"))

    async def begin(self, call: Call) -> bool:
        """(after, done) → (step, running), if the row is there."""
        after = self.config.steps[call.step]
        begun = await self._moved(call, (after, "done"), "running", effect=False)
        if not begun and self.config.patient:
            begun = await self._moved(call, (call.step, "running"), "running", effect=False)
        if begun:
            self.journal.write("begun", job=call.job, step=call.step, attempt=call.attempt)
        return begun

    async def finish(self, call: Call) -> bool:
        """The effect and (step, running) → (step, done) in one transaction, if the row is still there."""
        finished = await self._moved(call, (call.step, "running"), "done", effect=True)
        if finished:
            self.journal.write("committed", job=call.job, step=call.step, attempt=call.attempt)
        return finished

    async def _over(self, call: Call) -> bool:
        """Whether a patient stage finds the step's effect there."""
        if not self.config.patient:
            return False
        query = "SELECT EXISTS (SELECT FROM effects WHERE job_id = $1::text::uuid AND step = $2)"
        async with self.pool.acquire() as db:
            return bool(await db.fetchval(query, call.job, call.step))

    async def mark_failed(self, call: Call) -> None:
        # Once that is committed a worker may call again, before this process comes to say anything.
        self.journal.write("failing", job=call.job, step=call.step, attempt=call.attempt)
        await self._moved(call, (call.step, "running"), "failed", effect=False)

    async def _moved(self, call: Call, source: tuple[str, str], status: str, *, effect: bool) -> bool:
        """Retries what a serialization failure aborted, as every application above READ COMMITTED must."""
        for tries in range(4):
            try:
                async with self.pool.acquire() as db:
                    return await self._move(db, call, source, status, effect=effect)
            except _NotThere:
                return False
            except asyncpg.SerializationError as error:
                self.aborted(call, status, error)
                if tries == 3:
                    raise
        return False

    async def _move(
        self, db: asyncpg.Connection, call: Call, source: tuple[str, str], status: str, *, effect: bool
    ) -> bool:
        async with db.transaction(isolation=self.config.isolation):
            if self.config.isolation:  # the snapshot is taken here, and grows old while the stage works
                await db.fetchrow("SELECT * FROM jobs WHERE job_id = $1::text::uuid", call.job)
                if effect:
                    await self.work(call)
            if effect:
                await db.execute(
                    "INSERT INTO effects (job_id, step, attempt, key) VALUES ($1::text::uuid, $2, $3, $4)",
                    call.job,
                    call.step,
                    call.attempt,
                    call.key,
                )
            moved = await db.execute(
                "UPDATE jobs SET current_step = $4, status = $5, updated_at = now() "
                "WHERE job_id = $1::text::uuid AND current_step = $2 AND status = $3",
                call.job,
                *source,
                call.step,
                status,
            )
            if moved != "UPDATE 1":
                raise _NotThere
            return True

    def aborted(self, call: Call, doing: str, error: BaseException) -> None:
        state = getattr(error, "sqlstate", None)
        where = getattr(error, "context", None)
        self.journal.write(
            "aborted",
            job=call.job,
            step=call.step,
            attempt=call.attempt,
            doing=doing,
            sqlstate=state,
            error=f"{type(error).__name__}: {error}"[:300],
            context=where,
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                while await self._one(reader, writer):
                    pass
            finally:
                writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        _, worker, step = head[0].split(" ")[1].split("/")
        call = Call(
            int(worker.removeprefix("w")),
            step,
            body["job_id"],
            int(headers["x-pgbaton-attempt"]),
            headers["idempotency-key"],
        )
        name = self._trick(call)
        said: dict[str, object] = {"worker": call.worker, "late": _unread_for(writer)}
        said |= {"trick": name} if name else {}
        self.journal.write("received", job=call.job, step=step, attempt=call.attempt, key=call.key, **said)
        if name:
            return await self._tricks[name](self, call, writer)
        await self.answer(call, writer, await self.perform(call))
        return True

    def _trick(self, call: Call) -> str | None:
        if call.attempt > self.config.trick_attempts or self._calm.exists():
            return None
        at = self.dice(call, "trick")
        for name, share in self.config.tricks.items():
            if at < share:
                return name
            at -= share
        return None

    async def answer(
        self, call: Call, writer: asyncio.StreamWriter, status: int, headers: dict[str, str] | None = None
    ) -> None:
        self.journal.write("answered", job=call.job, step=call.step, attempt=call.attempt, status=status)
        writer.write(response(status, headers))
        await writer.drain()

    def broken(self, call: Call, writer: asyncio.StreamWriter, how: str) -> None:
        """Note that no proper answer was given, and reset the connection."""
        self.journal.write("broken", job=call.job, step=call.step, attempt=call.attempt, how=how)
        reset(writer)


class _NotThere(Exception):
    """The row was not where the stage expected it: roll back."""


def response(status: int, headers: dict[str, str] | None = None, body: bytes = b"{}") -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}"]
    lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def _unread_for(writer: asyncio.StreamWriter) -> float:
    """Seconds since a request arrived: how long it lay there while this process was kept waiting. Where the kernel does
    not tell (it is not Linux), none."""
    if not hasattr(socket, "TCP_INFO"):
        return 0.0
    info = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 56)
    return struct.unpack_from("I", info, 52)[0] / 1000  # tcpi_last_data_recv, in milliseconds


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, not with FIN."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
