"""Memory that pixels took goes back to the system: glibc would keep it for itself."""

from __future__ import annotations

import ctypes
from typing import Final

_MMAP_THRESHOLD: Final = -3  # malloc.h: M_MMAP_THRESHOLD
_LARGE: Final = 1 << 20  # bytes; every picture and every layer of a network is larger


def give_back_large_blocks() -> None:
    """Let every block of a megabyte or more be the system's own, given back when it is freed.

    Left alone, glibc raises that threshold to 32 MB as it sees such blocks come and go, and then keeps them in pools,
    one for each thread: 100 MB of pictures that are long gone. Elsewhere (musl, macOS) this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE)
