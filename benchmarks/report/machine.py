"""The machine and the programs of a run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from benchmarks.ground import SETTINGS
from benchmarks.hops import Entry

OURS = ("asyncpg", "pyreqwest", "uvloop")


def machine(cores: int) -> str:
    """One sentence; ``cores``: those that the run was kept to."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cores} of {os.cpu_count()} cores of {cpu}, {memory:.0f} GB of memory, Linux {platform.release()}"


def versions(server: str, entries: Sequence[Entry] = ()) -> str:
    """Server, Python, what all have in common, and each contestant's own package."""
    common = [f"{name} {importlib.metadata.version(name)}" for name in OURS]
    theirs = [
        f"{entry.label} {entry.version}" for entry in entries if entry.version and entry.name != "pgbaton-channel"
    ]
    theirs = [text.replace(" without a channel", "") for text in theirs]
    return ", ".join([f"PostgreSQL {server}", f"Python {platform.python_version()}", *common, *theirs])


def tuning() -> str:
    return ", ".join(f"{name} = {value}" for name, value in SETTINGS.items())
