"""Running a study: steps that read the files of earlier steps and write their own.

Whether a step is done is asked of the files alone: each step's results are recorded with a
fingerprint of everything they depend on, and a part of the attributions lies in a folder that
its fingerprint names. So a run that was killed continues where it was, and a changed setting
recomputes what depends on it and nothing else.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from basewise.store import clear_unfinished
from basewise.study.backends import BACKENDS
from basewise.study.identity import refuse_another_file
from basewise.study.job import Job
from basewise.study.owner import owned
from basewise.study.results import Run
from basewise.study.steps import STEPS
from basewise.study.steps.prepare import read
from basewise.study.study import Study
from basewise.study.twin import working_copy
from basewise.study.watch import Silent, Watcher

__all__ = ["run_study"]


def run_study(
    study: Study,
    folder: str | Path,
    data: Path | None = None,
    watcher: Watcher | None = None,
    backend: Any = None,
) -> Run:
    """Run every step of a study that is not done yet; the report is written by `report`.

    Parameters
    ----------
    study : Study
    folder : path or str
        The run's folder, made when missing; or a URL that fsspec knows (`s3://bucket/runs/one`),
        where it is kept while a copy here is worked on.
    data : Path, optional
        The folder that paths in `[data]` are relative to.
    watcher : Watcher, optional
        Shows progress.
    backend : str, table or component, optional
        Where shards are explained; see `basewise list backends`. Whichever it is, and however
        many workers it has, the results are the same to the last bit. Without it, in processes
        of this machine where there is enough to do for several, or else in this one.

    Raises
    ------
    ConfigError
        If the target's label is no class of the data, or the folder holds another study.
    StoreError
        If another process runs in the folder.
    DataError, CapabilityError, StoreError
        As the steps meet them; earlier results stay as they are.
    ShardError
        If shards of explaining failed; the others are done.
    """
    with working_copy(folder, watcher or Silent()) as (here, following):
        return _run(study, here, data, following, backend)


def _run(study: Study, folder: Path, data: Path | None, watcher: Watcher, backend: Any) -> Run:
    with owned(folder) as left:
        refuse_another_file(study, folder)
        clear_unfinished(folder)
        if left:
            watcher.note(f"{folder} was left by {left}, which is gone; its run continues.")
        _tell_version(folder, watcher)
        job = Job(study, folder, data, watcher, backend and BACKENDS.build(backend))
        job.log("start", study=study.about.name)
        read(job)
        for name in STEPS:
            getattr(import_module(f"basewise.study.steps.{name}"), name)(job)
        job.log("complete")
        return job.run


def _tell_version(folder: Path, watcher: Watcher) -> None:
    """Say that the results were made by another basewise."""
    before = Run(folder).lock.get("versions", {}).get("basewise")
    if before not in (None, version("basewise")):
        watcher.note(
            f"{folder} was made by basewise {before}; what {version('basewise')} would make of "
            "it in the same way is kept, the rest is made again."
        )
