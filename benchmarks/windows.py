"""How long a genome and its labelled regions take to become windows.

    python benchmarks/windows.py

60 million random bases in three chromosomes, 40,000 regions of 17 bases, a blacklist of 200; the
files are written first, then a fresh process reads them, so that the memory is its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from basewise.data.windows import Windows

CHROMS, BASES, REGIONS = 3, 20_000_000, 40_000


def write(folder: Path) -> None:
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGT", np.uint8)
    with open(folder / "genome.fa", "wb") as file:
        for i in range(CHROMS):
            lines = np.full((BASES // 50, 51), ord("\n"), np.uint8)
            lines[:, :50] = letters[rng.integers(0, 4, (BASES // 50, 50))]
            file.write(f">chr{i + 1}\n".encode() + lines.tobytes())
    for name, n, width in (("regions", REGIONS, 17), ("blacklist", 200, 10_000)):
        starts = np.sort(rng.choice(CHROMS * BASES // 40_000, n, replace=True)) * 40_000
        starts = starts + rng.integers(0, 40_000 - width, n)
        rows = (f"chr{s // BASES + 1}\t{s % BASES}\t{s % BASES + width}\n" for s in starts.tolist())
        (folder / f"{name}.bed").write_text("".join(rows))


def cut(folder: Path, negatives: str) -> None:
    begin = time.perf_counter()
    records = Windows(negatives=negatives).cut(
        folder / "genome.fa", {"label": folder / "regions.bed"}, blacklist=folder / "blacklist.bed"
    )
    seconds = time.perf_counter() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    positive = sum(bool(record.truth) for record in records)
    print(
        f"{negatives}: {len(records):,} windows, {positive:,} with a label, "
        f"{seconds:.1f} s, {memory:.0f} MB"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        cut(Path(sys.argv[1]), sys.argv[2])
        sys.exit()
    with tempfile.TemporaryDirectory() as made:
        write(Path(made))
        for negatives in ("random", "gc_matched", "all"):
            subprocess.run([sys.executable, __file__, made, negatives], check=True)
