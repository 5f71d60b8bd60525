"""How well models label bases, beside published calls and other labels on the same bases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from markupsafe import Markup

from basewise.picture.tracks import Numbers, Stretches, tracks
from basewise.picture.words import (
    NONE,
    counted,
    estimate,
    listing,
    number,
    p_value,
    percent,
    quantity,
)
from basewise.registry import component
from basewise.report.blocks import Block, Callout, Details, Figure, Section, SubHeading, Table, Text
from basewise.report.draw import Dot, Line, Row, intervals, legend, square
from basewise.report.frames import groups, having, rows_of
from basewise.report.quality import metric_name
from basewise.study.results import Run

__all__ = ["Bases", "base_sentences"]

_COLUMNS = ("model", "kind", "split", "at", "threshold", "metric", "value", "low", "high", "n")
_SHOWN = ("f1", "mcc", "precision", "recall", "auprc")
_KINDS = {
    "model": "model",
    "baseline": "baseline",
    "published": "published calls",
    "labels": "other labels",
    "moved": "the labels, moved",
}
_TONES = {"model": "model", "published": "down", "baseline": "baseline"}
_REGIONS = ("region_f1", "F1 of regions")
_TOP = 8
_BACKGROUNDS = {"windows": "these windows", "genome": "the genome"}


def _judged(run: Run) -> pd.DataFrame:
    frame = having(run.bases("bases"), *_COLUMNS)
    return frame if frame.empty else frame[frame["split"] == "test"]


def base_sentences(run: Run) -> list[str]:
    """What the best model reaches, beside the best published calls, here and in the genome."""
    frame = _judged(run)
    if frame.empty:
        return []
    here = frame[frame["at"] == "windows"].set_index(["model", "metric"])
    f1 = frame[(frame["at"] == "windows") & (frame["metric"] == "f1")]
    models = f1[f1["kind"] == "model"].sort_values("value", ascending=False)
    best: Any = models.iloc[0]
    label = run.lock["target"]["label"]
    said = (
        f"Of {quantity(int(best['n']))} bases in {counted(len(run.records('test')), 'test window')}"
        f", {percent(here.loc[(best['model'], 'prevalence'), 'value'])} are {label}. "
        f"{best['model']} labels them with F1 {_told(best)}"
    )
    said += f", {percent(here.loc[(best['model'], 'recall'), 'value'])} of them found"
    others = f1[f1["kind"] == "published"].sort_values("value", ascending=False)
    if len(others):
        listed = listing(f"{row.model} {number(row.value)}" for row in rows_of(others))
        said += f"; the published calls on the same bases reach {listed}"
    found = [f"{said}."]
    genome = frame[(frame["at"] == "genome") & (frame["model"] == best["model"])]
    genome = genome.set_index("metric")
    if len(genome):
        found.append(
            "These windows were chosen for holding the label. At its share of the genome, "
            f"{percent(genome.loc['prevalence', 'value'])}, the same rates of true and false calls "
            f"give {best['model']} F1 {number(genome.loc['f1', 'value'])}: of the bases it calls "
            f"there, {percent(genome.loc['precision', 'value'])} have the label."
        )
    return found


def _told(row: Any) -> str:
    return estimate(row["value"], row["low"], row["high"])


@component
class Bases:
    """Labels of bases: metrics, curves, calibration, one window, tokens and repeats."""

    title: ClassVar[str] = "How well are the bases labelled?"
    place: ClassVar[int] = 25
    rare: ClassVar[bool] = True  # most runs have no such models, which is no lack

    def render(self, run: Run) -> Section | None:
        """The section; None where no model labels bases."""
        frame = _judged(run)
        if frame.empty:
            return None
        here = frame[frame["at"] == "windows"]
        blocks: list[Block] = [Text(said) for said in base_sentences(run)]
        blocks += [*_subsets(run, here), *_poor(here)]
        blocks += [_figure(here), *_tables(frame)]
        blocks += _ceiling(here)
        blocks += _curves(run, here)
        blocks += _window(run)
        blocks += _tokens(run)
        blocks += _repeats(run)
        return Section(self.title, tuple(blocks))


def _poor(here: pd.DataFrame) -> list[Block]:
    """Models that are not shown to be better than counting k-mers."""
    auprc = here[here["metric"] == "auprc"]
    baselines = rows_of(auprc[auprc["kind"] == "baseline"])
    found: list[Block] = []
    for row in rows_of(auprc[auprc["kind"] == "model"]):
        for baseline in baselines:
            if row.low > baseline.high:
                continue
            said = (
                f"AUPRC {estimate(row.value, row.low, row.high)}, the {baseline.model} "
                f"{estimate(baseline.value, baseline.low, baseline.high)}: its attributions "
                "explain a model that has shown no use for more than the words around a base."
            )
            title = f"{row.model} is not shown to be better than counting k-mers around a base."
            found.append(Callout("warning", title, (said,)))
    return found


def _subsets(run: Run, here: pd.DataFrame) -> list[Block]:
    """Calls that hold every labelled base."""
    label = run.lock["target"]["label"]
    recall = here[(here["metric"] == "recall") & here["kind"].isin(["published", "labels"])]
    return [
        Callout(
            "warning",
            f"The labels are a subset of what {row.model} calls.",
            (
                f"Every {label} base of these windows is among its calls: a recall of 1 says how "
                "the labels came about, or were filtered, and nothing of how good it is. A model "
                f"that learns from these labels learns in part what {row.model} computes.",
            ),
        )
        for row in rows_of(recall)
        if row.kind == "published" and row.value == 1
    ]


def _figure(here: pd.DataFrame) -> Figure:
    parts = []
    for metric in _SHOWN:
        drawn = [
            Row(
                row.model,
                (Dot(row.value, row.low, row.high, _TONES.get(row.kind, "muted")),),
                said=estimate(row.value, row.low, row.high),
            )
            for row in rows_of(here[here["metric"] == metric])
            if not (metric == "auprc" and row.kind not in ("model", "baseline"))
        ]
        parts.append(
            Markup('<div class="panel"><h4>{}</h4>{}</div>').format(
                metric_name(metric), intervals(drawn)
            )
        )
    return Figure(
        "",
        Markup('<div class="panels">{}</div>').format(Markup("").join(parts)),
        f"Dots with intervals for {listing(map(metric_name, _SHOWN))} per base on the test "
        "windows, one row for each model, published call and set of labels. The table holds the "
        "same numbers.",
        "Quality per base on the test windows. A dot is the value, its line the 95 % bootstrap "
        "interval over windows. Models and the baseline call from the threshold on that was best "
        "on dev; published calls and other labels are as they were published. Blue are "
        "models, orange published calls, grey labels: another set of them, or these moved by a "
        "base.",
    )


def _tables(frame: pd.DataFrame) -> list[Table]:
    """The metrics of the windows; and those of the genome, where its prevalence is known."""
    share = {
        str(at): percent(float(own.loc[own["metric"] == "prevalence", "value"].iloc[0]))
        for at, own in frame.groupby("at", sort=False)
    }
    of_windows = [*((metric, metric_name(metric)) for metric in _SHOWN), _REGIONS]
    found = [
        Table(
            f"On the test windows, of whose bases {share['windows']} have the label. One row per "
            "model, baseline, published call and set of labels, measured on the same bases; 95 % "
            "intervals in brackets. A region counts as found where one of its bases is called.",
            ("What", *(title for _, title in of_windows)),
            _cells(frame, "windows", [metric for metric, _ in of_windows]),
        )
    ]
    if "genome" in share:
        of_genome = [name for name in _SHOWN if name != "recall"]
        found.append(
            Table(
                f"In the genome, of whose bases {share['genome']} have the label: the same rates "
                "of true and false calls, at that prevalence. Recall is as above. Models and "
                "baseline call from their threshold on.",
                ("What", "Threshold", *map(metric_name, of_genome)),
                _cells(frame, "genome", of_genome, threshold=True),
            )
        )
    return found


def _cells(
    frame: pd.DataFrame, at: str, metrics: Sequence[str], threshold: bool = False
) -> list[tuple[str, ...]]:
    rows = []
    for said, own in groups(frame[frame["at"] == at], ("model", "kind")):
        cells = {row.metric: row for row in rows_of(own)}
        of_calls = said["kind"] not in ("model", "baseline")
        shown = []
        for name in metrics:
            row = cells.get(name)
            if row is None or (of_calls and name == "auprc"):
                shown.append(NONE)
            else:
                shown.append(estimate(row.value, row.low, row.high))
        if threshold:
            shown.insert(0, NONE if of_calls else number(float(own["threshold"].iloc[0])))
        kind = f" ({_KINDS[said['kind']]})" if said["kind"] in ("published", "labels") else ""
        rows.append((f"{said['model']}{kind}", *shown))
    return rows


def _ceiling(here: pd.DataFrame) -> list[Block]:
    """What the labels themselves reach when they are moved by one base."""
    f1 = here[(here["metric"] == "f1") & (here["kind"] == "moved")]
    if f1.empty:
        return []
    listed = listing(f"{row.model} {number(row.value)}" for row in rows_of(f1))
    return [
        Text(
            f"How exact labels are sets a ceiling: held against themselves, F1 is {listed}. A "
            "model that is off by a base at every edge cannot do better than that."
        )
    ]


def _curves(run: Run, here: pd.DataFrame) -> list[Block]:
    curves = having(run.bases("base_curves"), "model", "kind", "recall", "precision")
    bins = having(run.bases("base_calibration"), "model", "probability", "share", "error")
    if curves.empty or bins.empty:
        return []
    lines = [
        Line(said["model"], own["recall"].to_numpy(float), own["precision"].to_numpy(float))
        for said, own in groups(curves, ("model",))
    ]
    for said, own in groups(here[here["kind"] == "published"], ("model",)):
        values = own.set_index("metric")["value"]
        recall, precision = (values[[name]].to_numpy(float) for name in ("recall", "precision"))
        lines.append(Line(said["model"], recall, precision, True))
    errors, calibrated = [], []
    for said, own in groups(bins, ("model",)):
        place = own["probability"].to_numpy(float), own["share"].to_numpy(float)
        calibrated.append(Line(said["model"], *place, True))
        errors.append(f"{said['model']} {number(float(own['error'].iloc[0]))}")
    panels = (
        ("Precision and recall", square(lines, "recall", "precision"), lines),
        (
            "Calibration",
            square(calibrated, "mean probability", "share of labelled bases", diagonal=True),
            calibrated,
        ),
    )
    drawing = Markup("").join(
        Markup('<div class="panel"><h4>{}</h4>{}{}</div>').format(
            title, legend([line.name for line in own]), picture
        )
        for title, picture, own in panels
    )
    return [
        Figure(
            "",
            Markup('<div class="panels wide">{}</div>').format(drawing),
            "Precision over recall for each model, with a point for each published call; and the "
            f"share of labelled bases over predicted probability. Calibration errors: "
            f"{listing(errors)}.",
            "Left: precision and recall at every threshold, per base, at the prevalence of the "
            "windows; circles are published calls. Right: of the bases with a probability, how "
            "many have the label, in ten bins; on the dotted line probabilities are shares. Mean "
            f"distance from it: {listing(errors)}.",
        )
    ]


def _window(run: Run) -> list[Block]:
    """The test window with most labelled bases, as tracks."""
    records = [r for r in run.records("test") if r.truth]
    calls = having(run.bases("base_calls"), "name", "kind", "record_id", "start", "end")
    if not records or calls.empty:
        return []
    label = run.lock["target"]["label"]
    record = max(records, key=lambda r: sum(s.end - s.start for s in r.truth if s.name == label))
    own = calls[calls["record_id"] == record.id]
    lanes: list[Numbers | Stretches] = []
    for name in dict.fromkeys(calls.loc[calls["kind"].isin(["labels", "published"]), "name"]):
        rows = own[own["name"] == name]
        spans = list(zip(rows["start"].tolist(), rows["end"].tolist(), strict=True))
        shown = label if name == "labels" else str(name)
        lanes.append(Stretches(shown, [(a, b, "") for a, b in spans]))
    for model in run.models:
        found = run.base_predictions(model)
        if found.empty:
            continue
        values = found.set_index("record_id").loc[record.id, "probability"]
        lanes.append(Numbers(model, np.asarray(values, float), f"probability of {label}"))
    where = str(record.locus or record.id)
    return [
        Figure(
            "One window",
            tracks(0, len(record.sequence), lanes),
            f"Tracks of the window {where}: the labels, the published calls, and each model's "
            "probability at every base.",
            f"The test window with most labelled bases, {where}. Boxes are labelled or called "
            "stretches, heights the probability that each model gives every base.",
            least_width=760,
        )
    ]


def _tokens(run: Run) -> list[Block]:
    """True-positive ratios of k-mers, and the ranking over models."""
    ratios = having(run.bases("base_tokens"), "model", "by", "token", "ratio", "ppv", "log_odds")
    ranked = having(run.bases("base_kmers"), "method", "rank", "token")
    if ratios.empty:
        return []
    blocks: list[Block] = [
        SubHeading("Which words are labelled?"),
        Text(
            "A true-positive ratio is the share of a word's occurrences that are labelled and "
            "called. It describes the data and their labels as much as the model: a word that is "
            "labelled wherever it stands has a high one whatever it does by itself."
        ),
    ]
    if not ranked.empty:
        first = []
        for said, own in groups(ranked, ("method",)):
            best = own.sort_values("rank").head(_TOP)["token"]
            first.append((said["method"].replace("_", " "), ", ".join(map(str, best))))
        blocks.append(
            Table(
                "k-mers of both strands, ranked by their ratios over all models: by rank, and by "
                "the mean deviation as it was published.",
                ("Ranking", "First"),
                first,
            )
        )
    tables: list[Block] = []
    for said, own in groups(ratios, ("model", "by")):
        rows = [
            (
                row.token,
                quantity(row.occurrences),
                estimate(row.ratio, row.low, row.high),
                number(row.ppv),
                number(row.log_odds),
                p_value(row.q, ""),
            )
            for row in rows_of(own.head(_TOP).rename(columns={"count": "occurrences"}))
        ]
        words = "tokens" if said["by"] == "token" else "k-mers of both strands"
        tables.append(
            Table(
                f"{said['model']}: the {words} with the highest ratios.",
                ("Word", "Occurrences", "True-positive ratio", "PPV", "Log odds", "q"),
                rows,
            )
        )
    blocks.append(Details("Words of every model", tuple(tables)))
    return blocks


def _repeats(run: Run) -> list[Block]:
    found = having(run.bases("base_repeats"), "of", "background", "family", "enrichment", "q")
    if found.empty:
        return []
    of_models = found["of"].isin(run.models)
    return [
        SubHeading("Dinucleotide repeats"),
        *_repeat_tables(found[~of_models], "labelled, or called by others,"),
        Text(_everywhere(found)),
        Details(
            "Repeats in what the models call",
            tuple(_repeat_tables(found[of_models], "called by the models")),
        ),
    ]


def _repeat_tables(found: pd.DataFrame, what: str) -> list[Block]:
    """One table for each background."""
    tables: list[Block] = []
    for said, own in groups(found, ("background",)):
        rows = [
            (
                f"({row.family})n",
                "the labels" if row.of == "labels" else row.of,
                quantity(row.regions),
                f"{percent(row.share)} ({percent(row.share_low)} to {percent(row.share_high)})",
                f"{percent(row.expected)} ({percent(row.low)} to {percent(row.high)})",
                number(row.enrichment),
                p_value(row.q, ""),
            )
            for row in rows_of(own.sort_values("family", kind="stable"))
        ]
        tables.append(
            Table(
                f"How much of the bases of the test windows that are {what} lies in runs of at "
                "least eight bases of a family of repeats, on either strand, with the bootstrap "
                "interval over regions. Expected: the same regions put at random on other "
                "stretches of the same length and number of G and C, in "
                f"{_BACKGROUNDS[said['background']]}; with 95 % of the draws.",
                ("Family", "Regions of", "Regions", "Share", "Expected", "Ratio", "q"),
                rows,
            )
        )
    return tables


def _everywhere(found: pd.DataFrame) -> str:
    """How much of all bases is such runs, by background."""
    said = []
    for about, own in groups(found, ("background", "family")):
        row = rows_of(own)[0]
        shuffled = row.in_shuffles
        more = "" if np.isnan(shuffled) else f" (of their shuffles {percent(shuffled)})"
        where = _BACKGROUNDS[about["background"]]
        said.append(f"({row.family})n {percent(row.in_background)} of {where}{more}")
    return f"Of all bases, runs are: {listing(said)}."
