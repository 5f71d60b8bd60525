"""Train or load every model."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basewise.evaluate.bases import choose_threshold, predict_label
from basewise.models.model import Model
from basewise.models.thresholds import keep_thresholds
from basewise.store import write_text
from basewise.study import measures
from basewise.study.clock import Clock
from basewise.study.files import files_digest
from basewise.types import Record

if TYPE_CHECKING:
    from basewise.study.job import Job

__all__ = ["train"]


def train(job: Job) -> None:
    """Write a folder per model, and take them up."""
    for name in job.study.models:
        place, key = job.folder / "models" / name, f"model {name}"
        said = job.said(
            "train",
            job.lock["models"][name],
            job.origins[name],
            job.lock["hashes"]["data"],
            job.seed,
        )
        if not job.ledger.done(key, said, f"models/{name}"):
            _train(job, name, place, place.with_name(f".{name}-{said}"))
            job.ledger.record(key, said)
            job.log("trained", model=name)
        job.models[name] = Model.load(place, name=name, precision=job.study.about.precision)
        job.lock["hashes"][key] = files_digest(place)
    job.holds("train")


def _train(job: Job, name: str, place: Path, aside: Path) -> None:
    """Train one model in a folder aside, which the training of a killed run continues in."""
    with job.watcher.step(f"train {name}", None) as step:
        clock = Clock(aside / "seconds")

        def progress(*seen: Any) -> None:
            clock.save()
            step.at(*seen)

        model = job.study.models[name].model(
            name, job.records["train"], job.records["dev"], aside, job.seed, progress
        )
        about = measures.architecture(model, clock.seconds)
        model.save(aside / "whole")
        if model.labels_tokens:
            keep_thresholds(aside / "whole", _thresholds(model, job.records["dev"]))
        _replace(aside / "whole", place)
        shutil.rmtree(aside, ignore_errors=True)
    write_text(job.folder / "metrics" / "training" / f"{name}.json", about)


def _thresholds(model: Model, dev: Sequence[Record]) -> dict[str, float]:
    """From which probability on a base is called, for each label that dev has, by its best F1."""
    known = {span.name for record in dev for span in record.truth}
    labels = [label for label in model.labels if label in known]
    return {label: choose_threshold(predict_label(model, dev, label)) for label in labels}


def _replace(source: Path, place: Path) -> None:
    """Put a whole folder in the place of another."""
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    source.rename(place)
    shutil.rmtree(old, ignore_errors=True)
