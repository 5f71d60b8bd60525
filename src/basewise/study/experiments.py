"""Running an experiment, and reading what it found.

```
<run>/lock.json                  the experiment: it runs again from it
      log.jsonl, running.json, finished.json    as of a study; see `basewise.study.results`
      cells/<cell>/rows.parquet  what a cell found (`study.cell.ROWS`); there when the cell is done
      cells/<cell>/<explainer>.parquet   attributions of a few of its records
      metrics/experiment_records.parquet   the rows of all cells
      metrics/experiment.parquet           means over records and seeds (`SUMMARY`)
      report/index.html, figures/*.svg, *.png
```

A cell's folder is named by a fingerprint of all it depends on: what is done is not done again,
and a changed setting runs again the cells it concerns.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from basewise.errors import ConfigError, ShardError
from basewise.picture.words import duration
from basewise.remote import place_of
from basewise.stats import Estimate, cluster_interval, mean_interval
from basewise.store import (
    clear_unfinished,
    read_attributions,
    read_frame,
    write_bytes,
    write_frame,
    write_text,
)
from basewise.study.backends import BACKENDS
from basewise.study.backends.work import Backend, Failed, cores
from basewise.study.cell import Cell, Task, evaluations, of_one_seed
from basewise.study.distribute import distribute
from basewise.study.experiment import Experiment, load_experiment
from basewise.study.finished import versions
from basewise.study.owner import owned, owner_of
from basewise.study.twin import working_copy
from basewise.study.watch import Log, Silent, Watcher
from basewise.types import Attribution, Floats, Ints

__all__ = [
    "ALL",
    "CHANCE",
    "SUMMARY",
    "ExperimentRun",
    "difference",
    "progress_of_experiment",
    "run_experiment",
    "said_of",
    "summarise_experiment",
]

ALL = "all"
"""The level of rows that are of all levels of a factor."""

CHANCE: Mapping[str, str] = {
    "auprc": "auprc_chance",
    "mass_inside": "prevalence",
    "match": "match_chance",
    "hypothetical_match": "hypothetical_chance",
    "relative_gap": "",
    "lowest_rank_correlation": "",
    "lowest_top_overlap": "",
    "changes": "",
}
"""Measures by name, each with the column of `study.cell.ROWS` that says what chance would give."""

RANGE: Mapping[str, tuple[float, float]] = {
    "relative_gap": (0.0, float("inf")),
    "lowest_rank_correlation": (-1.0, 1.0),
}
"""What measures can be, where it is not 0 to 1: no interval reaches beyond."""

_KEYS = ["factor", "setting", "level", "place", "model", "tokenizer", "explainer", "method",
         "reference"]  # fmt: skip

SUMMARY = (*_KEYS, "metric", "value", "low", "high", "n", "chance", "seeds", "of_seeds",
           "lowest_seed", "highest_seed")  # fmt: skip
"""Columns of `summarise_experiment`: the mean over `n` records of all seeds whose model solved the
task (`seeds` of `of_seeds`, each counting alike), its 95 % interval, what chance would give, and
the least and the greatest mean of one seed. The level `ALL` is of all levels of a factor.

Records of one seed share motif, sequences and network. So of several seeds the interval is
Student's t over the means of the seeds, which holds for seeds that were not run, be they two. Of
one seed it is a bootstrap over records, and holds for that one network alone."""


@dataclass(frozen=True)
class ExperimentRun:
    """The folder of an experiment, read lazily; tables of what is not done are empty."""

    folder: Path

    @property
    def lock(self) -> dict[str, Any]:
        """The experiment's tables, versions, and the folders of its cells (`places`)."""
        try:
            found = json.loads((self.folder / "lock.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # a broken one is written anew
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def experiment(self) -> Experiment:
        """What was asked."""
        return load_experiment(self.folder / "lock.json")

    @property
    def records(self) -> pd.DataFrame:
        """The rows of all cells; see `study.cell.ROWS`."""
        return self._frame("experiment_records")

    @property
    def summary(self) -> pd.DataFrame:
        """Means over records and seeds; see `SUMMARY`."""
        return self._frame("experiment")

    def attributions(self, cell: Cell, explainer: str) -> list[Attribution]:
        """Those that were kept of a cell; none where an explainer explained nothing."""
        path = self.folder / "cells" / cell.name / f"{explainer}.parquet"
        return read_attributions(path) if path.exists() else []

    def _frame(self, name: str) -> pd.DataFrame:
        path = self.folder / "metrics" / f"{name}.parquet"
        return read_frame(path, name) if path.exists() else pd.DataFrame()


def run_experiment(
    experiment: Experiment,
    folder: str | Path,
    watcher: Watcher | None = None,
    backend: Any = None,
) -> ExperimentRun:
    """Run the cells of an experiment that are not done yet, and write its tables.

    A run that is stopped writes tables too, of the cells that are done.

    Parameters
    ----------
    experiment : Experiment
    folder : path or str
        The run's folder, made when missing; or a URL that fsspec knows (`s3://bucket/runs/one`),
        where it is kept while a copy here is worked on.
    watcher : Watcher, optional
        Shows progress.
    backend : str, table or component, optional
        Where cells are worked on; without it, in one process per core.

    Raises
    ------
    ConfigError
        If the folder holds something else.
    StoreError
        If another process runs in the folder.
    ShardError
        If cells failed; the others are done, and running again tries these again.
    """
    with working_copy(folder, watcher or Silent()) as (here, following):
        return _run(experiment, here, following, backend)


def _run(experiment: Experiment, folder: Path, watcher: Watcher, backend: Any) -> ExperimentRun:
    with owned(folder):
        run = ExperimentRun(folder)
        if (lock := run.lock) and lock.get("file", experiment.file) != experiment.file:
            raise ConfigError(
                f"{folder} holds the run of {lock['file'] or 'another study'}, not of "
                f"{experiment.file}; give this one another name in [experiment] or another folder "
                "with --out."
            )
        clear_unfinished(folder)
        log = Log(folder / "log.jsonl")
        cells = experiment.cells()
        _save_lock(experiment, folder, cells)
        log("start", experiment=experiment.about.name, cells=len(cells))
        with watcher.step("check", None):  # what explainers refuse, before anything is trained
            for cell in of_one_seed([c for c in cells if not _place(folder, c).exists()]):
                evaluations(cell)
        try:
            _work(cells, folder, watcher, BACKENDS.build(backend) if backend else _fitting(), log)
        finally:  # of what is done, also where it was stopped
            with watcher.step("summarise", None):
                _sum_up(folder, cells)
        log("complete")
        return run


def _sum_up(folder: Path, cells: Sequence[Cell]) -> None:
    """Write the tables of the cells that are done."""
    done = [pd.read_parquet(path) for cell in cells if (path := _place(folder, cell)).exists()]
    if done:
        rows = pd.concat(done, ignore_index=True)
        write_frame(_metrics(folder, "experiment_records"), rows, "experiment_records")
        write_frame(_metrics(folder, "experiment"), summarise_experiment(rows), "experiment")


def _fitting() -> Backend:
    found: Backend = BACKENDS.build("processes" if cores() > 1 else "local")
    return found


def _metrics(folder: Path, name: str) -> Path:
    return folder / "metrics" / f"{name}.parquet"


def _save_lock(experiment: Experiment, folder: Path, cells: Sequence[Cell]) -> None:
    lock = experiment.lock() | {
        "places": {cell.name: f"cells/{cell.name}" for cell in cells},
        "versions": {"python": platform.python_version()} | versions(),
    }
    write_text(folder / "lock.json", json.dumps(lock, indent=1) + "\n")


def _place(folder: Path, cell: Cell) -> Path:
    return folder / "cells" / cell.name / "rows.parquet"


def _work(
    cells: Sequence[Cell], folder: Path, watcher: Watcher, backend: Backend, log: Log
) -> None:
    """Work on the cells that are not done."""
    waiting = {i: cell for i, cell in enumerate(cells) if not _place(folder, cell).exists()}
    failed: dict[str, Failed] = {}
    with watcher.step("cells", len(cells)) as step:
        done = len(cells) - len(waiting)
        step.at(done, note="" if waiting else "kept")
        if waiting:
            began = time.monotonic()
            with backend.open("cpu") as workers:
                tasks = (
                    (i, Task(cell, (folder / "cells" / cell.name).absolute()))
                    for i, cell in waiting.items()
                )
                for ended, (i, outcome) in enumerate(distribute(tasks, workers), 1):
                    cell = cells[i]
                    if isinstance(outcome, Failed):
                        failed[cell.name] = outcome
                        log("failed", cell=cell.name, error=outcome.error, trace=outcome.trace)
                    else:
                        write_bytes(_place(folder, cell), outcome)
                        log("cell", cell=cell.name)
                    left = (time.monotonic() - began) * (len(waiting) / ended - 1)
                    rest = f"; about {duration(left)} left" if left else ""
                    step.at(done + ended, note=f"{said_of(cell)}{rest}")
    if failed:
        name, first = next(iter(failed.items()))
        raise ShardError(
            f"{len(failed)} of {len(cells)} cells failed, the others are done; the first, {name}, "
            f"says: {first.error.rstrip('.')} (log.jsonl). Running again tries them again."
        )


def said_of(cell: Cell) -> str:
    """A cell in words."""
    return f"{cell.model}, {cell.factor} {cell.level}, seed {cell.seed}"


def summarise_experiment(rows: pd.DataFrame, *, resamples: int = 1000) -> pd.DataFrame:
    """Means over records and seeds, with the columns of `SUMMARY`.

    Rows of models that did not solve the task are counted in `of_seeds` and in nothing else.

    Parameters
    ----------
    rows : DataFrame
        With the columns of `study.cell.ROWS`.
    resamples : int
        Of the bootstrap over records, where there is one seed.
    """
    every = rows[rows["refused"] == ""]
    pooled = every.assign(level=ALL, place=-1)
    found: list[dict[str, Any]] = []
    for table in (every, pooled):
        for key, own in table.groupby(_KEYS, sort=False, dropna=False):
            found += _measured(dict(zip(_KEYS, key, strict=True)), own, resamples)
    return pd.DataFrame(found, columns=list(SUMMARY))


def difference(
    rows: pd.DataFrame, first: str, second: str, metric: str = "auprc", *, resamples: int = 1000
) -> pd.DataFrame:
    """How much more one explainer has of a measure than another, on the same records and models.

    What seeds share, as a network that is hard to explain, is in both and cancels, so this tells
    explainers apart where the intervals of each overlap.

    Parameters
    ----------
    rows : DataFrame
        With the columns of `study.cell.ROWS`.
    first, second : str
        Names of explainers.
    metric : str
        A column, of `CHANCE`.

    Returns
    -------
    DataFrame
        `factor, setting, level, place, model, value, low, high, n, seeds`: mean and 95 % interval
        as `summarise_experiment` makes them, of `n` records of `seeds` seeds; a row for every
        level and model that both explained.

    Raises
    ------
    ConfigError
        For an explainer or a measure that the rows lack.
    """
    for name in (first, second):
        if name not in set(rows["explainer"]):
            known = ", ".join(sorted(set(rows["explainer"])))
            raise ConfigError(f"explainer {name!r} is not in this experiment; it has {known}.")
    if metric not in CHANCE:
        raise ConfigError(f"metric = {metric!r}; allowed are {', '.join(CHANCE)}.")
    where = ["factor", "setting", "level", "place", "model"]
    of = [rows[rows["explainer"] == name] for name in (first, second)]
    both = of[0].merge(of[1], on=[*where, "seed", "record_id"], suffixes=("", "_second"))
    both = both.assign(more=both[metric] - both[f"{metric}_second"]).dropna(subset="more")
    found = [
        dict(zip(where, key, strict=True))
        | _over_seeds(own["more"].to_numpy(), own["seed"].to_numpy(), resamples)._asdict()
        | {"seeds": own["seed"].nunique()}
        for key, own in both.groupby(where, sort=False)
    ]
    return pd.DataFrame(found, columns=[*where, "value", "low", "high", "n", "seeds"])


def _measured(
    key: Mapping[str, Any], own: pd.DataFrame, resamples: int
) -> Iterable[dict[str, Any]]:
    """One row per measure; measures that none of the records has are left out."""
    solved = own[own["solved"]]
    about = dict(key) | {"seeds": solved["seed"].nunique(), "of_seeds": own["seed"].nunique()}
    for metric, chance in CHANCE.items():
        values = solved[metric].to_numpy(float)
        known = ~np.isnan(values)
        if not known.any():
            if metric == "auprc":  # says that there is nothing
                yield about | {"metric": metric, "n": 0} | _nothing()
            continue
        means = solved.loc[known].groupby("seed")[metric].mean()
        estimate = _estimate(metric, values, solved["seed"].to_numpy(), resamples)
        yield about | {
            "metric": metric,
            **estimate._asdict(),
            "chance": _chance(solved[known], chance) if chance else float("nan"),
            "lowest_seed": float(means.min()),
            "highest_seed": float(means.max()),
        }


def _estimate(metric: str, values: Floats, seeds: Ints, resamples: int) -> Estimate:
    """The mean of a measure with its interval, which goes no further than the measure can."""
    found = _over_seeds(values, seeds, resamples)
    low, high = RANGE.get(metric, (0.0, 1.0))
    return found._replace(low=max(found.low, low), high=min(found.high, high))


def _over_seeds(values: Floats, seeds: Ints, resamples: int) -> Estimate:
    """The mean with its interval: over seeds, or over records where there is one seed."""
    known = ~np.isnan(values)
    if len(np.unique(seeds[known])) == 1:
        return mean_interval(values, np.random.default_rng([7, known.sum()]), resamples)
    return cluster_interval(values, seeds)


def _nothing() -> dict[str, float]:
    return dict.fromkeys(
        ("value", "low", "high", "chance", "lowest_seed", "highest_seed"), float("nan")
    )


def _chance(solved: pd.DataFrame, column: str) -> float:
    """Of those that are numbers, each seed counting alike; NaN where there are none."""
    return cluster_interval(solved[column].to_numpy(float), solved["seed"].to_numpy()).value


def progress_of_experiment(run: ExperimentRun) -> list[str]:
    """Who runs, if anyone; cells done of all, by model and factor; the report."""
    owner = owner_of(run.folder)
    lines = [owner] if owner else []
    cells = run.experiment.cells()
    for model, factor in dict.fromkeys((cell.model, cell.factor) for cell in cells):
        own = [cell for cell in cells if (cell.model, cell.factor) == (model, factor)]
        done = sum(_place(run.folder, cell).exists() for cell in own)
        lines.append(f"{model}, {factor}: {done} of {len(own)} cells")
    written = (run.folder / "report" / "index.html").exists()
    page = f"{place_of(run.folder)}/report/index.html" if written else "not written yet"
    lines.append(f"report: {page}")
    return lines
