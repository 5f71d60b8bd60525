"""What running a study would compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from basewise.evaluate import CONTROLS
from basewise.explainers.count import Count
from basewise.explainers.forecast import Forecast, forecast
from basewise.explainers.random import Random
from basewise.explainers.shards import cut
from basewise.models.repeatable import repeatable
from basewise.picture.words import duration
from basewise.study.backends.work import cores
from basewise.study.checked import check
from basewise.study.records import drawn, read_of, to_explain
from basewise.study.rehearsal import naming, untrained_models
from basewise.study.study import Study
from basewise.types import Attribution, Record, Target

if TYPE_CHECKING:
    from basewise.evaluate.faithfulness import Faithfulness
    from basewise.models.model import Model

__all__ = ["Planned", "by_workers", "plan", "size", "table"]

WORTH = 10.0  # seconds that are worth several workers

Progress = Callable[[int, int, str], None]


class Planned(NamedTuple):
    """What an explainer, or a test of all, will cost with a model; in how many shards, if any."""

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
    tests: list[Planned] = []
    for name, model in untrained_models(study, records):
        target = model.target(read_of(study))
        for explainer, settings in study.explainers.items():
            if progress:
                whole = len(study.models) * len(study.explainers)
                progress(len(rows), whole, f"{name} by {explainer}")
            with naming(f"[explainers.{explainer}] with [models.{name}]"), repeatable():
                shards = len(cut(settings, model, explained, model.device.type))
                cost = forecast(
                    settings, model, explained, target, seed=study.about.seed, shards=shards
                )
            rows.append(Planned(name, explainer, cost, shards))
        costs = {row.explainer: row.cost for row in rows if row.model == name}
        with repeatable():
            tests += _tests(study, model, explained, target, costs)
    lines = [
        f"{name}: {len(split.records):,} records from {split.source}"
        for name, split in splits.items()
    ]
    lines.append(f"explain: {len(explained):,} test records, {study.target}")
    seconds = sum(row.cost.seconds for row in rows)
    lines += table([*rows, *tests])
    if shared := by_workers(seconds, sum(row.shards for row in rows)):
        lines.append(f"Several workers share the time of explaining: {shared}.")
    if tests:
        lines.append(
            "Faithfulness and controls are done by this process; controls are counted at the pace "
            "of their explainers."
        )
    again = ", also on permuted labels," if study.controls.use else ""
    return [*lines, f"Training{again} and predicting are not in these numbers."]


def _tests(
    study: Study,
    model: Model,
    explained: list[Record],
    target: Target,
    costs: Mapping[str, Forecast],
) -> Iterator[Planned]:
    """What faithfulness and controls of a model's explanations will cost."""
    seed = study.about.seed
    settings = study.faithfulness
    if settings is not None:
        hiding = _Hiding(settings, len(costs))
        some = drawn(explained, settings.records, seed)
        with naming(f"[faithfulness] with [models.{model.name}]"):
            cost = forecast(hiding, model, some, target, seed=seed)
        yield Planned(model.name, "(faithfulness)", replace(cost, disk=0), 0)
    chosen = study.controls.explainers or tuple(costs)
    if study.controls.use:
        some = drawn(explained, study.controls.records, seed)
        judged = [
            (costs[name], control.cost(study.explainers[name], model, record))
            for name in chosen
            for control in map(CONTROLS.build, study.controls.use)
            for record in some
        ]
        whole = Count.total(count for _, count in judged)
        pace = [count.number / max(own.evaluations.number, 1) for own, count in judged]
        seconds, most = (
            sum(share * getattr(own, what) for share, (own, _) in zip(pace, judged, strict=True))
            for what in ("seconds", "most")
        )
        memory = max(costs[name].memory for name in chosen)
        yield Planned(
            model.name, "(controls)", Forecast(len(some), whole, seconds, most, memory, 0), 0
        )


@dataclass(frozen=True)
class _Hiding:
    """Faithfulness as something that can be tried on a few records, with random scores."""

    settings: Faithfulness
    tracks: int

    def cost(self, model: Model, record: Record) -> Count:
        return self.settings.cost(model, record, self.tracks)

    def explain(
        self,
        model: Model,
        records: Sequence[Record],
        target: Target,
        seed: int,
        progress: object = None,
    ) -> list[Attribution]:
        found = [Random().explain(model, records, target, i) for i in range(self.tracks)]
        tracks = {str(i): scores for i, scores in enumerate(found)}
        rows = self.settings.measure(model, records, tracks, target, seed).evaluations
        return [replace(each, evaluations=rows // len(records)) for each in found[0]]


def by_workers(seconds: float, parts: int, longest: float = 0.0) -> str:
    """How long it takes with two workers, with one per core of this machine, and with more.

    No shorter than the longest part. Empty where there is nothing to share: one part, or a time
    that is as good as none.
    """
    numbers = sorted({min(n, parts) for n in (2, cores(), 16, 128)} - {0, 1})
    if seconds < WORTH:
        return ""
    return ", ".join(f"{duration(max(seconds / n, longest))} with {n}" for n in numbers)


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
    parts, disk = f"{shards:,}" if shards else "", size(cost.disk) if cost.disk else ""
    return parts, str(cost.evaluations), seconds, size(cost.memory), disk


def size(number: float) -> str:
    """Bytes with two digits: `15 kB`, `1.2 MB`, `3.4 GB`."""
    for unit, factor in (("kB", 1e3), ("MB", 1e6)):
        if number < 999.5 * factor:
            return f"{_two(number / factor)} {unit}"
    return f"{_two(number / 1e9)} GB"


def _two(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"
