"""What occurrences say of each token: means with intervals, shrunken means, ratios of outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.special import ndtri

from basewise.errors import ConfigError, DataError
from basewise.evaluate.occurrences import OUTCOMES
from basewise.stats import benjamini_hochberg
from basewise.types import Floats, Ints

__all__ = [
    "MINIMUM_RECORDS",
    "TOKEN_RATIOS",
    "TOKEN_SCORES",
    "Shrunken",
    "resampled_means",
    "shrink",
    "token_ratios",
    "token_scores",
]

MINIMUM_RECORDS = 5
"""Fewer records with a token give no interval: a bootstrap of them would be too narrow."""

TOKEN_SCORES = (
    "token",
    "outcome",
    "count",
    "records",
    "mean",
    "low",
    "high",
    "median",
    "shrunken",
    "shrunken_error",
)
"""Columns of `token_scores`: occurrences of the token and records that have it, mean score with
its 95 % bootstrap interval over records, median, and the mean drawn towards that of all tokens
by how little is known of it, with its standard error."""

TOKEN_RATIOS = ("token", "count", "tp", "fp", "ratio", "low", "high", "ppv", "log_odds", "q")
"""Columns of `token_ratios`."""

By = Literal["token", "kmer"]
_CELLS = 20_000_000  # numbers held at once by the bootstrap


class Shrunken(NamedTuple):
    """Means of groups after shrinkage.

    Attributes
    ----------
    mean, error : (t,) float
        Posterior mean and standard error of each group.
    centre, spread : float
        Mean and standard deviation of the true means, as estimated.
    """

    mean: Floats
    error: Floats
    centre: float
    spread: float


def token_scores(
    frame: pd.DataFrame,
    by: By = "token",
    *,
    split: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Scores of every token over its occurrences.

    Parameters
    ----------
    frame : DataFrame
        Occurrences of one model by one explainer.
    by : str
        `token`, or `kmer`: both strands together.
    split : bool
        Also among the records of each outcome (TP, FP, FN, TN) by themselves; rows of all
        records have the outcome `all`.
    resamples : int
        Of the bootstrap, which draws records with all their tokens, because the occurrences of
        one record are no independent witnesses.
    seed : int

    Returns
    -------
    DataFrame
        With the columns of `TOKEN_SCORES`, by outcome and then from the highest shrunken mean.
        `low` and `high` are NaN for tokens of fewer than `MINIMUM_RECORDS` records.

    Raises
    ------
    DataError
        If there is no occurrence, a column lacks, or a score is not finite.
    """
    _check(frame, by)
    outcomes = ("all", *OUTCOMES) if split else ("all",)
    tables = []
    for outcome in outcomes:
        own = frame if outcome == "all" else frame[frame["outcome"] == outcome]
        if len(own):
            tables.append(_scores(own, by, resamples, seed).assign(outcome=outcome))
    found = pd.concat(tables, ignore_index=True)
    return found[list(TOKEN_SCORES)]


def _scores(frame: pd.DataFrame, by: By, resamples: int, seed: int) -> pd.DataFrame:
    names, token, record = _factors(frame, by)
    score = frame["score"].to_numpy(float)
    count = np.bincount(token, minlength=len(names))
    mean = np.bincount(token, score, len(names)) / count
    records = np.bincount(_pairs(token, record)[0], minlength=len(names))
    low, high = np.full((2, len(names)), np.nan)
    often = records >= MINIMUM_RECORDS
    if often.any():
        some = often[token]
        place = np.cumsum(often) - 1
        drawn = _resampled(place[token[some]], record[some], score[some], resamples, seed)
        low[often], high[often] = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    within = _within(token, score, mean, count)
    shrunken = shrink(mean, within / records)
    found = pd.DataFrame(
        {
            "token": np.asarray(names, object),
            "count": count,
            "records": records,
            "mean": mean,
            "low": low,
            "high": high,
            "median": frame.groupby(token)["score"].median().to_numpy(float),
            "shrunken": shrunken.mean,
            "shrunken_error": shrunken.error,
        }
    )
    return found.sort_values("shrunken", ascending=False, kind="stable", ignore_index=True)


def shrink(means: Floats, variances: Floats) -> Shrunken:
    """Empirical-Bayes means: each group drawn towards all by how little is known of it.

    True means are taken as normal around a centre: `mean_i ~ N(theta_i, v_i)`,
    `theta_i ~ N(centre, spread^2)`. With weights `w_i = 1 / v_i` and their mean `m`,
    `Q = sum w_i (mean_i - m)^2`, the spread is the moment estimate
    `(Q - (t - 1)) / (sum w - sum w^2 / sum w)`, not below 0 (DerSimonian & Laird 1986, Control
    Clin Trials 7:177); the centre is the mean weighted by `1 / (v_i + spread^2)`, and the
    shrunken mean `centre + B_i (mean_i - centre)` with `B_i = spread^2 / (spread^2 + v_i)`
    (Morris 1983, J Am Stat Assoc 78:47); its standard error is the root of `B_i v_i`.

    Parameters
    ----------
    means, variances : (t,) float
        Of each group; a variance is that of the mean.

    Returns
    -------
    Shrunken
        With no variance at all the means come back as they are.
    """
    means, variances = np.asarray(means, float), np.asarray(variances, float)
    if not (variances > 0).all():
        return Shrunken(means.copy(), np.sqrt(variances), float(means.mean()), float(means.std()))
    w = 1 / variances
    q = (w * (means - (w * means).sum() / w.sum()) ** 2).sum()
    scale = w.sum() - (w**2).sum() / w.sum()
    squared = max((q - (len(means) - 1)) / scale, 0.0) if scale > 0 else 0.0
    share = 1 / (variances + squared)
    centre = float((share * means).sum() / share.sum())
    pull = squared / (squared + variances)
    return Shrunken(
        centre + pull * (means - centre),
        np.sqrt(pull * variances),
        centre,
        float(np.sqrt(squared)),
    )


def resampled_means(
    frame: pd.DataFrame, tokens: list[str], by: By = "token", *, resamples: int = 200, seed: int = 0
) -> Floats:
    """Mean scores of tokens when records are drawn again, (resamples, t).

    The same seed and records draw the same, so tables of several explainers stay paired.
    NaN where a resample holds no occurrence.
    """
    _check(frame, by)
    names, token, record = _factors(frame, by)
    place = pd.Index(tokens).get_indexer(pd.Index(names))
    some = place[token] >= 0
    score = frame["score"].to_numpy(float)
    return _resampled(place[token[some]], record[some], score[some], resamples, seed, len(tokens))


def token_ratios(frame: pd.DataFrame, by: By = "token") -> pd.DataFrame:
    """True-positive ratios: of a token's occurrences, how many are in true positives?

    They describe the data set and its labels, not a prediction: the ratio contains the share of
    positives. Beside it therefore what predicting well means (PPV) and how the token differs
    from all others.

    Parameters
    ----------
    frame : DataFrame
        Occurrences; a record explained by several explainers must not be there twice.
    by : str
        `token` or `kmer`.

    Returns
    -------
    DataFrame
        With the columns of `TOKEN_RATIOS`: count; tp and fp (occurrences labelled and predicted
        the class explained, and predicted only); ratio (tp / count) with Wilson's 95 %
        interval; ppv (tp / (tp + fp)); log_odds (of tp among this token's occurrences against
        those of all other tokens, half a count added to each cell, Haldane 1956) and q (of that
        log odds against 0, normal, Benjamini-Hochberg). Intervals and q take occurrences as
        independent; those of one record are not, so both are too sure for repeats.
        From the highest ratio.
    """
    from scipy.special import ndtr

    _check(frame, by)
    names, token, _ = _factors(frame, by)
    outcome = frame["outcome"].astype(str).to_numpy(str)
    n = np.bincount(token, minlength=len(names)).astype(float)
    tp = np.bincount(token[outcome == "TP"], minlength=len(names)).astype(float)
    fp = np.bincount(token[outcome == "FP"], minlength=len(names)).astype(float)
    ratio, z = tp / n, float(ndtri(0.975))
    centre = (ratio + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(ratio * (1 - ratio) / n + z**2 / (4 * n**2))
    cells = np.stack([tp, n - tp, tp.sum() - tp, (n - tp).sum() - (n - tp)]) + 0.5
    log = np.log(cells)
    log_odds = log[0] - log[1] - log[2] + log[3]
    q = benjamini_hochberg(2 * ndtr(-np.abs(log_odds) / np.sqrt((1 / cells).sum(0))))
    called = tp + fp
    found = pd.DataFrame(
        {
            "token": np.asarray(names, object),
            "count": n.astype(int),
            "tp": tp.astype(int),
            "fp": fp.astype(int),
            "ratio": ratio,
            "low": np.maximum(centre - half, 0),
            "high": np.minimum(centre + half, 1),
            "ppv": np.divide(tp, called, out=np.full(len(n), np.nan), where=called > 0),
            "log_odds": log_odds,
            "q": q,
        }
    )
    return found.sort_values("ratio", ascending=False, kind="stable", ignore_index=True)


def _check(frame: pd.DataFrame, by: str) -> None:
    if by not in ("token", "kmer"):
        raise ConfigError(f"by = {by!r}: 'token' or 'kmer' is needed.")
    for column in ("record_id", by, "score", "outcome"):
        if column not in frame.columns:
            raise DataError(
                f"The table of occurrences has no column {column!r}; it has "
                f"{', '.join(map(str, frame.columns)) or 'none'}."
            )
    if frame.empty:
        raise DataError("There is no occurrence of any token.")
    if not (fine := np.isfinite(frame["score"].to_numpy(float))).all():
        row = frame.iloc[int(np.argmin(fine))]
        raise DataError(
            f"Record {row['record_id']!r}: the score of {row[by]!r} is {row['score']}; finite "
            "scores are needed."
        )


def _factors(frame: pd.DataFrame, by: str) -> tuple[list[str], Ints, Ints]:
    """The different tokens, sorted, and which token and which record each row has."""
    token = pd.Categorical(frame[by]).remove_unused_categories()
    record = pd.Categorical(frame["record_id"]).remove_unused_categories()
    names = [str(name) for name in token.categories]
    return names, token.codes.astype(np.int64), record.codes.astype(np.int64)


def _pairs(token: Ints, record: Ints) -> tuple[Ints, Ints]:
    """The different pairs of token and record."""
    width = int(record.max()) + 1
    found = np.unique(token * width + record)
    return found // width, found % width


def _within(token: Ints, score: Floats, mean: Floats, count: Ints) -> float:
    """Variance of scores within tokens, pooled; over all where no token occurs twice."""
    freedom = int((count - 1).sum())
    if freedom == 0:
        return float(score.var())
    return float(((score - mean[token]) ** 2).sum() / freedom)


def _resampled(
    token: Ints, record: Ints, score: Floats, resamples: int, seed: int, width: int | None = None
) -> Floats:
    """Means of tokens over records drawn with replacement, (resamples, t).

    A draw is how often each record comes; sums and counts of all tokens are then products of
    that with two sparse matrices.
    """
    n, t = int(record.max()) + 1, width or int(token.max()) + 1
    sums = csr_array((score, (record, token)), shape=(n, t))
    counts = csr_array((np.ones(len(score)), (record, token)), shape=(n, t))
    rng = np.random.default_rng([seed, 4])
    found = np.empty((resamples, t))
    for rows in _chunks(resamples, max(n, t)):
        drawn = rng.multinomial(n, np.full(n, 1 / n), rows.stop - rows.start).astype(float)
        number = drawn @ counts
        found[rows] = np.divide(
            drawn @ sums, number, out=np.full(number.shape, np.nan), where=number > 0
        )
    return found


def _chunks(total: int, width: int) -> Iterator[slice]:
    size = max(_CELLS // width, 1)
    for begin in range(0, total, size):
        yield slice(begin, min(begin + size, total))
