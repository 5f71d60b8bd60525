"""How well a network of two scales labels the bases of Z-DNA windows, with and without the energy.

    python benchmarks/labelling.py --data DIR [--track] [--folder RUN] [--seed 0] [--test]

DIR holds `windows_510.csv.gz`, `Kouzine.bed.gz`, `ZHUNT_hg19_chunks.bed.gz` and the sequence of the
training chromosomes. The labels are some of Z-Hunt's calls, so the network learns two labels:
`Z-DNA`, and the other calls, which are known for training chromosomes only. First it learns from
every call on these, then from the windows; from sequence alone it learns before that, from
sequences that are made, which stretches the energy calls. Epochs and threshold are chosen on dev;
test is read with --test only. With --track the network reads the Z-forming energy beside the bases,
and what it loses without that is told. A run that was stopped goes on where its folder has
checkpoints.
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
from basewise.models.two_scale import TwoScale, TwoScaleConfig
from basewise.models.z_forming import z_forming
from basewise.sequence.alphabet import decode_rows, encode
from basewise.tokenize.nucleotide import Nucleotide
from basewise.train.finetuning import Stage, train_in_stages
from basewise.train.training import Trained, Training

LABEL, OTHER = "Z-DNA", "other Z-Hunt call"
TRACK = "z_forming"
# Where a call ends depends on the strand, so that one strand is read.
NETWORK = {"both_strands": False, "around_channels": 32, "pool": 16, "reach": 256, "dropout": 0.2}
NEAR = {
    True: {"channels": 16, "dilations": [1, 2, 4]},
    False: {"channels": 32, "dilations": [1, 2, 4, 8]},
}
CALLS = Windows(width=510, per_positive=0.1)
TRAINING = Training(
    batch_size=32, learning_rate=4e-3, weight_decay=0.05, average=0.99, precision="fp32"
)
# Of all calls a fifth is labelled, of those in the windows four fifths.
ALL_CALLS = {"class_weights": {"background": 1, OTHER: 0.2, LABEL: 1}}
STAGES = {
    True: (ALL_CALLS | {"epochs": 8}, {"epochs": 6, "learning_rate": 1e-3}),
    False: (
        {"epochs": 4, "batch_size": 64},
        ALL_CALLS | {"epochs": 5, "learning_rate": 2e-3},
        {"epochs": 5, "learning_rate": 1e-3},
    ),
}
MADE, MADE_WIDTH = 60_000, 255
CALLED = 2.98  # Z-Hunt's custom: one random window in 700


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


def made(records: list[bw.Record], rng: np.random.Generator) -> list[bw.Record]:
    """Sequences in which the energy itself says what is called, as many as are wanted.

    Half are random. The others are pieces of records, each with up to a fifth of its bases drawn
    again, so that there are repeats among them as in the genome.
    """
    pieces = encode("".join(record.sequence for record in records)).reshape(len(records), -1)
    row = rng.integers(len(pieces), size=(MADE // 2, 1))
    first = rng.integers(pieces.shape[1] - MADE_WIDTH + 1, size=row.shape)
    real = pieces[row, first + np.arange(MADE_WIDTH)]
    drawn = rng.integers(4, size=(MADE, MADE_WIDTH), dtype=np.uint8)
    again = rng.random(real.shape) < rng.uniform(0, 0.2, row.shape)
    codes = np.concatenate([drawn[: MADE // 2], np.where(again, drawn[MADE // 2 :], real)])
    turns = np.diff(np.pad(z_forming(codes) >= CALLED, ((0, 0), (1, 1))).astype(np.int8))
    spans: list[list[bw.Span]] = [[] for _ in codes]
    for i, start, end in zip(*np.nonzero(turns == 1), np.nonzero(turns == -1)[1], strict=True):
        spans[i].append(bw.Span(int(start), int(end), OTHER))
    texts = decode_rows(codes)
    return [
        bw.Record(f"made-{i}", text, truth=tuple(own))
        for i, (text, own) in enumerate(zip(texts, spans, strict=True))
    ]


def learned(
    train: list[list[bw.Record]], dev: list[bw.Record], track: bool, seed: int, folder: Path
) -> Trained:
    """A network trained in stages, from the checkpoints in the folder if there are any."""
    torch.manual_seed(seed)
    config = TwoScaleConfig(num_labels=3, tracks=[TRACK] * track, **NETWORK, **NEAR[track])
    model = bw.Model(TwoScale(config), Nucleotide(), ("background", OTHER, LABEL), "two scales")
    stages = [
        Stage(replace(TRAINING, **more), some, dev)
        for more, some in zip(STAGES[track], train, strict=True)
    ]
    return train_in_stages(model, stages, folder, seed=seed)


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
    train = [first, with_other(parts["train"], beds[OTHER])]
    if not said.track:
        train.insert(0, made(first, np.random.default_rng(said.seed)))
    print("windows:", ", then ".join(f"{len(some):,}" for some in train))
    begin = time.perf_counter(), time.process_time()
    trained = learned(train, parts["dev"], said.track, said.seed, said.folder)
    wall, cpu = time.perf_counter() - begin[0], time.process_time() - begin[1]
    weights = trained.model.parameters
    print(f"{weights:,} weights, {wall:.0f} s in this process, {cpu:.0f} s of processor")
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
