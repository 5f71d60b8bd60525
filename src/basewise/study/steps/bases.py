"""Measure the models that label bases, beside published calls on the same bases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from basewise.models.thresholds import threshold_of
from basewise.study import bases as study_bases

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["bases"]


def bases(job: Job) -> None:
    """Write metrics, rankings and every base's probability, where models label bases."""
    models = {name: model for name, model in job.models.items() if model.labels_tokens}
    if not models:
        return
    label = job.study.target.label

    def make(step: Step) -> None:
        thresholds = {name: threshold_of(job.folder / "models" / name, label) for name in models}
        found, scores = study_bases.tables(
            models, thresholds, job.records, job.study.bases, label, job.data, job.seed, step.at
        )
        for name, frame in found.items():
            job.write(name, frame)
        ids = [record.id for record in job.records["test"]]
        for name, each in scores.items():
            frame = pd.DataFrame({"record_id": ids, "probability": each})
            job.write(f"predictions/bases/{name}", frame, "base_predictions")

    files = [*study_bases.TABLES, *(f"predictions/bases/{name}" for name in models)]
    hashes = {key: value for key, value in job.lock["hashes"].items() if key != "explained"}
    depends = [hashes, job.lock["bases"], label, job.seed]
    job.once("bases", depends, [f"{name}.parquet" for name in files], make, len(models) + 2)
