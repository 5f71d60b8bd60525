"""How long a forest of gene presence takes, and what it finds.

    python benchmarks/presence.py DIR

DIR holds `presence_absence.Rtab.gz`, `example.pheno` (genome, continuous, binary) and
`lineage_clusters.txt` (genome, clade). Asked for: 1,499 genes by 1,838 columns in less than
2 minutes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from basewise.biology.presence import presence_forest
from basewise.data.presence import read_presence


def column(path: Path, at: int) -> dict[str, str]:
    rows = [line.split() for line in path.read_text().splitlines()]
    return {row[0]: row[at] for row in rows if len(row) > at}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("folder", type=Path)
    folder = asked.parse_args().folder
    begin, spent = time.perf_counter(), time.process_time()
    presence = read_presence(folder / "presence_absence.Rtab.gz")
    labels = {
        name: {"0": "absent", "1": "present"}[value]
        for name, value in column(folder / "example.pheno", 2).items()
        if value in ("0", "1")
    }
    clades = column(folder / "lineage_clusters.txt", 1)
    found = presence_forest(presence, labels, clades, target="present")
    seconds, processor = time.perf_counter() - begin, time.process_time() - spent
    print(f"{len(presence.genes)} genes, {len(presence.samples)} genomes")
    print(f"{seconds:.1f} s, {processor:.1f} s of processor time")
    print(found.quality.to_string(index=False))
    print(found.genes.head(12).to_string(index=False))


if __name__ == "__main__":
    main()
