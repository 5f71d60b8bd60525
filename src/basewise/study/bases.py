"""The tables of a run whose models label bases.

Each is of the test split; thresholds are chosen on dev. What is measured is measured on bases,
whatever a model's tokens, so that models, published calls and other sets of labels stand in one
table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from basewise.biology.repeats import REPEATS, repeats_in_genome, repeats_in_regions
from basewise.evaluate.base_calls import MOVES, labels_of, moved_labels, read_calls
from basewise.evaluate.base_tokens import token_outcomes
from basewise.evaluate.bases import (
    BaseScores,
    base_metrics,
    base_scores,
    calibration,
    choose_threshold,
    precision_recall,
    region_metrics,
)
from basewise.evaluate.ranking import RANKING, rank_tokens
from basewise.evaluate.token_scores import TOKEN_RATIOS, token_ratios
from basewise.study.comparisons import K, words
from basewise.tokenize.labelling import Labelling, runs
from basewise.train.base_baseline import BaseKmers
from basewise.types import Bools, Floats, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model
    from basewise.study.study import Bases

__all__ = ["BASELINE", "TABLES", "of_regions", "tables"]

BASELINE = "7-mer baseline"
LEAST = 20
"""Occurrences of a token, or k-mer, that is ranked."""

TABLES: Mapping[str, tuple[str, ...]] = {
    "metrics/bases": (
        "model",
        "kind",
        "split",
        "at",
        "threshold",
        "metric",
        "value",
        "low",
        "high",
        "n",
    ),
    "metrics/base_calibration": (
        "model",
        "low",
        "high",
        "n",
        "probability",
        "share",
        "share_low",
        "share_high",
        "error",
    ),
    "metrics/base_curves": ("model", "kind", "recall", "precision"),
    "metrics/base_repeats": REPEATS,
    "rankings/base_tokens": ("model", "by", *TOKEN_RATIOS),
    "rankings/base_kmers": ("method", *RANKING),
    "predictions/base_calls": ("name", "kind", "record_id", "start", "end"),
}
"""Tables and their columns. `kind` is `model`, `baseline`, `published` (calls of others), `labels`
(another set of them) or `moved` (the labels themselves, moved by a base); `at` the prevalence:
`windows`, as counted, or `genome`, projected to that of the study."""

Progress = Callable[[int, int, str], None]


class _Judged(NamedTuple):
    """One thing that says of every base whether it has the label."""

    name: str
    kind: str
    found: BaseScores
    threshold: float
    split: str = "test"


@dataclass(frozen=True, eq=False)
class _Predicted:
    """What one model gives the bases of dev and test, (b,) each, and from where on it calls."""

    dev: list[Floats]
    test: list[Floats]
    threshold: float

    @property
    def called(self) -> list[Bools]:
        return [found >= self.threshold for found in self.test]


def of_regions(model: Model, records: Sequence[Record], target: Target) -> pd.DataFrame:
    """What a model predicts of the regions that are explained, as of sequences.

    `record_id, split, label, predicted` and `p:<label>`: the mean of each label over the bases
    of the record's truth (of all, where nothing in it has the label).
    """
    from basewise.study.measures import predictions

    scores = np.empty((len(records), len(model.labels)))
    truth = labels_of(records, target.label)
    for row, found, inside in zip(scores, model.predict_bases(records), truth, strict=True):
        row[:] = found[inside].mean(0) if inside.any() else found.mean(0)
    return predictions(model.labels, "test", records, scores)


def tables(
    models: Mapping[str, Model],
    thresholds: Mapping[str, float],
    records: Mapping[str, Sequence[Record]],
    settings: Bases,
    label: str,
    root: Path | None,
    seed: int,
    progress: Progress,
) -> tuple[dict[str, pd.DataFrame], dict[str, list[Floats]]]:
    """Every table of `TABLES`, and what each model gives each base of test.

    Parameters
    ----------
    models : mapping of str to Model
        Those that label bases.
    thresholds : mapping of str to float
        From which probability on each calls a base, chosen on dev.
    records : mapping
        By split.
    root : Path or None
        The folder that the paths of published calls are relative to.
    """
    dev, test = records["dev"], records["test"]
    progress(0, len(models) + 2, BASELINE)
    baseline = BaseKmers().fit(records["train"], label)
    chosen = choose_threshold(base_scores(dev, label, baseline.predict_label(dev)))
    own = _Predicted([], baseline.predict_label(test), chosen)
    predicted: dict[str, _Predicted] = {}
    for i, (name, model) in enumerate(models.items(), 1):
        progress(i, len(models) + 2, name)
        at = model.labels.index(label)
        on_dev, on_test = (
            [each[:, at] for each in model.predict_bases(some)] for some in (dev, test)
        )
        predicted[name] = _Predicted(on_dev, on_test, thresholds[name])
    progress(len(models) + 1, len(models) + 2, "metrics")
    calls = _calls(settings, test, root)
    truth = labels_of(test, label)
    judged = [
        *(_Judged(name, "model", *_scored(test, each, label)) for name, each in predicted.items()),
        _Judged(BASELINE, "baseline", *_scored(test, own, label)),
        *(
            _Judged(name, kind, base_scores(test, label, called), 0.5)
            for (name, kind), called in calls.items()
        ),
        *(
            _Judged(name, "moved", base_scores(test, label, moved_labels(test, label, by)), 0.5)
            for name, by in MOVES.items()
        ),
    ]
    judged_on_dev = [
        _Judged(name, "model", base_scores(dev, label, each.dev), each.threshold, "dev")
        for name, each in predicted.items()
    ]
    scored = [each for each in judged if each.kind in ("model", "baseline")]
    regions = {("labels", "labels"): truth}
    regions |= {(name, "model"): each.called for name, each in predicted.items()}
    tokens = _tokens(models, predicted, test, truth)
    found = {
        "metrics/bases": pd.concat(
            [_metrics(each, settings.prevalence, seed) for each in [*judged, *judged_on_dev]]
        ),
        "metrics/base_calibration": pd.concat([_calibrated(each) for each in scored]),
        "metrics/base_curves": pd.concat([_curve(each) for each in scored]),
        "metrics/base_repeats": _repeats(regions | calls, settings, test, root, seed),
        "rankings/base_tokens": tokens,
        "rankings/base_kmers": _ranked(tokens, seed),
        "predictions/base_calls": _intervals(regions | calls, test),
    }
    ordered = {
        name: frame[list(TABLES[name])].reset_index(drop=True) for name, frame in found.items()
    }
    return ordered, {name: each.test for name, each in predicted.items()}


def _scored(test: Sequence[Record], predicted: _Predicted, label: str) -> tuple[BaseScores, float]:
    return base_scores(test, label, predicted.test), predicted.threshold


def _calls(
    settings: Bases, test: Sequence[Record], root: Path | None
) -> dict[tuple[str, str], list[Bools]]:
    """Calls of others and other labels, by name and kind."""
    found = {}
    for name, path in settings.files(root).items():
        kind = "published" if name in settings.published else "labels"
        found[name, kind] = read_calls(path, test)
    return found


def _metrics(judged: _Judged, prevalence: float | None, seed: int) -> pd.DataFrame:
    """Metrics of bases at both prevalences, and of regions."""
    found, threshold = judged.found, judged.threshold
    rows = []
    for at, share in (("windows", None), ("genome", prevalence)):
        if at == "genome" and share is None:
            continue
        rng = np.random.default_rng([seed, 2])
        told = base_metrics(found, threshold, prevalence=share, rng=rng)
        if at == "windows":
            told |= region_metrics(found, threshold, rng=rng)
        rows += [{"at": at, "metric": name} | each._asdict() for name, each in told.items()]
    about = {"model": judged.name, "kind": judged.kind, "split": judged.split}
    return pd.DataFrame(rows).assign(**about, threshold=threshold)


def _calibrated(judged: _Judged) -> pd.DataFrame:
    found = calibration(judged.found)
    return found.bins.assign(model=judged.name, error=found.error)


def _curve(judged: _Judged) -> pd.DataFrame:
    recall, precision = precision_recall(judged.found)
    curve = {"recall": recall, "precision": precision}
    return pd.DataFrame(curve).assign(model=judged.name, kind=judged.kind)


def _repeats(
    regions: Mapping[tuple[str, str], list[Bools]],
    settings: Bases,
    test: Sequence[Record],
    root: Path | None,
    seed: int,
) -> pd.DataFrame:
    if not settings.repeats:
        return pd.DataFrame(columns=list(REPEATS))
    named = {name: inside for (name, _), inside in regions.items()}
    parts = [repeats_in_regions(test, named, settings.repeats, seed=seed)]
    if settings.genome:
        genome = settings.genome_files(root)
        parts.append(repeats_in_genome(test, named, settings.repeats, genome, seed=seed))
    return pd.concat(parts, ignore_index=True)


def _tokens(
    models: Mapping[str, Model],
    predicted: Mapping[str, _Predicted],
    test: Sequence[Record],
    truth: list[Bools],
) -> pd.DataFrame:
    """True-positive ratios of every model's tokens, and of k-mers, which all have in common."""
    parts = []
    for name, model in models.items():
        own = predicted[name]
        split = words(model.tokenizer)
        for by, text, labelling in (
            ("token", split, model.labelling),
            ("kmer", K, Labelling(threshold=model.labelling.threshold)),
        ):
            frame = token_outcomes(test, truth, own.called, own.test, text, labelling)
            ratios = token_ratios(frame, "token" if by == "token" else "kmer")
            often = ratios[ratios["count"] >= LEAST]
            parts.append(often.assign(model=name, by=by))
    return pd.concat(parts)


def _ranked(tokens: pd.DataFrame, seed: int) -> pd.DataFrame:
    """k-mers of both strands over all models: as published, and by rank.

    As published is the mean over models of how far a true-positive ratio is from the mean of its
    model; the others rank the same ratios.
    """
    ratios = {
        str(name): rows.rename(columns={"ratio": "score"})[["token", "score", "count"]]
        for name, rows in tokens[tokens["by"] == "kmer"].groupby("model", sort=False)
    }
    parts = [pd.DataFrame(columns=["method", *RANKING])]
    if not ratios:  # nothing occurs often enough
        return parts[0]
    lead = next(iter(ratios))
    ways: dict[str, dict[str, Any]] = {
        name: {} for name in ("borda", "reciprocal_rank", "robust_rank")
    }
    if all(table["score"].any() for table in ratios.values()):
        ways["mean_deviation"] = {"lead": lead}
    for method, more in ways.items():
        ranking = rank_tokens(ratios, method, seed=seed, **more)
        parts.append(ranking.table[list(RANKING)].assign(method=method))
    return pd.concat(parts[1:])


def _intervals(
    called: Mapping[tuple[str, str], list[Bools]], test: Sequence[Record]
) -> pd.DataFrame:
    """Stretches of every record that are labelled or called, by whom."""
    return pd.DataFrame(
        _each_interval(called, test), columns=list(TABLES["predictions/base_calls"])
    )


def _each_interval(
    called: Mapping[tuple[str, str], list[Bools]], test: Sequence[Record]
) -> Iterator[tuple[str, str, str, int, int]]:
    for (name, kind), flags in called.items():
        for record, own in zip(test, flags, strict=True):
            for start, end in runs(own).tolist():
                yield name, kind, record.id, start, end
