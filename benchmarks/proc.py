"""The use of a process, from /proc: CPU seconds and memory. Linux only, like the figures."""

from __future__ import annotations

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """CPU seconds of a process, all its threads, and its children that have ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # ended since it was listed: its parent has its time now
        return 0.0
    return sum(int(field) for field in stat.rpartition(") ")[2].split()[11:15]) / TICK


def cpu_of_tree(pid: int) -> float:
    """CPU seconds of a process and of all its children: those that live, and those that have ended."""
    return cpu(pid) + sum(cpu(child) for child in children(pid))


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def rss(pid: int) -> float:
    """Resident memory now, MB."""
    return _status(pid, "VmRSS")


def peak_rss(pid: int) -> float:
    """The most resident memory that the process ever had, MB."""
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return 0.0
