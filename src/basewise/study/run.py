"""Running a study: steps that read the files of earlier steps and write their own.

Whether a step is done is asked of the files alone: each step's results are recorded with a
fingerprint of everything they depend on, and a part of the attributions lies in a folder that
its fingerprint names. So a run that was killed continues where it was, and a changed setting
recomputes what depends on it and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from basewise.checks import audit
from basewise.errors import StoreError
from basewise.evaluate.occurrences import write_occurrences
from basewise.explainers.parts import PART, explain_in_parts
from basewise.models.model import Model
from basewise.store import (
    fingerprint,
    read_records,
    write_frame,
    write_records,
    write_text,
)
from basewise.study import as_published, biology, comparisons, controls, measures
from basewise.study.checked import check
from basewise.study.clock import Clock
from basewise.study.identity import refuse_another_file, refuse_other_data
from basewise.study.models import files_digest
from basewise.study.owner import owned
from basewise.study.rehearsal import rehearse
from basewise.study.results import Run
from basewise.study.study import FORMAT, Study
from basewise.study.watch import Log, Silent, Step, Watcher
from basewise.train.baseline import Baseline, KmerBaseline
from basewise.types import Attribution, Record

__all__ = ["Ledger", "drawn", "run_study"]

# Counts, step by step, how often the code has changed what it makes of the same settings and
# files; raised with such a change, so that results of before are made again. Not the version of
# basewise: most releases change nothing here, and none of them should train a model anew. Which
# version made a run stands in its lock.
STEPS = {
    "prepare": 1,
    "rehearse": 1,
    "audit": 1,
    "train": 1,
    "predict": 1,
    "explain": 1,
    "evaluate": 1,
    "compare": 1,
    "faithfulness": 1,
    "controls": 1,
    "biology": 2,
    "as_published": 1,
}
SPLITS = ("train", "dev", "test")
PREPARED = [f"data/{name}.parquet" for name in (*SPLITS, "explained")] + ["data/summary.json"]
COMPARED = ["metrics/agreement", "metrics/agreement_records", "metrics/consensus"]
COMPARED += [f"rankings/{name}" for name in ("tokens", "kmers", "combined")]
BIOLOGY = [f"biology/{name}.parquet" for name in biology.TABLES]
LIBRARIES = ("basewise", "numpy", "torch", "transformers", "tokenizers", "scikit-learn")


def run_study(
    study: Study, folder: Path, data: Path | None = None, watcher: Watcher | None = None
) -> Run:
    """Run every step of a study that is not done yet; the report is written by `report`.

    Parameters
    ----------
    study : Study
    folder : Path
        The run's folder; made when missing.
    data : Path, optional
        The folder that paths in `[data]` are relative to.
    watcher : Watcher, optional
        Shows progress.

    Raises
    ------
    ConfigError
        If the target's label is no class of the data, or the folder holds another study.
    StoreError
        If another process runs in the folder.
    DataError, CapabilityError, StoreError
        As the steps meet them; earlier results stay as they are.
    """
    watcher = watcher or Silent()
    with owned(folder) as left:
        refuse_another_file(study, folder)
        if left:
            watcher.note(f"{folder} was left by {left}, which is gone; its run continues.")
            for piece in folder.rglob(".*.part"):  # of files it was writing when it was killed
                piece.unlink()
        before = Run(folder).lock.get("versions", {}).get("basewise")
        if before not in (None, version("basewise")):
            watcher.note(
                f"{folder} was made by basewise {before}; what {version('basewise')} would make of "
                "it in the same way is kept, the rest is made again."
            )
        return _Runner(study, folder, data, watcher).run()


class _Runner:
    """One run: the study, its folder, and what is known so far."""

    def __init__(self, study: Study, folder: Path, data: Path | None, watcher: Watcher):
        self.study, self.folder, self.data, self.watcher = study, folder, data, watcher
        self.seed = study.about.seed
        self.origins = {name: source.origin() for name, source in study.models.items()}
        self.log = Log(folder / "log.jsonl")
        self.steps = Ledger(folder / "steps.json")
        self.lock: dict[str, Any] = {
            "format": FORMAT,
            "file": study.file,
            **study.settings(),
            "places": {},
            "versions": _versions(),
            "hashes": {},
            "steps": [],
        }

    def run(self) -> Run:
        self.log("start", study=self.study.about.name)
        records = self.prepare()
        self.audit(records)
        models = self.train(records)
        self.predict(models, records)
        self.explain(models, read_records(self.folder / "data" / "explained.parquet"))
        self.evaluate()
        self.compare(models)
        self.faithfulness(models)
        self.controls(models, records)
        self.biology(models)
        self.as_published()
        self.log("complete")
        return Run(self.folder)

    # ------------------------------------------------------------------ steps

    def prepare(self) -> dict[str, list[Record]]:
        """Read and validate the splits, draw the records to explain, write the lock."""
        with self.watcher.step("read", None):
            splits = self.study.data.splits(self.data, self.seed)
            records = {name: split.records for name, split in splits.items()}
            # By split: a record that moves from one to another is other data.
            self.lock["hashes"]["data"] = fingerprint([digest(records[s]) for s in SPLITS])
            refuse_other_data(self.study, records, self.lock["hashes"]["data"], self.folder)
            check(self.study, records)
            explained = drawn(records["test"], self.study.about.explained, self.seed)
            self.lock["hashes"]["explained"] = digest(explained)
        self.rehearse(records, explained)
        self.save_lock()
        summary = {name: _summary(split) for name, split in splits.items()}
        said = _said("prepare", self.lock["hashes"], summary)
        if not self.steps.done("prepare", said, *PREPARED):
            with self.watcher.step("prepare", len(SPLITS)) as step:
                for i, name in enumerate(SPLITS, 1):
                    write_records(self.folder / "data" / f"{name}.parquet", records[name])
                    step.at(i)
                write_records(self.folder / "data" / "explained.parquet", explained)
                write_text(self.folder / "data" / "summary.json", json.dumps(summary, indent=1))
                self.steps.record("prepare", said)
        self.holds("prepare")
        return records

    def rehearse(self, records: dict[str, list[Record]], explained: list[Record]) -> None:
        """Try every explainer on every model before any is trained; nothing is kept of it."""
        said = _said(
            "rehearse",
            [self.lock[table] for table in ("models", "explainers", "target")],
            self.origins,
            self.lock["hashes"],
            self.seed,
        )
        if not self.steps.done("rehearse", said):
            with self.watcher.step("rehearse", None) as step:
                rehearse(self.study, records, explained, step.at)
            self.steps.record("rehearse", said)

    def audit(self, records: dict[str, list[Record]]) -> None:
        """Say what is wrong with the data before a model is trained on them."""
        said = _said("audit", self.lock["hashes"]["data"])
        with self.watcher.step("audit", None):
            if not self.steps.done("audit", said, "audit.json"):
                found = audit(**records)
                write_text(self.folder / "audit.json", found.to_json())
                self.steps.record("audit", said)
        self.holds("audit")

    def train(self, records: dict[str, list[Record]]) -> dict[str, Model]:
        """Train or load every model."""
        models = {}
        for name, source in self.study.models.items():
            settings = self.lock["models"][name]
            data = self.lock["hashes"]["data"]
            said = _said("train", settings, self.origins[name], data, self.seed)
            place, key = self.folder / "models" / name, f"model {name}"
            if not self.steps.done(key, said, f"models/{name}"):
                aside = place.with_name(f".{name}-{said}")
                with self.watcher.step(f"train {name}", None) as step:
                    clock = Clock(aside / "seconds")

                    def progress(*seen: Any, at: Any = step.at, clock: Clock = clock) -> None:
                        clock.save()
                        at(*seen)

                    model = source.model(
                        name, records["train"], records["dev"], aside, self.seed, progress
                    )
                    about = measures.architecture(model, clock.seconds)
                    model.save(aside / "whole")
                    _replace(aside / "whole", place)
                    shutil.rmtree(aside, ignore_errors=True)
                write_text(self.folder / "metrics" / "training" / f"{name}.json", about)
                self.steps.record(key, said)
                self.log("trained", model=name)
            models[name] = Model.load(place, name=name, precision=self.study.about.precision)
            self.lock["hashes"][key] = files_digest(place)
        self.holds("train")
        return models

    def predict(self, models: dict[str, Model], records: dict[str, list[Record]]) -> None:
        """Predict dev and test with every model and the baseline, and measure."""
        hashes = {k: v for k, v in self.lock["hashes"].items() if k != "explained"}
        said = _said("predict", hashes, self.study.target.label, self.seed)
        predicted = [f"predictions/{name}.parquet" for name in models]
        if self.steps.done("predict", said, "metrics/models.parquet", *predicted):
            self.holds("predict")
            return
        rows: list[pd.DataFrame] = []
        with self.watcher.step("predict", len(models) + 1) as step:
            baseline = KmerBaseline().fit(records["train"], records["dev"])
            judged: list[tuple[str, str, Model | Baseline]] = [
                (name, "model", model) for name, model in models.items()
            ]
            judged.append((measures.BASELINE, "baseline", baseline))
            for i, (name, kind, model) in enumerate(judged):
                step.at(i, note=name)
                for split in ("dev", "test"):
                    scores = model.predict(records[split])
                    rows.append(
                        measures.quality(
                            name,
                            kind,
                            model.parameters,
                            split,
                            records[split],
                            scores,
                            model.labels,
                            self.study.target,
                            self.seed,
                        )
                    )
                    if split == "test":
                        write_frame(
                            self.folder / "predictions" / f"{name}.parquet",
                            measures.predictions(model.labels, split, records[split], scores),
                            "predictions",
                        )
            write_frame(
                self.folder / "metrics" / "models.parquet", pd.concat(rows), "model_metrics"
            )
        self.steps.record("predict", said)
        self.holds("predict")

    def explain(self, models: dict[str, Model], records: list[Record]) -> None:
        """Explain, in part files; a part that is there and whole is not made again."""
        for model_name, model in models.items():
            for name, explainer in self.study.explainers.items():
                place = self.place(model_name, name)
                self.lock["places"][f"{model_name}/{name}"] = str(place.relative_to(self.folder))
                self.save_lock()
                target = model.target(self.study.target)
                title = f"explain {model_name} by {name}"
                with self.watcher.step(title, len(records)) as step:
                    count = _Count(step)
                    for part in explain_in_parts(
                        explainer, model, records, target, place, seed=self.seed, progress=count
                    ):
                        if part.made:
                            self.log("part", path=str(part.path.relative_to(self.folder)))
                        else:
                            count.skip(len(part.found))

    def place(self, model: str, explainer: str) -> Path:
        """Where one model's attributions by one explainer lie, following from what made them."""
        said = _said(
            "explain",
            self.lock["explainers"][explainer],
            self.lock["target"],
            self.lock["hashes"]["explained"],
            self.lock["hashes"][f"model {model}"],
            self.seed,
            self.study.about.precision,
            PART,
        )
        return self.folder / "attributions" / model / f"{explainer}-{said}"

    def evaluate(self) -> None:
        """Measure the explainers: cost, completeness, and truth found where truth is known."""
        said = _said("evaluate", self.lock["places"])
        made = ("metrics/explainers.parquet", "metrics/localisation.parquet")
        if self.steps.done("evaluate", said, *made):
            self.holds("evaluate")
            return
        run = Run(self.folder)
        with self.watcher.step("evaluate", None):
            write_frame(
                self.folder / "metrics" / "explainers.parquet",
                measures.explainers(run),
                "explainer_metrics",
            )
            write_frame(
                self.folder / "metrics" / "localisation.parquet",
                measures.localisation(run, self.seed),
                "localisation",
            )
        self.steps.record("evaluate", said)
        self.holds("evaluate")

    def compare(self, models: Mapping[str, Model]) -> None:
        """Ask whether explanations agree, and which words carry the scores."""
        said = _said("compare", self.lock["places"], self.seed)
        if self.steps.done("compare", said, *(f"{name}.parquet" for name in COMPARED)):
            self.holds("compare")
            return
        run = Run(self.folder)
        tokenizers = {name: model.tokenizer for name, model in models.items()}
        with self.watcher.step("compare", None):
            ranked, found = comparisons.rankings(run, tokenizers, self.seed)
            for name, frame in found.items():
                write_occurrences(
                    self.folder / "rankings" / "occurrences" / f"{name}.parquet", frame
                )
            tables = [*comparisons.agreements(run, self.seed), comparisons.consensuses(run)]
            for name, frame in zip(COMPARED, [*tables, *ranked], strict=True):
                write_frame(self.folder / f"{name}.parquet", frame, name.partition("/")[2])
        self.steps.record("compare", said)
        self.holds("compare")

    def faithfulness(self, models: Mapping[str, Model]) -> None:
        """Ask whether hiding what explanations name changes the output."""
        settings = self.study.faithfulness
        if settings is None:
            return
        said = _said("faithfulness", self.lock["faithfulness"], self.lock["places"], self.seed)
        made = ("faithfulness", "faithfulness_curves")
        if not self.steps.done("faithfulness", said, *(f"metrics/{name}.parquet" for name in made)):
            explained = read_records(self.folder / "data" / "explained.parquet")
            some = drawn(explained, settings.records, self.seed)
            with self.watcher.step("faithfulness", None) as step:
                for name, frame in controls.faithfulness(
                    Run(self.folder), models, settings, some, self.study.target, self.seed, step.at
                ).items():
                    write_frame(self.folder / "metrics" / f"{name}.parquet", frame, name)
            self.steps.record("faithfulness", said)
        self.holds("faithfulness")

    def controls(
        self, models: Mapping[str, Model], records: Mapping[str, Sequence[Record]]
    ) -> None:
        """Put explanations to tests whose outcome is known."""
        if not self.study.controls.use:
            return
        tables = [self.lock[table] for table in ("controls", "models")]
        said = _said("controls", tables, self.lock["places"], self.lock["hashes"], self.seed)
        if not self.steps.done("controls", said, "metrics/controls.parquet"):
            explained = read_records(self.folder / "data" / "explained.parquet")
            some = drawn(explained, self.study.controls.records, self.seed)
            with self.watcher.step("controls", None) as step:
                with TemporaryDirectory() as aside:
                    retrained = {
                        name: controls.retraining(
                            name, source, records, Path(aside) / name, self.seed
                        )
                        for name, source in self.study.models.items()
                    }
                    frame = controls.controls(
                        Run(self.folder), models, self.study, some, retrained, step.at
                    )
                write_frame(self.folder / "metrics" / "controls.parquet", frame, "controls")
            self.steps.record("controls", said)
        self.holds("controls")

    def biology(self, models: Mapping[str, Model]) -> None:
        """Hold motifs against nulls: in the sequences, in the attributions, in edited sequences."""
        settings = self.study.biology
        if settings.panel == "none":
            return
        tss = self.study.data.tss
        data = self.lock["hashes"]["data"]
        said = _said("biology", self.lock["biology"], self.lock["places"], data, tss)
        if self.steps.done("biology", said, *BIOLOGY):
            self.holds("biology")
            return
        with self.watcher.step("biology", None) as step:
            for name, frame in biology.tables(
                Run(self.folder), models, settings, self.study.target, tss, self.seed, step.at
            ).items():
                write_frame(self.folder / "biology" / f"{name}.parquet", frame, name)
        self.steps.record("biology", said)
        self.holds("biology")

    def as_published(self) -> None:
        """Repeat a published reading of importance, and what it leaves out."""
        settings, tss = self.study.as_published, self.study.data.tss
        if not settings.word:
            return
        names = {name: f"as_published/{name}" for name in as_published.AS_PUBLISHED}
        data = self.lock["hashes"]["data"]
        tables = [self.lock["as_published"], self.lock["biology"]]
        said = _said("as_published", tables, self.lock["places"], data, tss, self.seed)
        if self.steps.done("as_published", said, *(f"{name}.parquet" for name in names.values())):
            self.holds("as_published")
            return
        with self.watcher.step("as published", None):
            found = as_published.tables(
                Run(self.folder), settings, self.study.biology, self.study.target, tss, self.seed
            )
            for name, frame in found.items():
                write_frame(self.folder / f"{names[name]}.parquet", frame, name)
        self.steps.record("as_published", said)
        self.holds("as_published")

    def holds(self, step: str) -> None:
        """Say that the results of a step belong to the settings in the lock."""
        self.lock["steps"].append(step)
        self.save_lock()

    def save_lock(self) -> None:
        write_text(self.folder / "lock.json", json.dumps(self.lock, indent=1) + "\n")


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


class Ledger:
    """Which steps are done, each with the fingerprint of what it depended on.

    A step that is not done is forgotten before its work begins: a run killed while files of
    one setting replace those of another leaves a mixture that must not pass for either.
    """

    def __init__(self, path: Path):
        self._path = path
        self._steps: dict[str, str] = {}
        if path.exists():
            try:
                self._steps = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                raise StoreError(f"{path} is not JSON; delete it and run again.") from None

    def done(self, step: str, said: str, *files: str) -> bool:
        """Whether the step was recorded with this fingerprint and its files are still there."""
        there = all((self._path.parent / file).exists() for file in files)
        if there and self._steps.get(step) == said:
            return True
        if self._steps.pop(step, None) is not None:
            self._write()
        return False

    def record(self, step: str, said: str) -> None:
        self._steps[step] = said
        self._write()

    def _write(self) -> None:
        write_text(self._path, json.dumps(self._steps, indent=1) + "\n")


def _said(step: str, *values: Any) -> str:
    """The fingerprint of a step: of all that it depends on, and of what its code makes of it."""
    return fingerprint(step, STEPS[step], FORMAT, *values)


def digest(records: Sequence[Record]) -> str:
    """A hash of everything the records hold."""
    found = hashlib.sha256()
    for r in records:
        found.update(f"{r.id}\t{r.sequence}\t{r.label}\t{r.locus}\t{r.truth}\n".encode())
    return found.hexdigest()[:16]


def drawn(records: list[Record], n: int, seed: int) -> list[Record]:
    """`n` of the records, in their order; all where 0 are asked for."""
    if n == 0 or n >= len(records):
        return records
    rows = np.random.default_rng([seed, 1]).permutation(len(records))[:n]
    return [records[i] for i in sorted(rows.tolist())]


def _summary(split: Any) -> dict[str, Any]:
    lengths = [len(record.sequence) for record in split.records]
    return {
        "n": len(lengths),
        "labels": dict(sorted(Counter(str(r.label) for r in split.records).items())),
        "shortest": min(lengths),
        "longest": max(lengths),
        "source": split.source,
        "skipped": dict(split.skipped),
    }


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def _replace(source: Path, place: Path) -> None:
    """Put a whole folder in the place of another."""
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    source.rename(place)
    shutil.rmtree(old, ignore_errors=True)
