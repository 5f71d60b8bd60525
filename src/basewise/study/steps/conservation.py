"""Hold explanations of genes against what their family keeps, and rebuild genes from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basewise.study import conserved

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["conservation"]

FILES = [f"conservation/{name}.parquet" for name in conserved.TABLES]


def conservation(job: Job) -> None:
    """Write the tables of conservation, where `[conservation]` asks for them."""
    settings = job.study.conservation
    if settings is None:
        return

    def make(step: Step) -> None:
        for name, frame in conserved.tables(
            job.run, job.models, settings, job.study.target, job.seed, step.at
        ).items():
            job.write(f"conservation/{name}", frame)

    places = [job.lock["places"], job.lock["hashes"]["data"]]
    job.once("conservation", [job.lock["conservation"], *places, job.seed], FILES, make)
