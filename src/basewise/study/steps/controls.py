"""Put explanations to tests whose outcome is known."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from basewise.study import controls as study_controls
from basewise.study.records import drawn

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["controls"]


def controls(job: Job) -> None:
    """Write a table of verdicts, where `[controls]` asks for any."""
    settings = job.study.controls
    if not settings.use:
        return

    def make(step: Step) -> None:
        some = drawn(job.explained, settings.records, job.seed)
        with TemporaryDirectory() as aside:
            retrained = {
                name: study_controls.retraining(
                    name, source, job.records, Path(aside) / name, job.seed
                )
                for name, source in job.study.models.items()
            }
            frame = study_controls.controls(
                job.run, job.models, job.study, some, retrained, step.at
            )
        job.write("metrics/controls", frame)

    tables = [job.lock[table] for table in ("controls", "models")]
    depends = [tables, job.lock["places"], job.lock["hashes"], job.seed]
    job.once("controls", depends, ["metrics/controls.parquet"], make)
