"""Measure the explainers: cost, completeness, and truth found where truth is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basewise.study import measures

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["evaluate"]

FILES = ["metrics/explainers.parquet", "metrics/localisation.parquet"]


def evaluate(job: Job) -> None:
    """Write a table of the explainers, and one of the truth they found."""

    def make(_: Step) -> None:
        job.write("metrics/explainers", measures.explainers(job.run), "explainer_metrics")
        job.write("metrics/localisation", measures.localisation(job.run, job.seed))

    job.once("evaluate", [job.lock["places"]], FILES, make)
