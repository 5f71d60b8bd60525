"""Hold motifs against nulls: in the sequences, in the attributions, in edited sequences."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from basewise.models.repeatable import settled
from basewise.study import biology as study_biology

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["biology"]

FILES = [f"biology/{name}.parquet" for name in study_biology.TABLES]


def biology(job: Job) -> None:
    """Write the tables of motifs, where `[biology]` names a panel."""
    settings, tss = job.study.biology, job.study.data.tss
    if settings.panel == "none":
        return

    def make(step: Step) -> None:
        tables = partial(
            study_biology.tables,
            job.run, job.models, settings, job.study.target, tss, job.seed, step.at,
        )  # fmt: skip
        for name, frame in settled(tables, torch.device(job.device)).items():
            job.write(f"biology/{name}", frame)

    depends = [job.lock["biology"], job.lock["places"], job.lock["hashes"]["data"], tss]
    job.once("biology", depends, FILES, make)
