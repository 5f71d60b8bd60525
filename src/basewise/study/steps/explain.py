"""Explain the drawn records by every explainer with every model, in part files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from basewise.explainers.parts import PART, explain_in_parts
from basewise.types import Attribution

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["explain"]


def explain(job: Job) -> None:
    """Write the attributions; a part that is there and whole is not made again."""
    for name, model in job.models.items():
        target = model.target(job.study.target)
        for explainer, settings in job.study.explainers.items():
            place = place_of(job, name, explainer)
            job.lock["places"][f"{name}/{explainer}"] = str(place.relative_to(job.folder))
            job.save_lock()
            with job.watcher.step(f"explain {name} by {explainer}", len(job.explained)) as step:
                count = _Count(step)
                for part in explain_in_parts(
                    settings, model, job.explained, target, place, seed=job.seed, progress=count
                ):
                    if part.made:
                        job.log("part", path=str(part.path.relative_to(job.folder)))
                    else:
                        count.skip(len(part.found))


def place_of(job: Job, model: str, explainer: str) -> Path:
    """Where one model's attributions by one explainer lie, following from what made them."""
    said = job.said(
        "explain",
        job.lock["explainers"][explainer],
        job.lock["target"],
        job.lock["hashes"]["explained"],
        job.lock["hashes"][f"model {model}"],
        job.seed,
        job.study.about.precision,
        PART,
    )
    return job.folder / "attributions" / model / f"{explainer}-{said}"


class _Count:
    """Counts attributions as they are finished, and what they cost."""

    def __init__(self, step: Step):
        self._step, self._done, self._evaluations = step, 0, 0

    def __call__(self, found: Attribution) -> None:
        self._done, self._evaluations = self._done + 1, self._evaluations + found.evaluations
        self._step.at(self._done, note=f"{self._evaluations:,} evaluations")

    def skip(self, done: int) -> None:
        """Count attributions that were there already."""
        self._done += done
        self._step.at(self._done, note="kept")
