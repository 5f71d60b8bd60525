"""Quality and time of the small CNN on GUE core promoters, beside the composition baseline.

    python benchmarks/training.py --data DIR [--study studies/gue_promoters.toml] [--seeds 7]

DIR is the folder of the published GUE files. The recipe is the study's own, so this measures
what `basewise run` trains. Everything was chosen on dev; the test set is read once per model,
after training, and not at all with --dev.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from basewise.study.study import load_study
from basewise.train.baseline import KmerBaseline
from basewise.train.metrics import METRICS, classification_metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--study", type=Path, default=Path("studies/gue_promoters.toml"))
    parser.add_argument("--model", default="cnn", help="a model of the study")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dev", action="store_true", help="leave the test set alone")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    study = load_study(given.study)
    splits = {
        name: split.records
        for name, split in study.data.splits(given.data, study.about.seed).items()
    }
    print("model\tseed\tparameters\tseconds\tsplit\t" + "\t".join(METRICS))

    def row(name, model, seed, parameters, seconds) -> None:
        for split in ("dev",) if given.dev else ("dev", "test"):
            records = splits[split]
            found = classification_metrics(
                [record.label for record in records],
                model.predict(records),
                model.labels,
                positive=study.target.label,
                rng=np.random.default_rng(0),
            )
            said = [f"{e.value:.4f} [{e.low:.4f}, {e.high:.4f}]" for e in found.values()]
            print(name, seed, parameters, f"{seconds:.0f}", split, *said, sep="\t", flush=True)

    begin = time.perf_counter()
    baseline = KmerBaseline().fit(splits["train"], splits["dev"])
    row("6-mer baseline", baseline, "-", baseline.weights[:, 1:].size, time.perf_counter() - begin)
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            model = study.models[given.model].model(
                given.model, splits["train"], splits["dev"], Path(folder), seed, None
            )
            row(given.model, model, seed, model.parameters, time.perf_counter() - begin)


if __name__ == "__main__":
    main()
