"""Seconds to scan sequences for the core-promoter panel and for a library of matrices.

    python benchmarks/scanning.py --sequences 10000 --length 300 --motifs 200
    python benchmarks/scanning.py --library jaspar2024_core.transfac.gz
    python benchmarks/scanning.py --gue prom/prom_300_all/test.csv

Random sequences, both strands, every hit with its exact p value in a table. Without `--library`
the matrices are random: their cost does not depend on what they hold. With `--gue` the tests of
the panel run on the real promoters too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from basewise import Attribution, Record, Target
from basewise.biology.enrichment import class_enrichment, shuffle_enrichment
from basewise.biology.reliance import attribution_enrichment
from basewise.data.reading import read
from basewise.motifs.library import read_motifs
from basewise.motifs.motif import Motif
from basewise.motifs.panel import CORE_PROMOTER
from basewise.motifs.scan import Scanner, scan
from basewise.sequence.alphabet import decode_rows


def timed(name: str, work: Callable[[], Any], repeats: int = 3) -> Any:
    """Print the best time of some work and give its result."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - begin)
    print(f"{min(seconds):8.2f} s  {name}")
    return result


def reachable(motifs: Sequence[Motif], count: int) -> list[Motif]:
    """The first motifs that some word can hit at the default p."""
    out = set(Scanner(motifs).unreachable)
    return [motif for motif in motifs if motif.name not in out][:count]


def random_motifs(rng: np.random.Generator, count: int) -> list[Motif]:
    widths = rng.integers(7, 21, 2 * count)
    made = [Motif(f"m{i}", rng.dirichlet([0.2] * 4, w)) for i, w in enumerate(widths)]
    return reachable(made, count)


def on_promoters(path: Path) -> None:
    """The three tests of the panel on real promoters, with made-up attributions."""
    records = read(path, labels={"0": "non-promoter", "1": "promoter"})
    rng = np.random.default_rng(0)
    spans = np.column_stack([np.arange(300), np.arange(300) + 1])
    target = Target("promoter")
    found = [
        Attribution(r.id, r.sequence, "none", target, "random", "additive", spans, s, 1, 0, 0, 0)
        for r, s in zip(records, rng.normal(size=(len(records), 300)), strict=True)
    ]
    size = f"panel on {len(records):,} promoters"
    timed(
        f"hits by class: {size}",
        lambda: class_enrichment(records, CORE_PROMOTER, label="promoter", tss=249),
    )
    timed(
        f"hits against 20 shuffles each: {size}",
        lambda: shuffle_enrichment(records, CORE_PROMOTER, tss=249),
        repeats=1,
    )
    timed(
        f"attribution inside hits: {size}",
        lambda: attribution_enrichment(records, found, CORE_PROMOTER, tss=249),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sequences", type=int, default=10000)
    parser.add_argument("--length", type=int, default=300)
    parser.add_argument("--motifs", type=int, default=200)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--gue", type=Path)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (asked.sequences, asked.length), np.uint8)
    records = [Record(str(i), sequence) for i, sequence in enumerate(decode_rows(codes))]
    size = f"{asked.sequences:,} x {asked.length} bp"
    hits = timed(f"panel of {len(CORE_PROMOTER)}: {size}", lambda: scan(records, CORE_PROMOTER))
    print(f"            {len(hits):,} hits")
    motifs = (
        reachable(read_motifs(asked.library), asked.motifs)
        if asked.library
        else random_motifs(rng, asked.motifs)
    )
    hits = timed(f"{len(motifs)} matrices, both strands: {size}", lambda: scan(records, motifs))
    print(f"            {len(hits):,} hits")
    if asked.gue:
        on_promoters(asked.gue)


if __name__ == "__main__":
    main()
