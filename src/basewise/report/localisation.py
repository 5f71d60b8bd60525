"""How much of what is known to matter each explainer found."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from markupsafe import Markup

from basewise.picture.words import NONE, counted, estimate, listing, number, quantity
from basewise.registry import component
from basewise.report.blocks import Block, Figure, Section, Table, Text
from basewise.report.draw import Dot, Row, intervals
from basewise.report.frames import groups, having, rows_of
from basewise.study.results import Run

__all__ = ["Localisation", "localisation_sentences"]

_COLUMNS = ("model", "explainer", "metric", "value", "low", "high", "n", "chance")
_NAMES = {
    "auprc": "AUPRC",
    "mass_inside": "mass inside",
    "top_k_precision": "top-k precision",
    "first_rank": "first rank",
}
_MEANING = {
    "auprc": "AUPRC: precision over recall when bases are ranked by attribution, 1 is perfect",
    "mass_inside": "mass inside: share of the positive attribution that lies on planted bases",
    "top_k_precision": "top-k precision: share of planted bases among as many top bases as were "
    "planted",
    "first_rank": "first rank: place of the first planted base in the ranking, 1 is best",
}
_LOWER_IS_BETTER = {"first_rank"}


def _name(metric: str) -> str:
    return _NAMES.get(metric, metric.replace("_", " "))


def localisation_sentences(run: Run) -> list[str]:
    """Per model, which explainer found most of the planted truth, and which no more than chance."""
    frame = having(run.localisation, *_COLUMNS)
    if frame.empty:
        return []
    metric = "auprc" if "auprc" in set(frame["metric"]) else str(frame["metric"].iloc[0])
    found = []
    for said, own in groups(frame[frame["metric"] == metric], ("model",)):
        ranked = own.sort_values("value", ascending=metric in _LOWER_IS_BETTER)
        if ranked["value"].isna().all():
            found.append(f"No explainer of {said['model']} gave a score to any planted base.")
            continue
        best: Any = ranked.iloc[0]
        sentence = (
            f"Of the explainers of {said['model']}, {best['explainer']} found the planted bases "
            f"best: {_name(metric)} {estimate(best['value'], best['low'], best['high'])} over "
            f"{counted(int(best['n']), 'record')}, chance gives {number(best['chance'])}."
        )
        lost = [str(row.explainer) for row in rows_of(own) if not _beyond(row)]
        if lost:
            sentence += f" Not beyond chance: {listing(lost)}."
        found.append(sentence)
    return found


def _beyond(row: Any) -> bool:
    """Whether the interval lies on the good side of chance."""
    return bool(row.high < row.chance if row.metric in _LOWER_IS_BETTER else row.low > row.chance)


def _tone(row: Any) -> str:
    return "model" if _beyond(row) else "muted"


@component
class Localisation:
    """Planted truth found, with what chance would find."""

    title: ClassVar[str] = "Did the explainers find what was planted?"
    place: ClassVar[int] = 50

    def render(self, run: Run) -> Section | None:
        """The section; None where no truth is known."""
        frame = having(run.localisation, *_COLUMNS)
        if frame.empty:
            return None
        blocks: list[Block] = [
            Text(
                "The maker of these data knows which bases carry the signal, so the explainers can "
                "be marked. An explainer can only find what the model uses: a low mark may be the "
                "model's fault, so read it beside the model's quality."
            ),
            Text(" ".join(localisation_sentences(run))),
        ]
        blocks.append(_figure(frame))
        blocks.append(_table(frame))
        return Section(self.title, tuple(blocks))


def _figure(frame: pd.DataFrame) -> Figure:
    several = frame["model"].nunique() > 1
    parts = []
    for said, rows in groups(frame, ("metric",)):
        metric = said["metric"]
        drawn = [
            Row(
                f"{row.model} / {row.explainer}" if several else str(row.explainer),
                (Dot(row.value, row.low, row.high, _tone(row)),),
                row.chance,
                estimate(row.value, row.low, row.high),
            )
            for row in rows_of(rows)
        ]
        parts.append(
            Markup('<div class="panel"><h4>{}</h4>{}</div>').format(_name(metric), intervals(drawn))
        )
    shown = listing(_name(str(metric)) for metric in frame["metric"].unique())
    return Figure(
        "",
        Markup('<div class="panels">{}</div>').format(Markup("").join(parts)),
        f"Dots with intervals for {shown}, one row per explainer, beside chance. "
        "The table below holds the same numbers.",
        "Planted truth found by each explainer. A dot is the mean over records, its line the 95 % "
        "interval, the short upright bar what a random order of the bases would give; an "
        "explainer whose line does not clear that bar is drawn in grey.",
    )


def _table(frame: pd.DataFrame) -> Table:
    """One column per measure; the last row of each model is chance."""
    metrics = [str(metric) for metric in frame["metric"].unique()]
    rows: list[tuple[str, ...]] = []
    for said, own in groups(frame, ("model",)):
        chances = {row.metric: number(row.chance) for row in rows_of(own)}
        for named, of_explainer in groups(own, ("explainer",)):
            cells = {
                row.metric: estimate(row.value, row.low, row.high) for row in rows_of(of_explainer)
            }
            records = quantity(of_explainer["n"].max())
            rows.append((named["explainer"], said["model"], records, *_in_order(cells, metrics)))
        rows.append(("chance", said["model"], "", *_in_order(chances, metrics)))
    columns = ("Explainer", "Model", "Records", *map(_name, metrics))
    if frame["model"].nunique() == 1:
        columns, rows = _without(columns, 1), [_without(row, 1) for row in rows]
    meanings = "; ".join(_MEANING[metric] for metric in metrics if metric in _MEANING)
    return Table(
        "One row per model and explainer, mean over records with its 95 % interval; the row of "
        f"chance is what a random order of the bases gives. {meanings}.",
        columns,
        rows,
    )


def _without(row: tuple[str, ...], i: int) -> tuple[str, ...]:
    return row[:i] + row[i + 1 :]


def _in_order(cells: dict[str, str], metrics: list[str]) -> list[str]:
    return [cells.get(metric, NONE) for metric in metrics]
