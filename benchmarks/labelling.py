"""How well a U-Net labels the bases of Z-DNA windows, from sequence alone or with the energy.

    python benchmarks/labelling.py --data DIR [--track] [--folder RUN] [--seed 0] [--test]

DIR holds `windows_510.csv.gz`. Settings and threshold are chosen on dev; test is read with --test
only. With --track the network reads the Z-forming energy beside the bases, and what it loses
without that is told. A run that was stopped goes on where its folder has checkpoints.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import basewise as bw
from basewise.data.labelled import read_labelled
from basewise.evaluate.bases import (
    base_metrics,
    calibration,
    choose_threshold,
    predict_label,
    region_metrics,
)
from basewise.evaluate.track_reliance import track_reliance
from basewise.models.unet import UNet, UNetConfig
from basewise.tokenize.nucleotide import Nucleotide
from basewise.train.training import Training

LABEL = "Z-DNA"
TRACK = "z_forming"
NETWORK = {"channels": 24, "growth": 12, "depth": 5, "dropout": 0.1}
TRAINING = Training(epochs=10, batch_size=32, learning_rate=4e-3, average=0.99, precision="fp32")


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
    torch.manual_seed(said.seed)
    network = UNet(UNetConfig(num_labels=2, tracks=[TRACK] if said.track else [], **NETWORK))
    model = bw.Model(network, Nucleotide(), ("background", LABEL), "U-Net")
    begin = time.perf_counter(), time.process_time()
    trained = TRAINING.train(model, parts["train"], parts["dev"], said.folder, seed=said.seed)
    wall, cpu = time.perf_counter() - begin[0], time.process_time() - begin[1]
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
        if said.track:
            told = track_reliance(trained.model, parts[name], LABEL, TRACK, threshold, rng=rng)
            for measure, estimate in told.items():
                print(f"{name} {measure}: {estimate}")


if __name__ == "__main__":
    main()
