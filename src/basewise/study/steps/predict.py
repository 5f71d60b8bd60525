"""Predict dev and test with every model and the baseline, and measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from basewise.models.model import Model
from basewise.study import measures
from basewise.study.bases import of_regions
from basewise.train.baseline import Baseline, KmerBaseline

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["predict"]


def predict(job: Job) -> None:
    """Write predictions on test per model, and the quality of each on dev and test.

    Of models that label bases: what they predict of the regions explained. How good they are is
    measured by the step `bases`.
    """
    hashes = {k: v for k, v in job.lock["hashes"].items() if k != "explained"}
    files = [f"predictions/{name}.parquet" for name in job.models]
    of_bases = [name for name, model in job.models.items() if model.labels_tokens]
    if of_bases:
        hashes = job.lock["hashes"]
    if len(of_bases) < len(job.models):
        files.append("metrics/models.parquet")

    def make(step: Step) -> None:
        for i, name in enumerate(of_bases):
            step.at(i, note=name)
            found = of_regions(job.models[name], job.explained, job.study.target)
            job.write(f"predictions/{name}", found, "predictions")
        judged: dict[str, Model | Baseline] = {
            name: model for name, model in job.models.items() if name not in of_bases
        }
        if not judged:
            return
        judged[measures.BASELINE] = KmerBaseline().fit(job.records["train"], job.records["dev"])
        rows: list[pd.DataFrame] = []
        for i, (name, model) in enumerate(judged.items(), len(of_bases)):
            step.at(i, note=name)
            rows += _measured(job, name, model)
        job.write("metrics/models", pd.concat(rows), "model_metrics")

    depends = [hashes, job.study.target.label, job.seed]
    job.once("predict", depends, files, make, len(job.models) + 1)


def _measured(job: Job, name: str, model: Model | Baseline) -> list[pd.DataFrame]:
    """Quality on dev and test; the predictions on test are kept."""
    rows = []
    for split in ("dev", "test"):
        records = job.records[split]
        scores = model.predict(records)
        kind = "model" if isinstance(model, Model) else "baseline"
        target, labels = job.study.target, model.labels
        rows.append(
            measures.quality(
                name, kind, model.parameters, split, records, scores, labels, target, job.seed
            )
        )
        if split == "test":
            found = measures.predictions(labels, split, records, scores)
            job.write(f"predictions/{name}", found, "predictions")
    return rows
