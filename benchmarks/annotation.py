"""How fast a genome is annotated: million bases a minute, by architecture.

    python benchmarks/annotation.py GENOME.fa [--threads 2] [--bases 400000] [--only cnn ...]

The networks that a study trains from scratch where nothing else is said, with random weights, in
the windows they are given by default, the mean of both strands. The CNN reads the whole genome,
the others the first `--bases` of it that begin with no N. Written are a bigWig and a BED.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import torch

import basewise as bw
from basewise.data.browser import write_bigwig, write_regions
from basewise.data.genome import Genome
from basewise.models.annotating import annotate, contigs_of, sizes_of, tiles_for
from basewise.study.scratch import BaseCnn, Dnabert2, Gena, HyenaDna, NucleotideTransformer
from basewise.study.source import Source
from basewise.types import Interval, Span

LABEL = "Z-DNA"
OF_BASES = {"head": "token_classification"}
SOURCES: dict[str, Source] = {
    "cnn": BaseCnn(network={"channels": 32}),
    "hyenadna": HyenaDna(**OF_BASES),
    "dnabert2": Dnabert2(**OF_BASES),
    "gena": Gena(**OF_BASES),
    "nucleotide_transformer": NucleotideTransformer(**OF_BASES),
}


def start_of(genome: Genome, chrom: str, bases: int) -> str:
    """The first bases of a chromosome after the N it may begin with."""
    text = genome.fetch(Interval(chrom, 0, genome.lengths[chrom]))
    first = len(text) - len(text.lstrip("N"))
    return text[first : first + bases]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("genome", type=Path)
    asked.add_argument("--threads", type=int, default=2)
    asked.add_argument("--bases", type=int, default=400_000)
    asked.add_argument("--only", nargs="+", choices=SOURCES, default=list(SOURCES))
    said = asked.parse_args()
    torch.set_num_threads(said.threads)
    whole = Genome(said.genome)
    chrom = next(iter(whole.lengths))
    text = start_of(whole, chrom, said.bases)
    print("| model | weights | window, overlap | Mbp | seconds | Mbp a minute | peak MB |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "piece.fa").write_text(f">{chrom}\n{text}\n")
        records = [
            bw.Record(str(at), text[at : at + 512], LABEL, truth=(Span(9, 19, LABEL),))
            for at in range(0, min(len(text), 300_000) - 512, 512)
        ]
        for kind in said.only:
            genome = whole if kind == "cnn" else Genome(folder / "piece.fa")
            model = SOURCES[kind].untrained(kind, records, folder / kind, 0)
            tiles, contigs = tiles_for(model), contigs_of(genome)
            begin = time.perf_counter()
            pieces = annotate(model, genome, LABEL, folder / "parts" / kind)
            write_bigwig(folder / "z.bw", sizes_of(contigs), pieces)
            again = annotate(model, genome, LABEL, folder / "parts" / kind)
            write_regions(folder / "z.bed", again, LABEL, 0.5)
            seconds = time.perf_counter() - begin
            mega = sum(genome.lengths.values()) / 1e6
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"| {kind} | {model.parameters:,} | {tiles.width:,}, {tiles.overlap} | {mega:.2f} "
                f"| {seconds:.1f} | {mega / seconds * 60:.2f} | {peak:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
