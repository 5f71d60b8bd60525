"""Ask whether hiding what explanations name changes the output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basewise.study import controls
from basewise.study.files import contents
from basewise.study.records import drawn, read_of

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["faithfulness"]

FILES = [f"metrics/{name}.parquet" for name in ("faithfulness", "faithfulness_curves")]


def faithfulness(job: Job) -> None:
    """Write two tables, where `[faithfulness]` asks for them."""
    settings = job.study.faithfulness
    if settings is None:
        return

    def make(step: Step) -> None:
        some = drawn(job.explained, settings.records, job.seed)
        for name, frame in controls.faithfulness(
            job.run, job.models, settings, some, read_of(job.study), job.seed, step.at
        ).items():
            job.write(f"metrics/{name}", frame)

    depends = [job.lock["faithfulness"], contents(settings), job.lock["places"], job.seed]
    job.once("faithfulness", depends, FILES, make)
