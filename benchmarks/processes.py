"""Child processes: started, waited for, ended; none outlives this one."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

STOP_PATIENCE = 5.0
"""Seconds between asking a process to end and ending it."""


class ChildFailed(Exception):
    """A process ended with an error, or did not end; the message is the last thing that it said."""


class Child:
    """A running Python module of ours. Leaving the context ends it, however it is."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raise :class:`ChildFailed` if it is not running any more."""
        if self._process.returncode is not None:
            raise ChildFailed(self.last_words())

    async def line(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout
        said = (await self._process.stdout.readline()).decode().strip()
        if not said:
            raise ChildFailed(self.last_words())
        return said

    def last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else f"ended with {self._process.returncode} and said nothing"

    async def end(self) -> None:
        """It, and whatever it has started itself."""
        try:
            if self._process.returncode is None:
                self._process.terminate()
                async with asyncio.timeout(STOP_PATIENCE):
                    await self._process.wait()
        except TimeoutError:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        await self._process.communicate()

    @classmethod
    @asynccontextmanager
    async def of(cls, log: Path, module: str, *arguments: str) -> AsyncIterator[Self]:
        """``python -m benchmarks.<module> …``; what it says on its error output goes to ``log``."""
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", f"benchmarks.{module}", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                limit=1 << 26,
                preexec_fn=die_with_parent,
                start_new_session=True,  # a group of its own, to end whole
            )
        child = cls(process, log)
        try:
            yield child
        finally:
            await child.end()

    @classmethod
    async def finished(cls, log: Path, module: str, *arguments: str, seconds: float = 120) -> str:
        """Run it to its end and return what it printed. Raises :class:`ChildFailed`."""
        async with cls.of(log, module, *arguments) as child:
            try:
                async with asyncio.timeout(seconds):
                    said, _ = await child._process.communicate()
            except TimeoutError:
                raise ChildFailed(f"did not end within {seconds:g} s") from None
            if child._process.returncode != 0:
                raise ChildFailed(child.last_words())
            return said.decode()


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def share_two_cores() -> int:
    """Keep this process and all that it starts to two cores; returns how many there are to use."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cores)
    return len(cores)
