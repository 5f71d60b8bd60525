"""How long 50,000 sequences of 300 bases take to read, from every format.

Run: python benchmarks/reading.py [rows] [bases]
"""

from __future__ import annotations

import gzip
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from basewise.data.reading import read_report
from basewise.sequence.alphabet import decode_rows


def write_all(folder: Path, rows: int, bases: int) -> list[Path]:
    """The same random sequences in every format."""
    codes = np.random.default_rng(0).integers(0, 4, (rows, bases)).astype(np.uint8)
    sequences = decode_rows(codes)
    labels = [str(i % 2) for i in range(rows)]
    pairs = list(zip(sequences, labels, strict=True))

    def text(name: str, line: Callable[[int, str, str], str], head: str = "") -> Path:
        body = head + "".join(line(i, s, label) for i, (s, label) in enumerate(pairs))
        path = folder / name
        path.write_bytes(gzip.compress(body.encode(), 6) if name.endswith("gz") else body.encode())
        return path

    pq.write_table(pa.table({"sequence": sequences, "label": labels}), folder / "random.parquet")
    wrapped = "\n".join(["{}"] * (bases // 60))
    return [
        text("random.csv", lambda _, s, label: f"{s},{label}\n", "sequence,label\n"),
        text("random.csv.gz", lambda _, s, label: f"{s},{label}\n", "sequence,label\n"),
        text("lower.tsv", lambda _, s, label: f"{s.lower()}\t{label}\n", "sequence\tlabel\n"),
        text(
            "kmers.tsv",
            lambda _, s, label: f"{' '.join(s[i : i + 6] for i in range(bases - 5))}\t{label}\n",
            "sequence\tlabel\n",
        ),
        text(
            "wrapped.fa",
            lambda i, s, label: (
                f">{i} label={label}\n"
                + wrapped.format(*(s[j : j + 60] for j in range(0, bases, 60)))
                + "\n"
            ),
        ),
        folder / "random.parquet",
    ]


def main(rows: int = 50_000, bases: int = 300) -> None:
    """One line per format: seconds (best of three), rows per second."""
    with tempfile.TemporaryDirectory() as folder:
        for path in write_all(Path(folder), rows, bases):
            times = []
            for _ in range(3):
                start = time.perf_counter()
                report = read_report(path, labels={"0": "non-promoter", "1": "promoter"})
                times.append(time.perf_counter() - start)
            if len(report.records) != rows or {len(r) for r in report.records} != {bases}:
                sys.exit(f"{path.name}: read {len(report.records)} records, not {rows} whole ones.")
            print(f"{path.name:15} {rows} x {bases}  {min(times):.2f} s  {rows / min(times):.0f}/s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
