"""What running a study would compute, and what of it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from basewise.explainers.count import Count
from basewise.explainers.forecast import Forecast, forecast
from basewise.explainers.parts import PART
from basewise.picture.words import duration
from basewise.study.checked import check
from basewise.study.owner import owner_of
from basewise.study.records import to_explain
from basewise.study.rehearsal import naming, untrained_models
from basewise.study.results import Run
from basewise.study.study import Study

__all__ = ["Planned", "plan", "progress_of", "table"]

Progress = Callable[[int, int, str], None]


class Planned(NamedTuple):
    """What one explainer will cost with one model."""

    model: str
    explainer: str
    cost: Forecast


def plan(study: Study, data: Path | None = None, progress: Progress | None = None) -> list[str]:
    """Read and validate the data, and say what explaining will cost; nothing is written.

    Models are tried as training finds them: what a pass costs does not depend on the weights.

    Raises
    ------
    BasewiseError
        As the run would, of the data, of a model, or of an explainer with a model.
    """
    splits = study.data.splits(data, study.about.seed)
    records = {name: split.records for name, split in splits.items()}
    check(study, records, data)
    explained = to_explain(study, records["test"])
    rows: list[Planned] = []
    for name, model in untrained_models(study, records):
        target = model.target(study.target)
        for explainer, settings in study.explainers.items():
            if progress:
                whole = len(study.models) * len(study.explainers)
                progress(len(rows), whole, f"{name} by {explainer}")
            with naming(f"[explainers.{explainer}] with [models.{name}]"):
                cost = forecast(settings, model, explained, target, seed=study.about.seed)
            rows.append(Planned(name, explainer, cost))
    lines = [
        f"{name}: {len(split.records):,} records from {split.source}"
        for name, split in splits.items()
    ]
    lines.append(f"explain: {len(explained):,} test records, {study.target}")
    return [*lines, *table(rows), "Training and predicting are not in these numbers."]


def table(rows: Iterable[Planned]) -> list[str]:
    """Costs in columns, with their sum where there are several; then how they were found."""
    every = list(rows)
    cells: list[tuple[str, ...]] = [
        ("model", "explainer", "parts", "evaluations", "time", "memory", "disk")
    ]
    costs = [row.cost for row in every]
    parts = [-(-cost.records // PART) for cost in costs]
    cells += [(*row[:2], *_cells(row.cost, n)) for row, n in zip(every, parts, strict=True)]
    if len(every) > 1:
        evaluations = Count.total(cost.evaluations for cost in costs)
        seconds, disk = sum(cost.seconds for cost in costs), sum(cost.disk for cost in costs)
        memory = max(cost.memory for cost in costs)
        most = sum(cost.most for cost in costs)
        whole = Forecast(0, evaluations, seconds, most, memory, disk)
        cells.append(("all", "", *_cells(whole, sum(parts))))
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for cell in cells:
        left = [text.ljust(n) for text, n in zip(cell[:2], wide[:2], strict=True)]
        right = [text.rjust(n) for text, n in zip(cell[2:], wide[2:], strict=True)]
        lines.append("  ".join(["", *left, *right]).rstrip())
    lines.append(
        "Time and memory on this machine, from explaining a few of the records for a second each: "
        "as many evaluations as those took, and the most memory that was held."
    )
    return lines


def _cells(cost: Forecast, parts: int) -> tuple[str, ...]:
    seconds = duration(cost.seconds)
    if cost.most > 1.5 * cost.seconds:
        seconds += f", at most {duration(cost.most)}"
    return f"{parts:,}", str(cost.evaluations), seconds, size(cost.memory), size(cost.disk)


def size(number: float) -> str:
    """Bytes with two digits: `15 kB`, `1.2 MB`, `3.4 GB`."""
    for unit, factor in (("kB", 1e3), ("MB", 1e6)):
        if number < 999.5 * factor:
            return f"{_two(number / factor)} {unit}"
    return f"{_two(number / 1e9)} GB"


def _two(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def progress_of(run: Run) -> list[str]:
    """Who runs, if anyone; a line per model and explainer: parts finished of all; the report."""
    n = len(run.records("explained"))
    owner = owner_of(run.folder)
    lines = [owner] if owner else []
    whole = True
    for model in run.models:
        for explainer in run.explainers:
            done = len(list(run.parts(model, explainer)))
            whole &= done == -(-n // PART)
            lines.append(f"{model} by {explainer}: {done} of {-(-n // PART)} parts")
    report = run.folder / "report" / "index.html"
    said = f"{report}{'' if whole else ' (of an earlier state: run the study again)'}"
    lines.append(f"report: {said if report.exists() else 'not written yet'}")
    return lines
