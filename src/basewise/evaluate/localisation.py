"""Where the truth is known: did the scores find it?

Four measures of one record, each on bases, with what a random order of the bases would give.
Scores are signed and high means "found", so an attribution should be towards the class that
the truth belongs to. Ties are settled as if broken at random (their expected value), except in
AUPRC, which takes tied bases together as scikit-learn does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from basewise.errors import DataError
from basewise.stats import bootstrap
from basewise.types import Attribution, Bools, Floats, Record

__all__ = [
    "CHANCE",
    "LOCALISATION",
    "METRICS",
    "SUMMARY",
    "auprc",
    "auprc_chance",
    "first_rank",
    "first_rank_chance",
    "localise",
    "mass_inside",
    "prevalence",
    "summarise",
    "top_k_precision",
]


def auprc(scores: Floats, truth: Bools) -> Floats:
    """Area under the precision-recall curve (average precision) of every row, (n,).

    The mean of the precision at each true base, tied bases taken together; as
    `sklearn.metrics.average_precision_score`. Chance gives `auprc_chance`.

    Parameters
    ----------
    scores : (n, b) float
    truth : (n, b) bool
        Rows without a true base give NaN, here and in every other measure.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    true = np.take_along_axis(truth, order, axis=1)
    place = np.arange(scores.shape[1])
    ends = np.ones(scores.shape, bool)  # the last of a run of equal scores
    ends[:, :-1] = ranked[:, :-1] != ranked[:, 1:]
    end = np.minimum.accumulate(np.where(ends, place, place[-1])[:, ::-1], axis=1)[:, ::-1]
    precision = np.take_along_axis(np.cumsum(true, axis=1) / (place + 1), end, axis=1)
    return _share((precision * true).sum(1), truth.sum(1))


def mass_inside(scores: Floats, truth: Bools) -> Floats:
    """Share of the positive scores' sum that lies on true bases, (n,).

    NaN where no score is positive. Chance gives the prevalence.
    """
    positive = np.maximum(scores, 0)
    share = _share((positive * truth).sum(1), positive.sum(1))
    return np.where(truth.any(1), share, np.nan)


def top_k_precision(scores: Floats, truth: Bools) -> Floats:
    """Share of true bases among the `k` best, `k` being the number of true bases, (n,).

    Chance gives the prevalence.
    """
    k = truth.sum(1)
    ranked = -np.sort(-scores, axis=1)
    cut = np.take_along_axis(ranked, np.maximum(k - 1, 0)[:, None], axis=1)
    above, tied = scores > cut, scores == cut
    share_of_ties = (k - above.sum(1)) / np.maximum(tied.sum(1), 1)
    return _share((above & truth).sum(1) + share_of_ties * (tied & truth).sum(1), k)


def first_rank(scores: Floats, truth: Bools) -> Floats:
    """Rank of the best true base, 1 being the highest score, (n,).

    Chance gives `first_rank_chance`.
    """
    best = np.where(truth, scores, -np.inf).max(1, keepdims=True)
    tied = scores == best
    found = (scores > best).sum(1) + _first_of(tied.sum(1), (tied & truth).sum(1))
    return np.where(truth.any(1), found, np.nan)


def prevalence(scores: Floats, truth: Bools) -> Floats:
    """Share of bases that are true, (n,)."""
    return np.where(truth.any(1), truth.mean(1), np.nan)


def auprc_chance(scores: Floats, truth: Bools) -> Floats:
    """Mean AUPRC when bases are ordered at random, (n,): somewhat more than the prevalence.

    With `t` of `b` bases true it is `h + (1 - h)(t - 1) / (b - 1)`, `h` being the mean of
    1, 1/2, ..., 1/b (Bestgen 2015, Inf Process Manag 51:859).
    """
    bases = truth.shape[1]
    mean = (1 / np.arange(1, bases + 1)).mean() if bases else np.nan
    found = mean + (1 - mean) * (truth.sum(1) - 1) / max(bases - 1, 1)
    return np.where(truth.any(1), found, np.nan)


def first_rank_chance(scores: Floats, truth: Bools) -> Floats:
    """Mean rank of the best true base when bases are ordered at random, (n,)."""
    return np.where(truth.any(1), _first_of(truth.shape[1], truth.sum(1)), np.nan)


Measure = Callable[[Floats, Bools], Floats]

METRICS: dict[str, Measure] = {
    "auprc": auprc,
    "mass_inside": mass_inside,
    "top_k_precision": top_k_precision,
    "first_rank": first_rank,
}
"""Measures by name; each takes scores and truth, (n, b), and gives one number per row."""

CHANCE: Mapping[str, str] = {
    "auprc": "auprc_chance",
    "mass_inside": "prevalence",
    "top_k_precision": "prevalence",
    "first_rank": "first_rank_chance",
}
"""For every measure, the column that holds what chance would give."""

_MEASURES = METRICS | {
    "prevalence": prevalence,
    "auprc_chance": auprc_chance,
    "first_rank_chance": first_rank_chance,
}

LOCALISATION = ("record_id", "length", *_MEASURES)
"""Columns of `localise`: one row per record with known truth."""

SUMMARY = ("metric", "value", "low", "high", "n", "chance")
"""Columns of `summarise`: mean over records with its 95 % bootstrap interval, how many records
it is of, and the mean of what chance would give on them."""


def localise(records: Sequence[Record], found: Sequence[Attribution]) -> pd.DataFrame:
    """How well attributions find the truth of their records.

    Parameters
    ----------
    records : sequence of Record
        Those with no `truth` are left out: there is nothing to find in them.
    found : sequence of Attribution
        Of these records, in any order; scores are shared equally by the bases of a unit.

    Returns
    -------
    DataFrame
        With the columns of `LOCALISATION`, in the order of `found`.

    Raises
    ------
    DataError
        If an attribution belongs to no record, or a span of truth leaves its record.
    """
    known = {record.id: record for record in records}
    for attribution in found:
        if attribution.record_id not in known:
            raise DataError(
                f"There is an attribution of record {attribution.record_id!r}, but no such record."
            )
    found = [attribution for attribution in found if known[attribution.record_id].truth]
    lengths = np.array([len(attribution.sequence) for attribution in found], np.int64)
    table = pd.DataFrame(
        {
            "record_id": pd.Series([attribution.record_id for attribution in found], dtype=str),
            "length": lengths,
        }
    ).reindex(columns=list(LOCALISATION))
    values = {name: np.full(len(found), np.nan) for name in _MEASURES}
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        scores = np.stack([found[i].per_base() for i in rows])
        truth = np.stack([_truth(known[found[i].record_id], int(length)) for i in rows])
        for name, measure in _MEASURES.items():
            values[name][rows] = measure(scores, truth)
    return table.assign(**values)


def summarise(frame: pd.DataFrame, *, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Means over records with bootstrap intervals.

    Parameters
    ----------
    frame : DataFrame
        From `localise`: of one model and explainer.
    resamples : int
        Of the bootstrap over records.
    seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        With the columns of `SUMMARY`, one row per measure; records without a value (no
        positive score at all) do not count towards it.
    """
    rows = []
    for metric, chance in CHANCE.items():
        values = frame[[metric, chance]].dropna().to_numpy(float)
        if not len(values):
            rows.append((metric, np.nan, np.nan, np.nan, 0, np.nan))
            continue
        rng = np.random.default_rng(seed)
        estimate = bootstrap(np.mean, values[:, 0], rng=rng, resamples=resamples)
        rows.append((metric, *estimate, float(values[:, 1].mean())))
    return pd.DataFrame(rows, columns=list(SUMMARY))


def _truth(record: Record, length: int) -> Bools:
    """Which bases of a record are true, (b,)."""
    if len(record) != length:
        raise DataError(
            f"Record {record.id!r} has {len(record)} bases; its attribution has {length}."
        )
    found = np.zeros(length, bool)
    for span in record.truth:
        if not 0 <= span.start < span.end <= length:
            raise DataError(
                f"Record {record.id!r} has {length} bases; its truth {span.name!r} "
                f"at {span.start}-{span.end} leaves it."
            )
        found[span.start : span.end] = True
    return found


def _share(part: Floats, whole: Floats) -> Floats:
    found: Floats = np.full(len(part), np.nan)
    return np.divide(part, whole, out=found, where=np.asarray(whole) > 0)


def _first_of(n: Floats | int, true: Floats) -> Floats:
    """Mean rank of the first of `true` among `n` in random order."""
    return np.asarray((np.asarray(n) + 1) / (np.asarray(true) + 1))
