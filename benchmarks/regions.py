"""How long regions of a genome take to be held against their nulls, and how much memory.

    python benchmarks/regions.py [--bases 4000000] [--genes 4500] [--draws 10000]

Asked for: 4 Mbp, 4,500 genes and 10,000 shifts in less than 60 s.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from basewise.biology.region_scores import region_scores, set_enrichment
from basewise.data.features import Feature
from basewise.sequence.alphabet import decode


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--bases", type=int, default=4_000_000)
    asked.add_argument("--genes", type=int, default=4_500)
    asked.add_argument("--draws", type=int, default=10_000)
    said = asked.parse_args()
    rng = np.random.default_rng(0)
    step = said.bases // said.genes
    size = rng.integers(step // 4, step - 20, said.genes)
    genes = [
        Feature(f"g{i}", "gene", "c", ((i * step, i * step + n),), "+-"[i % 2], f"n{i}")
        for i, n in enumerate(size.tolist())
    ]
    track = {"c": rng.normal(size=said.bases)}
    sequence = {"c": decode(rng.integers(0, 4, said.bases).astype(np.uint8))}
    sets = {"every tenth": list(range(0, said.genes, 10))}
    print(f"before: {peak():,.0f} MB")
    for name, work in {
        "shift": lambda: region_scores(track, genes, draws=said.draws),
        "set": lambda: set_enrichment(track, genes, sets, draws=said.draws),
        "matched": lambda: region_scores(
            track, genes, null="matched", sequences=sequence, draws=said.draws
        ),
    }.items():
        begin = time.perf_counter()
        work()
        print(f"{name}: {time.perf_counter() - begin:.1f} s, peak {peak():,.0f} MB", flush=True)


if __name__ == "__main__":
    main()
