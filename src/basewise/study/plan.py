"""What running a study would compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from basewise.explainers.count import Count
from basewise.explainers.forecast import Forecast, forecast
from basewise.explainers.shards import cut
from basewise.models.repeatable import repeatable
from basewise.picture.words import duration
from basewise.study.backends.work import cores
from basewise.study.checked import check
from basewise.study.records import drawn, read_of, to_explain
from basewise.study.rehearsal import naming, untrained_models
from basewise.study.study import Study

__all__ = ["Planned", "by_workers", "plan", "size", "table"]

WORTH = 10.0  # seconds that are worth several workers

Progress = Callable[[int, int, str], None]


class Planned(NamedTuple):
    """What one explainer will cost with one model, and in how many shards it is done."""

    model: str
    explainer: str
    cost: Forecast
    shards: int = 1


def plan(
    study: Study, data: Path | None = None, progress: Progress | None = None, limit: int = 0
) -> list[str]:
    """Read and validate the data, and say what explaining will cost; nothing is written.

    Models are tried as training finds them: what a pass costs does not depend on the weights.

    Parameters
    ----------
    limit : int
        At most so many records are counted as explained; 0: as many as the study says.

    Raises
    ------
    BasewiseError
        As the run would, of the data, of a model, or of an explainer with a model.
    """
    study = study.located(data)
    splits = study.data.splits(data, study.about.seed)
    records = {name: split.records for name, split in splits.items()}
    check(study, records, data)
    explained = to_explain(study, records["test"])
    explained = drawn(explained, limit, study.about.seed)
    rows: list[Planned] = []
    for name, model in untrained_models(study, records):
        target = model.target(read_of(study))
        for explainer, settings in study.explainers.items():
            if progress:
                whole = len(study.models) * len(study.explainers)
                progress(len(rows), whole, f"{name} by {explainer}")
            with naming(f"[explainers.{explainer}] with [models.{name}]"), repeatable():
                cost = forecast(settings, model, explained, target, seed=study.about.seed)
                shards = len(cut(settings, model, explained, model.device.type))
            rows.append(Planned(name, explainer, cost, shards))
    lines = [
        f"{name}: {len(split.records):,} records from {split.source}"
        for name, split in splits.items()
    ]
    lines.append(f"explain: {len(explained):,} test records, {study.target}")
    seconds = sum(row.cost.seconds for row in rows)
    lines += table(rows)
    if shared := by_workers(seconds, sum(row.shards for row in rows)):
        lines.append(f"Several workers share the time: {shared}.")
    return [*lines, "Training and predicting are not in these numbers."]


def by_workers(seconds: float, parts: int) -> str:
    """How long it takes with two workers, with one per core of this machine, and with more.

    Empty where there is nothing to share: one part, or a time that is as good as none.
    """
    numbers = sorted({min(n, parts) for n in (2, cores(), 16, 128)} - {0, 1})
    if seconds < WORTH:
        return ""
    return ", ".join(f"{duration(seconds / n)} with {n}" for n in numbers)


def table(rows: Iterable[Planned]) -> list[str]:
    """Costs in columns, with their sum where there are several; then how they were found."""
    every = list(rows)
    cells: list[tuple[str, ...]] = [
        ("model", "explainer", "shards", "evaluations", "time", "memory", "disk")
    ]
    costs = [row.cost for row in every]
    cells += [(*row[:2], *_cells(row.cost, row.shards)) for row in every]
    if len(every) > 1:
        evaluations = Count.total(cost.evaluations for cost in costs)
        seconds, disk = sum(cost.seconds for cost in costs), sum(cost.disk for cost in costs)
        memory = max(cost.memory for cost in costs)
        most = sum(cost.most for cost in costs)
        whole = Forecast(0, evaluations, seconds, most, memory, disk)
        cells.append(("all", "", *_cells(whole, sum(row.shards for row in every))))
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for cell in cells:
        left = [text.ljust(n) for text, n in zip(cell[:2], wide[:2], strict=True)]
        right = [text.rjust(n) for text, n in zip(cell[2:], wide[2:], strict=True)]
        lines.append("  ".join(["", *left, *right]).rstrip())
    lines.append(
        "Time and memory of one worker on this machine, from explaining a few of the records for a "
        "second each: as many evaluations as those took, and the most memory that was held."
    )
    return lines


def _cells(cost: Forecast, shards: int) -> tuple[str, ...]:
    seconds = duration(cost.seconds)
    if cost.most > 1.5 * cost.seconds:
        seconds += f", at most {duration(cost.most)}"
    return f"{shards:,}", str(cost.evaluations), seconds, size(cost.memory), size(cost.disk)


def size(number: float) -> str:
    """Bytes with two digits: `15 kB`, `1.2 MB`, `3.4 GB`."""
    for unit, factor in (("kB", 1e3), ("MB", 1e6)):
        if number < 999.5 * factor:
            return f"{_two(number / factor)} {unit}"
    return f"{_two(number / 1e9)} GB"


def _two(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"
