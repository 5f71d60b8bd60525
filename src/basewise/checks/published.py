"""Whether published metrics can come from one confusion matrix.

With `tp` true positives fixed, every metric here is a non-decreasing function of the true
negatives (for Matthews' coefficient, with s = tp + fp and n rows: the derivative by s has the
sign of `s (tp - positives / 2) - tp n / 2`, which is never positive). So the matrices that give
a rounded metric are, for each `tp`, one interval of `tn`; it is found by bisection for all
`tp` at once, and the intervals of several metrics are intersected. Nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from basewise.checks.findings import Finding, counted
from basewise.errors import DataError, UnknownName
from basewise.types import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["METRICS", "READINGS", "Published", "metrics_possible"]

METRICS = ("accuracy", "balanced_accuracy", "f1", "mcc", "precision", "recall", "specificity")
"""What can be given; values from 0 to 1, Matthews' coefficient (`mcc`) from -1 to 1."""

READINGS: Mapping[str, str] = {
    "positive": "of the positive class",
    "negative": "of the negative class",
    "macro": "averaged over the two classes",
    "weighted": "averaged over the two classes by their sizes",
    "macro_means": "averaged over the two classes, F1 from the averaged precision and recall",
}
"""How precision, recall and F1 can be meant (the last: Opitz & Burst 2019, arXiv 1911.03347);
the other metrics have one meaning."""

_AVERAGED = {"f1", "precision", "recall"}
_SLACK = 1e-12  # of rounding in double precision


class _Range(NamedTuple):
    """What a rounded metric can have been."""

    value: float
    half: float


@dataclass(frozen=True, eq=False)
class Published:
    """What `metrics_possible` found.

    Attributes
    ----------
    metrics : mapping of str to float
        As given.
    positives, negatives : int
        Rows of the two classes in the test set.
    matrices : DataFrame
        Every confusion matrix that gives all the metrics, one row per matrix and reading:
        `reading` (of `READINGS`), `tp, fn, fp, tn`. Empty where the metrics are impossible.
    nearest : mapping
        The matrix that comes nearest where none fits: `reading`, the counts, the metrics it
        gives, and `error`, the largest distance of a metric in half units of its last decimal
        (1 or less would be a fit). Empty where one fits.
    """

    metrics: Mapping[str, float]
    positives: int
    negatives: int
    matrices: pd.DataFrame
    nearest: Mapping[str, str | int | float]

    @property
    def possible(self) -> bool:
        """Whether one confusion matrix gives all the metrics."""
        return len(self.matrices) > 0

    @property
    def sentence(self) -> str:
        """The result in words."""
        given = _listed(self.metrics, self.metrics)
        rows = f"{self.positives:,} positives and {self.negatives:,} negatives"
        averaged = " and ".join(_named(name) for name in self.metrics if name in _AVERAGED)
        if self.possible:
            ways = " or ".join(
                f"{counted(len(some), 'matrix', 'matrices')}"
                + (f" with {averaged} {READINGS[str(reading)]}" if averaged else "")
                for reading, some in self.matrices.groupby("reading", sort=False)
            )
            tp, fn, fp, tn = self.matrices[["tp", "fn", "fp", "tn"]].iloc[0]
            return (
                f"{given} can come from one confusion matrix of {rows}: {ways}; for instance "
                f"{tp:,} true positives, {fn:,} false negatives, {fp:,} false positives and "
                f"{tn:,} true negatives."
            )
        near = self.nearest
        return (
            f"{given} cannot come from one confusion matrix of {rows}"
            + (f", however {averaged} may be averaged" if averaged else "")
            + f". The nearest one (tp {near['tp']:,}, fn {near['fn']:,}, fp {near['fp']:,}, tn "
            f"{near['tn']:,}"
            + (f"; {averaged} {READINGS[str(near['reading'])]}" if averaged else "")
            + f") gives {_listed(self.metrics, near)}, {near['error']:.1f} times what rounding "
            "explains. They may be means of several runs, of another test set, or miscopied."
        )

    @property
    def finding(self) -> Finding:
        """The result as a finding: an error where the metrics are impossible."""
        return Finding(
            check="published_metrics",
            severity="info" if self.possible else "error",
            title="Published metrics",
            sentence=self.sentence,
            n=self.positives + self.negatives,
            evidence={
                "metrics": dict(self.metrics),
                "matrices": len(self.matrices),
                "nearest": dict(self.nearest),
            },
        )


def _named(metric: str) -> str:
    return {"f1": "F1", "mcc": "MCC"}.get(metric, metric.replace("_", " "))


def _listed(metrics: Iterable[str], values: Mapping[str, Any]) -> str:
    return ", ".join(f"{_named(name)} {values[name]:.5g}" for name in metrics)


def metrics_possible(
    metrics: Mapping[str, float | str],
    *,
    positives: int,
    negatives: int,
    digits: int | None = None,
) -> Published:
    """Whether rounded metrics of a test set can come from one confusion matrix.

    Precision, recall and F1 are tried in every reading of `READINGS`, the same for all of
    them. A metric whose denominator is 0 is 0, as scikit-learn has it.

    Parameters
    ----------
    metrics : mapping of str to float or str
        At least two of `METRICS`. As text, `"0.860"`, a value keeps its last zero.
    positives, negatives : int
        Rows of the two classes in the test set.
    digits : int, optional
        Decimals the metrics were rounded to. Not given: those a text shows; for numbers, the
        most that one of them shows (0.86 beside 0.715 was 0.860).

    Returns
    -------
    Published
        All the matrices that fit, or the nearest miss.

    Raises
    ------
    UnknownName
        If a metric is not one of `METRICS`.
    DataError
        If a value is no number or out of range, a class is empty, or fewer than two are given.
    """
    ranges = _ranges(metrics, digits)
    if positives < 1 or negatives < 1:
        raise DataError(
            f"A test set of {positives} positives and {negatives} negatives has no confusion "
            "matrix to speak of; each class needs a row."
        )
    readings = list(READINGS) if _AVERAGED & set(ranges) else ["positive"]
    if "f1" not in ranges:
        readings = [reading for reading in readings if reading != "macro_means"]
    found = _fitting(ranges, readings, positives, negatives, 1.0)
    nearest: dict[str, str | int | float] = {}
    if not len(found):
        times, near = 2.0, found
        while not len(near):
            near = _fitting(ranges, readings, positives, negatives, times)
            times *= 2
        first = near.nsmallest(1, "error").to_dict("records")[0]
        nearest = {str(name): value for name, value in first.items()}
    return Published(
        metrics={name: given.value for name, given in ranges.items()},
        positives=positives,
        negatives=negatives,
        matrices=found[["reading", "tp", "fn", "fp", "tn"]],
        nearest=nearest,
    )


def _ranges(metrics: Mapping[str, float | str], digits: int | None) -> dict[str, _Range]:
    shown: dict[str, Decimal] = {}
    for name, value in metrics.items():
        if name not in METRICS:
            raise UnknownName("metric", name, METRICS)
        shown[name] = _decimal(name, value)
        if not (-1 if name == "mcc" else 0) <= shown[name] <= 1:
            raise DataError(
                f"{name} = {value} is outside {-1 if name == 'mcc' else 0} to 1; give a share, "
                "as 0.9276 for 92.76 %."
            )
    if len(shown) < 2:
        raise DataError("One metric always has a confusion matrix; give two or more.")
    decimals = {name: max(0, -int(value.as_tuple().exponent)) for name, value in shown.items()}
    most = max(
        (decimals[name] for name in metrics if not isinstance(metrics[name], str)), default=0
    )
    ranges = {}
    for name, given in shown.items():
        of = decimals[name] if isinstance(metrics[name], str) else most
        ranges[name] = _Range(float(given), 0.5 * 10.0 ** -(of if digits is None else digits))
    return ranges


def _decimal(name: str, value: float | str) -> Decimal:
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        found = Decimal("nan")
    if not found.is_finite():
        raise DataError(f"{name} = {value!r} is not a number.")
    return found


def _fitting(
    ranges: Mapping[str, _Range],
    readings: Iterable[str],
    positives: int,
    negatives: int,
    times: float,
) -> pd.DataFrame:
    """Every matrix whose metrics are at most `times` the rounding off: counts, metrics, `error`."""
    import pandas as pd

    parts = []
    for reading in readings:
        tp, tn = _intervals(ranges, reading, positives, negatives, times)
        gives = {name: _metric(name, reading, tp, tn, positives, negatives) for name in ranges}
        off = [np.abs(gives[name] - given.value) / given.half for name, given in ranges.items()]
        counts = {"tp": tp, "fn": positives - tp, "fp": negatives - tn, "tn": tn}
        parts.append(
            pd.DataFrame({"reading": reading} | counts | gives | {"error": np.max(off, 0)})
        )
    return pd.concat(parts, ignore_index=True)


def _intervals(
    ranges: Mapping[str, _Range], reading: str, positives: int, negatives: int, times: float
) -> tuple[Ints, Ints]:
    """All pairs (tp, tn), (m,) each, within `times` the rounding of every metric."""
    tp = np.arange(positives + 1)
    first, last = np.zeros_like(tp), np.full_like(tp, negatives)
    for name, given in ranges.items():
        low, high = (given.value + sign * (times * given.half + _SLACK) for sign in (-1, 1))

        def value(tn: Ints, name: str = name) -> Floats:
            return _metric(name, reading, tp, tn, positives, negatives)

        first = np.maximum(first, _bisect(value, low, tp, negatives))
        last = np.minimum(last, _bisect(value, high, tp, negatives) - 1)
    count = np.maximum(last - first + 1, 0)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(tp, count), np.repeat(first, count) + within


def _bisect(value: Callable[[Ints], Floats], least: float, tp: Ints, most: int) -> Ints:
    """The lowest tn, for each tp, at which `value` reaches `least`; `most` + 1 where none does."""
    low, high = np.zeros_like(tp), np.full_like(tp, most + 1)
    while (low < high).any():
        middle = (low + high) // 2
        yes = (value(np.minimum(middle, most)) >= least) | (middle > most)
        low, high = np.where(yes, low, middle + 1), np.where(yes, middle, high)
    return low


def _metric(name: str, reading: str, tp: Ints, tn: Ints, positives: int, negatives: int) -> Floats:
    """A metric of confusion matrices, (m,)."""
    fn, fp, n = positives - tp, negatives - tn, positives + negatives
    match name:
        case "accuracy":
            return (tp + tn) / n
        case "balanced_accuracy":
            return (tp / positives + tn / negatives) / 2
        case "specificity":
            return tn / negatives
        case "mcc":
            spread = np.sqrt(1.0 * (tp + fp) * (tn + fn) * positives * negatives)
            return _ratio(1.0 * tp * tn - 1.0 * fp * fn, spread)
    classes = [(tp, tp + fp, positives), (tn, tn + fn, negatives)]  # hits, predicted, true
    precision = [_ratio(hits, predicted) for hits, predicted, _ in classes]
    recall = [hits / true for hits, _, true in classes]
    f1 = [2 * hits / (predicted + true) for hits, predicted, true in classes]
    if reading == "macro_means" and name == "f1":
        p, r = (precision[0] + precision[1]) / 2, (recall[0] + recall[1]) / 2
        return _ratio(2 * p * r, p + r)
    weights = {"positive": (1, 0), "negative": (0, 1), "weighted": (positives / n, negatives / n)}
    first, second = weights.get(reading, (0.5, 0.5))
    of = {"precision": precision, "recall": recall, "f1": f1}[name]
    return first * of[0] + second * of[1]


def _ratio(above: Floats | Ints, below: Floats | Ints) -> Floats:
    return np.divide(above, below, out=np.zeros(np.shape(below)), where=np.asarray(below) > 0)
