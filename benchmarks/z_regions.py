"""How well composition tells the labelled ones of Z-Hunt's calls, chromosome by chromosome.

    python benchmarks/z_regions.py --data DIR [--test]

DIR holds `windows_510.csv.gz`, `Kouzine.bed.gz`, `ZHUNT_hg19_chunks.bed.gz` and the sequence of the
chromosomes. Gradient boosting on the composition of every call and of what is around it learns from
all chromosomes but one, and is asked about that one. Told are the AUROC over all its calls, that
over those in windows, and the F1 of the windows' bases if every call were cut out exactly: of all
calls, of those above the threshold that is best for the other chromosomes, and above the one best
for itself, which bounds what any threshold could do. Chromosomes of test are read with --test only.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from basewise.data.genome import Genome, place_of
from basewise.sequence.alphabet import encode
from basewise.types import Interval

REACHES = (25, 50, 100, 250, 500)  # bases to either side of the middle
COLUMNS = ["chrom", "start", "end"]


class Calls(NamedTuple):
    """Calls of a chromosome: what is known of them (n, features), whether each has the label, and
    how many of its bases lie in windows."""

    features: np.ndarray
    labelled: np.ndarray
    bases: np.ndarray


def composition(codes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Of stretches of a contig, (n, 9): A, C, G, T, CpG, TG or CA, CpG over expected, skews."""
    first, second = codes[:-1], codes[1:]
    flags = [codes == base for base in range(4)]
    flags += [
        np.append((first == 1) & (second == 2), False),
        np.append(((first == 3) & (second == 2)) | ((first == 1) & (second == 0)), False),
    ]
    sums = [np.concatenate([[0], np.cumsum(each)]) for each in flags]
    a, c, g, t, cpg, tg = (each[ends] - each[starts] for each in sums)
    known = np.maximum(a + c + g + t, 1)
    shares = [each / known for each in (a, c, g, t, cpg, tg)]
    expected = cpg * known / np.maximum(c * g, 1)
    skews = [(g - c) / np.maximum(g + c, 1), (a - t) / np.maximum(a + t, 1)]
    return np.stack([*shares, expected, *skews], 1)


def calls_of(data: Path, chrom: str, windows: pd.DataFrame) -> Calls:
    (path,) = data.glob(f"hg19_{chrom}_*.fa.gz")
    genome = Genome(path)
    ((name, length),) = genome.lengths.items()
    offset = place_of(name, length).offset
    codes = encode(genome.fetch(Interval(name, 0, length)))
    kept = [
        table[table["chrom"] == chrom].reset_index(drop=True)
        for table in (
            pd.read_csv(data / file, sep="\t", header=None, usecols=[0, 1, 2], names=COLUMNS)
            for file in ("ZHUNT_hg19_chunks.bed.gz", "Kouzine.bed.gz")
        )
    ]
    found = kept[0].merge(kept[1], how="left", indicator=True)
    starts, ends = (found[each].to_numpy() - offset for each in ("start", "end"))
    middle = (starts + ends) // 2
    features = [(ends - starts)[:, None], composition(codes, starts, ends)]
    for reach in REACHES:
        around = np.maximum(middle - reach, 0), np.minimum(middle + reach, len(codes))
        features.append(composition(codes, *around))
    covered = np.zeros(len(codes), bool)
    for start in windows.loc[windows["chrom"] == chrom, "start0"] - offset:
        covered[start : start + 510] = True
    sums = np.concatenate([[0], np.cumsum(covered)])
    labelled = (found["_merge"] == "both").to_numpy()
    return Calls(np.concatenate(features, 1), labelled, sums[ends] - sums[starts])


def learned(some: list[Calls]) -> HistGradientBoostingClassifier:
    """Boosting in which labelled and other calls weigh as much as their bases in windows."""
    features, labelled, bases = (np.concatenate(each) for each in zip(*some, strict=True))
    weights = np.where(
        labelled,
        bases[labelled].sum() / labelled.sum(),
        bases[~labelled].sum() / (~labelled).sum(),
    )
    model = HistGradientBoostingClassifier(
        max_iter=120, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=30, random_state=0
    )
    return model.fit(features, labelled, sample_weight=weights)


def f1(calls: Calls, scores: np.ndarray, threshold: float) -> float:
    """Of the windows' bases, if calls that score so high are labels."""
    kept = scores >= threshold
    right = calls.bases[kept & calls.labelled].sum()
    return float(2 * right / (calls.bases[kept].sum() + calls.bases[calls.labelled].sum()))


def best(some: list[tuple[Calls, np.ndarray]]) -> float:
    """The threshold at which the F1 of all their windows together is highest."""
    calls = Calls(*(np.concatenate(each) for each in zip(*(c for c, _ in some), strict=True)))
    scores = np.concatenate([each for _, each in some])
    return max(np.linspace(0, 1, 101), key=lambda threshold: f1(calls, scores, threshold))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--test", action="store_true")
    said = asked.parse_args()
    windows = pd.read_csv(said.data / "windows_510.csv.gz")
    splits = windows.groupby("chrom")["split"].first()
    known = {
        chrom: calls_of(said.data, chrom, windows)
        for chrom, split in splits.items()
        if said.test or split != "test"
    }
    seen = [chrom for chrom in known if splits[chrom] != "test"]
    scored = {}
    for chrom, calls in known.items():
        model = learned([known[other] for other in seen if other != chrom])
        scored[chrom] = calls, model.predict_proba(calls.features)[:, 1]
    for chrom, (calls, scores) in scored.items():
        inside = calls.bases > 0
        threshold = best([scored[other] for other in seen if other != chrom])
        areas = [
            roc_auc_score(calls.labelled[some], scores[some])
            for some in (np.ones(len(inside), bool), inside)
        ]
        own = best([(calls, scores)])
        print(
            f"{chrom} ({splits[chrom]}): {len(inside)} calls, {calls.labelled.mean():.3f} of them "
            f"labelled, AUROC {areas[0]:.3f}; {inside.sum()} in windows, "
            f"{calls.labelled[inside].mean():.3f}, {areas[1]:.3f}; F1 of all calls "
            f"{f1(calls, scores, 0):.3f}, chosen {f1(calls, scores, threshold):.3f}, at best "
            f"{f1(calls, scores, own):.3f}"
        )


if __name__ == "__main__":
    main()
