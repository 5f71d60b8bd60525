"""How good labels of bases are: per base, per region, at a stated prevalence, as probabilities.

Always counted on bases, whatever the tokens, so that models with different tokens compare. F1,
precision, MCC and AUPRC depend on how rare the label is: windows chosen for holding it flatter a
model, so the prevalence stands beside them, and all of them can be projected to another one, at
which the rates of true and false positives are what they were (Saito & Rehmsmeier 2015 on why).
Intervals are percentile bootstraps over records, whose bases are not independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from basewise.errors import ConfigError, DataError, UnknownName
from basewise.stats import Estimate, wilson
from basewise.tokenize.labelling import label_bases
from basewise.train.metrics import Ranked, matthews, ratio
from basewise.types import BACKGROUND, Bools, Floats, Ints, Record

if TYPE_CHECKING:
    import pandas as pd

    from basewise.models.model import Model

__all__ = [
    "BASE_METRICS",
    "REGION_METRICS",
    "BaseScores",
    "Calibration",
    "base_metrics",
    "base_scores",
    "calibration",
    "choose_threshold",
    "precision_recall",
    "predict_label",
    "region_metrics",
]

BASE_METRICS = ("f1", "mcc", "precision", "recall", "auprc", "auroc", "prevalence")
REGION_METRICS = ("region_f1", "region_precision", "region_recall")

_CHUNK = 4_000_000  # numbers in one block of resamples, 32 MB


@dataclass(frozen=True, eq=False)
class BaseScores:
    """The bases of some records, one after the other.

    Attributes
    ----------
    truth : (m,) bool
        Whether a base has the label.
    scores : (m,) float
        How sure a model is that it has: a probability, or 0 and 1 for calls.
    record : (m,) int
        Which record it is of, ascending from 0.
    """

    truth: Bools
    scores: Floats
    record: Ints

    @property
    def prevalence(self) -> float:
        """Share of bases that have the label."""
        return float(self.truth.mean())


class Calibration(NamedTuple):
    """Whether probabilities are shares.

    Attributes
    ----------
    bins : DataFrame
        One row per bin that holds a base: `low`, `high`, `n`, `probability` (mean), `share` of
        bases that have the label, and its Wilson interval `share_low`, `share_high`.
    error : float
        Expected calibration error: the mean of |share - probability| over all bases.
    """

    bins: pd.DataFrame
    error: float


def base_scores(
    records: Sequence[Record], label: str, scores: Sequence[Floats | Bools]
) -> BaseScores:
    """Scores of every base beside the truth of the records.

    Parameters
    ----------
    records : n records
        Their stretches named `label` are the truth.
    scores : n arrays, (b,) each

    Raises
    ------
    UnknownName
        If no record has a stretch named `label`.
    DataError
        If scores and bases are not as many, or a base has no score (NaN).
    """
    names = {span.name for record in records for span in record.truth}
    if label not in names:
        raise UnknownName("label of a base of these records", label, names)
    if len(scores) != len(records):
        raise DataError(f"{len(scores)} arrays of scores for {len(records)} records.")
    for record, own in zip(records, scores, strict=True):
        if np.shape(own) != (len(record.sequence),):
            raise DataError(
                f"Record {record.id!r} has {len(record.sequence)} bases and scores of shape "
                f"{np.shape(own)}; one score per base is needed."
            )
        if np.isnan(own).any():
            at = int(np.isnan(own).argmax())
            raise DataError(f"Record {record.id!r} has no score at base {at}; no token covers it.")
    labels = [BACKGROUND, *sorted(names)]
    truth = [label_bases([record], labels)[0] == labels.index(label) for record in records]
    lengths = [len(own) for own in truth]
    return BaseScores(
        np.concatenate(truth),
        np.concatenate([np.asarray(own, float) for own in scores]),
        np.repeat(np.arange(len(records)), lengths),
    )


def predict_label(model: Model, records: Sequence[Record], label: str) -> BaseScores:
    """What a model gives every base for a label, beside the truth.

    Raises
    ------
    UnknownName
        If the model or the records have no such label.
    CapabilityError
        If the model does not label bases.
    """
    at = model.target(label).index(model.labels)
    return base_scores(records, label, [found[:, at] for found in model.predict_bases(records)])


def choose_threshold(found: BaseScores, metric: Literal["f1", "mcc"] = "f1") -> float:
    """The score from which on (`>=`) a base is called, so that the metric is highest.

    Every distinct score is tried; of equally good ones the highest is taken. To be chosen on
    dev and used on test.

    Raises
    ------
    ConfigError
        If the metric is another one.
    """
    if metric not in ("f1", "mcc"):
        raise ConfigError(f"metric = {metric!r}: one of 'f1' and 'mcc' is needed.")
    order = np.argsort(-found.scores, kind="stable")
    scores, hits = found.scores[order], np.cumsum(found.truth[order])
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    true, called, n = int(hits[-1]), last + 1, len(scores)
    confusion = _confusion(hits[last], called - hits[last], true, n - true)
    value = _counted(confusion)[metric]
    return float(scores[last[int(value.argmax())]])


def base_metrics(
    found: BaseScores,
    threshold: float,
    *,
    prevalence: float | None = None,
    rng: np.random.Generator,
    resamples: int = 200,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """The metrics of calls (`score >= threshold`) and of scores, by name.

    Parameters
    ----------
    threshold : float
        Chosen elsewhere; see `choose_threshold`.
    prevalence : float, optional
        Project to this share of labelled bases: the rates of true and of false positives
        (TPR, FPR) stay at every threshold, so that precision becomes
        `TPR p / (TPR p + FPR (1 - p))`, and so on.
    rng : numpy.random.Generator
        Draws the resamples.
    resamples : int
        Of whole records.

    Returns
    -------
    dict
        `f1`, `mcc`, `precision`, `recall` (0 where nothing is called or true), `auprc` (average
        precision), `auroc` (ties count a half), and the `prevalence` that they are of.

    Raises
    ------
    ConfigError
        If the threshold is not a number from 0 to 1, or the prevalence not between them.
    """
    _check_threshold(threshold)
    if prevalence is not None and not 0 < prevalence < 1:
        raise ConfigError(f"prevalence = {prevalence}: a share between 0 and 1 is needed.")
    called = found.scores >= threshold
    counts = _per_record(found, [called & found.truth, called & ~found.truth, found.truth])
    sizes = np.bincount(found.record, minlength=len(counts))
    ranked = Ranked(found.truth, found.scores)

    def measured(weights: Floats) -> dict[str, Floats]:
        """Metrics, (r,) each, of records weighed by (r, n)."""
        hits, false, true = (weights @ counts).T
        rest = weights @ sizes - true
        of_bases = weights[:, found.record]
        if prevalence is not None:
            up = ratio(np.full(true.shape, prevalence), true, 0.0)
            down = ratio(np.full(rest.shape, 1 - prevalence), rest, 0.0)
            hits, false = hits * up, false * down
            true, rest = true * up, rest * down
            of_bases = of_bases * np.where(found.truth, up[:, None], down[:, None])
        auroc, auprc = ranked(of_bases)
        areas = {"auprc": auprc, "auroc": auroc, "prevalence": ratio(true, true + rest, np.nan)}
        return _counted(_confusion(hits, false, true, rest)) | areas

    value = measured(np.ones((1, len(sizes))))
    drawn = [measured(some) for some in _resamples(len(sizes), len(found.truth), resamples, rng)]
    return _estimates(BASE_METRICS, value, drawn, level, len(found.truth))


def region_metrics(
    found: BaseScores,
    threshold: float,
    *,
    overlap: float = 0.0,
    rng: np.random.Generator,
    resamples: int = 200,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """How many labelled stretches are found, and how many called ones are right.

    Parameters
    ----------
    overlap : float
        A labelled stretch is found where more than this share of its bases is called, and a
        called one is right where more than this share of its bases has the label. 0: one base.

    Returns
    -------
    dict
        `region_f1` (the harmonic mean), `region_precision` (of called stretches), and
        `region_recall` (of labelled ones); `n` of each counts those stretches (of the F1, both).
    """
    _check_threshold(threshold)
    if not 0 <= overlap < 1:
        raise ConfigError(f"overlap = {overlap}: a share from 0 to below 1 is needed.")
    called = found.scores >= threshold
    right, n_called = _regions(called, found.truth, found.record, overlap)
    hit, n_true = _regions(found.truth, called, found.record, overlap)
    counts = np.stack([right, n_called, hit, n_true], axis=1).astype(float)

    def measured(weights: Floats) -> dict[str, Floats]:
        right, n_called, hit, n_true = (weights @ counts).T
        precision, recall = ratio(right, n_called, 0.0), ratio(hit, n_true, 0.0)
        f1 = ratio(2 * precision * recall, precision + recall, 0.0)
        return {"region_f1": f1, "region_precision": precision, "region_recall": recall}

    n = len(counts)
    drawn = [measured(some) for some in _resamples(n, n, resamples, rng)]
    told = _estimates(REGION_METRICS, measured(np.ones((1, n))), drawn, level, 0)
    sizes = (int((n_called + n_true).sum()), int(n_called.sum()), int(n_true.sum()))
    return {name: told[name]._replace(n=size) for name, size in zip(told, sizes, strict=True)}


def calibration(found: BaseScores, bins: int = 10) -> Calibration:
    """Whether, of the bases with a probability of p, a share of p has the label.

    Bins of equal width from 0 to 1, each without its upper end but the last (Guo et al. 2017).

    Raises
    ------
    ConfigError
        If there are fewer than two bins.
    DataError
        If a score is no probability.
    """
    import pandas as pd

    if bins < 2:
        raise ConfigError(f"bins = {bins}: at least 2 are needed.")
    if found.scores.min() < 0 or found.scores.max() > 1:
        raise DataError("Scores below 0 or above 1 are no probabilities; calibration needs some.")
    at = np.minimum((found.scores * bins).astype(int), bins - 1)
    n = np.bincount(at, minlength=bins)
    summed = np.bincount(at, weights=found.scores, minlength=bins)
    true = np.bincount(at[found.truth], minlength=bins)
    rows = []
    for i in np.flatnonzero(n).tolist():
        share = wilson(int(true[i]), int(n[i]))
        place = {"low": i / bins, "high": (i + 1) / bins, "n": int(n[i])}
        interval = {"share_low": share.low, "share_high": share.high}
        rows.append(place | {"probability": summed[i] / n[i], "share": share.value} | interval)
    table = pd.DataFrame(rows)
    gaps = (table["share"] - table["probability"]).abs()
    return Calibration(table, float((gaps * table["n"]).sum() / table["n"].sum()))


def precision_recall(found: BaseScores, points: int = 200) -> tuple[Floats, Floats]:
    """The curve of precision over recall, every distinct score a threshold, thinned to be drawn.

    Returns
    -------
    recall, precision : (m,) float
        At most so many points, recall rising: of each stretch of recall the threshold that
        reaches its end.
    """
    order = np.argsort(-found.scores, kind="stable")
    scores, hits = found.scores[order], np.cumsum(found.truth[order])
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    recall, precision = hits[last] / hits[-1], hits[last] / (last + 1)
    kept = np.unique(np.searchsorted(recall, np.linspace(recall[0], 1, points)))
    return recall[kept], precision[kept]


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold = {threshold}: a number from 0 to 1 is needed.")


def _per_record(found: BaseScores, flags: Sequence[Bools]) -> Floats:
    """How many bases of each record have each flag, (n, flags)."""
    n = int(found.record[-1]) + 1
    return np.stack([np.bincount(found.record, each, minlength=n) for each in flags], axis=1)


def _confusion(
    hits: Floats | Ints, false: Floats | Ints, true: Floats | int, rest: Floats | int
) -> Floats:
    """Matrices (..., 2, 2), rows true, of counts that are called right and wrong."""
    return np.stack(
        [np.stack([rest - false, false], -1), np.stack([true - hits, hits], -1)], -2
    ).astype(float)


def _counted(confusion: Floats) -> dict[str, Floats]:
    hits, called, true = (
        confusion[..., 1, 1],
        confusion[..., 1].sum(-1),
        confusion[..., 1, :].sum(-1),
    )
    return {
        "f1": ratio(2 * hits, called + true, 0.0),
        "mcc": matthews(confusion),
        "precision": ratio(hits, called, 0.0),
        "recall": ratio(hits, true, 0.0),
    }


def _regions(of: Bools, other: Bools, record: Ints, overlap: float) -> tuple[Ints, Ints]:
    """Of the stretches in `of`: how many in each record `other` covers, and how many there are."""
    first = of & ~np.append(False, of[:-1] & (record[1:] == record[:-1]))
    number = np.cumsum(first)[of] - 1
    length = np.bincount(number)
    covered = np.bincount(number, other[of], minlength=len(length)) > overlap * length
    n, where = int(record[-1]) + 1, record[first]
    return (
        np.bincount(where[covered], minlength=n),
        np.bincount(where, minlength=n),
    )


def _resamples(n: int, cells: int, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """How often each of n records is drawn, (r, n) a block, `resamples` rows in all."""
    size = max(_CHUNK // cells, 1)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        yield rng.multinomial(n, np.full(n, 1 / n), rows).astype(float)


def _estimates(
    names: Sequence[str],
    value: dict[str, Floats],
    drawn: Sequence[dict[str, Floats]],
    level: float,
    n: int,
) -> dict[str, Estimate]:
    tails = [(1 - level) / 2, (1 + level) / 2]
    found = {}
    for name in names:
        values = np.concatenate([np.empty(0), *(part[name] for part in drawn)])
        known = values[~np.isnan(values)]
        low, high = np.quantile(known, tails) if len(known) else (np.nan, np.nan)
        found[name] = Estimate(float(value[name][0]), float(low), float(high), n)
    return found
