"""The Z-forming energy beside published Z-Hunt calls, and label sets of Z-DNA beside each other.

    python benchmarks/z_forming.py --data DIR

DIR holds `windows_510.csv.gz`, `ZHUNT_hg19_chunks.bed.gz` and other sets of labels. Counted on the
bases of windows of each split. Nothing is fitted: the threshold is Z-Hunt's custom, one random
window in 700.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.metrics import average_precision_score

import basewise as bw
from basewise.data.labelled import read_labelled
from basewise.evaluate.bases import BaseScores, base_metrics, base_scores
from basewise.models.z_forming import z_forming
from basewise.sequence.alphabet import encode

LABEL = "Z-DNA"
LABEL_SETS = ("Wu", "zdna2009", "zdna2016")
THRESHOLD = float(norm.isf(1 / 700))


def calls(windows: pd.DataFrame, bed: Path) -> np.ndarray:
    """Whether each base of windows of one width lies in a region of a BED file, (n, b)."""
    regions = pd.read_csv(bed, sep="\t", header=None, usecols=[0, 1, 2])
    found = np.zeros((len(windows), len(windows["sequence"].iloc[0])), bool)
    for chrom, own in windows.groupby("chrom"):
        there = regions[regions[0] == chrom].sort_values(1)
        ends = there[2].to_numpy()
        for row, start in zip(own.index, own["start0"], strict=True):
            near = slice(*np.searchsorted(there[1], [start - ends.max(initial=0), start + 1000]))
            for begin, end in zip(there[1].iloc[near] - start, ends[near] - start, strict=True):
                found[row, max(begin, 0) : max(end, 0)] = True
    return found


def f1(one: np.ndarray, other: np.ndarray) -> float:
    """F1 of one set of bases as calls of another; the same either way."""
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", type=Path, required=True)
    said = asked.parse_args()
    path = said.data / "windows_510.csv.gz"
    table = pd.read_csv(path, keep_default_na=False)
    records = read_labelled(path, label=LABEL, intervals="z_intervals", split="split").records
    for split, own in table.groupby("split"):
        some: list[bw.Record] = [records[i] for i in own.index]
        codes = encode("".join(own["sequence"])).reshape(len(own), -1)
        begin = time.perf_counter()
        energy = z_forming(codes)
        seconds = time.perf_counter() - begin
        z_hunt = calls(own.reset_index(drop=True), said.data / "ZHUNT_hg19_chunks.bed.gz")
        truth = base_scores(some, LABEL, list(energy)).truth.reshape(energy.shape)
        called = energy >= THRESHOLD
        print(f"{split}: {len(own)} windows, {codes.size / seconds / 1e6:.2f} Mbp/s")
        print(f"  energy beside Z-Hunt's calls: F1 {f1(called, z_hunt):.3f}")
        print(f"    AUPRC {average_precision_score(z_hunt.ravel(), energy.ravel()):.3f}")
        flat = BaseScores(truth.ravel(), called.ravel().astype(float), _rows(truth))
        own_f1 = base_metrics(flat, 0.5, rng=np.random.default_rng(0))["f1"]
        print(f"  energy beside the labels: F1 {own_f1}")
        print(f"    AUPRC {average_precision_score(truth.ravel(), energy.ravel()):.3f}")
        flat = BaseScores(truth.ravel(), z_hunt.ravel().astype(float), _rows(truth))
        told = base_metrics(flat, 0.5, rng=np.random.default_rng(0))
        print(f"  Z-Hunt's calls beside the labels: F1 {told['f1']}")
        print(f"    precision {told['precision']}, recall {told['recall'].value:.3f}")
        moved = np.zeros_like(truth)
        moved[:, 1:] = truth[:, :-1]
        print(f"  labels moved by one base: F1 {f1(moved, truth):.3f}")
        print(f"  labels one base shorter: F1 {f1(truth & moved, truth):.3f}")
        for name in LABEL_SETS:
            others = calls(own.reset_index(drop=True), said.data / f"{name}.bed.gz")
            print(f"  {name} beside the labels: {_beside(truth, others)}")
        other = z_hunt & ~truth
        within = other[truth.any(1)].sum()
        print(
            f"  Z-Hunt's bases without label: {within} in windows with one, {other.sum() - within}"
        )


def _beside(truth: np.ndarray, other: np.ndarray) -> str:
    """Two sets of labels of the same bases."""
    both, n = int((truth & other).sum()), int(other.sum())
    return f"{n} bases, {both} of them labelled; F1 {f1(other, truth):.3f}"


def _rows(flags: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(flags)), flags.shape[1])


if __name__ == "__main__":
    main()
