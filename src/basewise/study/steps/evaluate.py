"""Measure the explainers: cost, completeness, and truth found where truth is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basewise.study import measures

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["evaluate"]

FILES = [
    f"metrics/{name}.parquet"
    for name in ("explainers", "references", "reference_records", "localisation")
]


def evaluate(job: Job) -> None:
    """Write tables of the explainers, of their references, and of the truth they found."""

    def make(_: Step) -> None:
        job.write("metrics/explainers", measures.explainers(job.run), "explainer_metrics")
        records = measures.reference_records(job.run)
        job.write("metrics/reference_records", records)
        job.write("metrics/references", measures.references(records))
        job.write("metrics/localisation", measures.localisation(job.run, job.seed))

    job.once("evaluate", [job.lock["places"]], FILES, make)
