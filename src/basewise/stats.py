"""Intervals, tests, corrections and random numbers that more than one layer needs.

Every function works on plain arrays and returns named fields. Sources: Efron &
Tibshirani 1993 (percentile bootstrap), Student 1908, Benjamini & Hochberg 1995, Wilson 1927,
Haldane 1956 (odds ratios of tables with a zero).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from numbers import Integral
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit

from basewise.errors import ConfigError
from basewise.types import Floats

__all__ = [
    "Estimate",
    "benjamini_hochberg",
    "bootstrap",
    "check_seed",
    "cluster_interval",
    "empirical_p",
    "mean_interval",
    "odds_ratio",
    "random_numbers",
    "wilson",
]


class Estimate(NamedTuple):
    """A number with its interval and the count behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}], n = {self.n}"


def bootstrap(
    statistic: Callable[..., float],
    *columns: ArrayLike,
    rng: np.random.Generator,
    resamples: int = 1000,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> Estimate:
    """Percentile bootstrap interval of `statistic(*columns)` over rows.

    Parameters
    ----------
    statistic : callable
        Takes the columns, each resampled with the same rows, returns a number.
    columns : (n, ...) arrays
        Paired by row.
    clusters : (n,) array, optional
        Whole clusters are resampled instead of rows (sequences, clades).
    """
    arrays = [np.asarray(column) for column in columns]
    n = len(arrays[0])
    labels = np.arange(n) if clusters is None else np.asarray(clusters)
    _, inverse = np.unique(labels, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    sizes = np.bincount(inverse)
    first = np.cumsum(sizes) - sizes
    found = np.empty(resamples)
    for i in range(resamples):
        drawn = rng.integers(0, len(sizes), len(sizes))
        lengths = sizes[drawn]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows = order[np.repeat(first[drawn], lengths) + within]
        found[i] = statistic(*(array[rows] for array in arrays))
    tail = (1 - level) / 2
    low, high = np.nanquantile(found, [tail, 1 - tail])
    return Estimate(float(statistic(*arrays)), float(low), float(high), n)


def mean_interval(
    values: Floats, rng: np.random.Generator, resamples: int = 1000, level: float = 0.95
) -> Estimate:
    """Mean of values, (n,), with its percentile bootstrap interval: many resamples at once.

    Values that are NaN do not count; NaN where none is left.
    """
    values = values[~np.isnan(values)]
    n = len(values)
    if not n:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    size = max(5_000_000 // n, 1)
    means = [
        values[rng.integers(0, n, (min(size, resamples - begin), n))].mean(1)
        for begin in range(0, resamples, size)
    ]
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Estimate(float(values.mean()), float(low), float(high), n)


def cluster_interval(values: Floats, clusters: ArrayLike, level: float = 0.95) -> Estimate:
    """Mean of the means of clusters, with Student's t interval over these.

    For values, (n,), that share something within a cluster: what varies from cluster to cluster
    is not averaged away by more values in each. The interval covers as often as it says where
    means of clusters are normal, be they two. A bootstrap does not where clusters are few: of
    three with twelve values each and as much variance between as within, drawing clusters and
    values in them covers 78 % where 95 % is said, drawing values alone 51 %.

    Parameters
    ----------
    clusters : (n,) array
        The cluster of each value; each cluster counts alike. Values that are NaN do not count.

    Returns
    -------
    Estimate
        `n` counts values. The interval of one cluster is NaN, as is all where there is no value.
    """
    values, known = np.asarray(values, float), ~np.isnan(values)
    if not known.any():
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    _, inverse = np.unique(np.asarray(clusters)[known], return_inverse=True)
    means = np.bincount(inverse, values[known]) / np.bincount(inverse)
    mean, half = float(means.mean()), float("nan")
    if len(means) > 1:
        t = float(stdtrit(len(means) - 1, 0.5 + level / 2))
        half = t * float(means.std(ddof=1)) / len(means) ** 0.5
    return Estimate(mean, mean - half, mean + half, int(known.sum()))


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """q values, (m,), of the p values, (m,); NaN stays NaN and is not counted."""
    p = np.asarray(p, float)
    q = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known])]
    m = len(order)
    scaled = p[order] * m / np.arange(1, m + 1)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


def empirical_p(observed: ArrayLike, null: ArrayLike, two_sided: bool = True) -> Floats:
    """p values, (m,), of observed values, (m,), against draws of the null, (draws, m).

    `(1 + draws at least as extreme) / (1 + draws)`, never zero (Phipson & Smyth 2010).
    Two-sided: twice the smaller tail, at most 1.
    """
    observed, null = np.asarray(observed, float), np.asarray(null, float)
    above = (1 + (null >= observed).sum(0)) / (1 + len(null))
    if not two_sided:
        return np.asarray(above)
    below = (1 + (null <= observed).sum(0)) / (1 + len(null))
    return np.asarray(np.minimum(2 * np.minimum(above, below), 1.0))


def wilson(successes: int, n: int, level: float = 0.95) -> Estimate:
    """A share with Wilson's score interval; NaN where `n` is 0."""
    if n == 0:
        return Estimate(float("nan"), 0.0, 1.0, 0)
    z = float(ndtri(0.5 + level / 2))
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Estimate(share, max(centre - half, 0.0), min(centre + half, 1.0), n)


def odds_ratio(a: int, b: int, c: int, d: int, level: float = 0.95) -> Estimate:
    """Odds ratio `ad / bc` of the table [[a, b], [c, d]] with Woolf's interval.

    Half a count is added to every cell when one is empty (Haldane).
    """
    cells = np.array([a, b, c, d], float)
    if (cells == 0).any():
        cells += 0.5
    log = np.log(cells[0]) + np.log(cells[3]) - np.log(cells[1]) - np.log(cells[2])
    half = float(ndtri(0.5 + level / 2)) * np.sqrt((1 / cells).sum())
    return Estimate(
        float(np.exp(log)), float(np.exp(log - half)), float(np.exp(log + half)), a + b + c + d
    )


def check_seed(seed: object) -> None:
    """Refuse what is no seed.

    Raises
    ------
    ConfigError
        If it is no whole number, or a negative one.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise ConfigError(f"seed = {seed!r}: a whole number, 0 or more, is needed.")


def random_numbers(seed: int, record_id: str, method: str) -> np.random.Generator:
    """The random numbers of one record and method, whatever stands beside it."""
    text = f"{seed}\n{method}\n{record_id}".encode()
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest()[:16], "big"))
