"""Freed memory kept by the process while it is about to be asked for again.

glibc gives blocks of megabytes back to the system when they are freed, and the system zeroes
them again for the next layer. With two threads that costs a fifth of a training step, and up to a
quarter of explaining, in some processes and not in others: blocks go back from the heap's end.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

__all__ = ["machine_memory", "memory_kept"]

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)
_MB = 1 << 20
_LEFT = 64 * _MB


@contextmanager
def memory_kept() -> Iterator[None]:
    """Freed memory stays with the process inside the block; it is given back at the end.

    Where it is 64 MB and less it stays: the next work would ask for it at once. Does nothing
    without glibc on Linux. Afterwards its thresholds are those that glibc itself moves to once a
    program has freed large blocks: 32 MB for a block of its own, 64 MB for giving back.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    before = _resident()
    libc.mallopt(_MMAP, 1024 * _MB)
    libc.mallopt(_TRIM, 1024 * _MB)
    try:
        yield
    finally:
        libc.mallopt(_MMAP, 32 * _MB)
        libc.mallopt(_TRIM, _LEFT)
        if _resident() - before > _LEFT:
            libc.malloc_trim(0)


@lru_cache
def _glibc() -> ctypes.CDLL | None:
    known = platform.system() == "Linux" and platform.libc_ver()[0] == "glibc"
    return ctypes.CDLL(None) if known else None


@lru_cache
def machine_memory() -> int:
    """Bytes of memory that a process may have: the machine's, or what its container is given."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # there is none, or it is `max`
            found.append(int(Path("/sys/fs/cgroup", limit).read_text()))
    return min(found)


def _resident() -> int:
    """Bytes of the process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE
