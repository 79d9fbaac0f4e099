"""The processes of a scene: started, signalled, watched; everything that is done to them goes into the journal."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from chaos.journal import Journal

RESTART_AFTER = (0.1, 0.6)
"""Seconds until the supervisor of processes (a container's restart policy, say) starts another."""


_FINDS_US = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])}
"""However this package was found, the processes that it starts find it, too."""

BLUNDERS = ("Traceback", "never retrieved", "never awaited")
INJECTED = "cannot switch to state 12"
"""Of an error that the suite itself makes a driver raise."""
EXCUSED = ("InternalClientError", "has no attribute '_get_timeout'", "asyncpg.pool")
"""Errors that a worker reports with their traceback, as it should: those that the driver raises outside its own tree, injected
or where the suite terminates a connection that is just being used; and how the driver's pool tells of lost ones."""


FORGOTTEN = """Future exception was never retrieved
future: <Future finished exception=ConnectionError('unexpected connection_lost() call')>"""
"""The driver leaves this future where it is cancelled while it asks a server for TLS, as a search for a primary does."""


class Child:
    """One of the scene's processes, kept running: ``who`` is its name and life (``worker-1.3``)."""

    def __init__(
        self,
        name: str,
        command: Callable[[str], list[str]],
        environment: Mapping[str, str],
        folder: Path,
        journal: Journal,
        dice: random.Random,
        frozen_for: float,
    ) -> None:
        self.name = name
        self._frozen_for = frozen_for
        self.restarts = True
        self._command = command
        self._environment = environment
        self._folder = folder
        self._journal = journal
        self._dice = dice
        self._life = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._ended_by_us = False
        self.by_itself: list[str] = []

    @property
    def who(self) -> str:
        return f"{self.name}.{self._life}"

    @property
    def log(self) -> Path:
        return self._folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self._life += 1
        self._ended_by_us = False
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(self.who),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=os.environ | _FINDS_US | self._environment,
                preexec_fn=_die_with_parent,
            )
        self._journal.write("started", process=self.name, life=self._life, pid=self.pid)

    def signal(self, what: signal.Signals) -> None:
        """Send it, and say so; a stopped process takes a kill, nothing else, at once."""
        if not self.running:
            return
        self._ended_by_us = self._ended_by_us or what in (signal.SIGKILL, signal.SIGTERM)
        self._journal.write("signalled", process=self.name, life=self._life, signal=what.name)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, what)

    async def keep_running(self) -> None:
        """Until cancelled: start it again whenever it has ended, wake it when it froze itself."""
        waking: set[asyncio.Task[None]] = set()
        while True:
            await asyncio.sleep(0.02)
            assert self._process
            if not self.running:
                self._ended(self._process.returncode)
                await asyncio.sleep(self._dice.uniform(*RESTART_AFTER))
                while not self.restarts:
                    await asyncio.sleep(0.02)
                self.start()
            elif _froze(self.pid):
                self._journal.write("frozen", process=self.name, life=self._life)
                waking.add(task := asyncio.create_task(self._wake_after(self._frozen_for)))
                task.add_done_callback(waking.discard)

    def freeze(self, seconds: float) -> None:
        """SIGSTOP now, SIGCONT after that time."""
        self._frozen_for = seconds
        self.signal(signal.SIGSTOP)

    async def _wake_after(self, seconds: float) -> None:
        life = self._life
        await asyncio.sleep(seconds)
        if life == self._life:
            self.signal(signal.SIGCONT)

    def _ended(self, code: int) -> None:
        self._journal.write("ended", process=self.name, life=self._life, code=code)
        # It kills itself where a fault is injected; and nothing starts while the database is away.
        if not self._ended_by_us and code != -signal.SIGKILL and self.at_work:
            self.by_itself.append(f"{self.who} ended by itself with {code}: {_last_line(self.log)}")

    @property
    def at_work(self) -> bool:
        """Whether this life has come so far that it says so: only then does a worker drain."""
        return f"name={socket.gethostname()}:{self.pid}" in self.log.read_text(errors="replace")

    @property
    def stumbled(self) -> bool:
        """Whether it said what no program should say."""
        speaker = ""
        for line in self.log.read_text(errors="replace").replace(FORGOTTEN, "").splitlines():
            speaker = line if line[:2] == "20" else speaker  # a line of the log begins with its date
            excused = any(words in speaker for words in EXCUSED)
            if any(sign in line for sign in BLUNDERS) and not excused:
                return True
        return False

    def end(self) -> None:
        """At the end of the scene, in any state."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def drained(self, seconds: float) -> int | None:
        """SIGTERM, and its exit code; None where it did not end in time."""
        self.restarts = False
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.running:
                    await asyncio.sleep(0.02)
        return self._process.poll() if self._process else None


def python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _froze(pid: int) -> bool:
    """Whether it was stopped since we last asked; does not take its exit away from others."""
    with contextlib.suppress(ChildProcessError):
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG) is not None
    return False


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "(said nothing)"


def _die_with_parent() -> None:
    """Where the kernel can (Linux): no process outlives the suite, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
