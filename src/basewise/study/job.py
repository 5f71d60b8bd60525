"""A run at work: the study, its folder, and what its steps have found so far."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from basewise.models.model import Model
from basewise.store import fingerprint, write_frame, write_text
from basewise.study.backends.work import Backend
from basewise.study.datasets import Split
from basewise.study.finished import versions
from basewise.study.ledger import Ledger
from basewise.study.results import Run
from basewise.study.steps import STEPS
from basewise.study.study import FORMAT, Study
from basewise.study.watch import Log, Step, Watcher
from basewise.types import Record

__all__ = ["Job"]


class Job:
    """What every step is given.

    Attributes
    ----------
    study : Study
        As given to `run_study`, its models' files looked for in `data`.
    folder, data, watcher, backend
        As given to `run_study`.
    device : str
        What explaining is done on: `cuda` where torch sees an accelerator, or `cpu`.
    run : Run
        Reads what earlier steps wrote.
    lock : dict
        What `lock.json` says: the study with every default, versions, hashes of what results
        depend on (`hashes`), folders of attributions (`places`), the steps whose results belong
        to these settings (`steps`).
    splits : dict
        The data by split, and `explained`, the records that are: from reading the data on.
    models : dict
        The models by name: from the step `train` on.
    """

    def __init__(
        self,
        study: Study,
        folder: Path,
        data: Path | None,
        watcher: Watcher,
        backend: Backend | None = None,
    ):
        self.study, self.folder = study.located(data), folder
        self.data, self.watcher = data, watcher
        self.backend, self.seed = backend, study.about.seed
        self.origins = {name: source.origin() for name, source in self.study.models.items()}
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.run = Run(folder)
        self.log = Log(folder / "log.jsonl")
        self.ledger = Ledger(folder / "steps.json")
        self.splits: dict[str, Split] = {}
        self.explained: list[Record] = []
        self.models: dict[str, Model] = {}
        self.lock: dict[str, Any] = {
            "format": FORMAT,
            "file": study.file,
            **study.settings(),
            "places": {},
            "versions": {"python": platform.python_version()} | versions(),
            "hashes": {},
            "steps": [],
        }

    @property
    def records(self) -> dict[str, list[Record]]:
        """The records of every split."""
        return {name: split.records for name, split in self.splits.items()}

    def said(self, step: str, *values: Any) -> str:
        """The fingerprint of a step: of all it depends on, and of what its code makes of it."""
        return fingerprint(step, STEPS[step], FORMAT, *values)

    def once(
        self,
        step: str,
        depends: Sequence[Any],
        files: Sequence[str],
        make: Callable[[Step], None],
        total: int | None = None,
    ) -> None:
        """Do a step, unless its files are there and were made from the same.

        Parameters
        ----------
        depends : sequence
            All that the results depend on, as values of JSON.
        files : sequence of str
            What the step writes, below the run's folder.
        make : callable
            Writes the files; it is given the `Step` to show progress with.
        total : int, optional
            Of how many pieces the step consists.
        """
        said = self.said(step, *depends)
        if not self.ledger.done(step, said, *files):
            with self.watcher.step(step.replace("_", " "), total) as shown:
                make(shown)
            self.ledger.record(step, said)
        self.holds(step)

    def write(self, name: str, frame: pd.DataFrame, schema: str = "") -> None:
        """Write a table; the last part of its name is its schema unless another is given."""
        write_frame(self.folder / f"{name}.parquet", frame, schema or name.rpartition("/")[2])

    def holds(self, step: str) -> None:
        """Say that the results of a step belong to the settings in the lock."""
        self.lock["steps"].append(step)
        self.save_lock()

    def save_lock(self) -> None:
        write_text(self.folder / "lock.json", json.dumps(self.lock, indent=1) + "\n")
