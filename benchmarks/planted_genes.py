"""What gene-level enrichment finds in genomes whose truth is known: power, and false positives.

    python benchmarks/planted_genes.py --replicates 100 --out planted
    python benchmarks/planted_genes.py --network --replicates 8 --copies 0 8

Each replicate makes genomes of random operons, as many with a trait as without. All have the same
core genes, each genome its own copies with 2 % of their bases changed, in its own order; those with
the trait hold `copies` members of one gene family more, at random places. Members are copies of one
parent with a share of bases changed (`--divergence`). A model learns from windows of three quarters
of the genomes which of them have the trait (most windows say nothing: they carry their genome's
label), and explains every base of the others with the trait. Sets of genes are held against shifts
as in `set_enrichment`: the family, and as negative controls as many core genes, drawn one by one
and as a run of neighbours. The test is of each held-out genome by itself.

The model is a logistic regression on 6-mers whose score of a base is the mean weight of the words
over it, which is exact and takes a second; `--network` trains a CNN and explains it by input x
gradient. Printed: how often p < .05 for each number of copies and divergence, with Wilson's
interval, over held-out genomes (which share a model within a replicate) and, beside it, over
replicates (their first held-out genome alone, which are independent). The last column is the share
of replicates that are called higher: beside a family that scores high, core genes are lower than
"all other genes", and a test that calls them so is right.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from basewise.biology.region_scores import set_enrichment
from basewise.data.features import Feature
from basewise.sequence.alphabet import decode
from basewise.sequence.kmers import kmer_numbers
from basewise.stats import wilson

K = 6
WINDOW = 1000
LEVEL = 0.05
SETS = ("family", "core genes", "neighbours")


class Simulated(NamedTuple):
    """A genome: its bases, genes by start and end, and which of these are of the family."""

    codes: np.ndarray
    genes: list[tuple[int, int]]
    family: list[int]
    trait: bool


def mutated(codes: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A copy with a share of its bases drawn anew among the other three."""
    found = codes.copy()
    at = rng.random(len(codes)) < share
    found[at] = (found[at] + rng.integers(1, 4, int(at.sum()))) % 4
    return found


def genomes(
    count: int, core: int, copies: int, divergence: float, rng: np.random.Generator
) -> list[Simulated]:
    """As many genomes with the trait as without."""
    parents = [rng.integers(0, 4, int(b)).astype(np.uint8) for b in rng.integers(300, 1200, core)]
    family = rng.integers(0, 4, 600).astype(np.uint8)
    found = []
    for g in range(count):
        trait = g % 2 == 0
        every = [(mutated(each, 0.02, rng), False) for each in parents]
        every = [every[i] for i in rng.permutation(core).tolist()]
        if trait:
            for _ in range(copies):
                every.insert(
                    int(rng.integers(len(every) + 1)), (mutated(family, divergence, rng), True)
                )
        pieces, genes, members, at = [], [], [], 0
        for i, (gene, own) in enumerate(every):
            gap = int(rng.integers(5, 30) if i % 4 else rng.integers(100, 400))
            pieces += [rng.integers(0, 4, gap).astype(np.uint8), gene]
            genes.append((at + gap, at + gap + len(gene)))
            at += gap + len(gene)
            if own:
                members.append(i)
        found.append(Simulated(np.concatenate(pieces), genes, members, trait))
    return found


def counted(codes: np.ndarray) -> np.ndarray:
    """6-mers of windows of one genome, (windows, 4^6), as shares."""
    rows = [
        np.bincount(kmer_numbers(codes[a : a + WINDOW], K), minlength=4**K)
        for a in range(0, len(codes) - WINDOW + 1, WINDOW)
    ]
    return np.array(rows) / (WINDOW - K + 1)


def by_words(learned: list[Simulated], others: list[Simulated], seed: int) -> list[np.ndarray]:
    """Scores on bases by a logistic regression on words."""
    from sklearn.linear_model import LogisticRegression

    tables = [counted(each.codes) for each in learned]
    x = np.concatenate(tables) * 100
    y = np.concatenate(
        [np.full(len(t), each.trait) for t, each in zip(tables, learned, strict=True)]
    )
    model = LogisticRegression(C=1.0, max_iter=200).fit(x, y)
    weight = model.coef_[0]
    ones = np.ones(K)
    found = []
    for each in others:
        words = weight[kmer_numbers(each.codes, K)]
        found.append(np.convolve(words, ones) / np.convolve(np.ones(len(words)), ones))
    return found


def by_network(learned: list[Simulated], others: list[Simulated], seed: int) -> list[np.ndarray]:
    """Scores on bases by input x gradient of a CNN."""
    import tempfile

    import basewise as bw
    from basewise.study.scratch import Cnn

    def windows(some: list[Simulated], name: str) -> list[Any]:
        return [
            bw.Record(
                f"{name}{g}:{a}",
                decode(each.codes[a : a + WINDOW]),
                "with" if each.trait else "without",
            )
            for g, each in enumerate(some)
            for a in range(0, len(each.codes) - WINDOW + 1, WINDOW)
        ]

    source = Cnn(
        network={"channels": 24, "dilations": [1], "positions": 0, "hidden": 24},
        training={"epochs": 6, "batch_size": 64, "learning_rate": 3e-3},
    )
    cut = max(len(learned) // 6, 2)
    with tempfile.TemporaryDirectory() as folder:
        model = source.model(
            "cnn", windows(learned[cut:], "t"), windows(learned[:cut], "d"), Path(folder), seed,
            lambda *said: None,
        )  # fmt: skip
    found = []
    for g, each in enumerate(others):
        records = windows([each], f"o{g}-")
        scores = np.full(len(each.codes), np.nan)
        for i, a in enumerate(bw.explain(model, records, "input_x_gradient", "with")):
            scores[i * WINDOW : (i + 1) * WINDOW] = a.per_base()
        found.append(scores)
    return found


def replicate(seed: int, copies: int, divergence: float, args: argparse.Namespace) -> list[Any]:
    """Effect and p of every set in every held-out genome with the trait."""
    rng = np.random.default_rng([seed, copies, int(1000 * divergence)])
    made = genomes(args.genomes, args.genes, copies, divergence, rng)
    cut = 2 * (3 * args.genomes // 8)
    learned, others = made[:cut], [each for each in made[cut:] if each.trait]
    explained = (by_network if args.network else by_words)(learned, others, seed)
    rows = []
    for g, (each, track) in enumerate(zip(others, explained, strict=True)):
        features = [Feature(f"g{i}", "gene", "c", (place,)) for i, place in enumerate(each.genes)]
        core = [i for i in range(len(features)) if i not in set(each.family)]
        size = copies or args.size
        first = int(rng.integers(len(core) - size + 1))
        sets = {
            "core genes": rng.choice(core, size, replace=False).tolist(),
            "neighbours": core[first : first + size],
        }
        if copies:
            sets["family"] = each.family
        found = set_enrichment({"c": track}, features, sets, draws=args.draws, seed=seed)
        rows += [
            (copies, divergence, seed, g, row.set, row.effect, row.p) for row in found.itertuples()
        ]
    return rows


def told(rows: list[Any], copies: int, divergence: float, kind: str) -> str:
    """A line: how often p < .05, over genomes and over replicates."""
    own = [r for r in rows if r[:2] == (copies, divergence) and r[4] == kind]
    first = [r for r in own if r[3] == 0]
    shares = [wilson(sum(r[6] < LEVEL for r in some), len(some)) for some in (own, first)]
    high = wilson(sum(r[6] < LEVEL and r[5] > 0 for r in first), len(first))
    effect = float(np.mean([r[5] for r in own]))
    return (
        f"| {copies} | {divergence:g} | {kind} | {effect:.2f} | "
        + " | ".join(map(str, shares))
        + f" | {high.value:.3f} |"
    )


def drawn(rows: list[Any], path: Path, divergences: list[float]) -> None:
    """How often sets are called higher over copies, a line per divergence; controls in grey."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    colours = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#777777")
    for kind in ("family", "core genes"):
        for divergence, colour in zip(divergences, colours, strict=False):
            counts = sorted({r[0] for r in rows if r[1] == divergence and r[4] == kind})
            shares = [
                wilson(sum(r[6] < LEVEL and r[5] > 0 for r in own), len(own))
                for own in (
                    [r for r in rows if r[:2] == (c, divergence) and r[3:5] == (0, kind)]
                    for c in counts
                )
            ]
            middle = [s.value for s in shares]
            error = [[s.value - s.low for s in shares], [s.high - s.value for s in shares]]
            label = f"family, {divergence:.0%} of bases changed"
            axis.errorbar(
                counts, middle, np.maximum(error, 0),
                color=colour if kind == "family" else "#999999",
                marker="o" if kind == "family" else "s", capsize=3, ms=4, lw=1.5,
                ls="-" if kind == "family" else ":",
                label=label if kind == "family" else
                "as many core genes" if divergence == divergences[0] else None,
            )  # fmt: skip
    axis.axhline(LEVEL, color="black", lw=0.8, ls="--")
    axis.set(
        xlabel="copies of the family in a genome with the trait",
        ylabel=f"share of replicates called higher, p < {LEVEL}",
        ylim=(-0.02, 1.02),
    )
    figure.legend(
        *axis.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=8
    )
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--replicates", type=int, default=100)
    asked.add_argument("--genomes", type=int, default=16)
    asked.add_argument("--genes", type=int, default=80, help="core genes of a genome")
    asked.add_argument("--copies", type=int, nargs="+", default=[0, 1, 2, 4, 8])
    asked.add_argument("--divergence", type=float, nargs="+", default=[0.05, 0.2, 0.4])
    asked.add_argument("--size", type=int, default=4, help="genes of the control without copies")
    asked.add_argument("--draws", type=int, default=999)
    asked.add_argument("--network", action="store_true", help="a CNN in place of words")
    asked.add_argument("--out", type=Path, help="a folder for the figure and all p values")
    args = asked.parse_args()
    begin, spent = time.perf_counter(), time.process_time()
    rows: list[Any] = []
    columns = f"p < {LEVEL}: held-out genomes | of replicates (first genome) | and higher"
    print(f"| copies | changed | set | mean effect (SD) | {columns} |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for divergence in args.divergence:
        for copies in args.copies:
            if copies == 0 and divergence != args.divergence[0]:
                continue  # without copies there is nothing to change
            for seed in range(args.replicates):
                rows += replicate(seed, copies, divergence, args)
            for kind in SETS:
                if any(r[:2] == (copies, divergence) and r[4] == kind for r in rows):
                    print(told(rows, copies, divergence, kind), flush=True)
    for kind in SETS[1:]:
        own = [r for r in rows if r[4] == kind and r[3] == 0]
        share = wilson(sum(r[6] < LEVEL for r in own), len(own))
        print(f"{kind}, all rows: {share}")
    passed, used = time.perf_counter() - begin, time.process_time() - spent
    print(f"{passed:.0f} s, {used:.0f} s of processor time")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        with open(args.out / "p_values.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("copies", "divergence", "seed", "genome", "set", "effect", "p"))
            writer.writerows(rows)
        drawn(rows, args.out / "power.png", args.divergence)


if __name__ == "__main__":
    main()
