"""How well a U-Net labels the bases of Z-DNA windows, from sequence alone or with the energy.

    python benchmarks/labelling.py --data DIR [--track] [--folder RUN] [--seed 0] [--test]

DIR holds `windows_510.csv.gz`, `Kouzine.bed.gz`, `ZHUNT_hg19_chunks.bed.gz` and the sequence of the
training chromosomes. The labels are some of Z-Hunt's calls, so the network learns two labels:
`Z-DNA`, and the other calls, which are known for training chromosomes only. First it learns from
every call on these, then from the windows. Settings and threshold are chosen on dev; test is read
with --test only. With --track the network reads the Z-forming energy beside the bases, and what it
loses without that is told. A run that was stopped goes on where its folder has checkpoints.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import basewise as bw
from basewise.data.labelled import read_labelled
from basewise.data.windows import Windows
from basewise.evaluate.bases import (
    BaseScores,
    base_metrics,
    calibration,
    choose_threshold,
    predict_label,
    region_metrics,
)
from basewise.evaluate.track_reliance import track_reliance
from basewise.models.unet import UNet, UNetConfig
from basewise.tokenize.nucleotide import Nucleotide
from basewise.train.finetuning import Stage, train_in_stages
from basewise.train.training import Training

LABEL, OTHER = "Z-DNA", "other Z-Hunt call"
TRACK = "z_forming"
# Where a call ends depends on the strand, so that one strand is read.
NETWORK = {"both_strands": False, "depth": 5, "dropout": 0.1}
SIZES = {True: {"channels": 16, "growth": 8}, False: {"channels": 24, "growth": 12}}
CALLS = Windows(width=255, per_positive=0.1)
TRAINING = Training(batch_size=32, learning_rate=4e-3, average=0.99, precision="fp32")
EPOCHS = {True: (4, 5), False: (6, 6)}


def calls(folder: Path, chromosomes: list[str], out: Path) -> dict[str, Path]:
    """BED files of labelled and of other calls on some chromosomes, written into a folder."""
    kept = {}
    for label, name in ((LABEL, "Kouzine.bed.gz"), (OTHER, "ZHUNT_hg19_chunks.bed.gz")):
        columns = ["chrom", "start", "end"]
        table = pd.read_csv(folder / name, sep="\t", header=None, usecols=[0, 1, 2], names=columns)
        kept[label] = table[table["chrom"].isin(chromosomes)]
    both = kept[OTHER].merge(kept[LABEL], how="left", indicator=True)
    kept[OTHER] = kept[OTHER][(both["_merge"] == "left_only").to_numpy()]
    out.mkdir(parents=True, exist_ok=True)
    paths = {LABEL: out / "labelled.bed", OTHER: out / "other.bed"}
    for label, path in paths.items():
        kept[label].to_csv(path, sep="\t", header=False, index=False)
    return paths


def with_other(records: list[bw.Record], bed: Path) -> list[bw.Record]:
    """Records whose truth also has the other calls."""
    table = pd.read_csv(bed, sep="\t", header=None, names=["chrom", "start", "end"])
    found = []
    for record in records:
        place = record.locus
        own = table[
            (table["chrom"] == place.chrom)
            & (table["start"] < place.end)
            & (table["end"] > place.start)
        ]
        starts = own["start"].clip(lower=place.start) - place.start
        ends = own["end"].clip(upper=place.end) - place.start
        spans = [bw.Span(*each, OTHER) for each in zip(starts, ends, strict=True)]
        found.append(replace(record, truth=tuple(sorted([*record.truth, *spans]))))
    return found


def wrong(found: BaseScores, threshold: float) -> tuple[int, int]:
    """Bases called without a label: in called regions that hold a label, and in others."""
    called = found.scores >= threshold
    begins = called & ~(np.roll(called, 1) & (np.diff(found.record, prepend=-1) == 0))
    region = np.where(called, np.cumsum(begins), 0)
    right = np.isin(region, np.unique(region[called & found.truth]))
    false = called & ~found.truth
    return int((false & right).sum()), int((false & ~right).sum())


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--folder", type=Path, default=Path("labelling"))
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--track", action="store_true")
    asked.add_argument("--test", action="store_true")
    said = asked.parse_args()
    path = said.data / "windows_510.csv.gz"
    table = read_labelled(path, label=LABEL, intervals="z_intervals", split="split")
    parts: dict[str, list[bw.Record]] = {}
    for record, name in zip(table.records, table.splits, strict=True):
        parts.setdefault(name, []).append(record)
    chromosomes = sorted({record.locus.chrom for record in parts["train"]})
    beds = calls(said.data, chromosomes, said.folder)
    genome = [next(said.data.glob(f"hg19_{name}_*.fa.gz")) for name in chromosomes]
    first = CALLS.cut(genome, beds, seed=said.seed)
    torch.manual_seed(said.seed)
    tracks = [TRACK] if said.track else []
    config = UNetConfig(num_labels=3, tracks=tracks, **NETWORK, **SIZES[said.track])
    model = bw.Model(UNet(config), Nucleotide(), ("background", OTHER, LABEL), "U-Net")
    begin = time.perf_counter(), time.process_time()
    train = [first, with_other(parts["train"], beds[OTHER])]
    stages = [
        Stage(replace(TRAINING, epochs=epochs), some, parts["dev"])
        for epochs, some in zip(EPOCHS[said.track], train, strict=True)
    ]
    trained = train_in_stages(model, stages, said.folder, seed=said.seed)
    wall, cpu = time.perf_counter() - begin[0], time.process_time() - begin[1]
    print(f"{len(first):,} windows with calls, then {len(train[1]):,}")
    print(f"{model.parameters:,} weights, {wall:.0f} s in this process, {cpu:.0f} s of processor")
    print(trained.history.to_string(index=False))
    dev = predict_label(trained.model, parts["dev"], LABEL)
    threshold = choose_threshold(dev)
    print(f"threshold {threshold:.3f}, chosen on dev")
    for name in ["dev", *(["test"] if said.test else [])]:
        found = dev if name == "dev" else predict_label(trained.model, parts[name], LABEL)
        rng = np.random.default_rng(0)
        told = base_metrics(found, threshold, rng=rng) | region_metrics(found, threshold, rng=rng)
        for metric, estimate in told.items():
            print(f"{name} {metric}: {estimate}")
        print(f"{name} expected calibration error: {calibration(found).error:.4f}")
        edges, others = wrong(found, threshold)
        print(f"{name} bases called wrongly: {edges} about labels, {others} in regions without any")
        if said.track:
            told = track_reliance(trained.model, parts[name], LABEL, TRACK, threshold, rng=rng)
            for measure, estimate in told.items():
                print(f"{name} {measure}: {estimate}")


if __name__ == "__main__":
    main()
