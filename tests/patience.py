"""How long a test waits for what the product promises."""

from __future__ import annotations

import time
from pathlib import Path

PRESSURE = Path("/proc/pressure/cpu")


class Watch:
    """A stop watch for what the product promises: seconds in which some task waited for a CPU do not count, up to two
    thirds of them all. A machine that is busy with something else breaks no promise, and a product that is late does."""

    def __init__(self) -> None:
        self._began, self._stalled = time.monotonic(), _stalled()

    @property
    def seconds(self) -> float:
        """How many have passed that count."""
        passed = time.monotonic() - self._began
        return max(passed - (_stalled() - self._stalled), passed / 3)


def _stalled() -> float:
    """Seconds since the machine began in which some task waited for a CPU; always 0 where the kernel does not say."""
    try:
        return int(PRESSURE.read_text(encoding="ascii").partition("total=")[2].split()[0]) / 1e6
    except OSError:
        return 0.0
