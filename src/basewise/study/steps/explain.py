"""Explain the drawn records by every explainer with every model, in shards."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from basewise.errors import ShardError
from basewise.explainers.parts import flawed_part, part_of, pieces
from basewise.explainers.shards import RULE, Shard, cut_once
from basewise.picture.words import duration
from basewise.registry import Registry, settings_of
from basewise.remote import url_of
from basewise.store import write_bytes, write_text
from basewise.study.backends.work import Failed
from basewise.study.distribute import distribute, fitting
from basewise.study.files import contents
from basewise.study.records import read_of
from basewise.types import Record

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["explain"]


def explain(job: Job) -> None:
    """Write the attributions; a part that is there and whole is not made again.

    Raises
    ------
    ShardError
        If shards failed time and again. They were set aside, each with its error beside the
        place of its part file, and all others are done.
    """
    every = list(_pieces(job))
    with job.watcher.step("explain", len(every)) as step:
        left = _Left(job, step, every)
        if left.waiting:
            works = [piece.work for piece in left.waiting.values()]
            backend = job.backend or fitting(job.device, works)
            with backend.open(job.device) as workers:
                tasks = ((i, _shard(job, every[i])) for i in left.waiting)
                for i, outcome in distribute(tasks, workers, left.again):
                    left.ended(i, outcome)
    left.complain()


class _Piece(NamedTuple):
    """A shard that is not a value yet: many wait, and few are at work."""

    model: str
    explainer: str
    place: Path
    records: tuple[Record, ...]
    work: int


def _pieces(job: Job) -> Iterator[_Piece]:
    """All shards of the run, in their order."""
    for model in job.models:
        for name, explainer in job.study.explainers.items():
            folder = place_of(job, model, name)
            job.lock["places"][f"{model}/{name}"] = str(folder.relative_to(job.folder))
            loaded = partial(job.models.__getitem__, model)
            cuts = cut_once(folder, explainer, loaded, job.explained, job.device)
            for i, (some, at) in enumerate(zip(pieces(job.explained, cuts), cuts, strict=True)):
                yield _Piece(model, name, part_of(folder, i), some, at.work)
    job.save_lock()


def place_of(job: Job, model: str, explainer: str) -> Path:
    """Where one model's attributions by one explainer lie, following from what made them."""
    said = job.said(
        "explain",
        job.lock["explainers"][explainer],
        contents(job.study.explainers[explainer]),
        job.lock["target"],
        job.lock["hashes"]["explained"],
        job.lock["hashes"][f"model {model}"],
        job.seed,
        job.study.about.precision,
        job.device,
        RULE,
    )
    return job.folder / "attributions" / model / f"{explainer}-{said}"


def _shard(job: Job, piece: _Piece) -> Shard:
    explainer = job.study.explainers[piece.explainer]
    return Shard(
        place=piece.place,
        model=(job.folder / "models" / piece.model).absolute(),
        weights=job.lock["hashes"][f"model {piece.model}"],
        name=piece.model,
        precision=job.study.about.precision,
        device=job.device,
        explainer={"type": Registry.name_of(explainer)} | settings_of(explainer),
        target=job.models[piece.model].target(read_of(job.study)),
        records=piece.records,
        seed=job.seed,
        store=url_of(job.folder),
    )


class _Left:
    """What is left to do, and what became of what was done."""

    def __init__(self, job: Job, step: Step, every: list[_Piece]):
        self._job, self._step, self._whole = job, step, len(every)
        self._first: tuple[float, int] | None = None  # when one ended first, and of what work
        self._done, self._failed = 0, dict[Path, Failed]()
        self.waiting: dict[int, _Piece] = {}
        for i, piece in enumerate(every):
            flaw = flawed_part(piece.place)
            if flaw not in (None, "missing"):
                job.watcher.note(f"{piece.place} is {flaw}; it is made again.")
                job.log("flawed", path=self._named(piece.place), flaw=flaw)
            if flaw is not None:
                self.waiting[i] = piece
        self._ended = self._whole - len(self.waiting)
        self._work = sum(piece.work for piece in self.waiting.values())
        step.at(self._ended, note="kept" if not self.waiting else "")

    def again(self, i: int, why: Failed) -> None:
        """A shard failed, and will be tried again."""
        self._job.log("again", path=self._named(self.waiting[i].place), error=why.error)

    def ended(self, i: int, outcome: bytes | Failed) -> None:
        """Keep what a shard gave, or why it gave nothing."""
        piece = self.waiting[i]
        error = piece.place.with_suffix(".error.json")
        if isinstance(outcome, Failed):
            self._failed[error] = outcome
            ids = [record.id for record in piece.records]
            said = {"error": outcome.error, "trace": outcome.trace, "records": ids}
            write_text(error, json.dumps(said, indent=1))
            self._job.log("failed", path=self._named(piece.place), error=outcome.error)
        else:
            write_bytes(piece.place, outcome)
            error.unlink(missing_ok=True)
            self._job.log("part", path=self._named(piece.place), records=len(piece.records))
        self._ended, self._done = self._ended + 1, self._done + piece.work
        self._step.at(self._ended, note=self._pace(piece))

    def complain(self) -> None:
        """Say that shards were set aside, if any were."""
        if not self._failed:
            return
        path, first = next(iter(self._failed.items()))
        raise ShardError(
            f"{len(self._failed)} of {self._whole} shards failed and were set aside, the others "
            f"are done; the first says: {first.error.rstrip('.')} ({path}). Running again tries "
            "them again."
        )

    def _pace(self, piece: _Piece) -> str:
        """Which explainer it was, and how long the rest takes, by all shards after the first.

        Before the first one ended, workers were starting and models being loaded.
        """
        said, now = f"{piece.model} by {piece.explainer}", time.monotonic()
        if self._first is None:
            self._first = now, piece.work
            return said
        begin, work = self._first
        rest = (now - begin) * (self._work - self._done) / max(self._done - work, 1)
        return f"{said}; about {duration(rest)} left" if rest > 0 else said

    def _named(self, path: Path) -> str:
        return str(path.relative_to(self._job.folder))
