"""What running an experiment would compute, and how long that would take."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from basewise.errors import CapabilityError
from basewise.explainers import EXPLAINERS
from basewise.explainers.forecast import FILE, forecast, forget_peak, peak
from basewise.models.repeatable import repeatable
from basewise.picture.words import counted, duration
from basewise.study.cell import KEPT, Cell, evaluations, of_one_seed
from basewise.study.experiment import Experiment
from basewise.study.plan import by_workers, size
from basewise.study.rehearsal import naming
from basewise.study.source import stages_of
from basewise.study.study import MODELS

if TYPE_CHECKING:
    from basewise.models.model import Model
    from basewise.types import Record

__all__ = ["plan_experiment"]

SECONDS = 0.15  # of a trial of an explainer
ROWS = 25_000  # bytes of the rows of a cell, about
STEPS, TRAINING = 5, 1.0  # of training are timed: as many steps, and as many seconds, at least

Progress = Callable[[int, int, str], None]


@dataclass
class _Spent:
    """What cells are expected to take: seconds of one worker, and bytes."""

    fixed: float = 0.0
    training: float = 0.0
    explaining: float = 0.0
    longest: float = 0.0  # seconds of a cell
    memory: int = 0
    disk: float = 0.0

    @property
    def seconds(self) -> float:
        return self.fixed + self.training + self.explaining


def plan_experiment(experiment: Experiment, progress: Progress | None = None) -> list[str]:
    """What an experiment consists of, and what it is expected to cost; nothing is written.

    Of one level for each model and length of sequence, sequences are made, a few steps are
    trained, and each explainer is tried; cells of the same model and length count as that one.

    Parameters
    ----------
    progress : callable, optional
        Told `(trials done, trials in all, note)`.

    Raises
    ------
    ConfigError
        Naming the explainer whose settings do not do for a record.
    """
    about, cells = experiment.about, experiment.cells()
    lines = [
        f"{factor}: {', '.join(f'{level.setting} {level.level}' for level in levels)}"
        for factor, levels in experiment.factors.items()
    ]
    levels = sum(map(len, experiment.factors.values()))
    lines.append(
        f"{counted(len(cells), 'cell')}: {counted(levels, 'level')}, "
        f"{counted(len(about.seeds), 'seed')}, {', '.join(experiment.models)}"
        f"{' and the ceiling' if about.ceiling else ''}"
    )
    lines.append(f"in each {about.explained} records by {len(experiment.explainers)} explainers")
    trained = sum(cell.source is not None for cell in cells)
    total = sum(map(evaluations, of_one_seed(cells))) * len(about.seeds)
    lines.append(f"{counted(trained, 'model')} to train, at most {counted(total, 'evaluation')}")
    return [*lines, *_said(_expected(cells, progress), len(cells))]


def _said(spent: _Spent, cells: int) -> list[str]:
    """Time, memory and disk, a line each, and how far to believe them."""
    shared = by_workers(spent.seconds, cells, spent.longest)
    return [
        f"time: about {duration(spent.seconds)} with one worker{', ' if shared else ''}{shared} "
        f"(training at most {duration(spent.training)}, explaining {duration(spent.explaining)}, "
        f"sequences and ceilings {duration(spent.fixed)})",
        f"memory: about {size(spent.memory)} for each worker, and more after many cells",
        f"disk: about {size(spent.disk)}, and the report with its figures",
        "Expected from short trials on this machine, of one level for each model and length: the "
        "time may be half or twice as long. Training that stops early takes less, and models below "
        "the gate are not explained.",
    ]


def _expected(cells: Sequence[Cell], progress: Progress | None) -> _Spent:
    """The sum over all cells of what one of each kind takes."""
    kinds: dict[tuple[str, int], list[Cell]] = {}
    for cell in cells:
        kinds.setdefault((cell.model, cell.grammar.length), []).append(cell)
    whole = _Spent()
    with repeatable():
        for done, ((model, length), own) in enumerate(kinds.items()):
            if progress:
                progress(done, len(kinds), f"{model}, {length:,} bases")
            part = _tried(own)
            whole.fixed += part.fixed
            whole.training += part.training
            whole.explaining += part.explaining
            whole.disk += part.disk
            whole.longest = max(whole.longest, part.seconds / len(own))
            whole.memory = max(whole.memory, part.memory)
    return whole


def _tried(cells: Sequence[Cell]) -> _Spent:
    """What cells of one model and length take, each thing tried once."""
    first = cells[0]
    with TemporaryDirectory() as folder:
        begin = time.perf_counter()
        train, dev, test = first.splits()
        first.ceiling(test)
        fixed = time.perf_counter() - begin
        model = first.untrained(train, Path(folder) / "fresh")
        forget_peak(model.device)
        trained = _training(first, model, train, dev, test, Path(folder)) if first.source else 0.0
        spent = _Spent(
            fixed=fixed * len(cells),
            training=trained * len(cells),
            memory=peak(model.device),
            disk=ROWS * len(cells),
        )
        for name, settings, explained, often in _variants(cells):
            records = replace(first, explained=explained).to_explain(test)
            with (
                suppress(CapabilityError),
                naming(f"[explainers.{name}] with [models.{first.model}]"),
            ):
                explainer = EXPLAINERS.build(settings)
                cost = forecast(
                    explainer, model, records, first.target(model), seed=first.seed, seconds=SECONDS
                )
                kept = FILE + (cost.disk - FILE) * min(KEPT / len(records), 1)
                spent.explaining += often * cost.seconds
                spent.memory = max(spent.memory, cost.memory)
                spent.disk += often * kept
    return spent


def _variants(cells: Sequence[Cell]) -> list[tuple[str, Mapping[str, Any], int, int]]:
    """Explainers with their settings and numbers of records, and in how many cells."""
    found = Counter(
        json.dumps([name, settings, cell.explained])
        for cell in cells
        for name, settings in cell.explainers.items()
    )
    return [(*json.loads(said), often) for said, often in found.items()]


def _training(
    cell: Cell,
    model: Model,
    train: Sequence[Record],
    dev: Sequence[Record],
    test: Sequence[Record],
    folder: Path,
) -> float:
    """Seconds of all steps that there may be, and of predicting dev after every epoch, and test.

    Steps of the first stage are timed; epochs of later ones count as its epochs.
    """
    source, steps = MODELS.build(cell.source), _Steps()
    with suppress(_Enough):
        source.model(cell.model, train, dev, folder / "training", cell.seed, steps)
    begin = time.perf_counter()
    model.predict(test)
    each = (time.perf_counter() - begin) / len(test)
    stages = stages_of(source.training, source.stages) if source.training else []
    epochs = [stage.epochs for stage in stages] or [0]
    trained = steps.seconds * sum(epochs) / max(epochs[0], 1)
    return trained + each * (len(test) + sum(epochs) * len(dev))


class _Enough(Exception):
    """So many steps have been timed."""


class _Steps:
    """Is told the steps of training as they are done, and ends it when enough are timed."""

    def __init__(self) -> None:
        self._marks: list[float] = []
        self._whole = 0

    def __call__(self, done: int, whole: int, note: str) -> None:
        self._whole = self._whole or whole
        self._marks.append(time.perf_counter())
        if len(self._marks) > STEPS and self._marks[-1] - self._marks[0] > TRAINING:
            raise _Enough

    @property
    def seconds(self) -> float:
        """Of all steps of a stage; the first one, which comes after getting ready, is not timed."""
        times = np.diff(self._marks)
        return float(np.median(times)) * self._whole if len(times) else 0.0
