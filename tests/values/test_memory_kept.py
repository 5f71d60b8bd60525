"""Freed memory that a process keeps while it explains, and gives back afterwards."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import json, resource
import torch
from basewise.models.memory import memory_kept

BLOCK = 100 << 20
used = lambda: resource.getrusage(resource.RUSAGE_SELF)

def provided(blocks):
    before = used().ru_minflt
    for _ in range(blocks):
        torch.ones(BLOCK, dtype=torch.uint8)
    return (used().ru_minflt - before) * resource.getpagesize() / BLOCK

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / BLOCK

usual, before = provided(10), resident()
with memory_kept():
    provided(8)  # blocks are aligned, so they settle after a few
    kept = provided(10)
print(json.dumps([usual, kept, resident() - before]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is another")
def test_blocks_are_provided_once_and_given_back_at_the_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60
    )
    usual, kept, left = json.loads(done.stdout)  # in blocks
    assert usual > 9
    assert kept < 5
    assert left < 0.5
