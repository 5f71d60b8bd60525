"""How good a classifier is: seven numbers, each with a bootstrap interval.

The interval is the percentile bootstrap over rows (Efron & Tibshirani 1993). A resample is
kept as how often it drew each row, so that every metric is arithmetic on weighted counts
and a thousand resamples of thousands of rows take a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from basewise.errors import DataError, UnknownName
from basewise.stats import Estimate
from basewise.types import Floats, Ints

__all__ = ["METRICS", "Ranked", "classification_metrics", "matthews", "ratio"]

METRICS = ("accuracy", "mcc", "f1", "precision", "recall", "auroc", "auprc")

_CHUNK = 4_000_000  # numbers in one block of resamples, 32 MB


def classification_metrics(
    truth: Sequence[str],
    scores: Floats,
    labels: Sequence[str],
    *,
    positive: str | None = None,
    rng: np.random.Generator,
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """The metrics of predictions, by name.

    The predicted class is the one with the highest score; the first of those that tie.

    Parameters
    ----------
    truth : n class names
    scores : (n, k) float
        Probabilities or logits, columns as `labels`.
    labels : k class names
    positive : str, optional
        F1, precision, recall, AUROC and AUPRC are of this class against the rest. Not given,
        they are unweighted means over the classes (macro).
    rng : numpy.random.Generator
        Draws the resamples.

    Returns
    -------
    dict
        `accuracy`; `mcc` (Matthews' coefficient, of several classes by Gorodkin 2004; 0 where
        one row or column holds everything); `f1`, `precision`, `recall` (0 where nothing was
        predicted or is true); `auroc` (ties count a half); `auprc` (average precision, steps
        without interpolation). NaN where a class has no row; a resample without one does not
        count for the interval of `auroc` and `auprc`.

    Raises
    ------
    DataError
        If there are no rows, the shapes do not fit, or a score is not a number.
    UnknownName
        If a true label or `positive` is not among `labels`.
    """
    scores = np.asarray(scores, float)
    if scores.shape != (len(truth), len(labels)) or not len(truth):
        raise DataError(
            f"Scores of shape {scores.shape} for {len(truth)} true labels and {len(labels)} "
            "classes; one row per true label (at least one) and one column per class are needed."
        )
    if np.isnan(scores).any():
        row, column = np.argwhere(np.isnan(scores))[0]
        raise DataError(f"The score of {labels[column]!r} in row {row} is not a number.")
    place = {label: i for i, label in enumerate(labels)}
    for label in ({positive} - {None}) | set(truth):
        if label not in place:
            raise UnknownName("class among the labels", label, labels)
    measured = _Measured(
        np.array([place[label] for label in truth]),
        scores,
        list(place.values()) if positive is None else [place[positive]],
    )
    value = measured(np.ones((1, len(truth))))
    found = [measured(weights) for weights in _resamples(len(truth), resamples, rng)]
    tail = (1 - level) / 2
    return {
        name: Estimate(
            float(value[name][0]),
            *_interval(np.concatenate([part[name] for part in found]), tail),
            len(truth),
        )
        for name in METRICS
    }


def matthews(confusion: NDArray[np.float64 | np.int64]) -> Floats:
    """Matthews' coefficient of confusion matrices (..., k, k), rows true (Gorodkin 2004)."""
    confusion = np.asarray(confusion, float)
    total = confusion.sum((-1, -2))
    right = np.trace(confusion, axis1=-2, axis2=-1)
    true, predicted = confusion.sum(-1), confusion.sum(-2)
    above = right * total - (true * predicted).sum(-1)
    below = (total**2 - (true**2).sum(-1)) * (total**2 - (predicted**2).sum(-1))
    return ratio(above, np.sqrt(below), 0.0)


class _Measured:
    """Every metric of fixed predictions, as a function of how often each row counts."""

    def __init__(self, truth: Ints, scores: Floats, of: list[int]):
        self.k, self.of = scores.shape[1], of
        self.cell = np.eye(self.k**2)[truth * self.k + scores.argmax(1)]
        self.ranked = [Ranked(truth == label, scores[:, label]) for label in of]

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Metrics, (m,) each, under weights (m, n)."""
        confusion = (weights @ self.cell).reshape(-1, self.k, self.k)
        hits = confusion[:, self.of, self.of]
        true, predicted = confusion.sum(2)[:, self.of], confusion.sum(1)[:, self.of]
        areas = [ranked(weights) for ranked in self.ranked]
        return {
            "accuracy": np.trace(confusion, axis1=1, axis2=2) / confusion.sum((1, 2)),
            "mcc": matthews(confusion),
            "f1": ratio(2 * hits, true + predicted, 0.0).mean(1),
            "precision": ratio(hits, predicted, 0.0).mean(1),
            "recall": ratio(hits, true, 0.0).mean(1),
            "auroc": np.mean([roc for roc, _ in areas], 0),
            "auprc": np.mean([pr for _, pr in areas], 0),
        }


class Ranked:
    """Areas under the ROC and precision-recall curves of one class against the rest."""

    def __init__(self, positive: NDArray[np.bool_], score: Floats):
        self.order = np.argsort(-score, kind="stable")
        ordered = score[self.order]
        self.positive = positive[self.order].astype(float)
        # Rows with one score stand or fall together: curves have a point after each such group.
        self.last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)

    def __call__(self, weights: Floats) -> tuple[Floats, Floats]:
        """AUROC and AUPRC, (m,) each, under weights (m, n)."""
        weights = weights[:, self.order]
        above = weights.cumsum(1)[:, self.last]
        hits = (weights * self.positive).cumsum(1)[:, self.last]
        false = above - hits
        new_hits, new_false = np.diff(hits, prepend=0), np.diff(false, prepend=0)
        roc = (new_false * (hits - new_hits / 2)).sum(1)
        pr = (new_hits * ratio(hits, above, 0.0)).sum(1)
        return (
            ratio(roc, hits[:, -1] * false[:, -1], np.nan),
            ratio(pr, hits[:, -1], np.nan),
        )


def _resamples(n: int, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """How often each of n rows is drawn, (m, n) a block, `resamples` rows in all."""
    size = max(_CHUNK // n, 1)
    for start in range(0, resamples, size):
        m = min(size, resamples - start)
        drawn = rng.integers(0, n, (m, n)) + n * np.arange(m)[:, None]
        yield np.bincount(drawn.ravel(), minlength=m * n).reshape(m, n).astype(float)


def _interval(values: Floats, tail: float) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def ratio(above: Floats, below: Floats, otherwise: float) -> Floats:
    """above / below; `otherwise` where there is nothing below."""
    found = np.full(np.shape(above), otherwise)
    np.divide(above, below, out=found, where=below > 0)
    return found
