"""How good the models are, beside the baseline that only counts k-mers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
from markupsafe import Markup

from basewise.picture.words import NONE, counted, duration, estimate, listing, number, quantity
from basewise.registry import component
from basewise.report.blocks import Block, Callout, Details, Figure, Section, SubHeading, Table, Text
from basewise.report.draw import Dot, Row, intervals
from basewise.report.frames import having, rows_of
from basewise.study.results import Run

__all__ = ["Quality", "Verdict", "metric_name", "verdict_sentences", "verdicts"]

LEADING = ("mcc", "auprc", "auroc", "f1", "accuracy")
_COLUMNS = ("model", "kind", "split", "metric", "value", "low", "high", "n")
_TONE = {"baseline": "baseline"}
_SHORT = {"mcc": "MCC", "auprc": "AUPRC", "auroc": "AUROC", "f1": "F1"}
_GUESSING = {"MCC": 0.0, "AUROC": 0.5}
_ARCHITECTURES = {
    "basewise-cnn": "convolutions",
    "basewise-cnn-lstm": "convolutions, LSTM",
    "basewise-dnabert2": "DNABERT-2",
    "basewise-gena": "GENA-LM",
    "basewise-hyenadna": "HyenaDNA",
    "basewise-nucleotide-transformer": "Nucleotide Transformer",
    "bert": "BERT",
    "esm": "ESM",
}
_TOKENIZERS = {
    "bpe": "byte pairs",
    "kmer": "k-mers",
    "nucleotide": "bases",
    "nucleotide_transformer": "6-mers",
}
_MEANING = {
    "accuracy": "share of predictions that are right",
    "mcc": "correlation of prediction and label: 0 is guessing, 1 is perfect",
    "f1": "harmonic mean of precision and recall",
    "precision": "share of predicted positives that are positive",
    "recall": "share of positives that are found",
    "auroc": "how often a random positive ranks above a random negative: 0.5 is guessing",
    "auprc": "precision averaged over recall: guessing gives the share of positives",
}


def metric_name(metric: str) -> str:
    """A metric as it is written in text."""
    return _SHORT.get(metric, metric.replace("_", " "))


_SAID = {  # of one model, of several
    "guessing": (
        "is not shown to be better than guessing, which gives {} {}: its attributions explain "
        "nothing about the classes.",
        "are not shown to be better than guessing, which gives {} {}: their attributions explain "
        "nothing about the classes.",
    ),
    "alone": (
        "has no baseline beside it: k-mer counts alone may do as well.",
        "have no baseline beside them: k-mer counts alone may do as well.",
    ),
    "better": (
        "is better than counting k-mers: the two intervals do not overlap.",
        "are better than counting k-mers: no interval overlaps the baseline's.",
    ),
    "uncertain": (
        "is not shown to be better than counting k-mers: the two intervals overlap, so what it "
        "learned beyond k-mer content is uncertain.",
        "are not shown to be better than counting k-mers: their intervals overlap the baseline's, "
        "so what they learned beyond k-mer content is uncertain.",
    ),
    "worse": (
        "is not better than counting k-mers: its attributions explain a model that has shown no "
        "use for where the letters stand.",
        "are not better than counting k-mers: their attributions explain models that have shown "
        "no use for where the letters stand.",
    ),
}


@dataclass(frozen=True)
class Verdict:
    """One model beside the best baseline, on the metric that leads.

    Attributes
    ----------
    model, metric : str
    kind : str
        `better` than the baseline, by intervals that do not overlap; `uncertain` or `worse` where
        they do; no better than `guessing`; `alone` without a baseline.
    judged : str
        What the model was measured on, counted.
    value, against, baseline : str
        The number with its interval, the baseline's, and what that is called.
    size : float
        The value, to compare models by.
    """

    model: str
    metric: str
    kind: str
    judged: str
    value: str
    against: str
    baseline: str
    size: float

    @property
    def better(self) -> bool | None:
        """Whether the model is shown to be better than guessing and the baseline, if any."""
        return None if self.kind == "alone" else self.kind == "better"

    @property
    def sentence(self) -> str:
        """What the two numbers mean for the model."""
        return f"The model {self.model} {self._said(0)}"

    @property
    def numbers(self) -> str:
        """What was measured."""
        return f"On {self.judged} it reaches {self.metric} {self.value}{self._beside}."

    @property
    def _beside(self) -> str:
        return f", the {self.baseline} {self.against}" if self.against else ""

    def _said(self, of: int) -> str:
        return _SAID[self.kind][of].format(self.metric, number(_GUESSING.get(self.metric, 0.0)))


def verdict_sentences(found: Sequence[Verdict]) -> list[str]:
    """A sentence for one or two models each, and for more of them one for all it holds of."""
    if len(found) < 3:
        return [f"{v.sentence} {v.numbers}" for v in found]
    said = []
    for kind in dict.fromkeys(v.kind for v in found):
        first, *others = alike = sorted((v for v in found if v.kind == kind), key=lambda v: -v.size)
        if not others:
            said.append(f"{first.sentence} {first.numbers}")
            continue
        each = [f"{first.model} reaches {first.metric} {first.value}"]
        each += [f"{v.model} {v.value}" for v in others]
        said.append(
            f"The models {listing(v.model for v in alike)} {first._said(1)} On {first.judged} "
            f"{listing(each)}{first._beside}."
        )
    return said


def judged(run: Run) -> tuple[str, pd.DataFrame]:
    """The split that counts (test, where there is one) and its rows of the metrics."""
    frame = having(run.model_metrics, *_COLUMNS)
    if frame.empty:
        return "", frame
    split = "test" if "test" in set(frame["split"]) else str(frame["split"].iloc[-1])
    return split, frame[frame["split"] == split]


def verdicts(run: Run) -> list[Verdict]:
    """Every model beside the best baseline; models that are not better come first."""
    split, frame = judged(run)
    if frame.empty:
        return []
    known = list(dict.fromkeys(frame["metric"]))
    metric = next((m for m in LEADING if m in known), known[0])
    rows = frame[frame["metric"] == metric]
    baselines = rows[rows["kind"] == "baseline"].sort_values("value")
    baseline = None if baselines.empty else baselines.iloc[-1]
    found = [_verdict(row, baseline, metric, split) for _, row in _models(rows).iterrows()]
    return sorted(found, key=lambda verdict: verdict.better is not False)


def _models(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["kind"] != "baseline"]


def _verdict(row: Any, baseline: Any, metric: str, split: str) -> Verdict:
    against = who = ""
    if baseline is not None:
        against = estimate(baseline.value, baseline.low, baseline.high)
        who = baseline.model if "baseline" in baseline.model else f"baseline {baseline.model}"
    if not row.low > _GUESSING.get(metric_name(metric), -math.inf):
        kind = "guessing"
    elif baseline is None:
        kind = "alone"
    elif row.low > baseline.high:
        kind = "better"
    else:
        kind = "uncertain" if row.value > baseline.value else "worse"
    return Verdict(
        row.model,
        metric_name(metric),
        kind,
        counted(int(row.n), f"{split} sequence"),
        estimate(row.value, row.low, row.high),
        against,
        who,
        float(row.value),
    )


@component
class Quality:
    """The models beside the k-mer baseline, and what they confuse."""

    title: ClassVar[str] = "How good is the model?"
    place: ClassVar[int] = 20

    def render(self, run: Run) -> Section | None:
        """The section; None before the models are judged."""
        split, frame = judged(run)
        if frame.empty:
            return None
        metrics = list(dict.fromkeys(frame["metric"]))
        blocks: list[Block] = []
        for verdict in verdicts(run):
            if verdict.better is False:
                blocks.append(Callout("warning", verdict.sentence, (verdict.numbers,)))
            else:
                blocks.append(Text(f"{verdict.sentence} {verdict.numbers}"))
        blocks.append(_figure(frame, metrics, split))
        blocks.append(_table(frame, metrics, split, run.training))
        whole = run.model_metrics
        others = [str(s) for s in dict.fromkeys(whole["split"]) if s != split]
        if others:
            tables = [_table(whole[whole["split"] == s], metrics, s) for s in others]
            blocks.append(Details(f"The same on {listing(others)}", tuple(tables)))
        blocks += _confusion(run, split)
        return Section(self.title, tuple(blocks))


def _figure(frame: pd.DataFrame, metrics: list[str], split: str) -> Figure:
    parts = []
    for metric in metrics:
        rows = [
            Row(
                row.model,
                (Dot(row.value, row.low, row.high, _TONE.get(row.kind, "model")),),
                said=estimate(row.value, row.low, row.high),
            )
            for row in rows_of(frame[frame["metric"] == metric])
        ]
        parts.append(
            Markup('<div class="panel"><h4>{}</h4>{}</div>').format(
                metric_name(metric), intervals(rows)
            )
        )
    lead = frame[frame["metric"] == metrics[0]]
    seen = listing(
        f"{row.model} {metric_name(metrics[0])} {estimate(row.value, row.low, row.high)}"
        for row in rows_of(lead)
    )
    return Figure(
        "",
        Markup('<div class="panels">{}</div>').format(Markup("").join(parts)),
        f"Dots with intervals for {listing(map(metric_name, metrics))} on {split}: {seen}.",
        f"Quality on the {split} sequences. A dot is the value, its line the 95 % bootstrap "
        "interval over sequences; filled dots are models, open dots the baseline. Where the lines "
        "of a model and the baseline overlap, this data set does not tell them apart.",
    )


def _table(
    frame: pd.DataFrame, metrics: list[str], split: str, training: pd.DataFrame | None = None
) -> Table:
    models = list(dict.fromkeys(frame["model"]))
    cells = {
        (row.model, row.metric): estimate(row.value, row.low, row.high) for row in rows_of(frame)
    }
    first = frame.drop_duplicates("model")
    rows = [("Sequences", *map(quantity, first["n"]), "judged")]
    if "parameters" in frame:
        rows.append(("Parameters", *map(quantity, first["parameters"]), "numbers learned"))
    if training is not None and not training.empty:
        rows = _made(first, training) + rows
    rows += [
        (metric_name(m), *(cells.get((model, m), NONE) for model in models), _MEANING.get(m, ""))
        for m in metrics
    ]
    return Table(
        f"Quality on {split}: one row per measure, one column per model or baseline; 95 % "
        "intervals in brackets.",
        ("Measure", *models, "Meaning"),
        rows,
    )


def _made(first: pd.DataFrame, training: pd.DataFrame) -> list[tuple[str, ...]]:
    """Of every column of the table: what the model is, what it reads, how long it learned."""
    known = {row.model: row for row in rows_of(training)}
    cells: list[tuple[str, str, str]] = []
    for row in rows_of(first):
        if about := known.get(row.model):
            said = (_ARCHITECTURES.get(about.architecture, about.architecture), _tokens(about))
            cells.append((*said, duration(about.seconds)))
        else:
            cells.append(("logistic regression" if row.kind == "baseline" else NONE, NONE, NONE))
    devices = listing(dict.fromkeys(training["device"]))
    titles = ("Architecture", "Tokens", "Training")
    meanings = ("", "what it reads; size of the vocabulary", f"time, on {devices}")
    columns = zip(titles, zip(*cells, strict=True), meanings, strict=True)
    return [(title, *column, meaning) for title, column, meaning in columns]


def _tokens(about: Any) -> str:
    if not about.tokenizer:
        return NONE
    return f"{_TOKENIZERS.get(about.tokenizer, about.tokenizer)}, {quantity(about.vocabulary)}"


def _confusion(run: Run, split: str) -> list[Block]:
    blocks: list[Block] = []
    for model in run.models:
        frame = having(run.predictions(model), "split", "label", "predicted")
        if frame.empty:
            continue
        frame = frame[frame["split"] == split].dropna(subset=["label", "predicted"])
        if frame.empty or frame["label"].nunique() > 20:
            continue
        counts = pd.crosstab(frame["label"], frame["predicted"])
        rows = [
            (str(label), *(quantity(n) for n in row), quantity(row.sum()))
            for label, row in counts.iterrows()
        ]
        blocks.append(
            Table(
                f"What {model} confuses on {split}: one row per label, one column per prediction, "
                "each cell a number of sequences.",
                ("Label", *(f"predicted {p}" for p in counts.columns), "all"),
                rows,
            )
        )
    return [SubHeading("What it confuses"), *blocks] if blocks else []
