"""How well a CNN labels the bases of Z-DNA windows, from sequence alone.

    python benchmarks/labelling.py --data DIR [--folder RUN] [--seed 0] [--test]

DIR holds `windows_510.csv.gz`. Settings and threshold are chosen on dev; test is read with --test
only. A run that was stopped goes on where its folder has checkpoints.
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
from basewise.models.base_cnn import BaseCnn, BaseCnnConfig
from basewise.tokenize.nucleotide import Nucleotide
from basewise.train.training import Training

LABEL = "Z-DNA"
NETWORK = {"channels": 32, "dropout": 0.05}
TRAINING = Training(epochs=8, batch_size=32, learning_rate=4e-3, average=0.99, precision="fp32")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--folder", type=Path, default=Path("labelling"))
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--test", action="store_true")
    said = asked.parse_args()
    path = said.data / "windows_510.csv.gz"
    table = read_labelled(path, label=LABEL, intervals="z_intervals", split="split")
    parts: dict[str, list[bw.Record]] = {}
    for record, name in zip(table.records, table.splits, strict=True):
        parts.setdefault(name, []).append(record)
    torch.manual_seed(said.seed)
    network = BaseCnn(BaseCnnConfig(num_labels=2, **NETWORK))
    model = bw.Model(network, Nucleotide(), ("background", LABEL), "per-base CNN")
    begin = time.perf_counter()
    trained = TRAINING.train(model, parts["train"], parts["dev"], said.folder, seed=said.seed)
    print(f"{model.parameters:,} weights, {time.perf_counter() - begin:.0f} s in this process")
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


if __name__ == "__main__":
    main()
